"""Figures of what a detector found: series of sensors, scores of all objects, and where on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from stgraph.errors import InputError
from stgraph.report.anomaly_panels import FLAGGED, RED, as_bools, as_floats, flagged_spans, line, shade, with_gaps
from stgraph.report.arrays import Array, Floats, check_node, masked_mean
from stgraph.report.figures import error_map
from stgraph.report.style import BAND, COLORS, GREY, INK, label, new_figure, style, time_axis

__all__ = ["MAX_NODES", "flagged_share_map", "score_overview", "series_anomalies"]

#: Largest number of nodes in one figure.
MAX_NODES = 8

_BAND_WIDTH = 2  # standard deviations
_LINE_OF_TEXT = 14  # pixels of the screen


def series_anomalies(
    observed: Any,
    expected: Any,
    deviation: Any,
    regions: Any,
    *,
    mask: Any = None,
    time: Any = None,
    nodes: Sequence[int] | None = None,
    node_names: Sequence[str] | None = None,
    threshold: float | None = None,
    channel_name: str | None = None,
    unit: str | None = None,
) -> Figure:
    """Draw what sensors observed, what was expected of them, what is flagged, and the standardised deviation below.

    The band is that of two standard deviations around what was expected, as the deviation tells them: the ratio of
    residual and deviation, between points where both are 0 interpolated. Points that are not observed are gaps.

    Args:
        observed: Observed values.
        expected: Expected values.
        deviation: Standardised deviation from what was expected.
        regions: True at flagged steps.
        mask: True at observed values. (default: all that are finite)
        time: Times, int64 nanoseconds or ``datetime64``, or numbers without a calendar. (default: numbers of steps)
        nodes: Indices of the nodes to draw, at most 8. (default: those with the most flagged steps)
        node_names: Names of all nodes.
        threshold: Deviation that is marked, on both sides of 0.
        channel_name: Name of the values.
        unit: Unit of the values.

    Shapes:
        - **observed**, **expected**, **deviation**, **regions**, **mask:** ``[N, L]`` or ``[N, L, 1]``
        - **time:** ``[L]``

    Raises:
        InputError: If a shape does not fit, there is nothing to draw, or more than 8 nodes are named.
    """
    x = as_floats(observed, "observed")
    if x.ndim != 2 or x.size == 0:
        raise InputError(f"observed has shape {x.shape}; expected (N, L) with at least one node and step")
    m, z = as_floats(expected, "expected", x.shape), as_floats(deviation, "deviation", x.shape)
    flagged = as_bools(regions, "regions", x.shape)
    good = np.isfinite(x) if mask is None else np.isfinite(x) & as_bools(mask, "mask", x.shape)
    at = _times(time, x.shape[1])
    chosen = _most_flagged(flagged, z, good) if nodes is None else [check_node(n, len(x)) for n in nodes]
    if not 1 <= len(chosen) <= MAX_NODES:
        raise InputError(f"nodes has {len(chosen)} entries; expected 1 to {MAX_NODES}")
    figure = new_figure(9.5, 1.2 + 1.9 * len(chosen))
    ratios = [3, 1] * len(chosen)
    panels = figure.subplots(2 * len(chosen), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    for axes, below, i in zip(panels[::2], panels[1::2], chosen, strict=True):
        spread = _spread(x[i] - m[i], z[i], good[i])
        _draw_node(axes, at, x[i], m[i], spread, good[i])
        _draw_deviation(below, at, with_gaps(z[i], good[i]), threshold)
        spans = flagged_spans(_numbers(at), flagged[i], np.ones_like(good[i]))
        shade(axes, spans)
        shade(below, spans)
        axes.margins(x=0.01)
        below.margins(x=0.01)
        name = f"Node {i}" if node_names is None else str(node_names[i])
        axes.set_title(f"{name}: {_share(flagged[i])}", fontsize=10, loc="left", color=INK)
    time_axis(panels[-1], at)
    if time is None:
        panels[-1].set_xlabel("Step", fontsize=10)
    figure.supylabel(label(channel_name or "Value", unit), fontsize=10)
    figure.legend(handles=_handles(threshold), loc="outside upper center", ncols=5, frameon=False, fontsize=9)
    return figure


def score_overview(
    score: Any, threshold: float | None = None, *, anomalous: Any = None, names: Sequence[str] | None = None
) -> Figure:
    """Draw the scores of all objects from the highest to the lowest, with the threshold and the highest few by name.

    Args:
        score: Score of each object, the higher the more anomalous; nan for those without data, which are left out.
        threshold: Score above which an object is flagged.
        anomalous: True for flagged objects. (default: those above the threshold)
        names: Name of each object.

    Shapes:
        - **score**, **anomalous:** ``[N]``

    Raises:
        InputError: If a shape does not fit, or no score is finite.
    """
    values = as_floats(score, "score")
    if values.ndim != 1 or not np.isfinite(values).any():
        raise InputError(f"score has shape {values.shape} and no finite entry; expected (N,) and some")
    if names is not None and len(names) != len(values):
        raise InputError(f"names has {len(names)} entries; score has {len(values)}")
    limit = None if threshold is None or not np.isfinite(threshold) else float(threshold)
    flagged = values > (np.inf if limit is None else limit)
    if anomalous is not None:
        flagged = as_bools(anomalous, "anomalous", values.shape)
    order = np.argsort(-values, kind="stable")
    order = order[np.isfinite(values[order])]
    rank = np.arange(1, len(order) + 1)
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    # The threshold first, so that the limits of the axis hold it.
    if limit is not None:
        axes.axhline(limit, color=GREY, lw=1.2, ls="--", label=f"Threshold {limit:.3g}")
    for part, color, marker, name in ((~flagged, COLORS[0], "o", "Not flagged"), (flagged, RED, "D", "Flagged")):
        shown = part[order]
        text = f"{name} ({shown.sum()})"
        axes.plot(rank[shown], values[order[shown]], marker, ms=4, color=color, mew=0, label=text)
    if values[order].min() > 0 and values[order[0]] > 30 * np.median(values[order]):
        axes.set_yscale("log")
    if names is not None:
        _name_highest(axes, values[order[:3]], [str(names[i]) for i in order[:3]])
    style(axes)
    axes.set_xlabel("Rank", fontsize=10)
    axes.set_ylabel("Score", fontsize=10)
    without = len(values) - len(order)
    title = f"Scores of {len(order)} objects" + (f" ({without} without data)" if without else "")
    axes.set_title(title, fontsize=12, color=INK)
    axes.legend(frameon=False, fontsize=9, loc="upper right")
    return figure


def flagged_share_map(regions: Any, grid: tuple[int, int], *, mask: Any = None) -> Figure:
    """Draw the share of observed steps that are flagged for each node of a grid.

    Args:
        regions: True at flagged steps.
        grid: ``(H, W)``; the nodes are the grid row by row.
        mask: True at observed values. (default: all)

    Shapes:
        - **regions**, **mask:** ``[H * W, L]`` or ``[H * W, L, 1]``

    Raises:
        InputError: If a shape does not fit.
    """
    array = as_floats(regions, "regions")
    if array.ndim != 2:
        raise InputError(f"regions has shape {array.shape}; expected (N, L)")
    known = np.ones(array.shape, dtype=np.bool_) if mask is None else as_bools(mask, "mask", array.shape)
    share = 100 * masked_mean(array, known, 1)
    return error_map(None, share, grid=grid, name="Flagged steps", unit="%", title="Share of flagged steps")


def _most_flagged(flagged: npt.NDArray[np.bool_], z: Floats, good: npt.NDArray[np.bool_]) -> list[int]:
    """Nodes with the most flagged steps, among equals those with the largest deviation, in the order of the nodes."""
    largest = np.where(good, np.nan_to_num(np.abs(z)), 0.0).max(axis=1)
    order = np.lexsort((-largest, -flagged.sum(axis=1)))
    return sorted(order[:MAX_NODES].tolist())


def _times(time: Any, length: int) -> Array:
    if time is None:
        return np.arange(length)
    at: Array = np.asarray(time.detach().cpu() if hasattr(time, "detach") else time)
    if at.shape != (length,):
        raise InputError(f"time has shape {at.shape}; expected ({length},)")
    return at.astype("datetime64[ns]") if at.dtype == np.int64 else at


def _numbers(at: Array) -> Floats:
    """What the axis counts: days for dates."""
    if np.issubdtype(at.dtype, np.datetime64):
        from matplotlib.dates import date2num

        return np.asarray(date2num(at), dtype=np.float64)  # type: ignore[no-untyped-call]
    return at.astype(np.float64)


def _spread(residual: Floats, z: Floats, good: npt.NDArray[np.bool_]) -> Floats:
    """Standard deviation that turned the residuals into deviations."""
    told = good & np.isfinite(z) & (np.abs(z) > 1e-6) & np.isfinite(residual)
    if not told.any():
        return np.full(len(z), np.nan)
    step = np.arange(len(z))
    return np.interp(step, step[told], np.abs(residual[told] / z[told]))


def _draw_node(axes: Axes, at: Array, x: Floats, m: Floats, spread: Floats, good: npt.NDArray[np.bool_]) -> None:
    width = _BAND_WIDTH * spread
    axes.fill_between(at, m - width, m + width, color=BAND, alpha=0.5, lw=0)
    axes.plot(at, m, color=COLORS[0], lw=1.2)
    line(axes, at, with_gaps(x, good), INK, 0.9, "Observed")
    style(axes)
    axes.tick_params(labelbottom=False)


def _draw_deviation(axes: Axes, at: Array, z: Floats, threshold: float | None) -> None:
    axes.axhline(0.0, color=GREY, lw=0.8)
    for level in [] if threshold is None else [-threshold, threshold]:
        axes.axhline(level, color=RED, lw=0.8, ls="--")
    line(axes, at, z, INK, 0.7, "z")
    style(axes)
    axes.set_ylabel("z", fontsize=9)
    axes.locator_params(axis="y", nbins=3)


def _share(flagged: npt.NDArray[np.bool_]) -> str:
    """Say how much is flagged.

    >>> _share(np.array([True, False, False, False])), _share(np.array([False]))
    ('25 % flagged', 'nothing flagged')
    """
    return f"{100 * flagged.mean():.2g} % flagged" if flagged.any() else "nothing flagged"


def _name_highest(axes: Axes, scores: Floats, names: list[str]) -> None:
    """Write the names beside their points, the highest first, but none over another."""
    axes.get_ylim()  # brings the limits of the axis up to date
    heights = axes.transData.transform([(1.0, value) for value in scores])[:, 1]
    lowest = np.inf
    for rank, (value, name, height) in enumerate(zip(scores, names, heights, strict=True), start=1):
        if lowest - height >= _LINE_OF_TEXT:
            axes.annotate(name, (rank, value), xytext=(7, 0), textcoords="offset points", fontsize=8, va="center")
            lowest = height


def _handles(threshold: float | None) -> list[Any]:
    handles: list[Any] = [
        Line2D([], [], color=INK, lw=1.2, label="Observed"),
        Line2D([], [], color=COLORS[0], lw=1.5, label="Expected"),
        Patch(color=BAND, alpha=0.5, lw=0, label=f"± {_BAND_WIDTH} standard deviations"),
        Patch(color=FLAGGED, alpha=0.35, lw=0, label="Flagged"),
    ]
    if threshold is not None:
        handles.append(Line2D([], [], color=RED, lw=1, ls="--", label=f"|z| = {threshold:g}"))
    return handles
