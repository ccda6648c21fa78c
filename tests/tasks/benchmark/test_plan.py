from __future__ import annotations

import dataclasses
import json

import pytest

from stgraph.tasks.benchmark import plan as module
from stgraph.tasks.benchmark.cells import expand
from stgraph.tasks.benchmark.plan import failed, plan, read_job, result_of
from stgraph.tasks.benchmark.results import write_result
from tests.tasks.benchmark.small_benchmarks import small_benchmark


@pytest.fixture
def cell(tmp_path):
    return expand(small_benchmark(tmp_path))[0]


def only(cell, tmp_path, **arguments):
    (job,) = plan([cell], tmp_path / "out", **arguments)
    return job


def finish(job, status):
    job.write()
    write_result(job.folder.result, dataclasses.replace(failed(job.cell, "because"), status=status))


def test_a_new_cell_is_run_and_looking_changes_nothing(cell, tmp_path):
    job = only(cell, tmp_path)
    assert (job.state, job.note, job.is_open, result_of(job)) == ("run", None, True, None)
    assert job.folder.path == tmp_path / "out/cells/series/ridge" / f"strict-seed1-{job.key[:8]}"
    assert not (tmp_path / "out").exists()


def test_the_job_of_a_cell_is_read_as_it_was_written(cell, tmp_path):
    job = only(cell, tmp_path)
    job.write()
    options = dataclasses.replace(cell.options, output=str(job.folder.run))
    assert read_job(job.folder) == (dataclasses.replace(cell, options=options), job.code)


def test_a_finished_cell_is_not_run_again(cell, tmp_path):
    finish(only(cell, tmp_path), "done")
    job = only(cell, tmp_path, retry_failed=True)
    assert (job.state, job.is_open) == ("done", False)
    assert result_of(job).status == "done"


def test_a_failed_cell_is_run_again_on_request(cell, tmp_path):
    finish(only(cell, tmp_path), "failed")
    job = only(cell, tmp_path)
    assert job.state == "failed"
    assert "--retry_failed" in job.note
    assert result_of(job).reason == "because"
    assert only(cell, tmp_path, retry_failed=True).state == "run"


def test_an_interrupted_cell_goes_on_from_its_checkpoint(cell, tmp_path):
    job = only(cell, tmp_path)
    job.write()
    assert only(cell, tmp_path).state == "run"
    checkpoint = job.folder.run / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    assert only(cell, tmp_path).state == "continue"


def test_other_code_or_another_configuration_makes_a_result_stale(cell, tmp_path, monkeypatch):
    first = only(cell, tmp_path)
    finish(first, "done")
    changed = dataclasses.replace(cell.options, optimizer=dataclasses.replace(cell.options.optimizer, eps=1e-7))
    job = only(dataclasses.replace(cell, options=changed), tmp_path)
    assert job.state == "run"
    assert "another configuration" in job.note
    monkeypatch.setattr(module, "code_version", lambda name: f"{name} of tomorrow")
    job = only(cell, tmp_path)
    assert (job.state, job.code) == ("run", "ridge of tomorrow")
    assert "other code" in job.note
    assert job.folder.path != first.folder.path
    assert json.loads(first.folder.job.read_text())["code"] == first.code


@pytest.mark.parametrize(("optional", "status"), [(True, "missing"), (False, "failed")])
def test_a_cell_without_data_is_left_out_or_failed(cell, tmp_path, optional, status):
    (tmp_path / "series.npy").unlink()
    job = only(dataclasses.replace(cell, optional=optional), tmp_path)
    assert job.state == "missing"
    result = result_of(job)
    assert result.status == status
    assert "no file" in result.reason
    assert "series.npy" in result.reason
