import json
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch_geometric.data import Data

from stgraph.data.spectra import LocalSpectra, from_spectra, read_object_spectra, write_object_spectra
from stgraph.errors import InputError, InputTypeError

EPOCHS = Path(os.environ.get("STGRAPH_DATA", ".")) / "sdss_rm017_epochs" / "sdss_rm017_epochs.npz"
IDS = np.array([39633297352951412, 39633297352951413, -1695072])  # the first two are the same float

FAILS = {"h5": "create_dataset", "npz": "savez", "csv": "to_csv"}


def example(own_grids=False):
    random = np.random.default_rng(0)
    wavelength = 3600 + 0.8 * np.arange(6)
    ivar = random.uniform(0, 5, (3, 6)) * (random.random((3, 6)) > 0.3)
    ivar[2] = 0
    data = from_spectra(
        wavelength + np.arange(3)[:, None] / 3 if own_grids else wavelength,
        random.normal(size=(3, 6)),
        ivar=ivar,
        names=IDS,
        sky=[[10.1, -5.3], [359.9, 89.0], [0.0, 0.0]],
        redshift=[0.1, np.nan, 1 / 3],
        metadata={"spectype": ["GALAXY", "", "QSO"], "zwarn": [0, 4, 0], "snr": [1 / 3, np.nan, 2.0]},
    )
    data.anomaly_mask = data.x > 0.5
    data.anomalous = data.anomaly_mask.any(dim=1).flatten()
    return data


def assert_same(one: Data, other: Data):
    assert set(one.keys()) == set(other.keys())
    for name in one.keys():  # noqa: SIM118 - not a dictionary
        if isinstance(one[name], torch.Tensor):
            assert one[name].dtype == other[name].dtype, name
            assert torch.equal(one[name].nan_to_num(-9), other[name].nan_to_num(-9)), name
        elif name == "metadata":
            assert set(one[name]) == set(other[name])
            for key, vector in one[name].items():
                np.testing.assert_array_equal(vector, other[name][key])
                assert vector.dtype.kind == other[name][key].dtype.kind
        else:
            assert one[name] == other[name]


@pytest.mark.parametrize("own_grids", [False, True])
@pytest.mark.parametrize("ending", ["h5", "npz", "csv"])
def test_what_was_written_is_read_back(tmp_path, ending, own_grids):
    data = example(own_grids)
    if ending != "csv":
        data.edge_index, data.edge_weight = torch.tensor([[0, 1], [1, 2]]), torch.tensor([0.5, 2.0])
    path = tmp_path / f"spectra.{ending}"
    write_object_spectra(path, data)
    assert_same(read_object_spectra(path), data)
    write_object_spectra(path, data)  # in place of the older file
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", ["h5", "npz", "csv"])
def test_the_frame_of_the_wavelengths_is_kept(tmp_path, ending):
    data = example()
    write_arrays(tmp_path / "other.npz", **arrays(targetid=np.array([1, 2])))
    data.frame = "rest"
    path = tmp_path / f"spectra.{ending}"
    write_object_spectra(path, data)
    assert_same(read_object_spectra(path), data)
    assert LocalSpectra(tmp_path).fetch(IDS[:2]).frame == "rest"
    with pytest.raises(InputError, match="the same frame"):
        read_object_spectra([path, tmp_path / "other.npz"])


@pytest.mark.parametrize("ending", ["h5", "npz", "csv"])
def test_an_older_file_stays_if_writing_fails(tmp_path, ending, monkeypatch):
    path = tmp_path / f"spectra.{ending}"
    path.write_bytes(b"older")

    def fail(*_, **__):
        raise OSError("the disk is full")

    monkeypatch.setattr({"h5": h5py.Group, "npz": np, "csv": pd.DataFrame}[ending], FAILS[ending], fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_object_spectra(path, example())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"older"


@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_the_least_of_a_graph_is_read_back(tmp_path, ending):
    data = Data(x=torch.rand(2, 3, 1), wavelength=torch.arange(1.0, 4.0, dtype=torch.float64))
    data.edge_index = torch.empty((2, 0), dtype=torch.int64)
    write_object_spectra(tmp_path / f"a.{ending}", data)
    assert_same(read_object_spectra(tmp_path / f"a.{ending}"), data)


def test_what_a_file_cannot_hold_is_named(tmp_path, caplog):
    caplog.set_level("WARNING", logger="stgraph")
    data = example()
    data.edge_index, data.score = torch.tensor([[0], [1]]), torch.zeros(3)
    write_object_spectra(tmp_path / "a.csv", data)
    assert "score" in caplog.text
    assert "edge_index" in caplog.text
    with pytest.raises(InputError, match=r"written to \.h5.*got .*a\.txt"):
        write_object_spectra(tmp_path / "a.txt", data)
    for ending in ("npz", "h5"):
        with pytest.raises(InputError, match="no folder"):
            write_object_spectra(tmp_path / "none" / f"a.{ending}", data)
    with pytest.raises(InputError, match="a wavelength"):
        write_object_spectra(tmp_path / "a.h5", Data(x=torch.zeros(2, 3, 1)))
    data.metadata = {"flux": np.zeros(3)}
    with pytest.raises(InputError, match="cannot have the name 'flux'"):
        write_object_spectra(tmp_path / "a.csv", data)


def arrays(**changes):
    found = {
        "flux": np.array([[1.0, 2.0, 3.0], [4.0, np.nan, 6.0]], dtype=np.float32),
        "wavelength": np.array([4000.0, 4001.0, 4002.0]),
        "ivar": np.array([[1.0, 4.0, 0.0], [1.0, 1.0, 1.0]]),
        "targetid": IDS[:2],
        "ra": np.array([1.0, 2.0]),
        "dec": np.array([3.0, 4.0]),
        "z": np.array([0.1, 0.2]),
        "zwarn": np.array([0, 4]),
        **changes,
    }
    return {name: values for name, values in found.items() if values is not None}


def write_arrays(path, **found):
    if path.suffix == ".npz":
        np.savez(path, **found)
    else:
        with h5py.File(path, "w") as file:
            for name, values in found.items():
                file[name] = values
    return path


@pytest.mark.parametrize("ending", ["h5", "npz"])
def test_arrays_of_others(tmp_path, ending):
    data = read_object_spectra(write_arrays(tmp_path / f"a.{ending}", **arrays()))
    assert data.node_names == ["39633297352951412", "39633297352951413"]
    assert data.mask[..., 0].tolist() == [[True, True, False], [True, False, True]]
    assert data.flux_error[0, :, 0].tolist() == [1.0, 0.5, 0.0]
    assert data.sky.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert data.redshift.tolist() == [0.1, 0.2]
    assert data.wavelength.shape == (3,)
    assert data.metadata["zwarn"].tolist() == [0, 4]
    masked = arrays(ivar=None, error=np.ones((2, 3)), mask=np.array([[1, 0, 1], [1, 1, 1]]))
    data = read_object_spectra(write_arrays(tmp_path / f"b.{ending}", **masked))
    assert data.mask[..., 0].tolist() == [[True, False, True], [True, False, True]]


@pytest.mark.parametrize("ending", ["h5", "npz"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flux": None}, "has no flux; there are .*ivar"),
        ({"wavelength": None, "flux": None}, "no flux and no wavelength"),
        ({"wavelength": np.arange(1.0, 3.0)}, "vector of 2 points"),
        ({"ivar": -np.ones((2, 3))}, "ivar must not be negative, but is in 2 spectra: '39633297352951412'"),
        ({"mask": np.ones((2, 2))}, "mask must have the shape"),
        ({"flux": np.ones(3)}, "flux must have the shape"),
        ({"z": np.ones(3)}, "z must have the shape"),
        ({"targetid": np.array([7, 7])}, "distinct, but '7'"),
        ({"targetid": IDS[:2].astype(float)}, "floats lose digits"),
    ],
)
def test_bad_arrays_name_the_file(tmp_path, ending, changes, message):
    path = write_arrays(tmp_path / f"a.{ending}", **arrays(**changes))
    with pytest.raises((InputError, InputTypeError), match=message) as caught:
        read_object_spectra(path)
    assert str(path) in str(caught.value)


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", flux=np.array([[1.0]]), wavelength=np.array([object()]))
    with pytest.raises(InputError, match=r"a\.npz cannot be read"):
        read_object_spectra(tmp_path / "a.npz")
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(InputError, match="pickled files are never read"):
        read_object_spectra(tmp_path / "a.pkl")


@pytest.mark.parametrize("ending", ["h5", "npz", "fits"])
def test_damaged_files_are_named(tmp_path, ending):
    if ending == "fits":
        pytest.importorskip("astropy")
    path = tmp_path / f"a.{ending}"
    path.write_bytes(b"not a file of this kind")
    with pytest.raises(InputError, match="cannot be read"):
        read_object_spectra(path)


def write_table(path, rows, header="targetid,z,mean_fiber_ra,mean_fiber_dec,spectype,flux,wavelength,ivar"):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def cells(*values):
    return ",".join(f'"{json.dumps(value)}"' for value in values)


def test_tables_keep_long_identifiers_and_own_grids(tmp_path):
    rows = [
        f"{IDS[0]},0.5,1.5,2.5,GALAXY,{cells([1.0, None, 3.0], [5.0, 6.0, 7.0], [1, 1, 0])}",
        f"{IDS[1]},,1.0,2.0,NA,{cells([4.0], [5.5], [4])}",
    ]
    data = read_object_spectra(write_table(tmp_path / "a.csv", rows))
    assert data.node_names == [str(number) for number in IDS[:2]]
    assert data.redshift[0] == 0.5
    assert data.redshift[1].isnan()
    assert data.sky.tolist() == [[1.5, 2.5], [1.0, 2.0]]
    assert list(data.metadata) == ["spectype"]
    assert data.metadata["spectype"].tolist() == ["GALAXY", "NA"]
    assert data.mask[..., 0].tolist() == [[True, False, False], [True, False, False]]
    assert data.wavelength.tolist() == [[5.0, 6.0, 7.0], [5.5, 6.5, 7.5]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('1,0.1,1,2,Q,"[1, 2","[1, 2]","[1, 1]"', "flux in row 0 is no JSON array"),
        ('1,0.1,1,2,Q,5,"[1, 2]","[1, 1]"', "flux in row 0 is no JSON array of numbers, got '5'"),
        ('1,0.1,1,2,Q,"[[1, 2]]","[1, 2]","[1, 1]"', "flux in row 0 is no JSON array"),
        ('1,0.1,1,2,Q,"[1, 2]","[1, 2]","[1]"', "has 1 points in ivar"),
        ('1,0.1,1,2,Q,"[1, 2]"', "wavelength in row 0 is no JSON array"),
        ('1,0.1,1,2,Q,"[1, 2]","[1, 2', "cannot be read"),
    ],
)
def test_bad_tables_are_refused(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        read_object_spectra(write_table(tmp_path / "a.csv", [row]))


def test_tables_without_fluxes_list_their_columns(tmp_path):
    with pytest.raises(InputError, match=r"no column flux and wavelength|no column flux and no wavelength"):
        read_object_spectra(write_table(tmp_path / "a.csv", ["1,2"], "targetid,z"))
    with pytest.raises(InputError, match="no rows"):
        read_object_spectra(write_table(tmp_path / "b.csv", []))


def test_several_files_of_different_kinds_are_joined(tmp_path, caplog):
    write_arrays(tmp_path / "a.npz", **arrays())
    other = arrays(targetid=np.array(["x", "y"]).astype("S1"), ivar=None, error=np.array([[2.0] * 3] * 2), ra=None)
    write_arrays(tmp_path / "b.h5", **other, teff=np.array([1.0, 2.0]))
    data = read_object_spectra(tmp_path)
    assert data.node_names == [str(IDS[0]), str(IDS[1]), "x", "y"]
    assert data.wavelength.shape == (3,)
    assert data.flux_error[:, 0, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
    assert "sky" not in data
    assert "sky positions are left out: 1 of 2 files" in caplog.text
    np.testing.assert_array_equal(data.metadata["teff"], [np.nan, np.nan, 1.0, 2.0])
    with pytest.raises(InputError, match="more than once"):
        read_object_spectra([tmp_path / "a.npz", tmp_path / "a.npz"])


def test_labels_survive_joining(tmp_path):
    data = example()
    write_object_spectra(tmp_path / "a.npz", data)
    write_arrays(tmp_path / "b.npz", **arrays(targetid=np.array([1, 2])))
    joined = read_object_spectra([tmp_path / "a.npz", tmp_path / "b.npz"])
    assert torch.equal(joined.anomaly_mask[:3], data.anomaly_mask)
    assert not joined.anomaly_mask[3:].any()
    assert joined.anomalous.tolist() == [*data.anomalous.tolist(), False, False]


def test_places_without_spectra(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_object_spectra(tmp_path / "none.h5")
    with pytest.raises(InputError, match="holds no spectra"):
        read_object_spectra(tmp_path)
    with pytest.raises(InputError, match="empty list"):
        read_object_spectra([])
    with pytest.raises(InputError, match="bitmask must be"):
        read_object_spectra(tmp_path, bitmask="hard")


def test_fetching_from_a_folder(tmp_path):
    data = example()
    write_object_spectra(tmp_path / "a.h5", data)
    other = arrays(targetid=np.array([17, 18]))
    write_arrays(tmp_path / "b.npz", **other)
    write_table(tmp_path / "c.csv", [f"99,0.5,1.5,2.5,GALAXY,{cells([1.0, 2.0], [5.0, 6.0], [1, 1])}"])
    write_table(tmp_path / "catalogue.csv", ["17,0.5"], "targetid,z")
    source = LocalSpectra(tmp_path)
    found = source.fetch([18, str(IDS[1]), 99, IDS[0]])
    assert found.node_names == ["18", str(IDS[1]), "99", str(IDS[0])]
    torch.testing.assert_close(found.x[1, :6], data.x[1], rtol=0, atol=0)
    assert found.x[0, 0, 0] == 4.0
    assert found.x[2, :2, 0].tolist() == [1.0, 2.0]
    assert found.redshift[[0, 2]].tolist() == [0.2, 0.5]
    assert found.metadata["zwarn"][1] == 4
    with pytest.raises(InputError, match="no spectrum of 2 spectra: '5', '6'"):
        source.fetch([17, 5, 6])
    with pytest.raises(InputError, match="each once"):
        source.fetch([17, 17])
    with pytest.raises(InputTypeError, match="floats lose digits"):
        source.fetch([17.0])
    with pytest.raises(InputError, match="must be a folder"):
        LocalSpectra(tmp_path / "a.h5")
    write_arrays(tmp_path / "d.npz", **other)
    with pytest.raises(InputError, match="several spectra of 1 spectrum: '17'"):
        LocalSpectra(tmp_path).fetch([17])


def test_long_numbers_of_a_table_keep_their_digits(tmp_path):
    header = "targetid,flux,wavelength,objid,other,label,anomalous"
    rows = [
        f"1,{cells([1.0], [2.0])},12376487041920000001,12376487041920000001,007,maybe",
        f"2,{cells([1.0], [2.0])},12376487041920000002,,8,no",
    ]
    data = read_object_spectra(write_table(tmp_path / "a.csv", rows, header))
    assert data.metadata["objid"].tolist() == ["12376487041920000001", "12376487041920000002"]
    assert data.metadata["other"].tolist() == ["12376487041920000001", ""]
    assert data.metadata["label"].tolist() == ["007", "8"]
    assert data.metadata["anomalous"].tolist() == ["maybe", "no"]


@pytest.mark.skipif(not EPOCHS.is_file(), reason="needs sdss_rm017_epochs in the folder STGRAPH_DATA")
def test_epochs_of_a_quasar():
    raw = np.load(EPOCHS)
    plain = read_object_spectra(EPOCHS, bitmask="none")
    good = (raw["ivar"] > 0) & np.isfinite(raw["flux"])
    np.testing.assert_array_equal(plain.mask[..., 0].numpy(), good)
    np.testing.assert_allclose(plain.wavelength, 10.0 ** raw["loglam"], rtol=1e-12)
    assert plain.x.isfinite().all()
    assert not plain.no_data.any()
    np.testing.assert_array_equal(plain.metadata["mjd"], raw["mjd"])
    flagged = read_object_spectra(EPOCHS)
    assert (flagged.mask <= plain.mask).all()
    assert 0.9 < flagged.mask.float().mean() < plain.mask.float().mean()
