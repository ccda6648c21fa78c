"""Whether a benchmark gives the numbers that it has to give."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from stgraph.errors import InputError
from stgraph.tasks.benchmark.options import BenchmarkConfig
from stgraph.tasks.benchmark.results import CellResult

__all__ = ["Check", "ReproductionError", "check_expected", "expected_table"]


class ReproductionError(InputError):
    """A benchmark did not give the numbers that it has to give."""


class Check(NamedTuple):
    """One number of a benchmark beside the number expected; ``got`` is the mean over seeds."""

    dataset: str
    model: str
    horizon: str
    metric: str
    expected: float
    got: float | None
    tolerance: float
    passed: bool


def check_expected(config: BenchmarkConfig, results: Sequence[CellResult]) -> list[Check]:
    """Compare the means over seeds with the numbers expected.

    A number passes if it lies within the tolerance to either side: errors far below the published ones are no
    reproduction either. Cells trained and scored under the protocol of the numbers count; where a cell of them failed,
    there is no mean and the number does not pass. Data sets that are left out because their files are absent are
    not checked.

    Args:
        config: The benchmark.
        results: Its results.
    """
    protocol = config.expected.protocol or config.protocols[0]
    cells = [result for result in results if result.protocol == protocol]
    missing = {result.dataset for result in results if result.status == "missing"}
    checks = []
    for dataset, model, horizon, metric, value in _numbers(config):
        if dataset in missing:
            continue
        of_model = [cell for cell in cells if (cell.dataset, cell.model) == (dataset, model)]
        got = _mean([cell.scores.get(protocol, {}).get(horizon, {}).get(metric) for cell in of_model])
        tolerance = config.expected.tolerance[metric]
        passed = got is not None and math.isfinite(got) and abs(got - value) <= tolerance * (1 + 1e-9)
        checks.append(Check(dataset, model, horizon, metric, value, got, tolerance, passed))
    return checks


def expected_table(checks: Sequence[Check]) -> str:
    """Return a table of the checks for the terminal.

    >>> print(expected_table([Check("metr_la", "stid", "3", "mae", 2.8, 2.81, 0.05, True)]))
    data set  model  horizon  metric  expected  got   tolerance
    metr_la   stid   3        mae     2.8       2.81  0.05       passed
    """
    rows = [["data set", "model", "horizon", "metric", "expected", "got", "tolerance", ""]]
    for check in checks:
        got = "none" if check.got is None else f"{check.got:.4g}"
        numbers = [f"{check.expected:.4g}", got, f"{check.tolerance:.4g}"]
        rows.append([*check[:4], *numbers, "passed" if check.passed else "FAILED"])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _numbers(config: BenchmarkConfig) -> Iterator[tuple[str, str, str, str, float]]:
    for dataset, rows in config.expected.values.items():
        for model, horizons in rows.items():
            for horizon, numbers in horizons.items():
                for metric, value in numbers.items():
                    yield dataset, model, horizon, metric, value


def _mean(values: Iterable[float | None]) -> float | None:
    values = list(values)
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known and len(known) == len(values) else None
