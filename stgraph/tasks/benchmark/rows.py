"""What a benchmark found about each model on each data set: means and deviations over seeds, costs and failures."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stgraph.tasks.benchmark.options import METRICS
from stgraph.tasks.benchmark.results import CellResult

__all__ = ["ModelRow", "Part", "Spread", "horizons_of", "model_rows", "parts", "relative_cost"]

_REFERENCE = "stid"  # what the cost of training is measured by


class Spread(NamedTuple):
    """Mean over seeds and, where there are several, their standard deviation."""

    mean: float
    deviation: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """Return the spread of the values that are known; :obj:`None` of none.

        >>> Spread.of([1.0, 3.0]).mean, Spread.of([2.0, None]), Spread.of([])
        (2.0, Spread(mean=2.0, deviation=None), None)
        """
        known = [float(value) for value in values if value is not None]
        if not known:
            return None
        if not all(math.isfinite(value) for value in known):
            return cls(math.inf if math.inf in known else math.nan)
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


@dataclasses.dataclass(frozen=True)
class ModelRow:
    """One model on one data set, trained under one protocol.

    Args:
        model: Label of the model.
        seeds: Seeds that are done.
        failures: Seed and reason of each cell that is not.
        scores: Protocol of scoring, horizon and metric -> mean and deviation over seeds.
        parameters: Number of trainable parameters.
        seconds_per_epoch: Training time of an epoch.
        relative_cost: That time over STID's.
        peak_memory_mb: Largest memory of the seeds in MB.
    """

    model: str
    seeds: tuple[int, ...]
    failures: tuple[tuple[int, str], ...]
    scores: dict[tuple[str, str, str], Spread]
    parameters: int | None = None
    seconds_per_epoch: float | None = None
    relative_cost: float | None = None
    peak_memory_mb: float | None = None

    def mean(self, protocol: str, horizon: str, metric: str = "mae") -> float:
        """Return the mean of an error over seeds; nan where there is none."""
        spread = self.scores.get((protocol, horizon, metric))
        return math.nan if spread is None else spread.mean


class Part(NamedTuple):
    """The cells of one data set and one protocol of training, without those whose data is missing."""

    dataset: str
    protocol: str
    results: list[CellResult]


def parts(results: Sequence[CellResult]) -> list[Part]:
    """Return the data sets and protocols of training of a benchmark in their order."""
    found: dict[tuple[str, str], list[CellResult]] = {}
    for result in results:
        if result.status != "missing":
            found.setdefault((result.dataset, result.protocol), []).append(result)
    return [Part(dataset, protocol, cells) for (dataset, protocol), cells in found.items()]


def model_rows(part: Part) -> list[ModelRow]:
    """Return the rows of a part, by average MAE under its protocol; models without one come last."""
    cells: dict[str, list[CellResult]] = {}
    for result in part.results:
        cells.setdefault(result.model, []).append(result)
    rows = [_row(model, of_model) for model, of_model in cells.items()]
    reference = next((row.seconds_per_epoch for row in rows if row.model == _REFERENCE), None)
    rows = [dataclasses.replace(row, relative_cost=relative_cost(row.seconds_per_epoch, reference)) for row in rows]
    return sorted(rows, key=lambda row: _order(row.mean(part.protocol, "average")))


def relative_cost(seconds: float | None, reference: float | None) -> float | None:
    """Return a time over another; :obj:`None` where one is not known.

    >>> relative_cost(6.0, 2.0), relative_cost(6.0, None)
    (3.0, None)
    """
    return seconds / reference if seconds and reference else None


def horizons_of(rows: Iterable[ModelRow], protocol: str) -> list[str]:
    """Return the horizons that there are errors at, the average last."""
    named = {horizon for row in rows for scored, horizon, _ in row.scores if scored == protocol}
    return [*sorted(named - {"average"}, key=int), *sorted(named & {"average"})]


def _row(model: str, cells: Sequence[CellResult]) -> ModelRow:
    done = [cell for cell in cells if cell.status == "done"]
    keys = dict.fromkeys((p, h, m) for c in done for p, hs in c.scores.items() for h in hs for m in METRICS)
    spreads = {
        (protocol, horizon, metric): Spread.of(
            cell.scores.get(protocol, {}).get(horizon, {}).get(metric) for cell in done
        )
        for protocol, horizon, metric in keys
    }
    seconds = Spread.of(cell.seconds_per_epoch for cell in done)
    return ModelRow(
        model=model,
        seeds=tuple(cell.seed for cell in done),
        failures=tuple((cell.seed, cell.reason or "no reason is known") for cell in cells if cell.status == "failed"),
        scores={key: spread for key, spread in spreads.items() if spread is not None},
        parameters=next((cell.parameters for cell in done if cell.parameters is not None), None),
        seconds_per_epoch=None if seconds is None else seconds.mean,
        peak_memory_mb=max((cell.peak_memory_mb for cell in done if cell.peak_memory_mb is not None), default=None),
    )


def _order(value: float) -> float:
    return math.inf if math.isnan(value) else value
