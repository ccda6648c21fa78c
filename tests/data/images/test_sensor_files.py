import logging
import os

import numpy as np
import pytest
import torch
from scipy.io import savemat

from stgraph.data.images import measured_bands, measured_response, read_kernel, read_response
from stgraph.errors import InputError, InputTypeError

needs_table = pytest.mark.skipif(
    "STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA is not set (needs spectral_response)"
)


def test_kernel_is_divided_by_its_sum(tmp_path):
    values = np.arange(25.0).reshape(5, 5)
    savemat(tmp_path / "psf.mat", {"psf": values})
    np.testing.assert_allclose(read_kernel(tmp_path / "psf.mat"), values / 300)
    savemat(tmp_path / "two.mat", {"psf": values, "other": values})
    with pytest.raises(InputError, match=r"must hold one array.*psf, other"):
        read_kernel(tmp_path / "two.mat")
    np.testing.assert_allclose(read_kernel(tmp_path / "two.mat", "other"), values / 300)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((3, 3, 3)), "two-dimensional"),
        (np.ones((3, 5)), "square"),
        (np.ones((4, 4)), "odd size"),
        (np.full((3, 3), np.nan), "finite"),
        (np.array([[-1.0, 0, 0], [0, 0, 0], [0, 0, 1]]), "adds up to 0"),
    ],
)
def test_bad_kernels_are_refused_each_in_its_own_words(tmp_path, values, message):
    np.save(tmp_path / "psf.npy", values)
    with pytest.raises(InputError, match=rf"psf\.npy: psf.*{message}"):
        read_kernel(tmp_path / "psf.npy")


@pytest.mark.parametrize("transposed", [False, True])
def test_response_has_bands_first_and_rows_that_sum_to_one(tmp_path, transposed):
    values = np.array([[2.0, 2, 0, 0], [0, 1, 3, -0.002]])
    savemat(tmp_path / "srf.mat", {"srf": values.T if transposed else values})
    expected = torch.tensor([[0.5, 0.5, 0, 0], [0, 0.25, 0.75, 0]], dtype=torch.float64)
    torch.testing.assert_close(read_response(tmp_path / "srf.mat", 4), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 3)), "4 columns"),
        (np.ones(4), "two-dimensional"),
        (np.array([[1.0, 1, 1, 1], [0, 0, 0, 0]]), "row 1 must have a positive sum"),
        (np.array([[1.0, 1, -1, 1]]), r"must not be negative, but \[0, 2\] is -1"),
        (np.array([[1.0, np.nan, 1, 1]]), "finite"),
    ],
)
def test_bad_responses_are_refused(tmp_path, values, message):
    np.save(tmp_path / "srf.npy", values)
    with pytest.raises(InputError, match=message):
        read_response(tmp_path / "srf.npy", 4)


def write_table(folder):
    path = folder / "table.csv"
    path.write_text(
        "sensor,band,wavelength_nm,response\n"
        "A,10,900,1\nA,10,910,1\nA,8A,800,0\nA,8A,810,1\nA,8A,820,-0.001\nA,2,500,0.5\nA,2,490,1\nB,1,500,1\n"
    )
    return path


def test_measured_curves_are_interpolated(tmp_path):
    table = write_table(tmp_path)
    assert measured_bands("A", table=table) == ["2", "8A", "10"]
    response = measured_response("A", [490.0, 495.0, 805.0, 810.0, 820.0, 905.0], table=table)
    expected = [[1 / 1.75, 0.75 / 1.75, 0, 0, 0, 0], [0, 0, 1 / 3, 2 / 3, 0, 0], [0, 0, 0, 0, 0, 1]]
    torch.testing.assert_close(response, torch.tensor(expected, dtype=torch.float64))
    chosen = measured_response("A", [490.0, 495.0, 905.0], bands=["10", "2"], table=table)
    torch.testing.assert_close(chosen[0], torch.tensor([0.0, 0, 1], dtype=torch.float64))


def test_measured_bands_that_do_not_fit_are_named(tmp_path, caplog):
    table = write_table(tmp_path)
    with pytest.raises(InputError, match="490 to 500 nm: 8A, 10; choose others by bands="):
        measured_response("A", [490.0, 500.0], table=table)
    with pytest.raises(InputError, match="some of 2, 8A, 10, got 3"):
        measured_response("A", [490.0, 500.0], bands=["3"], table=table)
    with pytest.raises(InputError, match="no sensor 'C'; there are A, B"):
        measured_response("C", [490.0, 500.0], table=table)
    with pytest.raises(InputError, match="micrometres"):
        measured_response("A", [0.49, 0.5], table=table)
    with pytest.raises(InputTypeError, match="real numbers"):
        measured_response("A", ["blue"], table=table)
    with caplog.at_level(logging.WARNING, "stgraph"):
        measured_response("A", [490.0, 495.0], bands=["2"], table=table)
    assert "cover only 67 % of band 2" in caplog.text


def test_tables_that_are_none(tmp_path, monkeypatch):
    monkeypatch.delenv("STGRAPH_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="set the environment variable STGRAPH_DATA"):
        measured_response("Landsat-8", [500.0, 600.0])
    (tmp_path / "table.csv").write_text("sensor,band\nA,1\n")
    with pytest.raises(InputError, match="has no wavelength_nm, response"):
        measured_bands("A", table=tmp_path / "table.csv")


@needs_table
@pytest.mark.parametrize(
    ("sensor", "count"), [("Sentinel-2A", 13), ("Sentinel-2B", 13), ("Landsat-8", 9), ("Landsat-5", 6), ("RapidEye", 5)]
)
def test_real_sensors(sensor, count):
    wavelengths = np.arange(380.0, 2500.0, 5.0)
    response = measured_response(sensor, wavelengths)
    assert response.shape == (count, wavelengths.size)
    torch.testing.assert_close(response.sum(dim=1), torch.ones(count, dtype=torch.float64))
    assert (response >= 0).all()
    centers = response @ torch.from_numpy(wavelengths)
    # The first bands of all are blue; Landsat-8 and Sentinel-2 have one more before.
    assert 430 < centers[0] < 500
