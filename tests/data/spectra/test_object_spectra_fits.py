import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stgraph.data.spectra import LocalSpectra, read_object_spectra
from stgraph.errors import InputError, InputTypeError

fits = pytest.importorskip("astropy.io.fits")

FOLDER = Path(os.environ.get("STGRAPH_DATA", "."))
SDSS = FOLDER / "sdss_spectra"
DESI = FOLDER / "desi_coadds" / "desi_coadds.npz"
needs_sdss = pytest.mark.skipif(not SDSS.is_dir(), reason="needs sdss_spectra in the folder STGRAPH_DATA")
needs_desi = pytest.mark.skipif(not DESI.is_file(), reason="needs desi_coadds in the folder STGRAPH_DATA")

KINDS = {"f4": "E", "f8": "D", "i4": "J", "i8": "K"}
FLAGS = np.array([0, 1 << 4, 1 << 23, 0], dtype="i4")  # MANYBADCOLUMNS is of the fibre, BRIGHTSKY of the pixel
LOGLAM = np.array([3.6, 3.6001, 3.6002, 3.6003], dtype="f4")


def table(name, **columns):
    units = []
    for key, values in columns.items():
        array = np.asarray(values)
        kind = f"{array.dtype.itemsize // 4}A" if array.dtype.kind == "U" else KINDS[array.dtype.str[1:]]
        units.append(fits.Column(key, kind, array=array))
    return fits.BinTableHDU.from_columns(units, name=name)


def write_sdss(path, header=None, columns=None, **properties):
    primary = fits.PrimaryHDU()
    primary.header.update({"RA": 1.0, "DEC": 2.0} if header is None else header)
    columns = columns or {
        "flux": np.array([1.0, 2.0, 3.0, 4.0], "f4"),
        "loglam": LOGLAM,
        "ivar": np.array([4.0, 1.0, 1.0, 0.0], "f4"),
        "and_mask": FLAGS,
    }
    units = [primary, table("COADD", **columns)]
    if properties:
        units.append(table("SPECOBJ", **{name: np.array([value]) for name, value in properties.items()}))
    fits.HDUList(units).writeto(path)
    return path


PLATE = {"PLATEID": 266, "MJD": 51602, "FIBERID": 13, "PLUG_RA": 146.5, "PLUG_DEC": -0.5, "RA": 1.0, "DEC": 2.0}


def test_a_spectrum_of_sdss(tmp_path):
    path = write_sdss(tmp_path / "spec.fits", PLATE, Z=np.float32(0.25), ZWARNING=0, CLASS="QSO", TFILE="unused")
    data = read_object_spectra(path)
    assert data.node_names == ["0266-51602-0013"]
    assert data.sky.tolist() == [[146.5, -0.5]]
    assert data.redshift.tolist() == [0.25]
    assert {name: vector.tolist() for name, vector in data.metadata.items()} == {"class": ["QSO"], "zwarning": [0]}
    assert data.mask.flatten().tolist() == [True, True, False, False]
    assert data.flux_error.flatten().tolist() == [0.5, 1.0, 0.0, 0.0]
    np.testing.assert_array_equal(data.wavelength, 10.0 ** LOGLAM.astype(np.float64))


@pytest.mark.parametrize(
    ("bitmask", "good"),
    [("none", [True, True, True, False]), (16, [True, False, True, False]), (-1, [True] + [False] * 3)],
)
def test_bits_that_count_can_be_chosen(tmp_path, bitmask, good):
    path = write_sdss(tmp_path / "spec.fits")
    assert read_object_spectra(path, bitmask=bitmask).mask.flatten().tolist() == good


def test_names_and_positions_of_later_files_are_in_the_table(tmp_path):
    properties = {"PLATE": 10000, "MJD": 57346, "FIBERID": 7, "PLUG_RA": 3.5, "PLUG_DEC": 4.5, "Z": 0.5, "ZWARNING": 0}
    data = read_object_spectra(write_sdss(tmp_path / "spec.fits", **properties))
    assert data.node_names == ["10000-57346-0007"]
    assert data.sky.tolist() == [[3.5, 4.5]]


def test_a_spectrum_of_which_nothing_is_known_has_the_name_of_the_file(tmp_path):
    data = read_object_spectra(write_sdss(tmp_path / "spec-a.fits"))
    assert data.node_names == ["spec-a"]
    assert "sky" not in data  # RA and DEC of the header are those of the telescope
    assert "redshift" not in data


def test_other_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"holds no spectra.*COADD"):
        read_object_spectra(write_sdss(tmp_path / "a.fits", columns={"flux": np.ones(2)}))
    path = write_sdss(tmp_path / "b.fits")
    path.write_bytes(path.read_bytes()[:5800])
    with pytest.raises(InputError, match=r"b\.fits (is cut off|cannot be read)"):
        read_object_spectra(path)


def write_desi(path, arms, targets, shift=0.0):
    units = [fits.PrimaryHDU(), table("FIBERMAP", **targets)]
    for name, (wavelength, flux, ivar, mask) in arms.items():
        moved = wavelength + (shift if name == "R" else 0.0)
        for what, values in {"WAVELENGTH": moved, "FLUX": flux, "IVAR": ivar, "MASK": mask}.items():
            units.append(fits.ImageHDU(values, name=f"{name}_{what}"))
    fits.HDUList(units).writeto(path)
    return path


def small_arms():
    ones = np.ones((2, 3), "f4")
    blue = (3600 + 0.8 * np.arange(3), ones, ones.copy(), np.zeros((2, 3), "i4"))
    red = (3600 + 0.8 * np.arange(1, 4), 4 * ones, 2 * ones, np.array([[0, 0, 0], [8, 0, 0]], "i4"))
    return {"B": blue, "R": red}


TARGETS = {
    "TARGETID": np.array([39633297352951412, 39633297352951413]),
    "TARGET_RA": np.array([10.0, 20.0]),
    "TARGET_DEC": np.array([1.0, 2.0]),
    "COADD_FIBERSTATUS": np.array([0, 4], "i4"),
    "OBJTYPE": np.array(["TGT", "SKY"]),
}


def test_arms_of_desi_are_joined(tmp_path):
    path = write_desi(tmp_path / "coadd.fits", small_arms(), TARGETS)
    data = read_object_spectra(path)
    assert data.node_names == ["39633297352951412", "39633297352951413"]
    torch.testing.assert_close(data.x[..., 0], torch.tensor([[1.0, 3.0, 3.0, 4.0], [1.0, 1.0, 3.0, 4.0]]))
    torch.testing.assert_close(data.flux_error[0, :, 0], torch.tensor([1.0, 3.0, 3.0, 2.0]).rsqrt())
    np.testing.assert_allclose(data.wavelength, 3600 + 0.8 * np.arange(4))
    assert data.sky.tolist() == [[10.0, 1.0], [20.0, 2.0]]
    assert data.metadata["objtype"].tolist() == ["TGT", "SKY"]
    assert data.metadata["coadd_fiberstatus"].tolist() == [0, 4]
    everything = read_object_spectra(path, bitmask="none")
    torch.testing.assert_close(everything.x[1, :, 0], torch.tensor([1.0, 3.0, 3.0, 4.0]))
    assert LocalSpectra(tmp_path).fetch([39633297352951413]).x[0, :, 0].tolist() == data.x[1, :, 0].tolist()


def test_arms_on_other_grids_are_refused(tmp_path):
    path = write_desi(tmp_path / "coadd.fits", small_arms(), TARGETS, shift=0.4)
    with pytest.raises(InputError, match=r"coadd\.fits: arms B, R: .*resample_spectra"):
        read_object_spectra(path)


def test_negative_inverse_variance_of_desi_is_refused(tmp_path):
    arms = small_arms()
    arms["B"][2][1, 0] = -1
    with pytest.raises(InputError, match=r"coadd\.fits.*ivars\[0\].*not negative"):
        read_object_spectra(write_desi(tmp_path / "coadd.fits", arms, TARGETS))


def catalog_columns():
    return {
        "TARGETID": [5, 39633297352951413, 39633297352951412],
        "z": [9.0, 0.2, 0.1],
        "zwarn": [0, 4, 0],
        "spectype": ["STAR", "QSO", "GALAXY"],
        "mean_fiber_ra": [0.0, 21.0, 11.0],
        "mean_fiber_dec": [0.0, 2.5, 1.5],
    }


@pytest.mark.parametrize("kind", ["frame", "csv", "fits"])
def test_catalogues_are_joined_by_the_identifier(tmp_path, kind, caplog):
    caplog.set_level("INFO", logger="stgraph")
    catalog = pd.DataFrame(catalog_columns())
    if kind == "csv":
        catalog.to_csv(tmp_path / "zpix.csv", index=False)
        catalog = tmp_path / "zpix.csv"
    elif kind == "fits":
        columns = {name: np.array(values) for name, values in catalog_columns().items()}
        fits.HDUList([fits.PrimaryHDU(), table("ZCATALOG", **columns)]).writeto(tmp_path / "zpix.fits")
        catalog = tmp_path / "zpix.fits"
    data = read_object_spectra(write_desi(tmp_path / "coadd.fits", small_arms(), TARGETS), catalog=catalog)
    assert data.redshift.tolist() == [0.1, 0.2]
    assert data.sky.tolist() == [[11.0, 1.5], [21.0, 2.5]]
    assert data.pos.shape == (2, 3)
    assert data.metadata["spectype"].tolist() == ["GALAXY", "QSO"]
    assert data.metadata["zwarn"].tolist() == [0, 4]
    assert data.metadata["objtype"].tolist() == ["TGT", "SKY"]
    assert "1 of 3 rows are of objects without a spectrum" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"TARGETID": [5, 6, 39633297352951412]}, "no row for 1 spectrum: '39633297352951413'"),
        ({"TARGETID": [39633297352951413, 39633297352951413, 39633297352951412]}, "several rows for 1 spectrum"),
        ({"TARGETID": [5.0, 6.0, 7.0]}, "floats lose digits"),
        ({"z": ["a", "b", "c"]}, "redshift must hold real numbers"),
        ({"z": [0.1, -1.5, 0.1]}, "above -1"),
    ],
)
def test_bad_catalogues_are_refused(tmp_path, changes, message):
    path = write_desi(tmp_path / "coadd.fits", small_arms(), TARGETS)
    with pytest.raises((InputError, InputTypeError), match=message):
        read_object_spectra(path, catalog=pd.DataFrame(catalog_columns() | changes))


def test_positions_that_are_not_all_known_do_not_replace_others(tmp_path, caplog):
    path = write_desi(tmp_path / "coadd.fits", small_arms(), TARGETS)
    catalog = pd.DataFrame(catalog_columns() | {"mean_fiber_ra": [0.0, np.nan, 11.0]})
    with caplog.at_level("WARNING", logger="stgraph"):
        data = read_object_spectra(path, catalog=catalog)
    assert data.sky.tolist() == [[10.0, 1.0], [20.0, 2.0]]
    assert "mean_fiber_ra and mean_fiber_dec are not known for all objects" in caplog.text


def test_what_is_no_catalogue(tmp_path):
    path = write_desi(tmp_path / "coadd.fits", small_arms(), TARGETS)
    with pytest.raises(InputError, match="no column targetid; there are z"):
        read_object_spectra(path, catalog=pd.DataFrame({"z": [1.0]}))
    with pytest.raises(InputTypeError, match="catalog must be a file or a pandas DataFrame"):
        read_object_spectra(path, catalog=3)
    with pytest.raises(InputError, match="no table with a column targetid"):
        read_object_spectra(path, catalog=write_sdss(tmp_path / "spec.fits"))


@needs_sdss
def test_real_spectra_of_sdss():
    data = read_object_spectra(SDSS)
    assert data.node_names == ["0266-51602-0013", "0266-51602-0107", "0332-52367-0639"]
    assert data.redshift.numpy() == pytest.approx([0.1213, 0.1231, 0.1006], abs=1e-4)
    assert data.metadata["class"].tolist() == ["GALAXY", "GALAXY", "QSO"]
    assert data.x.shape == (3, 3849, 1)
    assert bool((data.wavelength.diff(dim=1) > 0).all())
    assert not data.no_data.any()
    plain = read_object_spectra(SDSS, bitmask="none")
    assert plain.mask.sum(dim=(1, 2)).tolist() == [3838 - 0, 3849 - 2, 3810 - 22]
    assert bool((data.mask.sum(dim=(1, 2)) > 3700).all())  # flags of the whole fibre do not count
    quasar = LocalSpectra(SDSS).fetch(["0332-52367-0639", "0266-51602-0013"])
    assert quasar.metadata["class"].tolist() == ["QSO", "GALAXY"]
    assert torch.equal(quasar.x[0, :3810], data.x[2, :3810])


@needs_desi
def test_fibres_of_desi_without_data_are_kept(tmp_path):
    raw = np.load(DESI)
    for sample in ("cumulative", "sv3"):
        arms = {arm: [raw[f"{sample}_{arm}_{what}"] for what in ("wave", "flux", "ivar", "mask")] for arm in "BRZ"}
        position = raw[f"{sample}_radec"]
        targets = {
            "TARGETID": raw[f"{sample}_targetid"],
            "MEAN_FIBER_RA": position[:, 0],
            "MEAN_FIBER_DEC": position[:, 1],
        }
        write_desi(tmp_path / f"coadd-{sample}.fits", arms, targets)
    data = read_object_spectra(tmp_path)
    assert data.x.shape == (10, 7781, 1)
    assert data.wavelength.shape == (7781,)
    np.testing.assert_allclose(data.wavelength, 3600 + 0.8 * np.arange(7781), rtol=1e-9)
    assert data.no_data.sum() == 7
    assert torch.equal(data.no_data.logical_not().nonzero().flatten(), torch.tensor([4, 7, 9]))
    assert data.node_names[4] == str(raw["cumulative_targetid"][4])
    assert data.sky[4].tolist() == raw["cumulative_radec"][4].tolist()
    overlap = data.flux_error[9, 2700:2751, 0].double()
    weights = raw["sv3_B_ivar"][4, 2700:] + raw["sv3_R_ivar"][4, :51].astype(np.float64)
    good = data.mask[9, 2700:2751, 0]
    np.testing.assert_allclose(overlap[good], 1 / np.sqrt(weights[good.numpy()]), rtol=1e-5)
