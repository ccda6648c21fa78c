from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import (
    SENSOR_BANDS,
    apply_response,
    band_response,
    normalise_response,
    sensor_response,
    stretched_wavelengths,
)

FULL_RANGE = torch.linspace(380.0, 2500.0, 425, dtype=torch.float64)


@pytest.mark.parametrize("number_of_bands", [1, 3, 4, 8, 16])
def test_tables_are_consistent(number_of_bands: int) -> None:
    bands = SENSOR_BANDS[number_of_bands]
    assert len(bands) == number_of_bands
    assert len({band.name for band in bands}) == number_of_bands
    for band in bands:
        assert band.lower < band.center < band.upper
        assert band.center == pytest.approx((band.lower + band.upper) / 2, abs=1.5)  # edges lie about the centre


@pytest.mark.parametrize("number_of_bands", [1, 3, 4, 8, 16])
def test_rows_are_gaussians_of_sum_one(number_of_bands: int) -> None:
    response = sensor_response(number_of_bands, FULL_RANGE)
    for row, band in zip(response.numpy(), SENSOR_BANDS[number_of_bands], strict=True):
        deviation = (band.upper - band.lower) / 4.2
        values = np.exp(-0.5 * ((FULL_RANGE.numpy() - band.center) / deviation) ** 2)
        np.testing.assert_allclose(row, values / values.sum(), atol=1e-12)


def test_the_factor_narrows_the_bands() -> None:
    wavelengths = [470.0, 480.0]
    row = band_response([480.0], [421.0], [539.0], wavelengths, fwhm_factor=8.4)[0]
    assert float(row[0] / row[1]) == pytest.approx(math.exp(-0.5 * (10 * 8.4 / 118) ** 2))


def test_order_of_wavelengths_does_not_matter() -> None:
    order = torch.randperm(len(FULL_RANGE), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(sensor_response(8, FULL_RANGE[order]), sensor_response(8, FULL_RANGE)[:, order])


def test_stretched_wavelengths_run_from_edge_to_edge() -> None:
    stretched = stretched_wavelengths(16, 50)
    assert stretched[[0, -1]].tolist() == [397.0, 2373.0]
    torch.testing.assert_close(stretched.diff(), torch.full((49,), (2373 - 397) / 49, dtype=torch.float64))
    compat = sensor_response(16, "stretched", channels=50)
    torch.testing.assert_close(compat, sensor_response(16, stretched))


def test_a_band_outside_the_cube_is_named() -> None:
    with pytest.raises(InputError, match=r"'SWIR1' \(1184-1235 nm\).*from 400 to 900"):
        sensor_response(16, torch.linspace(400.0, 900.0, 100))
    with pytest.raises(InputError, match=r"band 1 \(800-900 nm\)"):
        band_response([450.0, 850.0], [400.0, 800.0], [500.0, 900.0], [440.0, 460.0])


def test_micrometres_are_not_taken_for_nanometres() -> None:
    with pytest.raises(InputError, match=r"'blue'.*from 0.4 to 2.5; expected nm"):
        sensor_response(4, torch.linspace(0.4, 2.5, 100))


@pytest.mark.parametrize("number_of_bands", [2, 0, True, "4"])
def test_unknown_number_of_bands(number_of_bands: int) -> None:
    with pytest.raises(InputError, match="one of 1, 3, 4, 8, 16"):
        sensor_response(number_of_bands, FULL_RANGE)


def test_bad_wavelengths() -> None:
    with pytest.raises(InputError, match="one value for each of 5 channels, got 425"):
        sensor_response(4, FULL_RANGE, channels=5)
    with pytest.raises(InputError, match="'stretched' with the number of channels"):
        sensor_response(4, "stretched")
    with pytest.raises(InputError, match="got 'true'"):
        sensor_response(4, "true", channels=3)
    with pytest.raises(InputError, match="wavelengths must be a vector of finite"):
        sensor_response(4, [500.0, math.nan])
    with pytest.raises(InputError, match="positive numbers of nm, got -3"):
        sensor_response(4, [500.0, -3.0])
    with pytest.raises(InputError, match="channels must be 1 or more"):
        stretched_wavelengths(4, 0)
    with pytest.raises(InputTypeError, match="wavelengths must be numbers"):
        sensor_response(4, ["blue"])


def test_bad_bands() -> None:
    with pytest.raises(InputError, match="of one length, got 2, 1, 1"):
        band_response([1.0, 2.0], [1.0], [2.0], [1.0])
    with pytest.raises(InputError, match="lower must be below upper, got 600 and 500 nm"):
        band_response([550.0], [600.0], [500.0], [550.0])
    with pytest.raises(InputError, match="fwhm_factor must be positive"):
        band_response([550.0], [500.0], [600.0], [550.0], fwhm_factor=0.0)


def test_own_response_is_put_upright_and_divided_by_its_sums() -> None:
    values = np.array([[1, 2, 1, 0], [0, 0, 5, 5]])
    expected = torch.tensor([[0.25, 0.5, 0.25, 0], [0, 0, 0.5, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(normalise_response(values, 4), expected)
    torch.testing.assert_close(normalise_response(values.T, 4), expected)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(4), "two-dimensional"),
        (np.ones((2, 5)), "must have 4 columns.*got 5"),
        (np.array([[1, 1, 1, np.inf]]), "finite, got 1 values"),
        (np.array([[1.0, 1, 1, 1], [0, 0, 0, 0]]), "row 1 must have a positive sum"),
    ],
)
def test_bad_own_responses(values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        normalise_response(values, 4)


def test_apply_response_is_a_product_along_the_bands() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 6, 3, 4, generator=generator)
    srf = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    seen = apply_response(image, srf)
    assert seen.dtype == image.dtype
    torch.testing.assert_close(seen, torch.einsum("bc,nchw->nbhw", srf.float(), image))
    last = image[0].permute(1, 2, 0).contiguous()
    torch.testing.assert_close(apply_response(last.permute(2, 0, 1), srf), seen[0])


def test_apply_response_checks_the_bands() -> None:
    with pytest.raises(InputError, match=r"srf must have the shape \(bands, 6\), got \(3, 5\)"):
        apply_response(torch.zeros(6, 2, 2), torch.zeros(3, 5))
    with pytest.raises(InputError, match="bands, rows, columns"):
        apply_response(torch.zeros(6, 2), torch.zeros(3, 6))
