"""The result of one cell of a benchmark: one model on one data set with one seed under one training protocol."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from stgraph.errors import InputError

__all__ = ["CellResult", "read_result", "write_result"]


@dataclasses.dataclass(frozen=True)
class CellResult:
    """What a benchmark knows of one cell.

    Args:
        dataset: Label of the data set in the configuration of the benchmark.
        model: Label of the model.
        seed: Seed of the run.
        protocol: Protocol of training.
        status: "done", "failed" (the run raised an error or was killed) or "missing" (the data is not there).
        reason: Why the cell failed or is missing.
        parameters: Number of trainable parameters.
        seconds_per_epoch: Training time of an epoch.
        epochs: Number of epochs trained.
        training_seconds: Training time as a whole.
        peak_memory_mb: Largest memory of the process in MB.
        scores: Scoring protocol -> horizon ("3", "6", "12", "average") -> metric ("mae", "rmse", "mape" in percent) ->
            value.
        predictions: File with the forecasts of the test period.

    >>> CellResult("metr_la", "stid", 1, "strict", "failed", reason="out of memory").scores
    {}
    """

    dataset: str
    model: str
    seed: int
    protocol: str
    status: Literal["done", "failed", "missing"]
    reason: str | None = None
    parameters: int | None = None
    seconds_per_epoch: float | None = None
    epochs: int | None = None
    training_seconds: float | None = None
    peak_memory_mb: float | None = None
    scores: dict[str, dict[str, dict[str, float]]] = dataclasses.field(default_factory=dict)
    predictions: Path | None = None


def write_result(path: Path, result: CellResult) -> None:
    """Write the result of a cell as JSON, whole or not at all; the path of the forecasts relative to the file."""
    from stgraph.tasks.folder import write_json

    # JSON has no infinity, which is what MAPE is under some protocols.
    values = dataclasses.asdict(result) | {"scores": _each(result.scores, lambda v: v if math.isfinite(v) else str(v))}
    if result.predictions is not None:
        values["predictions"] = str(result.predictions.absolute().relative_to(path.absolute().parent))
    write_json(path, values)


def read_result(path: Path) -> CellResult:
    """Read the result of a cell.

    Raises:
        InputError: If the file is missing or is no result.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["scores"] = _each(values["scores"], float)
        if values.get("predictions") is not None:
            values["predictions"] = path.parent / values["predictions"]
        return CellResult(**values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is not the result of a benchmark cell: {error}") from error


def _each(scores: dict[str, dict[str, dict[str, Any]]], change: Callable[[Any], Any]) -> dict[str, Any]:
    return {
        protocol: {h: {name: change(value) for name, value in errors.items()} for h, errors in horizons.items()}
        for protocol, horizons in scores.items()
    }
