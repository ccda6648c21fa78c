"""How the figures look, and how they are written.

Figures are made with matplotlib's object interface: no global state, no window, safe in any thread.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib import dates
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stgraph.report.files import write_then_rename

__all__ = [
    "BAND",
    "COLORS",
    "GREY",
    "INK",
    "MARKERS",
    "STYLES",
    "label",
    "new_figure",
    "save_figure",
    "style",
    "time_axis",
]

#: Colours that people with colour-blindness can tell apart (M. Okabe and K. Ito, "Color Universal Design", 2008), the
#: first for the model; line styles and markers tell the same apart in grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P")
BAND = "#9CC7E4"
INK = "#222222"
GREY = "#8A8A8A"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches that keeps its parts from overlapping."""
    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def style(axes: Axes, *, grid: str = "both") -> None:
    """Give axes the look of all figures: light grid, no box."""
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(visible=True, axis=grid, color="#E4E4E4", linewidth=0.8)  # type: ignore[arg-type]
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)
    axes.tick_params(colors=INK, labelsize=9, length=3)


def label(name: str, unit: str | None) -> str:
    """Return a label with its unit.

    >>> label("MAE", "km/h"), label("MAE", None)
    ('MAE (km/h)', 'MAE')
    """
    return f"{name} ({unit})" if unit else name


def time_axis(axes: Axes, time: npt.NDArray[np.generic]) -> None:
    """Label the horizontal axis: dates if the times are a calendar, else numbers."""
    if np.issubdtype(time.dtype, np.datetime64):
        locator = dates.AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.set_xlabel("Time", fontsize=10)
    else:
        axes.set_xlabel("Time" if np.issubdtype(time.dtype, np.floating) else "Window", fontsize=10)


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a figure as PNG under a temporary name, rename it, and return the path.

    Args:
        figure: The figure.
        path: The file; its folder is made if it is not there.
        dpi: Dots per inch.
    """
    return write_then_rename(Path(path), lambda temporary: figure.savefig(temporary, dpi=dpi, format="png"))
