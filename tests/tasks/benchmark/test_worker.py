from __future__ import annotations

import json
import logging
import multiprocessing

import pytest

from stgraph.errors import InputError
from stgraph.tasks.benchmark import worker
from stgraph.tasks.benchmark.cells import expand
from stgraph.tasks.benchmark.lock import CellLock, LockedError
from stgraph.tasks.benchmark.plan import plan
from stgraph.tasks.benchmark.results import read_result
from stgraph.tasks.benchmark.worker import main
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.logs import RunLog
from tests.tasks.benchmark.small_benchmarks import SMALL_NETWORK, small_benchmark


def job_of(folder, **changes):
    (job,) = plan(expand(small_benchmark(folder, **changes)), folder / "out")
    job.write()
    return job


def test_a_cell_is_trained_and_scored_under_all_protocols(tmp_path):
    from stgraph.tasks.protocols import PROTOCOLS

    job = job_of(tmp_path, models={"net": {"name": "spectranet", **SMALL_NETWORK}})
    assert main([str(job.folder.path)]) == 0
    result, run = read_result(job.folder.result), RunFolder(job.folder.run)
    stored = json.loads(run.results.read_text())
    assert (result.dataset, result.model, result.seed, result.protocol) == ("series", "net", 1, "strict")
    assert (result.status, result.epochs, result.parameters) == ("done", 1, stored["parameters"])
    assert result.seconds_per_epoch == stored["seconds_per_epoch"]
    assert result.peak_memory_mb > 0
    assert set(result.scores) == set(PROTOCOLS)
    for errors in result.scores["strict"].values():
        assert set(errors) == {"mae", "rmse", "mape"}
    # What `stgraph train` reports is what our own protocol counts.
    assert result.scores["strict"]["average"]["mae"] == pytest.approx(stored["test"]["global"]["mae"], rel=1e-5)
    assert result.predictions == run.predictions
    assert result.predictions.is_file()


def test_a_cell_that_was_interrupted_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    changes = {"models": {"net": {"name": "spectranet", **SMALL_NETWORK}}, "budget": {"max_epochs": 2}}
    whole = job_of(tmp_path, **changes)
    assert main([str(whole.folder.path)]) == 0
    expected = read_result(whole.folder.result)
    whole.folder.path.rename(tmp_path / "whole")
    torn, begin = job_of(tmp_path, **changes), RunLog.on_train_epoch_start

    def stop(log, trainer, module):
        if trainer.current_epoch == 1:
            raise MemoryError("no more of it")
        begin(log, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "on_train_epoch_start", stop)
        assert main([str(torn.folder.path)]) == 1
    assert read_result(torn.folder.result).reason == "MemoryError: no more of it"
    (again,) = plan(expand(small_benchmark(tmp_path, **changes)), tmp_path / "out", retry_failed=True)
    assert (again.state, again.folder.path) == ("continue", torn.folder.path)
    assert main([str(again.folder.path)]) == 0
    result = read_result(again.folder.result)
    assert (result.epochs, result.scores) == (2, expected.scores)


def test_code_that_changed_since_the_start_is_not_run(tmp_path, monkeypatch):
    job = job_of(tmp_path)
    monkeypatch.setattr(worker, "code_version", lambda name: "another")
    assert main([str(job.folder.path)]) == 1
    assert "the code of stgraph has changed" in read_result(job.folder.result).reason
    assert not job.folder.run.exists()


def test_what_is_there_is_used_and_what_is_torn_is_made_again(tmp_path):
    job = job_of(tmp_path)
    run = RunFolder(job.folder.run)
    run.path.mkdir()
    (run.path / ".partial-config.yaml").touch()
    assert main([str(job.folder.path)]) == 0
    first = read_result(job.folder.result)
    written = run.results.stat().st_mtime_ns
    job.folder.result.unlink()
    # Killed after the training: the forecasts are scored.
    assert main([str(job.folder.path)]) == 0
    assert run.results.stat().st_mtime_ns == written
    assert read_result(job.folder.result) == first
    # A checkpoint that cannot be read: the run starts again.
    run.results.unlink()
    job.folder.result.unlink()
    run.last.write_bytes(b"torn")
    assert main([str(job.folder.path)]) == 0
    assert read_result(job.folder.result).scores == first.scores


def test_an_error_is_the_reason_of_the_failure(tmp_path, capsys):
    job = job_of(tmp_path)
    (tmp_path / "series.npy").write_bytes(b"no array")
    assert main([str(job.folder.path)]) == 1
    result = read_result(job.folder.result)
    assert result.status == "failed"
    assert result.reason.startswith("InputError: ")
    assert "series.npy" in result.reason
    assert result.scores == {}
    assert "Traceback" in capsys.readouterr().err


def _hold(path, held, release):
    with CellLock(path):
        held.set()
        release.wait(60)


def test_a_cell_is_held_by_one_process_and_let_go_when_it_ends(tmp_path):
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "lock", held, release))
    process.start()
    assert held.wait(60)
    with pytest.raises(LockedError, match=f"process {process.pid} is running"), CellLock(tmp_path / "lock"):
        pass
    process.kill()
    process.join()
    with CellLock(tmp_path / "lock"):
        assert (tmp_path / "lock").read_text().isdigit()


def test_the_worker_leaves_no_handler_behind(tmp_path):
    logger = logging.getLogger("stgraph")
    before = list(logger.handlers)
    with pytest.raises((InputError, OSError)):
        main([str(tmp_path / "nothing")])
    assert logger.handlers == before
