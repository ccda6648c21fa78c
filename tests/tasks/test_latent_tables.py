from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.tasks.latents import read_latents, write_latents

IDS = ["TIC 1", "TIC 1", "Gaia δ"]
METADATA = {
    "period": np.array([1.5, np.nan, 1e-300]),
    "sector": np.array([14, 15, 14]),
    "class": ["drw", "", "qpo"],
    "flagged": np.array([True, False, False]),
}


@pytest.fixture
def latents() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.mark.parametrize("ending", [".npy", ".h5", ".hdf5", ".csv", ".CSV"])
def test_a_table_is_read_as_it_was_written(tmp_path, latents, ending: str) -> None:
    path = write_latents(tmp_path / "new" / f"latents{ending}", IDS, torch.from_numpy(latents), METADATA)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    table = read_latents(str(path))
    assert table.ids.tolist() == IDS
    np.testing.assert_array_equal(table.latents.astype(np.float32), latents)
    assert list(table.metadata) == list(METADATA)
    for name, column in METADATA.items():
        np.testing.assert_array_equal(table.metadata[name], np.asarray(column))
        assert table.metadata[name].dtype.kind == np.asarray(column).dtype.kind
    if ending in (".npy", ".h5"):
        assert table.latents.dtype == np.float32


@pytest.mark.parametrize("ending", [".npy", ".h5", ".csv"])
def test_extreme_numbers_survive(tmp_path, ending: str) -> None:
    latents = np.array([[np.nan, np.inf], [-np.inf, 0.1], [5e-324, 1 / 3]])
    path = write_latents(tmp_path / f"latents{ending}", IDS, latents)
    table = read_latents(path)
    np.testing.assert_array_equal(table.latents, latents)
    assert table.metadata == {}


def test_the_array_file_needs_no_stgraph_to_be_read(tmp_path, latents) -> None:
    rows = np.load(write_latents(tmp_path / "latents.npy", IDS, latents), allow_pickle=False)
    np.testing.assert_array_equal(rows["latent"], latents)
    assert rows["id"].tolist() == IDS


def test_a_failed_write_leaves_the_old_table(tmp_path, latents, monkeypatch) -> None:
    path = write_latents(tmp_path / "latents.npy", IDS, latents)

    def fail(file, *args, **kwargs):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_latents(path, IDS, latents + 1)
    np.testing.assert_array_equal(read_latents(path).latents, latents)
    assert len(list(tmp_path.iterdir())) == 1


def test_files_of_other_kinds_are_refused(tmp_path, latents) -> None:
    with pytest.raises(InputError, match=r"latents\.pkl is of an unknown kind; there are \.npy"):
        write_latents(tmp_path / "latents.pkl", IDS, latents)
    with pytest.raises(FileNotFoundError):
        read_latents(tmp_path / "latents.npy")
    np.save(tmp_path / "plain.npy", latents)
    np.savez(tmp_path / "archive.npz", latents)
    (tmp_path / "archive.npz").rename(tmp_path / "archive.npy")
    np.save(tmp_path / "pickled.npy", np.array([{"id": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "plain.csv").write_text("a,b\n1,2\n")
    (tmp_path / "text.csv").write_text("id,latent_0\n1,two\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "damaged.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    import h5py

    with h5py.File(tmp_path / "plain.h5", "w") as file:
        file["x"] = latents
    for name in (
        "plain.npy",
        "archive.npy",
        "pickled.npy",
        "plain.csv",
        "text.csv",
        "empty.csv",
        "damaged.h5",
        "plain.h5",
    ):
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_latents(tmp_path / name)


def test_wrong_input_is_named(tmp_path, latents) -> None:
    path = tmp_path / "latents.csv"
    for call, message in [
        (lambda: write_latents(path, IDS[:2], latents), "ids has 2 entries; latents has 3 rows"),
        (lambda: write_latents(path, IDS, latents[0]), r"latents has shape \(4,\)"),
        (lambda: write_latents(path, IDS, latents, {"period": [1.0]}), r"metadata 'period' has shape \(1,\)"),
        (lambda: write_latents(path, IDS, latents, {"latent_0": [1, 2, 3]}), "column 'latent_0'"),
        (lambda: write_latents(path, IDS, latents, {"a/b": [1, 2, 3]}), "column 'a/b'"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    with pytest.raises(InputTypeError, match="latents is of int64"):
        write_latents(path, IDS, np.zeros((3, 2), dtype=np.int64))
    with pytest.raises(InputTypeError, match="metadata 'x' is of object"):
        write_latents(path, IDS, latents, {"x": [None, 1, "a"]})
    assert not path.exists()
