"""The command that runs benchmarks."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from stgraph.errors import InputError

if TYPE_CHECKING:
    from stgraph.tasks.benchmark.options import BenchmarkConfig
    from stgraph.tasks.benchmark.plan import Job
    from stgraph.tasks.benchmark.results import CellResult

__all__ = ["BenchmarkOptions", "benchmark"]

_INTERRUPTED = 130  # what shells return after Ctrl-C


@dataclasses.dataclass
class BenchmarkOptions:
    """What to run.

    Args:
        benchmark: File of the benchmark (YAML), or the name of one that comes with the package, such as quick.
        output: Folder of the results; runs/benchmark-<name> by default. Cells that are finished there are not run
            again, those that were interrupted go on.
        processes: Number of cells at a time, each in a process of its own; they share the cores of the machine.
        seeds: Seeds instead of those of the file.
        datasets: Only these data sets.
        models: Only these models.
        protocol: Protocols of training instead of those of the file.
        retry_failed: Run cells again that have failed.
        dry_run: Say what would be run, and change nothing.
    """

    benchmark: str = ""
    output: str | None = None
    processes: int = 1
    seeds: list[int] | None = None
    datasets: list[str] | None = None
    models: list[str] | None = None
    protocol: list[str] | None = None
    retry_failed: bool = False
    dry_run: bool = False


def benchmark(options: BenchmarkOptions) -> None:
    """Run the cells of a benchmark that are not finished, and write its tables.

    Raises:
        InputError: If the benchmark cannot be used.
        ReproductionError: If a number is not the one that the benchmark expects.
    """
    from stgraph.tasks.benchmark.cells import expand
    from stgraph.tasks.benchmark.options import restrict
    from stgraph.tasks.benchmark.plan import plan
    from stgraph.tasks.benchmark.reading import read_benchmark

    if options.processes < 1:
        raise InputError(f"processes is {options.processes}; expected at least 1")
    config = restrict(
        read_benchmark(options.benchmark),
        seeds=options.seeds,
        datasets=options.datasets,
        models=options.models,
        protocols=options.protocol,
    )
    output = Path(options.output or f"runs/benchmark-{config.name}").expanduser()
    if output.exists() and not output.is_dir():
        raise InputError(f"output {output} is a file; expected a folder")
    jobs = plan(expand(config), output, retry_failed=options.retry_failed)
    if options.dry_run:
        print(_describe(jobs))
        return
    print(_count(jobs))
    results = _run(jobs, options.processes)
    _report(output, config, results)


def _run(jobs: list[Job], processes: int) -> list[CellResult]:
    from stgraph.tasks.benchmark.runner import run_jobs

    try:
        return run_jobs(jobs, processes)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here")
        raise SystemExit(_INTERRUPTED) from None


def _report(output: Path, config: BenchmarkConfig, results: list[CellResult]) -> None:
    from stgraph.report.benchmark import write_benchmark_report
    from stgraph.tasks.benchmark.expected import ReproductionError, check_expected, expected_table
    from stgraph.tasks.benchmark.tables import summary_text

    output.mkdir(parents=True, exist_ok=True)
    files = write_benchmark_report(output, config, results)
    print(f"\n{summary_text(results)}")
    checks = check_expected(config, results)
    if checks:
        print(f"\n{expected_table(checks)}")
    print(f"\n{len(files)} files with tables and figures are in {output}")
    wrong = sum(not check.passed for check in checks)
    if wrong:
        raise ReproductionError(f"{wrong} of {len(checks)} numbers are not those that {config.name} expects")


def _describe(jobs: list[Job]) -> str:
    """One line for each cell."""
    lines = []
    for job in jobs:
        note = "" if job.note is None else f" ({job.note})"
        lines.append(f"{job.state:<9} {job.cell.title}{note}")
        if job.state != "missing":
            lines[-1] += f": {job.folder.path}"
    return "\n".join([*lines, "", _count(jobs)])


def _count(jobs: list[Job]) -> str:
    """How many cells there are in each state.

    >>> _count([])
    '0 cells'
    """
    states = collections.Counter[str](job.state for job in jobs)
    names = {
        "done": "finished",
        "failed": "failed before",
        "continue": "to be continued",
        "run": "to be run",
        "missing": "without data",
    }
    parts = [f"{states[state]} {name}" for state, name in names.items() if states[state]]
    return f"{len(jobs)} cells" + (f": {', '.join(parts)}" if parts else "")
