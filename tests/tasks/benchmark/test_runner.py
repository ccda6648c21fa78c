from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys
import threading

import pytest

from stgraph.errors import InputError
from stgraph.tasks.benchmark import runner
from stgraph.tasks.benchmark.cells import expand
from stgraph.tasks.benchmark.lock import CellLock
from stgraph.tasks.benchmark.plan import plan
from stgraph.tasks.benchmark.results import read_result
from stgraph.tasks.benchmark.runner import reason_of, run_jobs, threads_per_process
from tests.tasks.benchmark.small_benchmarks import small_benchmark


def jobs_of(folder, **changes):
    return plan(expand(small_benchmark(folder, **changes)), folder / "out")


def replace_worker(monkeypatch, program):
    """Have another, quick program in the place of the worker: it gets the folder of the cell as its first argument."""
    real = subprocess.Popen

    def start(words, **arguments):
        return real([words[0], "-c", program, words[3]], **arguments)

    monkeypatch.setattr(runner.subprocess, "Popen", start)


def test_a_cell_that_fails_does_not_stop_the_others(tmp_path, caplog):
    data = {"path": str(tmp_path / "gone.npy")}
    changes = {
        "datasets": {
            "series": {"data": {"path": str(tmp_path / "series.npy")}},
            "gone": {"data": data, "optional": True},
        },
        "seeds": [1, 2],
    }
    jobs = jobs_of(tmp_path, **changes)
    # A process whose code is not that of the plan refuses to work, and does so soon.
    jobs[0] = dataclasses.replace(jobs[0], code="older")
    with caplog.at_level(logging.INFO, logger="stgraph"):
        results = run_jobs(jobs, processes=2)
    assert [(result.dataset, result.seed, result.status) for result in results] == [
        ("series", 1, "failed"),
        ("gone", 1, "missing"),
        ("series", 2, "done"),
        ("gone", 2, "missing"),
    ]
    assert "has changed" in results[0].reason
    assert results[2].scores["strict"]["3"]["mae"] > 0
    text = caplog.text
    assert "[2/2] series ridge strict seed 2: MAE" in text
    assert "series ridge strict seed 1: failed: InputError" in text
    assert "gone ridge strict seed 1: missing" in text
    # Nothing is left to do, and the same results come out.
    again = jobs_of(tmp_path, **changes)
    assert [job.state for job in again] == ["failed", "missing", "done", "missing"]
    assert run_jobs(again) == results


def test_processes_that_die_are_failed_cells_with_a_reason(tmp_path, monkeypatch):
    program = "import os, sys; print('out of luck'); os.kill(os.getpid(), 9) if 'seed1' in sys.argv[1] else sys.exit(3)"
    replace_worker(monkeypatch, program)
    results = run_jobs(jobs_of(tmp_path, seeds=[1, 2]))
    assert [result.status for result in results] == ["failed", "failed"]
    assert results[0].reason == "killed by SIGKILL, perhaps for want of memory"
    assert results[1].reason == "exit code 3: out of luck"
    assert [job.state for job in jobs_of(tmp_path, seeds=[1, 2])] == ["failed", "failed"]


def test_an_interruption_ends_the_processes(tmp_path, monkeypatch):
    replace_worker(monkeypatch, "import time; time.sleep(600)")
    jobs, started, real = jobs_of(tmp_path, seeds=[1, 2, 3]), [], runner.subprocess.Popen

    def start(*arguments, **named):
        started.append(real(*arguments, **named))
        return started[-1]

    def interrupt(seconds, sleep=runner.time.sleep):
        monkeypatch.setattr(runner.time, "sleep", sleep)
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.subprocess, "Popen", start)
    monkeypatch.setattr(runner.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs, processes=2)
    assert [process.returncode for process in started] == [-15, -15]
    assert [job.state for job in jobs_of(tmp_path, seeds=[1, 2, 3])] == ["run"] * 3


def test_a_cell_that_another_process_runs_is_left_to_it(tmp_path):
    (job,) = jobs_of(tmp_path)
    job.write()
    with CellLock(job.folder.lock):
        results = []
        # Locks of this kind belong to the open file, so that the same process is refused, too.
        thread = threading.Thread(target=lambda: results.extend(run_jobs([job])))
        thread.start()
        thread.join()
    assert results[0].status == "failed"
    assert "is running" in results[0].reason
    assert not job.folder.result.exists()


def test_the_worker_ends_with_its_parent(tmp_path):
    program = "import threading, time; from stgraph.tasks.benchmark import worker; worker._end_with_parent()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    process.stdin.close()
    assert process.wait(60) == 1


def test_threads_and_processes(monkeypatch):
    monkeypatch.setattr(runner.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [threads_per_process(n) for n in (1, 3, 8, 9)] == [8, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert [threads_per_process(n) for n in (1, 2, 5)] == [4, 2, 1]
    with pytest.raises(InputError, match="processes is 0"):
        run_jobs([], 0)


def test_reasons(tmp_path):
    (tmp_path / "log").write_text("first\nlast words\n\n")
    assert reason_of(2, tmp_path / "log") == "exit code 2: last words"
    assert reason_of(-11, tmp_path / "log") == "killed by SIGSEGV"
    (tmp_path / "log").write_text("")
    assert reason_of(2, tmp_path / "log") == "exit code 2"


def test_a_result_is_whole_once_it_is_there(tmp_path, monkeypatch):
    """What the process has written counts, whatever its exit code."""
    replace_worker(
        monkeypatch,
        "import sys, pathlib, json; f = pathlib.Path(sys.argv[1]); v = json.loads((f / 'job.json').read_text());"
        "r = {k: v[k] for k in ('dataset', 'model', 'seed', 'protocol')} | {'status': 'done', 'scores': {}};"
        "(f / 'cell.json').write_text(json.dumps(r)); sys.exit(9)",
    )
    (job,) = jobs_of(tmp_path)
    assert run_jobs([job]) == [read_result(job.folder.result)]
    assert read_result(job.folder.result).status == "done"
