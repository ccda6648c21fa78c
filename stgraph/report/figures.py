"""Figures of forecasts and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stgraph.errors import InputError
from stgraph.report.arrays import (
    Floats,
    as_array,
    best_stretch,
    check_levels,
    check_node,
    choose_nodes,
    known_targets,
    masked_mean,
    node_errors,
    times,
)
from stgraph.report.style import (
    BAND,
    COLORS,
    GREY,
    INK,
    MARKERS,
    STYLES,
    label,
    new_figure,
    save_figure,
    style,
    time_axis,
)
from stgraph.report.training import training_curves

__all__ = ["error_map", "forecasts_at_nodes", "horizon_errors", "node_errors", "save_figure", "training_curves"]


def forecasts_at_nodes(
    prediction: Any,
    target: Any,
    *,
    mask: Any = None,
    time: Any = None,
    quantiles: Sequence[float] | None = None,
    baselines: Mapping[str, Any] | None = None,
    model_name: str = "Forecast",
    nodes: Sequence[int] | None = None,
    node_names: Sequence[str] | None = None,
    step: int = 0,
    channel: int = 0,
    channel_name: str | None = None,
    unit: str | None = None,
    max_windows: int = 120,
) -> Figure:
    """Draw observed values and forecasts at a few nodes over time.

    Without ``nodes``, four are chosen by their error, from the good to the bad, among those observed more than most.
    The stretch of time drawn is the one with the most observations.

    Args:
        prediction: Forecasts, with quantiles as the last dimension if ``quantiles`` is given.
        target: Targets.
        mask: True where the target is observed.
        time: Times of the targets, int64 nanoseconds or numbers without a calendar.
        quantiles: Levels, with 0.5 among them; the outermost bound the band.
        baselines: Point forecasts of other models by name.
        model_name: Name of the model in the legend.
        nodes: Indices of the nodes to draw.
        node_names: Names of all nodes.
        step: Which step of the horizon to draw, from 0.
        channel: Which channel to draw.
        channel_name: Name of the channel.
        unit: Unit of the channel.
        max_windows: Longest stretch to draw.

    Shapes:
        - **prediction:** ``[S, N, Q, C]`` or ``[S, N, Q, C, L]``; **target**, **mask**, each baseline: ``[S, N, Q, C]``
        - **time:** ``[S, Q]``

    Raises:
        InputError: If a shape does not fit or there is nothing to draw.
    """
    y = as_array(target, "target")
    levels = None if quantiles is None else check_levels(quantiles)
    p = as_array(prediction, "prediction", y.shape if levels is None else (*y.shape, len(levels)))
    if y.size == 0:
        raise InputError(f"target has shape {y.shape}; expected at least one window and node")
    if not 0 <= step < y.shape[2] or not 0 <= channel < y.shape[3]:
        raise InputError(
            f"step is {step} and channel {channel}; target has {y.shape[2]} steps and {y.shape[3]} channels"
        )
    # One step and channel is drawn; only that much is copied.
    drawn = (slice(None), slice(None), step, channel)
    known = known_targets(y[drawn], None if mask is None else as_array(mask, "mask", y.shape)[drawn])
    observed = np.where(known, y[drawn], np.nan).astype(np.float64)
    forecast = p[drawn].astype(np.float64)
    point = forecast if levels is None else forecast[..., levels.index(0.5)]
    others = {name: as_array(v, f"baseline {name!r}", y.shape)[drawn] for name, v in (baselines or {}).items()}
    chosen = choose_nodes(point, observed) if nodes is None else [check_node(n, y.shape[1]) for n in nodes]
    part = best_stretch(known[:, chosen].sum(1), max_windows)
    at = times(time, y.shape, step)[part]
    error = masked_mean(np.abs(point - observed), known, 0)
    figure = new_figure(9.5, 1.0 + 1.75 * len(chosen))
    rows = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, node in zip(rows, chosen, strict=True):
        if levels is not None and len(levels) > 1:
            _draw_band(axes, at, forecast[part, node], levels)
        lines = {name: values[part, node] for name, values in others.items()}
        _draw_lines(axes, at, observed[part, node], point[part, node], lines, model_name)
        name = str(node_names[node]) if node_names is not None else f"Node {node}"
        axes.set_title(f"{name}   {_describe_error(error[node], unit)}", fontsize=10, loc="left", color=INK)
    time_axis(rows[-1], at)
    figure.supylabel(label(channel_name or "Value", unit), fontsize=10)
    ahead = f"{step + 1} step{'s' if step else ''} ahead"
    figure.suptitle(f"Forecasts {ahead} at {len(chosen)} of {y.shape[1]} nodes", fontsize=12, color=INK)
    handles, names = rows[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 6), frameon=False, fontsize=9)
    return figure


def error_map(
    pos: Any,
    error: Any,
    *,
    grid: tuple[int, int] | None = None,
    name: str = "MAE",
    unit: str | None = None,
    pos_unit: str | None = None,
    title: str | None = None,
) -> Figure:
    """Draw an error of each node at its place: points, or an image for a grid.

    Args:
        pos: Coordinates; the first two are drawn. One alone gives a line of points; a grid needs none.
        error: Error of each node; nodes with nan are drawn as empty circles.
        grid: ``(H, W)`` where the nodes are a grid, row by row.
        name: Name of the error.
        unit: Unit of the error.
        pos_unit: Unit of the coordinates.
        title: Title of the figure.

    Shapes:
        - **pos:** ``[N, D]``, **error:** ``[N]``

    Raises:
        InputError: If a shape does not fit.
    """
    values = np.asarray(error, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise InputError(f"error has shape {values.shape}; expected (N,) with at least one node")
    figure = new_figure(7.2, 5.6)
    axes = figure.subplots()
    if grid is not None:
        if grid[0] * grid[1] != values.size:
            raise InputError(f"grid is {tuple(grid)}; error has {values.size} nodes")
        _draw_image(figure, axes, values.reshape(grid), label(name, unit))
    else:
        place = np.asarray(pos, dtype=np.float64)
        if place.ndim != 2 or place.shape[0] != values.size or place.shape[1] < 1:
            raise InputError(f"pos has shape {place.shape}; expected ({values.size}, D)")
        _draw_points(figure, axes, place, values, label(name, unit), pos_unit)
    axes.set_title(title or f"{name} of each node", fontsize=12, color=INK)
    return figure


def horizon_errors(
    errors: Mapping[str, Sequence[float]], *, metric: str = "MAE", unit: str | None = None, step_unit: str | None = None
) -> Figure:
    """Draw the error of each forecast step for several models: lines, or bars where there is one step.

    Args:
        errors: Errors of each step by the name of the model, the model of the run first.
        metric: Name of the error.
        unit: Unit of the error.
        step_unit: What a step is, such as ``"day"``.

    Raises:
        InputError: If there is nothing to draw or the lengths differ.
    """
    lengths = {name: len(values) for name, values in errors.items()}
    if not lengths or len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise InputError(f"errors has {lengths} steps; expected the same number, at least 1, for at least one model")
    steps = np.arange(1, next(iter(lengths.values())) + 1)
    if len(steps) == 1:
        return _error_bars({name: float(values[0]) for name, values in errors.items()}, label(metric, unit))
    figure = new_figure(7.2, 4.2)
    axes = figure.subplots()
    few = len(steps) <= 24
    for i, (name, values) in enumerate(errors.items()):
        axes.plot(
            steps,
            np.asarray(values, dtype=np.float64),
            color=COLORS[i % len(COLORS)],
            linestyle=STYLES[i % len(STYLES)],
            marker=MARKERS[i % len(MARKERS)] if few else None,
            markersize=5,
            lw=2.2 if i == 0 else 1.5,
            zorder=3 if i == 0 else 2,
            label=name,
        )
    style(axes)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.set_ylim(bottom=0)
    axes.set_xlabel(label("Forecast step", step_unit), fontsize=10)
    axes.set_ylabel(label(metric, unit), fontsize=10)
    axes.set_title(f"{metric} by forecast step", fontsize=12, color=INK)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    return figure


def _draw_band(axes: Axes, at: npt.NDArray[Any], quantiles: Floats, levels: Sequence[float]) -> None:
    name = f"{100 * (levels[-1] - levels[0]):g} % interval"
    axes.fill_between(at, quantiles[:, 0], quantiles[:, -1], color=BAND, alpha=0.6, lw=0, label=name)


def _draw_lines(
    axes: Axes, at: npt.NDArray[Any], observed: Floats, point: Floats, others: Mapping[str, Floats], model_name: str
) -> None:
    for i, (name, values) in enumerate(others.items(), start=1):
        axes.plot(at, values, color=COLORS[i % len(COLORS)], linestyle=STYLES[i % len(STYLES)], lw=1.1, label=name)
    axes.plot(at, observed, color=INK, lw=0.8, marker="o", markersize=2.6, label="Observed")
    axes.plot(at, point, color=COLORS[0], lw=1.8, label=model_name)
    axes.margins(x=0.015)
    style(axes)


def _describe_error(error: float, unit: str | None) -> str:
    if np.isnan(error):
        return "(never observed)"
    return f"(MAE {error:.3g}{f' {unit}' if unit else ''} over all windows)"


def _error_bars(errors: Mapping[str, float], name: str) -> Figure:
    figure = new_figure(7.2, 1.2 + 0.5 * len(errors))
    axes = figure.subplots()
    colors = [COLORS[0]] + [GREY] * (len(errors) - 1)
    bars = axes.barh(list(errors), list(errors.values()), color=colors, height=0.62)
    axes.bar_label(bars, fmt="%.4g", padding=4, fontsize=9, color=INK)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    style(axes, grid="x")
    axes.set_xlabel(name, fontsize=10)
    axes.set_title(f"{name} of the forecasts", fontsize=12, color=INK)
    return figure


def _draw_image(figure: Figure, axes: Axes, values: Floats, name: str) -> None:
    low, high, extend = _color_range(values)
    colors = colormaps["viridis"].with_extremes(bad="#DDDDDD")
    image = axes.imshow(values, cmap=colors, vmin=low, vmax=high, interpolation="nearest")
    figure.colorbar(image, ax=axes, label=name, extend=extend, shrink=0.85)
    axes.set_xlabel("Column", fontsize=10)
    axes.set_ylabel("Row", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=9)


def _draw_points(figure: Figure, axes: Axes, pos: Floats, values: Floats, name: str, pos_unit: str | None) -> None:
    known = np.isfinite(values)
    style(axes)
    axes.set_xlabel(label("x", pos_unit), fontsize=10)
    if pos.shape[1] == 1:
        axes.plot(pos[known, 0], values[known], "o", color=COLORS[0], markersize=5)
        axes.set_ylabel(name, fontsize=10)
        return
    size = float(np.clip(6000 / len(values), 4, 90))
    if not known.all():
        axes.scatter(
            pos[~known, 0], pos[~known, 1], s=size, facecolors="none", edgecolors=GREY, lw=1, label="no observed target"
        )
        figure.legend(loc="outside lower right", frameon=False, fontsize=9)
    if known.any():
        low, high, extend = _color_range(values)
        # The worst on top, so that none hides under a good neighbour.
        order = np.flatnonzero(known)[np.argsort(values[known])]
        points = axes.scatter(
            pos[order, 0],
            pos[order, 1],
            c=values[order],
            s=size,
            cmap="viridis",
            vmin=low,
            vmax=high,
            edgecolors="white",
            lw=0.5,
        )
        figure.colorbar(points, ax=axes, label=name, extend=extend, shrink=0.85)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_ylabel(label("y", pos_unit), fontsize=10)


def _color_range(values: Floats) -> tuple[float | None, float | None, Any]:
    """Limit the colours to the middle 96 %, so that single nodes do not use them up; say so at the bar's ends."""
    finite = values[np.isfinite(values)]
    if finite.size < 25:
        return None, None, "neither"
    low, high = np.percentile(finite, [2, 98])
    ends = (bool(finite.min() < low), bool(finite.max() > high))
    return (
        float(low),
        float(high),
        {(True, True): "both", (True, False): "min", (False, True): "max"}.get(ends, "neither"),
    )
