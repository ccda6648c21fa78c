"""Curves of a training run."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stgraph.errors import InputError
from stgraph.report.style import COLORS, INK, STYLES, label, new_figure, style

__all__ = ["read_metrics", "training_curves"]

_Columns = dict[str, npt.NDArray[np.float64]]


def read_metrics(path: str | os.PathLike[str]) -> _Columns:
    """Read the columns of a CSV log; empty cells are nan.

    Raises:
        InputError: If the file is missing, has no rows, or holds something that is not a number.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{file} is not there; expected a CSV file with the log of a run")
    with file.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        rows = list(reader)
        names = list(reader.fieldnames or ())
    if not rows:
        raise InputError(f"{file} has no rows")
    try:
        return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
    except (TypeError, ValueError) as error:
        raise InputError(f"{file} holds something that is not a number: {error}") from error


def training_curves(path: str | os.PathLike[str], *, unit: str | None = None) -> Figure:
    """Draw the training loss and the validation errors of a log with the columns of ``metrics.csv``.

    Columns that begin with ``train_`` go to the left, those that begin with ``val_`` to the right; ``train_loss_step``
    is drawn between the epochs. The epoch with the lowest first validation error is marked.

    Args:
        path: The CSV file, with a column ``epoch`` that counts from 0.
        unit: Unit of the validation errors.

    Raises:
        InputError: If the file cannot be used.
    """
    columns = read_metrics(path)
    train = {k.removeprefix("train_"): v for k, v in columns.items() if k.startswith("train_")}
    validation = {k.removeprefix("val_"): v for k, v in columns.items() if k.startswith("val_")}
    if "epoch" not in columns or not (train or validation):
        raise InputError(f"{path} has the columns {sorted(columns)}; expected 'epoch' and some of 'train_*', 'val_*'")
    panels = [part for part in (train, validation) if part]
    figure = new_figure(4.8 * len(panels), 3.8)
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, part in zip(all_axes, panels, strict=True):
        if part is train:
            _draw_training(axes, columns, train)
        else:
            _draw_validation(axes, columns["epoch"] + 1, validation, unit)
        style(axes)
        axes.set_xlabel("Epoch", fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.legend(frameon=False, fontsize=9)
    return figure


def _draw_training(axes: Axes, columns: _Columns, train: _Columns) -> None:
    for i, (name, values) in enumerate(sorted(train.items(), key=lambda item: item[0] == "loss_step")):
        known = np.isfinite(values)
        if name == "loss_step":
            at = _steps_as_epochs(columns)[known]
            axes.plot(at, values[known], color=COLORS[5], lw=0.8, alpha=0.7, zorder=1, label="of one step")
        else:
            at = columns["epoch"][known] + 1
            shown = "mean of the epoch" if name == "loss" else name
            axes.plot(at, values[known], color=COLORS[i % 5], lw=1.8, marker="o", markersize=3, label=shown)
    axes.set_title("Training loss", fontsize=12, color=INK)
    axes.set_ylabel("Loss (scaled units)", fontsize=10)


def _draw_validation(axes: Axes, epoch: npt.NDArray[np.float64], validation: _Columns, unit: str | None) -> None:
    for i, (name, values) in enumerate(validation.items()):
        known = np.isfinite(values)
        color = COLORS[i % len(COLORS)]
        shown = name.upper() if len(name) <= 5 else name
        axes.plot(epoch[known], values[known], color=color, linestyle=STYLES[i % len(STYLES)], lw=1.8, label=shown)
        if i == 0 and known.any():
            best = int(np.nanargmin(values))
            axes.plot(
                epoch[best], values[best], "o", color=color, markersize=7, label=f"best {shown}: {values[best]:.4g}"
            )
    axes.set_title("Validation", fontsize=12, color=INK)
    axes.set_ylabel(label("Error", unit), fontsize=10)


def _steps_as_epochs(columns: _Columns) -> npt.NDArray[np.float64]:
    """Place the rows of single steps between the ends of their epochs."""
    if "step" not in columns:
        return columns["epoch"] + 1
    step, last = columns["step"], int(np.nanargmax(columns["step"]))
    per_step = float(columns["epoch"][last] + 1) / max(float(step[last]), 1.0)
    return step * per_step
