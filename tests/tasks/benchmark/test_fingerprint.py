from __future__ import annotations

import dataclasses
import os

import pytest

from stgraph.tasks.benchmark import fingerprint
from stgraph.tasks.benchmark.fingerprint import cell_key, code_version, data_files, data_fingerprint
from stgraph.tasks.options import DataOptions, OptimizerOptions, RunOptions, TrainerOptions

OPTIONS = RunOptions(data=DataOptions(path="series.npy"))


def test_the_key_of_a_cell_depends_on_what_changes_its_result_alone():
    key = cell_key(OPTIONS, "code", "data")
    assert len(key) == 64
    same = [
        dataclasses.replace(OPTIONS, output="elsewhere", resume=True),
        dataclasses.replace(OPTIONS, trainer=TrainerOptions(progress_bar=True, tensorboard=False)),
    ]
    other = [
        dataclasses.replace(OPTIONS, seed=OPTIONS.seed + 1),
        dataclasses.replace(OPTIONS, protocol="dcrnn"),
        dataclasses.replace(OPTIONS, optimizer=OptimizerOptions(learning_rate=1.0)),
        dataclasses.replace(OPTIONS, trainer=TrainerOptions(max_epochs=3)),
    ]
    assert {cell_key(options, "code", "data") for options in same} == {key}
    keys = [cell_key(options, "code", "data") for options in other]
    keys += [cell_key(OPTIONS, "other code", "data"), cell_key(OPTIONS, "code", "other data")]
    assert len({key, *keys}) == len(keys) + 1


@pytest.fixture
def package(tmp_path):
    """A package of the same layout: ridge uses a shared module, persistence and a file of the command line do not."""
    files = {
        "models/__init__.py": "",
        "models/base.py": "",
        "models/baselines/__init__.py": "",
        "models/baselines/shared.py": "",
        "models/baselines/ridge.py": "from stgraph.models.baselines.shared import anything",
        "models/baselines/persistence.py": "from stgraph.models.base import Forecaster",
        "ops/sums.py": "",
        "cli/main.py": "",
        "tasks/run.py": "",
        "tasks/benchmark/runner.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("ops/sums.py", {"ridge", "persistence"}),
        ("tasks/run.py", {"ridge", "persistence"}),
        ("models/base.py", {"ridge", "persistence"}),
        ("models/baselines/ridge.py", {"ridge"}),
        ("models/baselines/shared.py", {"ridge"}),
        ("models/baselines/persistence.py", {"persistence"}),
        ("cli/main.py", set()),
        ("tasks/benchmark/runner.py", set()),
    ],
)
def test_the_version_of_the_code_is_that_of_the_files_a_model_uses(package, file, changes):
    before = {model: code_version(model, package) for model in ("ridge", "persistence")}
    code_version.cache_clear()
    (package / file).write_text((package / file).read_text() + "\n# changed")
    assert {model for model in before if code_version(model, package) != before[model]} == changes


def test_files_are_known_by_their_content_wherever_they_are(tmp_path):
    first, second = tmp_path / "a" / "x.npy", tmp_path / "b" / "x.npy"
    for path in (first, second):
        path.parent.mkdir()
        path.write_bytes(b"abc")
    os.utime(second, ns=(1, 1))
    assert data_fingerprint(DataOptions(path=str(first))) == data_fingerprint(DataOptions(path=str(second)))
    second.write_bytes(b"abd")
    assert data_fingerprint(DataOptions(path=str(first))) != data_fingerprint(DataOptions(path=str(second)))


def test_large_files_are_known_by_size_and_time(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "_SMALL", 2)
    path = tmp_path / "x.npy"
    path.write_bytes(b"abc")
    os.utime(path, ns=(1, 1))
    options = DataOptions(path=str(path))
    before = data_fingerprint(options)
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert data_fingerprint(options) == before
    os.utime(path, ns=(2, 2))
    assert data_fingerprint(options) != before


def test_all_files_of_a_run_count(tmp_path):
    for name in ("x.npy", "coords.npy", "test.npy", "adjacency.npy"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "store.zarr" / "x").mkdir(parents=True)
    (tmp_path / "store.zarr" / "x" / "0.0").write_bytes(b"chunk")
    options = DataOptions(
        path=str(tmp_path / "store.zarr"),
        test=str(tmp_path / "test.npy"),
        coords=str(tmp_path / "coords.npy"),
        adjacency=str(tmp_path / "adjacency.npy"),
    )
    assert [path.name for path in data_files(options)] == ["store.zarr", "test.npy", "coords.npy", "adjacency.npy"]
    prints = {data_fingerprint(options)}
    for changed in ("store.zarr/x/0.0", "test.npy", "coords.npy", "adjacency.npy"):
        (tmp_path / changed).write_bytes(b"changed")
        prints.add(data_fingerprint(options))
    assert len(prints) == 5


def test_embedded_sets_are_found_and_absent_data_is_named(tmp_path, monkeypatch):
    assert [path.name for path in data_files(DataOptions(path="ireland_wind"))] == ["ireland_wind.npz"]
    monkeypatch.setenv("STGRAPH_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="metr_la_week"):
        data_files(DataOptions(path="metr_la_week"))
    with pytest.raises(FileNotFoundError, match="`stgraph data get metr_la` fetches them"):
        data_files(DataOptions(path="metr_la"))
    assert data_files(DataOptions(path="simulated_traffic")) == []
    with pytest.raises(FileNotFoundError, match=r"no file .*gone\.npy"):
        data_files(DataOptions(path=str(tmp_path / "gone.npy")))


def test_published_files_are_found_where_they_are_fetched_to(tmp_path, monkeypatch):
    monkeypatch.setenv("STGRAPH_DATA", str(tmp_path))
    for name in (
        "largest_ca/raw/ca_meta.csv",
        "largest_ca/processed/kept.pt",
        "largest_ca/raw/.part",
        "metr_la/metr-la.h5",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert data_files(DataOptions(path="metr_la")) == [tmp_path / "metr_la" / "metr-la.h5"]
    # The parts of LargeST are cut from the files of the whole.
    for part in ("largest_ca", "largest_sd"):
        assert data_files(DataOptions(path=part)) == [tmp_path / "largest_ca" / "raw" / "ca_meta.csv"]
