import os
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from stgraph.data.light_curves import from_light_curves, from_lightkurve, read_light_curves, write_light_curves
from stgraph.errors import InputError, InputTypeError

HOSTS = Path(os.environ.get("STGRAPH_DATA", ".")) / "kepler_planet_hosts" / "kepler_planet_hosts.npz"
FRAME = pd.DataFrame(
    {
        "id": ["KIC 2", "KIC 1", "KIC 2", "KIC 1", "KIC 2"],
        "time": [0.0, 0.5, 1.0, 1.5, 2.5],
        "flux": [1.0, 10.0, 2.0, 20.0, 3.0],
        "flux_err": [0.1, 1.0, 0.2, 2.0, 0.3],
        "ra": [359.0, 1.0, 359.0, 1.0, 359.0],
        "dec": [5.0, 6.0, 5.0, 6.0, 5.0],
        "quality": [0, 0, 0, 0, 4],
    }
)


@pytest.mark.parametrize("name", ["curves.csv", "curves.csv.gz", "curves.parquet"])
def test_long_tables(tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        FRAME.to_parquet(tmp_path / name)
    else:
        FRAME.to_csv(tmp_path / name, index=False)
    data = read_light_curves(tmp_path / name)
    assert data.node_names == ["KIC 2", "KIC 1"]
    assert data.x[:, :, 0].tolist() == [[1, 2], [10, 20]]
    assert data.time.tolist() == [[0, 1], [0.5, 1.5]]
    assert data.flux_error[1, :, 0].tolist() == [1, 2]
    assert data.sky.tolist() == [[359, 5], [1, 6]]


def test_columns_by_name(tmp_path):
    path = tmp_path / "curves.csv"
    frame = FRAME.rename(columns={"id": "star", "time": "bjd", "flux": "mag", "flux_err": "e_mag"})
    frame.assign(star=[2, 1, 2, 1, 2]).drop(columns=["quality", "ra"]).to_csv(path, index=False)
    names = {"id_column": "star", "time_column": "bjd", "flux_column": "mag"}
    data = read_light_curves(path, **names)
    assert data.node_names == ["2", "1"]
    assert "flux_error" not in data
    assert "sky" not in data
    assert data.length.tolist() == [3, 2]
    assert read_light_curves(path, **names, error_column="e_mag").flux_error[1, 1].item() == 2
    with pytest.raises(InputError, match=r"has no column 'id'; there are star, bjd, mag, e_mag, dec.*id_column"):
        read_light_curves(path)
    with pytest.raises(InputError, match="no column 'sigma'"):
        read_light_curves(path, **names, error_column="sigma")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("id,time,flux\n", "has no rows"),
        ("id,time,flux\n,0.0,1.0\n", "id is missing in row 0"),
        ("id,time,flux\na,0.0,1.0\na,1.0\n", "is cut off"),
        ("id,time,flux\na,1.0,1.0\na,0.0,1.0\n", "curve 'a' .* has 0.0 at position 1"),
    ],
)
def test_wrong_tables(tmp_path, text, message):
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_light_curves(tmp_path / "curves.csv")


def test_tables_without_numbers(tmp_path):
    (tmp_path / "curves.csv").write_text("id,time,flux\na,2020-01-01,1.0\n")
    with pytest.raises(InputTypeError, match="column 'time' must hold numbers"):
        read_light_curves(tmp_path / "curves.csv")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    (tmp_path / "curves.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "stgraph-pyg\[parquet\]"'):
        read_light_curves(tmp_path / "curves.parquet")


def test_archives(tmp_path):
    np.savez(tmp_path / "padded.npz", flux=[[1.0, 2.0], [3.0, 0.0]], time=[[0.0, 1.0], [2.0, 0.0]], targetid=["a", "b"])
    data = read_light_curves(tmp_path / "padded.npz")
    assert data.length.tolist() == [2, 1]
    assert data.node_names == ["a", "b"]
    np.savez(tmp_path / "ragged.npz", b_flux=[1.0, 2.0], b_time=[0.0, 1.0], a_flux=[3.0], a_time=[2.0], note=[0])
    data = read_light_curves(tmp_path / "ragged.npz")
    assert data.node_names == ["b", "a"]
    assert data.x[:, :, 0].tolist() == [[1, 2], [3, 0]]
    np.savez(tmp_path / "half.npz", a_flux=[3.0])
    with pytest.raises(InputError, match="has a_flux, but no a_time"):
        read_light_curves(tmp_path / "half.npz")
    np.savez(tmp_path / "other.npz", speed=[3.0])
    with pytest.raises(InputError, match="no flux and no time; there are speed"):
        read_light_curves(tmp_path / "other.npz")


def test_pickles_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    objects = np.empty(1, dtype=object)
    objects[0] = Trap()
    np.savez(tmp_path / "curves.npz", flux=objects, time=objects)
    (tmp_path / "curves.pkl").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError, match="allow_pickle=False"):
        read_light_curves(tmp_path / "curves.npz")
    with pytest.raises(InputError, match="pickled files are never read"):
        read_light_curves(tmp_path / "curves.pkl")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["curves.npz", "curves.parquet", "curves.csv.gz"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        FRAME.to_parquet(path)
    elif name.endswith("npz"):
        np.savez_compressed(path, flux=np.ones((2, 500)), time=np.ones((2, 500)))
    else:
        FRAME.to_csv(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="cannot be read"):
        read_light_curves(path)


def test_several_files_and_folders(tmp_path):
    FRAME.drop(columns="flux_err").to_csv(tmp_path / "b.csv", index=False)
    np.savez(tmp_path / "c.npz", flux=[[7.0, 8.0]], time=[[0.0, 1.0]], flux_err=[[0.1, 0.2]])
    curves = from_light_curves([[4.0]], [[5.0]], names=["KIC 9"], metadata={"teff": [4000.0], "class": ["drw"]})
    write_light_curves(tmp_path / "a.h5", curves)
    (tmp_path / "README.txt").write_text("no light curves")
    names = ["KIC 9", "KIC 2", "KIC 1", f"{tmp_path / 'c.npz'}:0"]
    for path in (tmp_path, [tmp_path / "a.h5", str(tmp_path / "b.csv"), tmp_path / "c.npz"]):
        data = read_light_curves(path)
        assert data.node_names == names
        assert data.length.tolist() == [1, 2, 2, 2]
        assert data.x[:, 0, 0].tolist() == [5, 1, 10, 7]
        np.testing.assert_array_equal(data.metadata["teff"], [4000, np.nan, np.nan, np.nan])
        assert data.metadata["class"].tolist() == ["drw", "", "", ""]
        assert "flux_error" not in data  # not all files have errors
        assert "sky" not in data


def test_options_of_other_kinds_of_files(tmp_path):
    FRAME.to_csv(tmp_path / "curves.csv", index=False)
    np.savez(tmp_path / "curves.npz", flux=[[7.0]], time=[[0.0]])
    for option in ({"stitch": True}, {"quality_bitmask": "none"}):
        with pytest.raises(InputError, match="is for fits files"):
            read_light_curves(tmp_path / "curves.csv", **option)
    for option in ({"flux_column": "a"}, {"id_column": "a"}, {"time_column": "a"}, {"error_column": "a"}):
        with pytest.raises(InputError, match=f"{next(iter(option))} is for"):
            read_light_curves(tmp_path / "curves.npz", **option)
    with pytest.raises(TypeError, match="unknown"):
        read_light_curves(tmp_path / "curves.npz", unknown=1)


def test_paths_that_hold_nothing(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_light_curves(tmp_path / "curves.h5")
    with pytest.raises(FileNotFoundError):
        read_light_curves([tmp_path / "curves.h5"])
    with pytest.raises(InputError, match="holds no light curves"):
        read_light_curves(tmp_path)
    with pytest.raises(InputError, match="at least one file"):
        read_light_curves([])
    (tmp_path / "curves.txt").write_text("")
    with pytest.raises(InputError, match="unknown kind"):
        read_light_curves(tmp_path / "curves.txt")


def fake(time, flux, **attributes):
    return SimpleNamespace(time=SimpleNamespace(value=np.asarray(time)), flux=flux, **attributes)


def test_objects_of_lightkurve():
    first = fake(
        [1.0, 2.0, 3.0],
        SimpleNamespace(value=np.ma.masked_array([5.0, 6.0, 7.0], mask=[False, True, False])),
        flux_err=SimpleNamespace(value=np.full(3, 0.5)),
        quality=np.array([0, 0, 128]),
        meta={"OBJECT": "TIC 1", "SECTOR": 1, "RA_OBJ": 10.0, "DEC_OBJ": 20.0, "TEFF": 4000, "RADIUS": None},
    )
    second = fake(
        [4.0, 5.0],
        np.array([8.0, 9.0]),
        flux_err=np.full(2, 0.25),
        meta={"OBJECT": "TIC 1", "SECTOR": 2, "RA_OBJ": 10.0, "DEC_OBJ": 20.0},
    )
    data = from_lightkurve([first, second])
    assert data.node_names == ["TIC 1 sector 1", "TIC 1 sector 2"]
    assert data.metadata["star"].tolist() == ["TIC 1", "TIC 1"]
    assert data.metadata["sector"].tolist() == [1, 2]
    np.testing.assert_array_equal(data.metadata["teff"], [4000, np.nan])
    assert "radius" not in data.metadata
    assert data.x[:, :, 0].tolist() == [[5, 0], [8, 9]]
    assert data.flux_error[1, :, 0].tolist() == [0.25, 0.25]
    assert data.sky.tolist() == [[10, 20], [10, 20]]
    assert from_lightkurve(first, quality=None).length.item() == 2


def test_objects_of_lightkurve_that_know_little():
    curve = fake([1.0, 2.0], np.array([5.0, 6.0]), flux_err=np.full(2, np.nan), label="my star")
    data = from_lightkurve(curve)
    assert data.node_names == ["my star"]
    assert "flux_error" not in data
    assert "sky" not in data
    with pytest.raises(InputError, match="at least one"):
        from_lightkurve([])
    with pytest.raises(InputTypeError, match=r"curves\[0\]"):
        from_lightkurve([3])
    with pytest.raises(InputTypeError, match="must be numbers"):
        from_lightkurve(fake(["2020-01-01"], np.array([1.0])))


@pytest.mark.skipif(not HOSTS.is_file(), reason="needs kepler_planet_hosts in the folder STGRAPH_DATA")
def test_four_planet_hosts_of_kepler():
    data = read_light_curves(HOSTS, clip=None)
    assert data.node_names == ["Kepler1871056", "Kepler3447722", "Kepler4139816", "Kepler10965588"]
    assert data.length.tolist() == [64424, 64432, 64438, 51405]
    time = data.time[3, :51405]
    assert time.diff().max().item() == pytest.approx(89.0, abs=0.1)
    assert bool((data.time.diff(dim=1) > 0).all())
    assert (data.time[3, 51405] - time[-1]).item() == pytest.approx(0.02043, abs=1e-5)
    # The deepest transits, up to 12.8 standard deviations, are outliers by default.
    lost = data.length - read_light_curves(HOSTS).length
    assert bool((lost > 0).all())
    assert bool((lost < 30).all())
