"""Run the cells of a benchmark, each in a process of its own, several at a time."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

import stgraph
from stgraph.errors import InputError
from stgraph.tasks.benchmark.lock import CellLock, LockedError
from stgraph.tasks.benchmark.plan import Job, failed, result_of
from stgraph.tasks.benchmark.results import CellResult, read_result, write_result

__all__ = ["run_jobs", "threads_per_process"]

_logger = logging.getLogger("stgraph")

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GRACE = 10.0  # seconds that a process has to end when it is told to
_POLL = 0.1


def run_jobs(jobs: Sequence[Job], processes: int = 1) -> list[CellResult]:
    """Run what is open and return the results of all cells, in their order.

    A cell whose process raises an error or is killed is recorded as failed, and the others go on. An interruption ends
    the processes; what they have reached is kept, and the next start goes on from there.

    Args:
        jobs: The cells, from :func:`~stgraph.tasks.benchmark.plan.plan`.
        processes: Number of cells at a time; they share the cores of the machine.

    Raises:
        InputError: If processes is less than 1.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}; expected at least 1")
    results: dict[int, CellResult] = {}
    for index, job in enumerate(jobs):
        if (result := result_of(job)) is not None:
            results[index] = result
            if job.state == "missing":
                _logger.warning("%s: %s: %s", job.cell.title, result.status, result.reason)
    waiting = [index for index in range(len(jobs)) if index not in results]
    if waiting:
        _Pool(jobs, waiting, processes).run(results)
    return [results[index] for index in range(len(jobs))]


def threads_per_process(processes: int) -> int:
    """Return the number of threads of each process: all together have one for each core, or ``OMP_NUM_THREADS``.

    >>> threads_per_process(10**6)
    1
    """
    # The cores that this process may use, where the system tells; a container or a batch job may have a few of many.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max((int(asked) if asked.isdigit() else cores) // processes, 1)


class _Pool:
    """The processes that run at the moment, and how long is left."""

    def __init__(self, jobs: Sequence[Job], waiting: list[int], processes: int) -> None:
        self.jobs, self.waiting, self.processes = jobs, list(waiting), processes
        self.total, self.finished = len(waiting), 0
        self.running: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self.seconds: list[float] = []
        self.environment = _environment(threads_per_process(processes))

    def run(self, results: dict[int, CellResult]) -> None:
        try:
            while self.waiting or self.running:
                while self.waiting and len(self.running) < self.processes:
                    self._start(self.waiting.pop(0), results)
                for index, (process, started) in list(self.running.items()):
                    if process.poll() is not None:
                        del self.running[index]
                        self._finish(index, _collect(self.jobs[index], process), started, results)
                time.sleep(_POLL)
        finally:
            _end([process for process, _ in self.running.values()])

    def _start(self, index: int, results: dict[int, CellResult]) -> None:
        job, started = self.jobs[index], time.monotonic()
        if job.note is not None:
            _logger.info("%s: %s", job.cell.title, job.note)
        try:
            job.folder.path.mkdir(parents=True, exist_ok=True)
            with CellLock(job.folder.lock):  # held by the process from here on; refused early where it is taken
                job.write()
                job.folder.result.unlink(missing_ok=True)
        except LockedError as error:
            self._finish(index, failed(job.cell, str(error)), started, results)
            return
        words = [sys.executable, "-m", "stgraph.tasks.benchmark.worker", str(job.folder.path), "--leashed"]
        with job.folder.log.open("ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment,
                # Ctrl-C reaches this process alone, which ends the others itself.
                start_new_session=True,
            )
        self.running[index] = process, started

    def _finish(self, index: int, result: CellResult, started: float, results: dict[int, CellResult]) -> None:
        results[index] = result
        self.finished += 1
        self.seconds.append(time.monotonic() - started)
        left = (self.total - self.finished) * sum(self.seconds) / len(self.seconds) / self.processes
        outcome = f"failed: {result.reason}" if result.status == "failed" else _error(result)
        text = f"[{self.finished}/{self.total}] {self.jobs[index].cell.title}: {outcome}, {_span(self.seconds[-1])}"
        _logger.info("%s", text if self.finished == self.total else f"{text}; about {_span(left)} left")


def _error(result: CellResult) -> str:
    mae = result.scores.get(result.protocol, {}).get("average", {}).get("mae")
    return "done" if mae is None else f"MAE {mae:.4g}"


def _span(seconds: float) -> str:
    """Name a time for a reader.

    >>> _span(42.0), _span(150.0), _span(9000.0)
    ('42 s', '2.5 min', '2.5 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _environment(threads: int) -> dict[str, str]:
    environment = {**os.environ, **{name: str(threads) for name in _THREADS}}
    root = str(Path(stgraph.__file__).parent.parent)
    if root not in sysconfig.get_paths().values():
        # The package is used from a folder that the new process would not look into.
        environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    return environment


def _collect(job: Job, process: subprocess.Popen[bytes]) -> CellResult:
    """Return what a process has written, or the reason why it has written nothing."""
    if process.stdin is not None:
        process.stdin.close()
    if job.folder.result.is_file():
        return read_result(job.folder.result)
    result = failed(job.cell, reason_of(process.returncode, job.folder.log))
    write_result(job.folder.result, result)
    return result


def reason_of(code: int, log: Path) -> str:
    """Say why a process ended without a result.

    Args:
        code: Its exit code; negative for a signal.
        log: What it has written.
    """
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", perhaps for want of memory" if name == "SIGKILL" else "")
        return f"killed by signal {-code}"
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"exit code {code}: {lines[-1].strip()}" if lines else f"exit code {code}"


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + _GRACE
    for process in processes:
        try:
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
