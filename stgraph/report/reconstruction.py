"""Figures of reconstructed light curves and spectra, and of the errors of their hidden points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from stgraph.errors import InputError
from stgraph.report.arrays import Array, Floats
from stgraph.report.style import BAND, COLORS, GREY, INK, label, new_figure, style

__all__ = ["MAX_EXAMPLES", "error_boxes", "reconstruction_grid"]

#: Largest number of examples in one figure.
MAX_EXAMPLES = 16
_COLUMNS = 4

#: Label and scale of the horizontal axis.
_AXES = {
    "time": ("Time since the first point (days)", "linear"),
    "frequency": ("Frequency (1/day)", "log"),
    "step": ("Step", "linear"),
}


class _Example(NamedTuple):
    """The real points of one curve or spectrum."""

    at: Floats
    observed: Floats
    reconstructed: Floats
    hidden: npt.NDArray[np.bool_]
    deviation: Floats | None


def reconstruction_grid(
    at: Any,
    observed: Any,
    reconstructed: Any,
    hidden: Any,
    *,
    mask: Any = None,
    log_variance: Any = None,
    block_size: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    axis: str = "time",
    value_name: str = "Flux",
    unit: str | None = None,
) -> Figure:
    """Draw what was observed, which of it was hidden, and what was reconstructed; at most the first 16 examples.

    The title of each example names the share of its real points that was hidden, and the size of the blocks.

    Args:
        at: Times in days, frequencies in 1/day, or numbers of steps.
        observed: Observed values, hidden ones too.
        reconstructed: Reconstructed values.
        hidden: True at points that the network did not see.
        mask: True at real points; ``None`` where none is padding.
        log_variance: Logarithm of the variance of each reconstructed value; gives a band of one standard deviation.
        block_size: Number of points in a hidden block of each example.
        names: Name of each example.
        axis: What ``at`` is, ``"time"``, ``"frequency"`` or ``"step"``.
        value_name: What the values are.
        unit: Unit of the values.

    Shapes:
        - **at:** ``[E, L]``, or ``[L]`` where it is common; **observed** and all other arrays: ``[E, L]``

    Raises:
        InputError: If a shape does not fit or there is nothing to draw.
    """
    if axis not in _AXES:
        raise InputError(f"axis is {axis!r}; expected one of {sorted(_AXES)}")
    examples = _examples(at, observed, reconstructed, hidden, mask, log_variance)
    for argument, values in (("block_size", block_size), ("names", names)):
        if values is not None and len(values) != len(examples):
            raise InputError(f"{argument} has {len(values)} entries; observed has {len(examples)} examples")
    figure, panels = _panels(min(len(examples), MAX_EXAMPLES))
    for i, (axes, example) in enumerate(zip(panels, examples, strict=False)):
        _draw_example(axes, example, example.at[:1] if axis == "time" else 0.0)
        axes.set_xscale(_AXES[axis][1])
        name = None if names is None else str(names[i])
        title = _title(name, example.hidden, None if block_size is None else int(block_size[i]))
        axes.set_title(title, fontsize=9, loc="left", color=INK)
    figure.supxlabel(_AXES[axis][0], fontsize=10)
    figure.supylabel(label(value_name, unit), fontsize=10)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False, fontsize=9)
    return figure


def error_boxes(errors: Any, by: Mapping[str, Sequence[Any]], *, name: str = "MSE", unit: str | None = None) -> Figure:
    """Draw the distribution of the errors of curves for each class, each sampling, or by any other label.

    The box holds the middle half of the curves, its line the median, the whiskers 90 % of the curves, the point the
    mean. The scale is logarithmic where all errors drawn are positive.

    Args:
        errors: Error of each curve; those with nan are left out.
        by: Labels of each curve by what they tell, such as ``{"class": [...], "sampling": [...]}``: one panel for each.
        name: Name of the error.
        unit: Unit of the error.

    Shapes:
        - **errors:** ``[N]``

    Raises:
        InputError: If no error is finite, or there are no labels or not one for each curve.
    """
    values = _floats(errors, "errors")
    known = np.isfinite(values)
    if values.ndim != 1 or not known.any():
        raise InputError(f"errors has shape {values.shape} and {known.sum()} finite entries; expected (N,) and some")
    labels = {key: np.asarray([str(entry) for entry in entries]) for key, entries in by.items()}
    if not labels or any(len(entries) != len(values) for entries in labels.values()):
        lengths = {key: len(entries) for key, entries in labels.items()}
        raise InputError(f"by has {lengths} entries; expected at least one key, and {len(values)} entries for each")
    counts = [len(np.unique(entries[known])) for entries in labels.values()]
    figure = new_figure(7.2, 1.0 + sum(0.6 + 0.38 * count for count in counts))
    panels = figure.subplots(len(counts), 1, squeeze=False, sharex=True, height_ratios=[1 + c for c in counts])[:, 0]
    for axes, (key, entries) in zip(panels, labels.items(), strict=True):
        names, code = np.unique(entries[known], return_inverse=True)
        parts = [values[known][code == number] for number in range(len(names))]
        _draw_boxes(axes, parts)
        axes.set_yticks(range(1, len(names) + 1), [f"{n} ({len(p)})" for n, p in zip(names, parts, strict=True)])
        axes.invert_yaxis()
        axes.set_title(f"By {key}", fontsize=10, loc="left", color=INK)
    if (values[known] > 0).all():
        _logarithmic(panels[-1])
    panels[-1].set_xlabel(label(name, unit), fontsize=10)
    return figure


def _floats(values: Any, name: str) -> Floats:
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} does not hold numbers: {error}") from error


def _fitting(values: Any, name: str, shape: tuple[int, ...]) -> Array:
    array: Array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; expected {shape}")
    return array


def _examples(at: Any, observed: Any, reconstructed: Any, hidden: Any, mask: Any, log_variance: Any) -> list[_Example]:
    """The real points of each example."""
    y = _floats(observed, "observed")
    if y.ndim != 2 or y.size == 0:
        raise InputError(f"observed has shape {y.shape}; expected (E, L) with at least one example and point")
    x = _floats(at, "at")
    x = _fitting(np.broadcast_to(x, y.shape) if x.shape == y.shape[1:] else x, "at", y.shape)
    p = _fitting(_floats(reconstructed, "reconstructed"), "reconstructed", y.shape)
    real = np.ones(y.shape, dtype=np.bool_) if mask is None else _fitting(mask, "mask", y.shape).astype(np.bool_)
    unseen = _fitting(hidden, "hidden", y.shape).astype(np.bool_)
    band = None
    if log_variance is not None:
        band = np.exp(0.5 * _fitting(_floats(log_variance, "log_variance"), "log_variance", y.shape))
    return [
        _Example(x[i, k], y[i, k], p[i, k], unseen[i, k], None if band is None else band[i, k])
        for i, k in enumerate(real)
    ]


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = new_figure(3.4 * max(columns, 2), 1.0 + 2.1 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _draw_example(axes: Axes, example: _Example, start: Floats | float) -> None:
    at, y, p, hidden = example.at - start, example.observed, example.reconstructed, example.hidden
    if example.deviation is not None:
        below, above = p - example.deviation, p + example.deviation
        axes.fill_between(at, below, above, color=BAND, alpha=0.6, lw=0, label="± 1 standard deviation")
    axes.plot(at[~hidden], y[~hidden], ".", color=INK, markersize=3, label="Observed")
    axes.plot(at[hidden], y[hidden], "x", color=COLORS[1], markersize=4, label="Hidden")
    axes.plot(at, p, color=COLORS[0], lw=1.3, label="Reconstruction")
    style(axes)


def _title(name: str | None, hidden: npt.NDArray[np.bool_], block: int | None) -> str:
    """Title of an example.

    >>> _title("TIC 1", np.array([True, False, False, False]), 8)
    'TIC 1: 25 % hidden, blocks of 8'
    """
    share = f"{100 * hidden.mean():.0f} % hidden" if len(hidden) else "no real points"
    blocks = "" if block is None else f", blocks of {block}"
    return f"{'' if name is None else f'{name}: '}{share}{blocks}"


def _logarithmic(axes: Axes) -> None:
    """Give the horizontal axis a logarithmic scale with few ticks, plain numbers."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _draw_boxes(axes: Axes, parts: Sequence[Floats]) -> None:
    axes.boxplot(
        list(parts),
        orientation="horizontal",
        whis=(5, 95),
        showfliers=False,
        showmeans=True,
        widths=0.55,
        patch_artist=True,
        boxprops={"facecolor": BAND, "edgecolor": GREY},
        medianprops={"color": COLORS[1], "linewidth": 1.8},
        meanprops={"marker": "o", "markerfacecolor": INK, "markeredgecolor": INK, "markersize": 4},
        whiskerprops={"color": GREY},
        capprops={"color": GREY},
    )
    style(axes, grid="x")
