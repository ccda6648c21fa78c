import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from stgraph.data.light_curves import read_light_curves
from stgraph.errors import InputError

fits = pytest.importorskip("astropy.io.fits")

RAW = Path(os.environ.get("STGRAPH_DATA", ".")) / "kepler_tess_raw"
needs_raw = pytest.mark.skipif(not RAW.is_dir(), reason="needs kepler_tess_raw in the folder STGRAPH_DATA")
TIME = np.array([1.0, 2.0, np.nan, 4.0, 5.0])
FLUX = np.array([10.0, 20.0, 30.0, np.nan, 40.0])
FLAGS = np.array([0, 8, 0, 0, 1])


def write(path, primary=None, columns=None, **table):
    columns = {
        "TIME": TIME,
        "SAP_FLUX": FLUX / 2,
        "PDCSAP_FLUX": FLUX,
        "PDCSAP_FLUX_ERR": FLUX / 100,
        "SAP_QUALITY": FLAGS,
        **(columns or {}),
    }
    kinds = {"f": "D", "i": "J"}
    units = [
        fits.Column(name, kinds[values.dtype.kind], array=values)
        for name, values in columns.items()
        if values is not None
    ]
    first = fits.PrimaryHDU()
    first.header.update(
        primary
        or {"OBJECT": "KIC 7", "KEPLERID": 7, "RA_OBJ": 290.0, "DEC_OBJ": 45.0, "TEFF": 4500, "TELESCOP": "Kepler"}
    )
    second = fits.BinTableHDU.from_columns(units, name="LIGHTCURVE")
    second.header.update({"BJDREFI": 2454833, "BJDREFF": 0.5, "TIMEUNIT": "d", **table})
    fits.HDUList([first, second, fits.ImageHDU(np.zeros((3, 3)), name="APERTURE")]).writeto(path)
    return path


def test_a_light_curve_table(tmp_path):
    data = read_light_curves(write(tmp_path / "kplr.fits"))
    assert data.x[:, :, 0].tolist() == [[10.0]]
    data = read_light_curves(tmp_path / "kplr.fits", quality_bitmask="none")
    assert data.x[:, :, 0].tolist() == [[10, 20, 40]]
    assert data.time.tolist() == [[1, 2, 5]]
    np.testing.assert_allclose(data.flux_error[0, :, 0], [0.1, 0.2, 0.4], rtol=1e-6)
    assert data.node_names == ["KIC 7"]
    assert data.sky.tolist() == [[290, 45]]
    assert {name: vector.tolist() for name, vector in data.metadata.items()} == {
        "star": ["KIC 7"],
        "mission": ["Kepler"],
        "teff": [4500],
        "bjd_reference": [2454833.5],
    }


@pytest.mark.parametrize(("bitmask", "fluxes"), [(1, [10, 20]), (8, [10, 40]), (9, [10]), (2, [10, 20, 40])])
def test_bits_of_the_quality_flags(tmp_path, bitmask, fluxes):
    path = write(tmp_path / "kplr.fits")
    assert read_light_curves(path, quality_bitmask=bitmask).x[0, :, 0].tolist() == fluxes


def test_flux_columns(tmp_path):
    path = write(tmp_path / "kplr.fits")
    data = read_light_curves(path, flux_column="SAP_FLUX", quality_bitmask="none")
    assert data.x[0, :, 0].tolist() == [5, 10, 20]
    assert "flux_error" not in data
    columns = {"PDCSAP_FLUX": None, "PDCSAP_FLUX_ERR": None, "SAP_QUALITY": None, "QUALITY": FLAGS}
    path = write(tmp_path / "tess.fits", columns=columns)
    assert read_light_curves(path).x[0, :, 0].tolist() == [5]
    with pytest.raises(InputError, match="has no column PDCSAP_FLUX; there are TIME, SAP_FLUX, QUALITY"):
        read_light_curves(path, flux_column="PDCSAP_FLUX")


@pytest.mark.parametrize(
    ("primary", "name"),
    [({"TICID": 12}, "TIC 12"), ({"KEPLERID": 3, "OBJECT": ""}, "KIC 3"), ({"OBSERVER": "me"}, "kplr")],
)
def test_headers_that_know_little(tmp_path, primary, name):
    data = read_light_curves(write(tmp_path / "kplr.fits", primary))
    assert data.node_names == [name]
    assert "sky" not in data
    assert data.metadata["star"].tolist() == [name]


def test_keywords_without_a_number(tmp_path):
    path = write(tmp_path / "kplr.fits", {"OBJECT": "KIC 7", "TEFF": None, "RADIUS": "UNKNOWN", "TELESCOP": None})
    assert set(read_light_curves(path).metadata) == {"star", "bjd_reference"}


def quarters(tmp_path):
    time, columns = np.arange(5.0), {"SAP_QUALITY": np.zeros(5, dtype=int), "PDCSAP_FLUX_ERR": np.full(5, 1.0)}
    second = {**columns, "TIME": time + 100, "PDCSAP_FLUX": np.array([90.0, 100, 110, 100, 95])}
    first = {**columns, "TIME": time, "PDCSAP_FLUX": np.array([9.0, 10, 11, np.nan, 10])}
    header = {"OBJECT": "KIC 7", "TEFF": 4500, "RA_OBJ": 290.0, "DEC_OBJ": 45.0}
    write(tmp_path / "a.fits", {**header, "QUARTER": 6}, second)
    write(tmp_path / "b.fits", {**header, "QUARTER": 5}, first)
    write(tmp_path / "c.fits", {"OBJECT": "KIC 8", "QUARTER": 5}, {**first, "SAP_QUALITY": None})
    return tmp_path


def test_several_quarters_are_told_apart(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "stgraph"):
        data = read_light_curves(quarters(tmp_path))
    assert data.node_names == ["KIC 7 quarter 6", "KIC 7 quarter 5", "KIC 8"]
    assert data.metadata["star"].tolist() == ["KIC 7", "KIC 7", "KIC 8"]
    assert data.metadata["quarter"].tolist() == [6, 5, 5]
    assert data.length.tolist() == [5, 4, 4]
    assert "sky" not in data
    assert "sky positions are left out: 1 of 3 files have none" in caplog.text


def test_stitching_divides_by_the_medians(tmp_path):
    data = read_light_curves(quarters(tmp_path), stitch=True)
    assert data.node_names == ["KIC 7", "KIC 8"]
    assert data.length.tolist() == [9, 4]
    assert data.time[0].tolist() == [0, 1, 2, 4, 100, 101, 102, 103, 104]
    np.testing.assert_allclose(data.x[0, :, 0], [0.9, 1, 1.1, 1, 0.9, 1, 1.1, 1, 0.95], rtol=1e-6)
    np.testing.assert_allclose(data.x[1, :4, 0], [0.9, 1, 1.1, 1], rtol=1e-6)
    np.testing.assert_allclose(data.flux_error[0, :, 0], [0.1] * 4 + [0.01] * 5, rtol=1e-6)
    np.testing.assert_array_equal(data.metadata["teff"], [4500, np.nan])
    np.testing.assert_array_equal(data.metadata["quarter"], [np.nan, 5])


def test_stitching_counts_time_from_one_date(tmp_path):
    zero = {"SAP_QUALITY": None}
    write(tmp_path / "a.fits", {"OBJECT": "X"}, zero)
    write(tmp_path / "b.fits", {"OBJECT": "X"}, zero, BJDREFI=2454843, BJDREFF=0.0)
    data = read_light_curves(tmp_path, stitch=True)
    assert data.time.tolist() == [[1, 2, 5, 10.5, 11.5, 14.5]]
    assert data.metadata["bjd_reference"].tolist() == [2454833.5]


def test_a_median_that_cannot_be_divided_by(tmp_path):
    path = write(tmp_path / "a.fits", columns={"PDCSAP_FLUX": -FLUX, "PDCSAP_FLUX_ERR": None})
    with pytest.raises(InputError, match=r"a.fits: the median flux is -10\.0; stitch=True divides by it"):
        read_light_curves(path, stitch=True)


@pytest.mark.parametrize("bitmask", ["all", True, 1.5])
def test_wrong_bitmasks(tmp_path, bitmask):
    with pytest.raises(InputError, match="quality_bitmask must be 'default', 'none' or a whole number"):
        read_light_curves(write(tmp_path / "a.fits"), quality_bitmask=bitmask)


def test_files_without_light_curves(tmp_path):
    with pytest.raises(InputError, match="no table has a column TIME; there are SAP_FLUX"):
        read_light_curves(write(tmp_path / "a.fits", columns={"TIME": None}))
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(InputError, match="there are no tables"):
        read_light_curves(tmp_path / "image.fits")
    with pytest.raises(InputError, match="times must be in days, got TIMEUNIT 's'"):
        read_light_curves(write(tmp_path / "seconds.fits", TIMEUNIT="s"))
    nothing = {"PDCSAP_FLUX": np.full(5, np.nan)}
    with pytest.raises(InputError, match=r"1 of 1 \('KIC 7'\)"):
        read_light_curves(write(tmp_path / "nothing.fits", columns=nothing))


@pytest.mark.parametrize("name", ["a.fits", "a.fits.gz"])
def test_damaged_files(tmp_path, name):
    points = 3000
    generator = np.random.default_rng(0)
    columns = {"TIME": np.arange(float(points)), "SAP_QUALITY": np.zeros(points, dtype=int), "SAP_FLUX": None}
    columns["PDCSAP_FLUX"] = columns["PDCSAP_FLUX_ERR"] = generator.uniform(size=points)
    content = write(tmp_path / name, columns=columns).read_bytes()
    assert read_light_curves(tmp_path / name).length.item() == points
    for kept in (0, 50, 2000, len(content) // 2):
        (tmp_path / name).write_bytes(content[:kept])
        with pytest.raises(InputError, match=name):
            read_light_curves(tmp_path / name)
    (tmp_path / name).write_bytes(b"x" * 6000)
    with pytest.raises(InputError, match=name):
        read_light_curves(tmp_path / name)


def test_astropy_is_an_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "a.fits")
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(ImportError, match=r'pip install "stgraph-pyg\[astronomy\]"'):
        read_light_curves(path)


@needs_raw
def test_two_quarters_of_a_kepler_star_and_a_tess_star():
    data = read_light_curves(RAW, clip=None)
    assert data.node_names == ["KIC 10002792 quarter 2", "KIC 10002792 quarter 5", "TIC 358108509"]
    assert data.length[1].item() == 3968
    assert (data.time[1, 3967] - data.time[1, 0]).item() == pytest.approx(93.7, abs=0.05)
    assert data.length[2].item() == 20076 - 1975  # rows without flux or with a flag
    np.testing.assert_allclose(data.sky, [[287.86721, 46.98308]] * 2 + [[51.1119, -77.4515]])
    assert data.metadata["bjd_reference"].tolist() == [2454833, 2454833, 2457000]
    assert data.metadata["teff"].tolist() == [4524, 4524, 2824]
    table = fits.getdata(RAW / "kplr010002792-2010174085026_llc.fits", 1)
    good = np.isfinite(table["TIME"]) & np.isfinite(table["PDCSAP_FLUX"]) & (table["SAP_QUALITY"] == 0)
    np.testing.assert_array_equal(data.x[1, :3968, 0], table["PDCSAP_FLUX"][good])
    np.testing.assert_array_equal(data.time[1, :3968], table["TIME"][good])


@needs_raw
def test_a_stitched_kepler_star():
    files = sorted(RAW.glob("kplr*.fits"))
    data = read_light_curves(files, stitch=True, clip=None)
    assert data.node_names == ["KIC 10002792"]
    assert data.length.item() == 3968 + 3760
    gap = data.time[0].diff().argmax().item()
    assert gap == 3759
    for part in (data.x[0, : gap + 1], data.x[0, gap + 1 :]):
        assert np.median(part) == pytest.approx(1, abs=1e-6)
    assert "quarter" not in data.metadata
