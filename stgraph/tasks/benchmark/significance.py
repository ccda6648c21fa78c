"""Whether a model of a benchmark really is worse than the best, from the forecasts of the same windows."""

from __future__ import annotations

import dataclasses
import functools
import math
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError
from stgraph.metrics.significance import block_bootstrap, diebold_mariano, holm, window_losses
from stgraph.tasks.benchmark.rows import Part, horizons_of, model_rows
from stgraph.tasks.protocols.protocol import PROTOCOLS

__all__ = ["ModelComparison", "PartComparisons", "compare_with_best", "forecast_losses"]

LEVEL = 0.95

Floats = npt.NDArray[np.float64]


class Losses(NamedTuple):
    """Sums of absolute errors over observed targets and their numbers by window and step, ``[S, Q]``; first steps."""

    sums: Floats
    counts: Floats
    start: npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class ModelComparison:
    """A model beside the one with the least MAE.

    Args:
        horizon: Horizon of the MAE.
        model: The model.
        best: The model with the least MAE.
        difference: How much larger the MAE of the model is.
        low: Lower end of the 95 % interval of the difference.
        high: Upper end.
        p_value: P-value of no difference, from the block bootstrap.
        p_holm: That value, corrected for the number of models.
        p_diebold_mariano: P-value of no difference of the test of Diebold and Mariano; :obj:`None` for few windows.
    """

    horizon: str
    model: str
    best: str
    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float
    p_diebold_mariano: float | None

    @property
    def tied(self) -> bool:
        """Whether the interval holds 0: the model may be as good as the best."""
        return self.low <= 0 <= self.high


@dataclasses.dataclass(frozen=True)
class PartComparisons:
    """The comparisons on one data set under one protocol, and why some models are not among them."""

    comparisons: tuple[ModelComparison, ...] = ()
    notes: tuple[str, ...] = ()

    def tied(self, horizon: str) -> set[str]:
        """Return the models that are tied with the best at a horizon, without the best."""
        return {c.model for c in self.comparisons if c.horizon == horizon and c.tied}


def compare_with_best(part: Part, horizons: Iterable[str] | None = None) -> PartComparisons:
    """Compare every model with the one of the least MAE, over the windows that both have forecast.

    The losses of a window are the absolute errors of its observed targets, averaged over seeds. Blocks of windows are
    at least twice as long as a forecast, so that they hold windows that overlap.

    Args:
        part: Results on a data set under a protocol.
        horizons: Horizons to compare at; all by default.
    """
    rows = model_rows(part)
    losses, notes = _losses_of_models(part)
    order = [row.model for row in rows if row.model in losses]
    if len(order) < 2:
        return PartComparisons(notes=tuple(notes))
    found: list[ModelComparison] = []
    for horizon in horizons_of(rows, part.protocol) if horizons is None else horizons:
        means = {row.model: row.mean(part.protocol, horizon) for row in rows if row.model in losses}
        known = [model for model in order if math.isfinite(means[model])]
        if len(known) > 1:
            best = min(known, key=means.__getitem__)
            try:
                found += _compare(losses, best, [m for m in known if m != best], horizon, part.protocol)
            except InputError as error:
                notes.append(f"not compared at {horizon}: {error}")
    return PartComparisons(tuple(found), tuple(notes))


def forecast_losses(path: Path) -> Losses:
    """Read the losses of the forecasts in a file; of quantiles, those of the median.

    Raises:
        InputError: If the file cannot be used.
    """
    try:
        return _read_losses(path, path.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} holds no forecasts that can be compared: {error}") from error


@functools.lru_cache(maxsize=256)  # sums of windows are small, the files are not
def _read_losses(path: Path, _changed: int) -> Losses:
    with np.load(path, allow_pickle=False) as arrays:
        prediction = arrays["y_pred"]
        if prediction.ndim == 5:
            prediction = prediction[
                ..., _median(arrays["quantiles"] if "quantiles" in arrays else prediction.shape[-1])
            ]
        target = arrays["y_true"]
        sums, counts = window_losses(prediction, target, arrays.get("y_mask"))
        start = arrays["start"] if "start" in arrays else np.arange(len(target))
    return Losses(sums, counts, np.asarray(start, dtype=np.int64))


def _median(levels: npt.NDArray[np.float64] | int) -> int:
    if isinstance(levels, int):
        if levels % 2 == 0:
            raise ValueError(f"{levels} quantiles without a median")
        return levels // 2
    return [round(float(level), 6) for level in levels].index(0.5)


def _losses_of_models(part: Part) -> tuple[dict[str, Losses], list[str]]:
    """Return the losses of each model, averaged over seeds; all of the windows of the model that comes first."""
    seeds: dict[str, list[Losses]] = {}
    notes: list[str] = []
    windows: Losses | None = None
    for cell in part.results:
        if cell.status != "done":
            continue
        name = f"{cell.model}, seed {cell.seed}"
        if cell.predictions is None:
            notes.append(f"{name}: not compared, as its forecasts are not there")
            continue
        try:
            losses = forecast_losses(cell.predictions)
        except InputError as error:
            notes.append(f"{name}: not compared, as {error}")
            continue
        windows = windows or losses
        if not np.array_equal(windows.start, losses.start) or not np.array_equal(windows.counts, losses.counts):
            notes.append(f"{name}: not compared, as its forecasts are of other targets")
        elif not np.isfinite(losses.sums).all():
            notes.append(f"{name}: not compared, as a forecast is not a finite number")
        else:
            seeds.setdefault(cell.model, []).append(losses)
    means = {
        model: Losses(np.mean([one.sums for one in of_model], axis=0), of_model[0].counts, of_model[0].start)
        for model, of_model in seeds.items()
    }
    return means, notes


def _compare(
    losses: dict[str, Losses], best: str, others: Sequence[str], horizon: str, protocol: str
) -> list[ModelComparison]:
    steps = losses[best].counts.shape[1]
    chosen = _steps(horizon, protocol, steps)
    order = np.argsort(losses[best].start, kind="stable")
    counts, reference = (values[order][:, chosen].sum(1) for values in (losses[best].counts, losses[best].sums))
    if not counts.sum() > 0:
        raise InputError("no target was observed")
    stride = max(int(np.median(np.diff(losses[best].start[order]))), 1) if len(order) > 1 else 1
    span = max(math.ceil(2 * steps / stride), round(len(order) ** (1 / 3)))
    tests = []
    for model in others:
        sums = losses[model].sums[order][:, chosen].sum(1)
        test = block_bootstrap(sums, reference, counts, shortest_block=span, level=LEVEL)
        # What a window adds to the difference of the global means, as windows may have few targets.
        added = (sums - reference - test.difference * counts) / counts.mean() + test.difference
        tests.append((test, _diebold_mariano(added, math.ceil(steps / stride))))
    corrected = holm([test.p_value for test, _ in tests])
    return [
        ModelComparison(horizon, model, best, *test, float(p_holm), p_diebold_mariano)
        for model, (test, p_diebold_mariano), p_holm in zip(others, tests, corrected, strict=True)
    ]


def _diebold_mariano(added: Floats, steps: int) -> float | None:
    if len(added) <= 2 * steps:
        return None
    return diebold_mariano(added, np.zeros_like(added), steps=steps).p_value


def _steps(horizon: str, protocol: str, steps: int) -> slice:
    """Return the steps that the error at a horizon is of."""
    if horizon == "average":
        return slice(0, steps)
    step = int(horizon)
    if step > steps:
        raise InputError(f"the forecasts have {steps} steps")
    return slice(0 if PROTOCOLS[protocol].at == "first_steps" else step - 1, step)
