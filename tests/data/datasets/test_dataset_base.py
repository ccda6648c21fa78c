from __future__ import annotations

import hashlib
import json
import os
import pickle

import numpy as np
import pytest
import torch
from torch_geometric.transforms import BaseTransform, Compose

from stgraph.data import KNNGraph
from stgraph.data.datasets.base import SeriesDataset, load_series
from stgraph.data.datasets.download import DownloadError
from stgraph.errors import InputError, InputTypeError
from tests.data.datasets.file_server import serving
from tests.data.datasets.small_set import CONTENT, VALUES, SmallSpeeds, catalogued


@pytest.fixture(autouse=True)
def small(tmp_path):
    with catalogued(tmp_path / "catalog"):
        yield


@pytest.fixture
def root(tmp_path):
    """Root with the raw file in place."""
    (tmp_path / "root" / "small_speeds" / "raw").mkdir(parents=True)
    (tmp_path / "root" / "small_speeds" / "raw" / "speed.csv").write_bytes(CONTENT)
    return tmp_path / "root"


class Doubled(BaseTransform):
    def __init__(self, factor=2.0):
        self.factor = factor

    def forward(self, data):
        data.x = data.x * self.factor
        return data


def named_transform(data):
    data.x = -data.x
    return data


def kept(root):
    return sorted(path.name for path in (root / "small_speeds" / "processed").iterdir())


def test_it_is_a_data_set_of_one_series(root):
    dataset = SmallSpeeds(root)
    assert len(dataset) == 1
    data = dataset[0]
    torch.testing.assert_close(data.x[..., 0].T.double(), torch.from_numpy(VALUES))
    assert data.node_names == ["a", "b", "c"]
    assert data.time.dtype == torch.int64
    assert dataset.raw_file_names == ["speed.csv"]
    assert dataset.raw_paths == [str(root / "small_speeds" / "raw" / "speed.csv")]
    assert kept(root) == dataset.processed_file_names


def test_it_is_parsed_once_and_mapped_from_what_is_kept(root):
    first = SmallSpeeds(root)
    second = SmallSpeeds(root)
    assert SmallSpeeds.reads == 1
    torch.testing.assert_close(second[0].x, first[0].x)
    second[0].x.zero_()  # does not reach the file
    torch.testing.assert_close(SmallSpeeds(root)[0].x.sum(), torch.tensor(VALUES.sum(), dtype=torch.float32))
    assert SmallSpeeds(root, force_reload=True)[0].num_nodes == 3
    assert SmallSpeeds.reads == 2


def test_a_large_series_takes_no_memory_before_it_is_used(root, monkeypatch):
    SmallSpeeds(root)
    calls = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(k) or load(*a, **k))
    SmallSpeeds(root)
    assert calls == [{"map_location": "cpu", "weights_only": True, "mmap": True}]


def test_the_choice_of_reading_options_and_pre_transform_is_part_of_the_name(root):
    series = [
        SmallSpeeds(root),
        SmallSpeeds(root, scale=3.0),
        SmallSpeeds(root, pre_transform=Doubled()),
        SmallSpeeds(root, pre_transform=Doubled(4.0)),
        SmallSpeeds(root, pre_transform=Compose([Doubled(5.0)])),
        SmallSpeeds(root, pre_transform=named_transform),
    ]
    assert [float(item[0].x[0, 0]) for item in series] == [1, 3, 2, 4, 5, -1]
    assert len(kept(root)) == 6
    assert float(SmallSpeeds(root, pre_transform=Doubled(4.0))[0].x[0, 0]) == 4
    assert SmallSpeeds.reads == 6


@pytest.mark.parametrize("local", [lambda data: data, type("Local", (), {"__qualname__": "f.<locals>.Local"})()])
def test_a_pre_transform_without_a_name_of_its_own_is_refused(root, local):
    with pytest.raises(InputTypeError, match="pre_transform must be a transform object or a function of a module"):
        SmallSpeeds(root, pre_transform=local)


def test_transform_is_applied_at_every_access(root):
    dataset = SmallSpeeds(root, transform=Doubled())
    assert [float(dataset[0].x[0, 0]) for _ in range(2)] == [2, 2]
    assert SmallSpeeds(root, transform=lambda data: 5)[0] == 5


def test_a_newer_raw_file_is_parsed_anew(root):
    SmallSpeeds(root)
    path = root / "small_speeds" / "raw" / "speed.csv"
    path.write_bytes(CONTENT.replace(b"1.0,", b"9.0,", 1))
    (root / "small_speeds" / "files.lock.json").unlink()
    later = path.stat().st_mtime_ns + 10**10
    os.utime(path, ns=(later, later))
    assert float(SmallSpeeds(root)[0].x[0, 0]) == 9


def test_the_raw_file_is_not_needed_once_the_series_is_kept(root):
    SmallSpeeds(root)
    (root / "small_speeds" / "raw" / "speed.csv").unlink()
    assert SmallSpeeds(root)[0].num_nodes == 3


def test_raw_files_may_lie_in_the_folder_itself(tmp_path):
    folder = tmp_path / "root" / "small_speeds"
    folder.mkdir(parents=True)
    (folder / "speed.csv").write_bytes(CONTENT)
    dataset = SmallSpeeds(tmp_path / "root", processed=tmp_path / "elsewhere")
    assert dataset[0].num_nodes == 3
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == dataset.processed_file_names
    assert not (folder / "processed").exists()


def test_where_nothing_can_be_kept_it_says_what_to_pass(root, caplog):
    (root / "small_speeds" / "processed").write_text("a file where the folder should be")
    data = SmallSpeeds(root)[0]
    assert data.num_nodes == 3
    assert "is not kept" in caplog.text
    assert "pass processed= with a folder that can be written" in caplog.text
    assert SmallSpeeds(root)[0].num_nodes == 3


def test_the_root_is_that_of_the_environment(root, tmp_path, monkeypatch):
    monkeypatch.setenv("STGRAPH_DATA", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert SmallSpeeds().folder == root / "small_speeds"
    assert load_series("small_speeds", scale=2.0).x[0, 0] == 2
    # The folder of the environment may be read-only: what is parsed is kept elsewhere.
    assert not (root / "small_speeds" / "processed").exists()
    assert len(list((tmp_path / "cache" / "stgraph" / "small_speeds" / "processed").iterdir())) == 2


def test_without_the_environment_it_is_the_cache_of_the_user(tmp_path, root, monkeypatch):
    monkeypatch.delenv("STGRAPH_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".cache").mkdir()
    root.rename(tmp_path / ".cache" / "stgraph")
    assert SmallSpeeds().folder == tmp_path / ".cache" / "stgraph" / "small_speeds"


def test_a_missing_file_is_fetched(tmp_path):
    with serving() as server:
        url = server.url("/speed.csv", content=CONTENT)
        with catalogued(tmp_path / "other", urls=[url], sha256=hashlib.sha256(CONTENT).hexdigest()):
            data = SmallSpeeds(tmp_path / "root")[0]
        assert server.sent == [len(CONTENT)]
    assert float(data.x[2, 9]) == 30
    assert (tmp_path / "root" / "small_speeds" / "raw" / "speed.csv").read_bytes() == CONTENT


def test_a_missing_file_that_cannot_be_fetched_is_named_with_its_place(tmp_path):
    place = tmp_path / "root" / "small_speeds" / "raw" / "speed.csv"
    with pytest.raises(DownloadError) as caught:
        SmallSpeeds(tmp_path / "root")
    assert f"fetch speed.csv from the page of the authors, and put it at {place}" in str(caught.value)


def test_a_file_put_there_by_hand_is_verified_and_recorded(tmp_path, root):
    with catalogued(tmp_path / "other", sha256="0" * 64), pytest.raises(InputError, match="the catalogue says 0000"):
        SmallSpeeds(root)
    assert SmallSpeeds.reads == 0
    SmallSpeeds(root)
    recorded = json.loads((root / "small_speeds" / "files.lock.json").read_text())
    assert recorded["files"]["speed.csv"]["size"] == len(CONTENT)


def test_what_is_kept_is_never_unpickled(root):
    class Spy:
        def __reduce__(self):
            return (pytest.fail, ("something was executed",))

    dataset = SmallSpeeds(root)
    path = root / "small_speeds" / "processed" / dataset.processed_file_names[0]
    for write in (lambda: torch.save({"x": Spy()}, path), lambda: path.write_bytes(pickle.dumps(Spy()))):
        write()
        with pytest.raises(InputError, match=r"cannot be read; delete it or pass force_reload=True"):
            SmallSpeeds(root)
    (root / "small_speeds" / "processed" / "pre_transform.pt").write_bytes(pickle.dumps(Spy()))
    assert SmallSpeeds(root, force_reload=True)[0].num_nodes == 3


def test_nothing_half_written_stays(root, monkeypatch):
    def fail(values, stream):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        SmallSpeeds(root)
    assert kept(root) == []


def test_only_plain_values_can_be_kept(root, monkeypatch):
    class Strange(SmallSpeeds):
        def read(self):
            data = super().read()
            data.covariates = {"wind": [np.float64(1)]}
            return data

    with pytest.raises(InputTypeError, match=r"covariates\['wind'\]\[0\] must be a tensor or plain values .* float64"):
        Strange(root)


def test_edges_and_grids_are_kept(root):
    class Grid(SmallSpeeds):
        def read(self):
            data = super().read()
            data.pos, data.grid = torch.arange(3.0)[:, None], (1, 3)
            return data

    Grid(root, pre_transform=KNNGraph(k=1))
    data = Grid(root, pre_transform=KNNGraph(k=1))[0]
    assert data.grid == (1, 3)
    assert data.edge_index.shape == (2, 3)


def test_a_subclass_has_to_read():
    assert SeriesDataset.read.__isabstractmethod__
