"""What differs between the weights, the predictions and the metrics of two runs, bit by bit."""

from __future__ import annotations

import csv
import dataclasses
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stgraph.errors import CheckpointError, InputError
from stgraph.tasks.checkpoints import read_checkpoint
from stgraph.tasks.folder import RunFolder

__all__ = ["Difference", "check_readable", "compare_runs", "read_json"]

#: Results that say how long something took or how much it needed: they differ from run to run.
_VARYING = ("seconds_per_epoch", "training_seconds", "peak_memory_mb")


@dataclasses.dataclass(frozen=True)
class Difference:
    """A tensor, an array or a number that a repetition did not give again.

    Args:
        file: File of the run that holds it.
        name: What differs.
        largest: Largest absolute difference; ``None`` where there is none to state, nan where one side alone is NaN.
        note: What else there is to say.
    """

    file: str
    name: str
    largest: float | None = None
    note: str = ""

    def __str__(self) -> str:
        size = [] if self.largest is None else [f"largest difference {self.largest:.3g}"]
        return f"{self.file}: {self.name}: {', '.join([*size, *([self.note] if self.note else [])])}"


def compare_runs(run: RunFolder, other: RunFolder) -> dict[str, tuple[Difference, ...]]:
    """Return what differs between the weights, the predictions and the metrics of two finished runs.

    Raises:
        InputError: If a file of a run is missing or damaged.
    """
    return {part: tuple(_differences(read(run), read(other))) for part, read in _READERS.items()}


def check_readable(run: RunFolder) -> None:
    """Refuse a run of which a file is missing or damaged.

    Raises:
        InputError: If it is.
    """
    for path in (run.results, _predictions_file(run)):
        if not path.is_file():
            raise InputError(f"{run.path} is not the folder of a finished run: it has no {path.name}")
    for read in _READERS.values():
        read(run)


def _differences(first: Mapping[tuple[str, str], Any], second: Mapping[tuple[str, str], Any]) -> Iterator[Difference]:
    for key in [*first, *(key for key in second if key not in first)]:
        if key not in second or key not in first:
            yield Difference(*key, note="only in the " + ("run" if key in first else "repetition"))
        else:
            found = _difference(first[key], second[key])
            if found is not None:
                yield Difference(*key, *found)


def _difference(first: Any, second: Any) -> tuple[float | None, str] | None:
    """Return the largest absolute difference of two values and a note, or ``None`` where all bits are equal."""
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        if repr(first) == repr(second):  # tells -0.0 from 0.0 and 1 from 1.0
            return None
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (first, second))
        return abs(first - second) if numbers else None, f"{first} in the run, {second} now"
    if first.shape != second.shape or first.dtype != second.dtype:
        return None, f"{_kind(first)} in the run, {_kind(second)} now"
    changed = (_bits(first) != _bits(second)).any(1)
    if not changed.any():
        return None
    one, two = (_real(tensor)[changed] for tensor in (first, second))
    # Infinities of the same sign are at no distance from each other, nor are NaNs of other bits.
    same = (one == two) | (one.isnan() & two.isnan())
    return torch.where(same, 0.0, (one - two).abs()).max().item(), f"{len(one)} of {len(changed)} values"


def _bits(tensor: Tensor) -> Tensor:
    """Return the bytes of each value, ``[n, bytes]``."""
    return tensor.detach().contiguous().reshape(-1, 1).view(torch.uint8)


def _real(tensor: Tensor) -> Tensor:
    """Return the values in float64, ``[n]`` or, of complex ones, ``[n, 2]``."""
    flat = tensor.detach().reshape(-1)
    return (torch.view_as_real(flat) if flat.is_complex() else flat).double()


def _kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _weights(run: RunFolder) -> dict[tuple[str, str], Any]:
    """Return the tensors of the checkpoints; a model without parameters has no last one, a detector may have none."""
    values: dict[tuple[str, str], Any] = {}
    files = {run.detector: "state"} if run.is_anomaly else {run.best: "state_dict"}
    files |= {path: "state_dict" for path in (run.best, run.last) if path.is_file()}
    for path, key in files.items():
        state = read_checkpoint(path).get(key)
        if not isinstance(state, dict):
            raise CheckpointError(f"checkpoint {path} has no weights")
        values |= {(path.name, name): tensor for name, tensor in state.items()}
    return values


def _predictions_file(run: RunFolder) -> Path:
    if run.is_anomaly:
        return run.anomalies
    return run.errors if run.is_reconstruction else run.predictions


def _predictions(run: RunFolder) -> dict[tuple[str, str], Any]:
    if run.is_reconstruction:
        # Names and classes are text; numbers are written so that all their bits can be read back.
        lines = run.errors.read_text(encoding="utf-8").splitlines()
        return {(run.errors.name, f"row {number}"): line for number, line in enumerate(lines)}
    path = _predictions_file(run)
    try:
        with np.load(path, allow_pickle=False) as saved:
            arrays = {(path.name, name): saved[name] for name in saved.files}
        return {k: v.tolist() if v.dtype.kind == "U" else torch.from_numpy(v) for k, v in arrays.items()}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from error


def _metrics(run: RunFolder) -> dict[tuple[str, str], Any]:
    """Return the numbers of the results, and the columns of the log of the training."""
    results = {name: value for name, value in read_json(run.results).items() if name not in _VARYING}
    values = {(run.results.name, name): value for name, value in _flat(results).items()}
    if run.metrics.is_file():
        values |= _columns(run.metrics)
    return values


def _columns(path: Path) -> dict[tuple[str, str], Tensor]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    try:
        columns = {name: [float(row[name] or "nan") for row in rows] for name in (rows[0] if rows else ())}
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error}") from error
    return {(path.name, name): torch.tensor(column, dtype=torch.float64) for name, column in columns.items()}


def read_json(path: Path) -> dict[str, Any]:
    """Read a dictionary from a JSON file; an empty one where there is no file.

    Raises:
        InputError: If the file is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}; expected a dictionary")
    return content


def _flat(value: Any, name: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries and lists by their path."""
    if isinstance(value, dict) or (isinstance(value, list) and value):
        items = value.items() if isinstance(value, dict) else enumerate(value, 1)
        flat: dict[str, Any] = {}
        for key, inner in items:
            flat |= _flat(inner, f"{name}.{key}" if name else str(key))
        return flat
    return {name: value}


_READERS: dict[str, Callable[[RunFolder], dict[tuple[str, str], Any]]] = {
    "weights": _weights,
    "predictions": _predictions,
    "metrics": _metrics,
}
