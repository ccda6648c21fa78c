"""Figures that compare the models of a benchmark: by ranks over data sets, or by the errors of windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stgraph.errors import InputError
from stgraph.metrics.ranks import Ranks, friedman_ranks
from stgraph.report.style import BAND, COLORS, GREY, INK, label, new_figure, style

__all__ = ["critical_difference", "not_different", "window_boxes"]

_STEP = 0.3  # between the lines of two models


def critical_difference(errors: Any, models: Sequence[str], *, level: float = 0.95) -> Figure:
    """Draw the average ranks of models over data sets; a bar joins models that do not differ by more than chance.

    Args:
        errors: Error of each model on each data set.
        models: Names of the models.
        level: Level of the critical difference.

    Shapes:
        - **errors:** ``[n, k]``

    Raises:
        InputError: If there are fewer than two data sets or three models, or the names do not fit.
    """
    ranks = friedman_ranks(errors, level)
    if len(models) != len(ranks.average):
        raise InputError(f"models has {len(models)} names; errors has {len(ranks.average)} columns")
    order = np.argsort(ranks.average, kind="stable")
    bars = not_different(ranks.average[order], ranks.critical_difference)
    rows = (len(models) + 1) // 2
    top = 0.35 + 0.14 * len(bars)
    figure = new_figure(8.4, 1.6 + 0.32 * rows + 0.12 * len(bars))
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0.2, len(models) + 0.8)
    axes.set_ylim(-top - _STEP * rows, 1.15)
    axes.hlines(0, 1, len(models), color=INK, lw=1.2)
    for rank in range(1, len(models) + 1):
        axes.vlines(rank, 0, 0.08, color=INK, lw=1.2)
        axes.text(rank, 0.14, str(rank), ha="center", va="bottom", fontsize=9, color=INK)
    _draw_difference(axes, ranks)
    for i, (first, last) in enumerate(bars):
        ends = ranks.average[order][[first, last]] + [-0.03, 0.03]
        axes.hlines(-0.18 - 0.14 * i, *ends, color=COLORS[1], lw=3.5)
    for i, model in enumerate(order):
        _draw_model(axes, i, len(models), float(ranks.average[model]), str(models[model]), top)
    sets = len(np.asarray(errors))
    axes.set_title(
        f"Average ranks over {sets} data sets (1 is the best); Friedman's test: p = {ranks.p_value:.2g}",
        fontsize=11,
        color=INK,
    )
    return figure


def not_different(ranks: npt.NDArray[np.float64], difference: float) -> list[tuple[int, int]]:
    """Return first and last model of each longest group within the critical difference.

    Args:
        ranks: Average ranks in ascending order.
        difference: The critical difference.

    >>> not_different(np.array([1.0, 1.5, 2.5, 4.0]), 1.2)
    [(0, 1), (1, 2)]
    """
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = int(np.searchsorted(ranks, ranks[first] + difference, side="right")) - 1
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def window_boxes(errors: Mapping[str, Any], *, title: str, unit: str | None = None) -> Figure:
    """Draw the distribution of the mean absolute error of windows for each model.

    The box holds the middle half of the windows, its line the median, the whiskers 90 % of the windows, the point the
    mean.

    Args:
        errors: Error of each window by model; windows with nan are left out.
        title: Title of the figure.
        unit: Unit of the errors.

    Raises:
        InputError: If a model has no window.
    """
    values = {name: np.asarray(of_model, dtype=np.float64) for name, of_model in errors.items()}
    values = {name: of_model[np.isfinite(of_model)] for name, of_model in values.items()}
    if not values or any(len(of_model) == 0 for of_model in values.values()):
        counts = {name: len(of_model) for name, of_model in values.items()}
        raise InputError(f"errors has {counts} windows; expected at least one for at least one model")
    figure = new_figure(7.2, 1.2 + 0.38 * len(values))
    axes = figure.subplots()
    axes.boxplot(
        list(values.values()),
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        patch_artist=True,
        widths=0.55,
        boxprops={"facecolor": BAND, "edgecolor": COLORS[0]},
        medianprops={"color": INK, "linewidth": 1.6},
        whiskerprops={"color": GREY},
        capprops={"color": GREY},
        meanprops={"marker": "o", "markerfacecolor": COLORS[1], "markeredgecolor": COLORS[1], "markersize": 4.5},
    )
    axes.set_yticks(range(1, len(values) + 1), list(values))
    axes.invert_yaxis()
    style(axes, grid="x")
    axes.set_xlim(left=0)
    axes.set_xlabel(label("MAE of a window", unit), fontsize=10)
    axes.set_title(title, fontsize=11, color=INK)
    return figure


def _draw_difference(axes: Axes, ranks: Ranks) -> None:
    """Draw the critical difference as a length of the axis of ranks."""
    end = 1 + ranks.critical_difference
    axes.hlines(0.75, 1, min(end, len(ranks.average) + 0.8), color=COLORS[1], lw=3.5)
    axes.text(1, 0.84, f"critical difference {ranks.critical_difference:.2f}", ha="left", fontsize=9, color=INK)


def _draw_model(axes: Axes, place: int, count: int, rank: float, name: str, top: float) -> None:
    """Draw a line from the rank of a model to its name, the better half to the left."""
    half = (count + 1) // 2
    left = place < half
    row = place if left else count - 1 - place
    height = -top - _STEP * row
    edge = 0.85 if left else count + 0.15
    axes.plot([rank, rank, edge], [0, height, height], color=GREY, lw=1)
    axes.text(
        edge + (-0.05 if left else 0.05),
        height,
        f"{name} ({rank:.2f})",
        ha="right" if left else "left",
        va="center",
        fontsize=9.5,
        color=INK,
    )
