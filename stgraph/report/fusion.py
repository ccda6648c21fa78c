"""Figures of image fusion: the endmembers, their maps, the images beside each other, and how far off they may be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stgraph.data.images.image import as_band_wavelengths
from stgraph.errors import InputError
from stgraph.report.arrays import Floats
from stgraph.report.files import write_then_rename
from stgraph.report.style import COLORS, INK, STYLES, label, new_figure, style

__all__ = [
    "as_floats",
    "check_figure_path",
    "draw_curve",
    "draw_endmembers",
    "draw_fusion_training",
    "draw_latent",
    "plain_array",
    "save_fusion_figure",
]

_COLUMNS = 5
# Size of a map in inches, and the most that a narrow image may stretch it.
_MAP_WIDTH = 2.2
_TALLEST_MAP = 4.4
# Few bands get markers, so that single ones are seen.
_FEW_BANDS = 24


def draw_endmembers(
    endmembers: Any,
    wavelengths: Any = None,
    *,
    normalise: bool = False,
    title: str | None = None,
    size: tuple[float, float] | None = None,
    legend: str | None = "best",
) -> Figure:
    """Draw the spectra of endmembers, one line for each.

    Args:
        endmembers: Spectra of the endmembers.
        wavelengths: Centre of each band in nm; without it the bands are numbered from 1.
        normalise: Shift and scale each spectrum to the range 0 to 1; a constant one becomes 0.
        title: Title of the figure.
        size: Width and height of the figure in inches. (default: 8 by 4.5)
        legend: Place of the legend, as matplotlib names it, such as ``"upper right"``; ``None`` for no legend.

    Shapes:
        - **endmembers:** :math:`(K, C)`
        - **wavelengths:** :math:`(C)`

    Raises:
        InputError: If a shape does not fit, a value is NaN or infinite, or the size is not positive.
        InputTypeError: If wavelengths are not numeric.

    Examples:
        >>> figure = draw_endmembers([[0.1, 0.2], [0.3, 0.1]], [450.0, 550.0])
        >>> figure.axes[0].get_xlabel(), [line.get_label() for line in figure.axes[0].lines]
        ('Wavelength (nm)', ['Endmember 1', 'Endmember 2'])
    """
    spectra = as_floats(endmembers, "endmembers", 2, "(K, C)")
    width, height = (8.0, 4.5) if size is None else _checked_size(size)
    if normalise:
        low, high = spectra.min(1, keepdims=True), spectra.max(1, keepdims=True)
        spectra = (spectra - low) / np.where(high > low, high - low, 1.0)
    known = None
    if wavelengths is not None:
        known = as_band_wavelengths(plain_array(wavelengths), spectra.shape[1], "wavelengths")
    figure = new_figure(width, height)
    axes = figure.subplots()
    for i, spectrum in enumerate(spectra):
        color, line = COLORS[i % len(COLORS)], STYLES[i // len(COLORS) % len(STYLES)]
        draw_curve(axes, spectrum, known, color, linestyle=line, label=f"Endmember {i + 1}")
    axes.set_ylabel("Intensity", fontsize=10)
    if title:
        axes.set_title(title, fontsize=12, color=INK)
    if legend is not None:
        place: Any = legend
        axes.legend(loc=place, ncols=-(-len(spectra) // 7), frameon=False, fontsize=9)
    return figure


def draw_curve(axes: Axes, values: Floats, wavelengths: Floats | None, color: str, **options: Any) -> None:
    """Draw a value of each band over the number of the band, or over its wavelength in nm where that is known."""
    at = np.arange(1, len(values) + 1, dtype=np.float64) if wavelengths is None else wavelengths
    order = np.argsort(at, kind="stable")
    marker = "o" if len(at) <= _FEW_BANDS else None
    axes.plot(at[order], values[order], color=color, lw=1.6, marker=marker, markersize=3, **options)
    style(axes)
    axes.margins(x=0.01)
    axes.set_xlabel("Band" if wavelengths is None else label("Wavelength", "nm"), fontsize=10)
    if wavelengths is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_latent(maps: Any, *, title: str | None = None) -> Figure:
    """Draw the abundance-like latent estimates, one map for each endmember, in rows of five.

    All maps have one colour scale, from the overall minimum to the overall maximum.

    Args:
        maps: How much of each endmember the network puts into each pixel, without unit; NaN is drawn white.
        title: Title of the figure.

    Shapes:
        - **maps:** :math:`(H, W, K)`

    Raises:
        InputError: If the shape does not fit or no value is finite.

    Examples:
        >>> import numpy as np
        >>> figure = draw_latent(np.arange(24.0).reshape(2, 2, 6))
        >>> [axes.get_title() for axes in figure.axes[:6]][-1], figure.axes[0].images[0].get_clim()
        ('Endmember 6', (0.0, 23.0))
    """
    values = as_floats(maps, "maps", 3, "(H, W, K)", finite=False)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    height, width, count = values.shape
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    tall = min(_TALLEST_MAP, max(0.6, _MAP_WIDTH * height / width))
    figure = new_figure(max(4.0, _MAP_WIDTH * columns + 1.0), (tall + 0.35) * rows + (0.4 if title else 0.0))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for i, axes in zip_longest(range(count), panels):
        axes.set_axis_off()
        if i is not None:
            axes.imshow(values[:, :, i], cmap="viridis", vmin=low, vmax=high if high > low else low + 1)
            axes.set_title(f"Endmember {i + 1}", fontsize=10, color=INK)
    figure.colorbar(panels[0].images[0], ax=panels, label="Latent estimate", shrink=0.9, pad=0.02)
    if title:
        figure.suptitle(title, fontsize=12, color=INK)
    return figure


def draw_fusion_training(losses: Sequence[Any], held_out: Sequence[Any] = (), *, title: str | None = None) -> Figure:
    """Draw the loss of each network along its training, and the loss over pixels that it was not trained on.

    Both are mean absolute errors; the scale is logarithmic. The lowest held-out loss of each network is marked.

    Args:
        losses: Loss of each epoch, of each network.
        held_out: Held-out loss of each epoch, of each network; empty without such pixels.
        title: Title of the figure.

    Raises:
        InputError: If there is no network, or a loss is NaN or infinite.

    Examples:
        >>> figure = draw_fusion_training([[0.3, 0.2, 0.1]], [[0.3, 0.25, 0.28]])
        >>> [line.get_label() for line in figure.axes[0].lines]
        ['trained on', 'held out', 'lowest: 0.25']
    """
    curves = [as_floats(values, "losses", 1, "(epochs)") for values in losses]
    outside = [as_floats(values, "held_out", 1, "(epochs)") for values in held_out]
    if not curves:
        raise InputError("losses is empty; expected those of one network or more")
    figure = new_figure(6.4, 4.0)
    axes = figure.subplots()
    for i, values in enumerate(curves):
        name = "trained on" if i == 0 else None
        axes.plot(np.arange(1, len(values) + 1), values, color=COLORS[0], lw=1.2, label=name)
    for i, values in enumerate(outside):
        best = int(values.argmin())
        name, lowest = ("held out", f"lowest: {values[best]:.3g}") if i == 0 else (None, None)
        axes.plot(np.arange(1, len(values) + 1), values, color=COLORS[1], linestyle="--", lw=1.2, label=name)
        axes.plot(best + 1, values[best], "o", color=COLORS[1], markersize=5, linestyle="none", label=lowest)
    style(axes)
    axes.set_yscale("log")
    axes.set_xlabel("Epoch", fontsize=10)
    axes.set_ylabel("Mean absolute error", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.legend(frameon=False, fontsize=9)
    if title:
        axes.set_title(title, fontsize=12, color=INK)
    return figure


def save_fusion_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 150) -> Path:
    """Write a figure as JPEG or PNG under a temporary name, rename it, and return the path.

    Args:
        figure: The figure.
        path: The file, whose ending tells the kind; its folder is made if it is not there.
        dpi: Dots per inch.

    Raises:
        InputError: If the ending is neither ``.jpg`` nor ``.png``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_fusion_figure(draw_endmembers([[1.0, 2.0]]), f"{folder}/endmember_signatures.jpg", dpi=20).name
        'endmember_signatures.jpg'
    """
    kind = check_figure_path(path)
    # JPEG has no transparency: matplotlib puts the figure, which is opaque, on white.
    return write_then_rename(Path(path), lambda file: figure.savefig(file, dpi=dpi, format=kind))


def check_figure_path(path: str | os.PathLike[str]) -> str:
    """Return the kind of the file of a figure, before the work that makes it.

    Raises:
        InputError: If the ending is neither ``.jpg`` nor ``.png``.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in ("jpg", "png"):
        raise InputError(f"figures are written to .jpg and .png files, got {os.fspath(path)}")
    return kind


def plain_array(values: Any) -> Any:
    """An array of what may be a tensor on any device."""
    return values.detach().cpu().numpy() if hasattr(values, "detach") else values


def as_floats(values: Any, name: str, dimensions: int, shape: str, *, finite: bool = True) -> Floats:
    """What is to be drawn as an array.

    Raises:
        InputError: If it has other dimensions, holds no numbers, nothing finite or (with ``finite``) NaN or infinity.
    """
    try:
        array = np.asarray(plain_array(values), dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} does not hold numbers: {error}") from error
    if array.ndim != dimensions or array.size == 0:
        raise InputError(f"{name} has shape {array.shape}; expected {shape}")
    good = np.isfinite(array)
    if not good.any() or (finite and not good.all()):
        raise InputError(f"{name} holds {int((~good).sum())} values that are NaN or infinite; expected finite ones")
    return array if good.all() else np.where(good, array, np.nan)


def _checked_size(size: Sequence[float]) -> tuple[float, float]:
    if len(size) != 2 or not all(np.isfinite(side) and side > 0 for side in size):
        raise InputError(f"size is {size!r}; expected a positive width and height in inches")
    return float(size[0]), float(size[1])
