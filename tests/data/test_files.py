import os
import sys

import numpy as np
import pytest
import torch

from stgraph.data import from_file, read_coords, to_array, to_datetime64
from stgraph.errors import InputError, InputTypeError

VALUES = np.random.default_rng(0).normal(size=(6, 3, 2)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "values.npy", VALUES)
    return tmp_path


def test_npy(folder):
    data = from_file(folder / "values.npy", coords=np.eye(3), channel_names=["u", "v"])
    np.testing.assert_array_equal(to_array(data), VALUES)
    assert data.channel_names == ["u", "v"]


def test_npy_stays_on_disk_and_is_not_written_to(folder):
    data = from_file(folder / "values.npy", coords=np.eye(3), mmap=True)
    np.testing.assert_array_equal(to_array(data), VALUES)
    data.x.fill_(0)
    np.testing.assert_array_equal(np.load(folder / "values.npy"), VALUES)


def test_a_map_is_not_read_into_memory(folder, monkeypatch):
    maps = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *args, **options: maps.append(load(*args, **options)) or maps[-1])
    data = from_file(folder / "values.npy", coords=np.eye(3), mmap=True)
    assert isinstance(maps[0], np.memmap)
    assert data.x.data_ptr() == maps[0].ctypes.data


def test_npz_of_our_own(tmp_path):
    path = tmp_path / "own.npz"
    time = np.datetime64("2020-01-01") + np.arange(6)
    np.savez(
        path,
        values=VALUES,
        time=time,
        coords=np.eye(3),
        station=list("abc"),
        channels=["u", "v"],
        covariates=np.arange(6),
    )
    data = from_file(path)
    np.testing.assert_array_equal(to_array(data), VALUES)
    np.testing.assert_array_equal(to_datetime64(data.time), time.astype("datetime64[ns]"))
    assert data.node_names == list("abc")
    assert data.channel_names == ["u", "v"]
    assert data.covariates.shape == (6, 1)
    assert from_file(path, coords=np.zeros((3, 1)), node_names=list("xyz")).node_names == list("xyz")


def test_npz_of_a_grid(tmp_path):
    grid = VALUES[..., None]
    np.savez(
        tmp_path / "a.npz",
        values=grid,
        latitude=[3.0, 2.0, 1.0],
        longitude=[5.0, 6.0],
        mask=np.arange(36).reshape(grid.shape) > 0,
    )
    data = from_file(tmp_path / "a.npz")
    assert data.grid == (3, 2)
    assert data.pos[1].tolist() == [6, 3]
    assert data.mask.sum() == 35
    np.savez(tmp_path / "b.npz", values=VALUES.reshape(6, 6), grid=[3, 2])
    assert from_file(tmp_path / "b.npz").grid == (3, 2)


def test_npz_of_the_pems_benchmarks(tmp_path):
    flow = np.random.default_rng(0).random((6, 4, 3))
    np.savez_compressed(tmp_path / "pems08.npz", data=flow)
    data = from_file(tmp_path / "pems08.npz", coords=np.eye(4))
    assert data.channel_names == ["flow", "occupancy", "speed"]
    np.savez_compressed(tmp_path / "pems07.npz", data=flow[..., :1])
    assert "channel_names" not in from_file(tmp_path / "pems07.npz", coords=np.eye(4))


def test_npz_of_any_name(tmp_path):
    np.savez(tmp_path / "one.npz", traffic=VALUES)
    assert from_file(tmp_path / "one.npz", coords=np.eye(3)).x.shape == (3, 6, 2)
    np.savez(tmp_path / "two.npz", traffic=VALUES, weather=VALUES)
    assert from_file(tmp_path / "two.npz", coords=np.eye(3), key="weather").x.shape == (3, 6, 2)
    for options in ({}, {"key": "rain"}):
        with pytest.raises(InputError, match="traffic, weather"):
            from_file(tmp_path / "two.npz", coords=np.eye(3), **options)


def test_tables_of_coordinates_for_arrays(folder):
    (folder / "coords.csv").write_text("name,x,y\nc,3,30\na,1,10\nb,2,20\n")
    data = from_file(folder / "values.npy", coords=folder / "coords.csv", node_names=list("abc"))
    assert data.pos.tolist() == [[1, 10], [2, 20], [3, 30]]
    unnamed = from_file(folder / "values.npy", coords=folder / "coords.csv")
    assert unnamed.pos.tolist() == [[3, 30], [1, 10], [2, 20]]


def test_read_coords(folder):
    with pytest.raises(InputError, match=r"must be an \.npy or \.csv file"):
        read_coords(folder)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_coords(folder / "nowhere.npy")


@pytest.mark.parametrize("name", ["values.npy", "archive.npz", "table.h5"])
@pytest.mark.parametrize("keep", [0, 3, 0.5, -20])
def test_truncated_files(folder, name, keep):
    h5py = pytest.importorskip("h5py")
    np.savez(folder / "archive.npz", values=VALUES)
    with h5py.File(folder / "table.h5", "w") as file:
        file["values"] = VALUES
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))] if isinstance(keep, float) else content[:keep])
    with pytest.raises(InputError, match=name):
        from_file(path, coords=np.eye(3))
    if name == "values.npy":
        with pytest.raises(InputError, match=name):
            from_file(path, coords=np.eye(3), mmap=True)


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path):
    path = tmp_path / "values.npz"
    np.savez(path, values=VALUES)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"values\.npz"):
        from_file(path, coords=np.eye(3))


@pytest.mark.parametrize("name", ["objects.npy", "objects.npz"])
def test_nothing_is_unpickled(tmp_path, name):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    objects = np.array([[Bomb(), 1.0], [2.0, 3.0]], dtype=object)
    if name.endswith("npy"):
        np.save(tmp_path / name, objects, allow_pickle=True)
    else:
        np.savez(tmp_path / name, values=objects)
    with pytest.raises(InputError, match=name):
        from_file(tmp_path / name, coords=np.eye(2))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("nowhere.npy", {}, FileNotFoundError, "nowhere.npy"),
        ("model.pkl", {}, InputError, "never read"),
        ("model.pt", {}, InputError, "unknown kind"),
        ("plain", {}, InputError, r"unknown kind; there are \.npy"),
        ("values.npy", {"key": "a"}, InputError, "key='a'"),
        ("values.npy", {"header": True}, InputError, "header is for"),
        ("table.csv", {"mmap": True}, InputError, "mmap is for"),
        ("values.npy", {"coords": "nowhere.csv"}, FileNotFoundError, "nowhere.csv"),
        ("values.npy", {"coords": np.eye(4)}, InputError, r"\(3, D\)"),
        ("values.npy", {"colour": "red"}, TypeError, "colour"),
        ("text.npy", {}, InputTypeError, "real numbers"),
        ("array.npz", {}, InputError, "ending .npy"),
        ("archive.npy", {}, InputError, "npz archive"),
    ],
)
def test_bad_requests(folder, name, options, error, message):
    for file in ("model.pkl", "model.pt", "plain"):
        (folder / file).write_bytes(b"")
    (folder / "table.csv").write_text("a,b\n1,2\n")
    np.save(folder / "text.npy", np.array([["a", "b"]]))
    (folder / "array.npz").write_bytes((folder / "values.npy").read_bytes())
    with (folder / "archive.npy").open("wb") as file:
        np.savez(file, VALUES)
    with pytest.raises(error, match=message):
        from_file(folder / name, **options)


def test_home_and_text_paths(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    data = from_file("~/values.npy", coords=torch.eye(3))
    np.testing.assert_array_equal(to_array(data), VALUES)


def test_an_extra_that_is_missing_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    (folder / "era5.nc").write_bytes(b"")
    with pytest.raises(ImportError, match=r"stgraph-pyg\[xarray\]"):
        from_file(folder / "era5.nc")
