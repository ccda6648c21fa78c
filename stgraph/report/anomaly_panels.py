"""Parts of the figures of anomalous spectra: a spectrum with its residual, and the sky around the object."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch

from stgraph.errors import InputError
from stgraph.report.arrays import Array, Floats
from stgraph.report.style import COLORS, GREY, INK, style

__all__ = [
    "FLAGGED",
    "RED",
    "Row",
    "as_bools",
    "as_floats",
    "draw_sky",
    "draw_spectrum",
    "flagged_spans",
    "legend_handles",
    "line",
    "shade",
    "with_gaps",
]

#: Told apart from the blue of the observed spectrum with any kind of colour-blindness.
RED = "#C8102E"
FLAGGED = COLORS[4]
_PALE_YELLOW = "#FFF9DB"
_CIRCLE = 30  # pixels

Bools = npt.NDArray[np.bool_]


class Row(NamedTuple):
    """One spectrum: where its points are, whether they are good, and what was flagged."""

    at: Floats
    original: Floats
    reconstructed: Floats
    good: Bools
    flagged: Bools
    anomalous: bool
    name: str


def as_floats(values: Any, name: str, shape: tuple[int, ...] | None = None) -> Floats:
    """Return an array or tensor as float64, without a last dimension of one channel if there are three.

    Raises:
        InputError: If it does not hold numbers, or its shape is not the one given.
    """
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} does not hold numbers: {error}") from error
    return _fitting(array, name, shape)


def as_bools(values: Any, name: str, shape: tuple[int, ...]) -> Bools:
    """Return an array, a tensor or a list of arrays as bool, without a last dimension of one channel.

    Raises:
        InputError: If its shape is not the one given.
    """
    values = values.detach().cpu() if hasattr(values, "detach") else values
    try:
        array: Array = np.asarray(values)
    except ValueError as error:
        raise InputError(f"{name} is not an array: {error}") from error
    return _fitting(array, name, shape).astype(np.bool_)


def _fitting(array: Array, name: str, shape: tuple[int, ...] | None) -> Array:
    squeezed = array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array
    if shape is not None and squeezed.shape != shape:
        raise InputError(f"{name} has shape {array.shape}; expected {shape}")
    return squeezed


def flagged_spans(at: Floats, flagged: Bools, good: Bools) -> list[tuple[float, float]]:
    """Return the stretches of flagged points from halfway before the first to halfway after the last.

    Nothing lies before the first good point or after the last, where ``at`` may be padding.

    >>> at, every = np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4, dtype=bool)
    >>> flagged_spans(at, np.array([False, True, True, False]), every)
    [(0.5, 2.5)]
    """
    real = np.flatnonzero(good)
    if not len(real):
        return []
    first, last = real[0], real[-1]
    inside = flagged.copy()
    inside[:first], inside[last + 1 :] = False, False
    steps = np.diff(inside.astype(np.int8), prepend=0, append=0)
    part = at[first : last + 1]
    if len(part) == 1:
        edges = np.array([part[0] - 0.5, part[0] + 0.5])
    else:
        middle = (part[1:] + part[:-1]) / 2
        edges = np.concatenate([[part[0] - (middle[0] - part[0])], middle, [part[-1] + (part[-1] - middle[-1])]])
    starts, ends = np.flatnonzero(steps == 1) - first, np.flatnonzero(steps == -1) - first
    return [(float(edges[s]), float(edges[e])) for s, e in zip(starts, ends, strict=True)]


def shade(axes: Axes, spans: list[tuple[float, float]]) -> None:
    """Shade flagged stretches."""
    for start, end in spans:
        axes.axvspan(start, end, color=FLAGGED, alpha=0.35, lw=0, zorder=0.5)


def with_gaps(values: Floats, good: Bools) -> Floats:
    """Return the values with nan at bad points, where lines break."""
    return np.where(good, values, np.nan)


def line(axes: Axes, at: Array, values: Floats, color: str, width: float, label: str, alpha: float = 1.0) -> None:
    """Draw a line that breaks at nan, and a dot for points without neighbours, which no line would show."""
    axes.plot(at, values, color=color, lw=width, alpha=alpha, label=label)
    known = np.pad(np.isfinite(values), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if alone.any():
        axes.plot(at[alone], values[alone], ".", color=color, markersize=2.5, alpha=alpha)


def draw_spectrum(axes: Axes, below: Axes, row: Row) -> None:
    """Draw a spectrum and its reconstruction, and what is left of it below."""
    line(axes, row.at, with_gaps(row.original, row.good), COLORS[0], 0.9, "Original")
    line(axes, row.at, with_gaps(row.reconstructed, row.good), RED, 1.1, "Reconstruction", alpha=0.7)
    below.axhline(0.0, color=GREY, lw=0.8)
    line(below, row.at, with_gaps(row.original - row.reconstructed, row.good), INK, 0.7, "Residual")
    spans = flagged_spans(row.at, row.flagged, row.good)
    for part in (axes, below):
        shade(part, spans)
        style(part)
        part.tick_params(labelsize=8)
        part.locator_params(axis="y", nbins=5 if part is axes else 3)
        if row.anomalous:
            part.set_facecolor(_PALE_YELLOW)
    axes.tick_params(labelbottom=False, length=0)
    axes.spines["bottom"].set_color("#D0D0D0")
    title = f"{row.name} – Anomalous" if row.anomalous else row.name
    axes.set_title(title, fontsize=10, loc="left", color=RED if row.anomalous else INK)
    if row.good.any():
        seen = row.at[row.good]
        margin = 0.005 * (seen.max() - seen.min()) or 0.5
        axes.set_xlim(seen.min() - margin, seen.max() + margin)
    else:
        axes.text(0.5, 0.5, "No good points", transform=axes.transAxes, ha="center", va="center", color=GREY)


def draw_sky(axes: Axes, image: Array | None, place: tuple[float, float] | None) -> None:
    """Draw the image of the sky with a circle around its centre, or say that there is none."""
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#D0D0D0")
    if place is not None and np.isfinite(place).all():
        axes.set_title(f"RA {place[0]:.5f}°, Dec {place[1]:+.5f}°", fontsize=9, color=INK)
    if image is None:
        axes.set_facecolor("#F4F4F4")
        axes.set_box_aspect(1)
        axes.text(0.5, 0.5, "Image Not Found", transform=axes.transAxes, ha="center", va="center", color=GREY)
        return
    height, width = image.shape[:2]
    axes.imshow(image, cmap="gray")
    axes.add_patch(Circle(((width - 1) / 2, (height - 1) / 2), _CIRCLE, fill=False, edgecolor="white", lw=1.2))


def legend_handles(figure: Figure) -> None:
    """Explain the colours above all rows."""
    handles = [
        Line2D([], [], color=COLORS[0], lw=1.5, label="Original"),
        Line2D([], [], color=RED, lw=1.5, alpha=0.7, label="Reconstruction"),
        Line2D([], [], color=INK, lw=1.2, label="Residual (original − reconstruction)"),
        Patch(color=FLAGGED, alpha=0.35, lw=0, label="Flagged"),
    ]
    figure.legend(handles=handles, loc="upper center", ncols=len(handles), frameon=False, fontsize=9)
