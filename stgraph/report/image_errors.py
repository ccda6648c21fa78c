"""Figures of a fused image against the true one: where, in which bands, and how the spectra differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics.image_inputs import Cube, ImagePair, image_pair
from stgraph.metrics.image_sums import error_sums, psnr_from_mse, spectral_angles
from stgraph.report.arrays import Floats
from stgraph.report.style import COLORS, INK, label, new_figure, style

__all__ = ["image_error_map"]

_NO_DATA = "#DDDDDD"
# Few bands get markers, so that single ones are seen.
_FEW_BANDS = 24
# Sizes of the figure in inches.
_WIDTH = 9.6
_CURVES_HEIGHT = 2.6
_TALLEST = 4.6


def image_error_map(
    estimate: Cube,
    truth: Cube,
    *,
    wavelength: Any = None,
    previews: Mapping[str, npt.NDArray[np.uint8]] | None = None,
    mask: Cube | None = None,
    title: str | None = None,
) -> Figure:
    """Draw maps of the mean absolute error and of the spectral angle, and the RMSE and PSNR of each band.

    The colours of a map begin at 0 and end at the 98th percentile, so that single pixels do not use them up; pixels
    that do not count or have no spectral angle are grey.

    Args:
        estimate: Fused image.
        truth: True image.
        wavelength: Centre of each band in nm; without it the bands are numbered from 1.
        previews: Images in red, green and blue by their names, drawn beside each other above the maps; they may have
            another resolution.
        mask: True at the pixels that count.
        title: Title of the figure.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`
        - **wavelength:** :math:`(C)`
        - **previews:** :math:`(h, w, 3)` each
        - **mask:** :math:`(H, W)`

    Raises:
        InputError: If a shape does not fit, or a value that counts or a wavelength is NaN or infinite.
        InputTypeError: If an image is not of float32 or float64, a preview not of uint8, or the mask not bool.

    Examples:
        >>> truth = torch.full((4, 6, 3), 0.5)
        >>> figure = image_error_map(truth + 0.1, truth, wavelength=[450.0, 550.0, 650.0])
        >>> [axes.get_xlabel() for axes in figure.subfigs[-1].axes]
        ['Wavelength (nm)', 'Wavelength (nm)']
    """
    pair = image_pair(estimate, truth, mask)
    at = None if wavelength is None else _check_wavelength(wavelength, pair.bands)
    _check_previews({} if previews is None else previews)
    return _draw(pair, at, {} if previews is None else previews, title)


def _draw(
    pair: ImagePair, at: Floats | None, previews: Mapping[str, npt.NDArray[np.uint8]], title: str | None
) -> Figure:
    shapes = [[image.shape[:2] for image in previews.values()]] if previews else []
    heights = [_row_height(shape) for shape in [*shapes, [pair.size] * 2]] + [_CURVES_HEIGHT]
    figure = new_figure(_WIDTH, sum(heights) + (0.4 if title else 0.0))
    parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    if previews:
        _draw_previews(parts[0], previews)
    left, right = parts[-2].subplots(1, 2)
    _draw_map(parts[-2], left, _absolute_errors(pair), "Mean absolute error", None)
    _draw_map(parts[-2], right, spectral_angles(pair).cpu().numpy(), "Spectral angle", "degrees")
    squares, _, count = error_sums(pair).cpu()
    left, right = parts[-1].subplots(1, 2)
    _draw_curve(left, at, (squares / count).sqrt().numpy(), label("RMSE", None), COLORS[0])
    left.set_ylim(0, 1.08 * float((squares / count).max().sqrt()) or 1.0)
    _draw_curve(right, at, psnr_from_mse(squares / count).numpy(), label("PSNR", "dB"), COLORS[1])
    if title:
        figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _absolute_errors(pair: ImagePair) -> Floats:
    """Return the mean over bands of the absolute errors of each pixel, ``[H, W]``; nan where the mask is False."""
    total = torch.zeros(pair.size, dtype=torch.float64, device=pair.device)
    for _, x, y in pair.chunks():
        total += (x - y).abs().sum(0)
    mean = total / pair.bands
    values: Floats = (mean if pair.mask is None else torch.where(pair.mask, mean, torch.nan)).cpu().numpy()
    return values


def _row_height(sizes: list[Any]) -> float:
    """Return the height in inches of images of some sizes beside each other."""
    width = _WIDTH / len(sizes) - 1.0
    return float(min(_TALLEST, max(width * rows / columns for rows, columns in sizes) + 0.7))


def _draw_previews(part: SubFigure, previews: Mapping[str, npt.NDArray[np.uint8]]) -> None:
    for axes, (name, image) in zip(part.subplots(1, len(previews), squeeze=False)[0], previews.items(), strict=True):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_axis_off()


def _draw_map(part: SubFigure, axes: Axes, values: Floats, name: str, unit: str | None) -> None:
    known = values[np.isfinite(values)]
    high = float(np.percentile(known, 98)) if known.size else 0.0
    extend = "max" if known.size and high > 0 and known.max() > high else "neither"
    colors = colormaps["viridis"].with_extremes(bad=_NO_DATA)
    image = axes.imshow(values, cmap=colors, vmin=0, vmax=high if high > 0 else 1, interpolation="nearest")
    part.colorbar(image, ax=axes, label=label(name, unit), extend=extend, shrink=0.85)
    mean = f"mean {known.mean():.3g}{f' {unit}' if unit else ''}" if known.size else "nothing known"
    axes.set_title(f"{name}, {mean}", fontsize=10, color=INK)
    axes.set_xlabel("Column" if known.size == values.size else "Column (grey: no value)", fontsize=10)
    axes.set_ylabel("Row", fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=9)


def _draw_curve(axes: Axes, at: Floats | None, values: Floats, name: str, color: str) -> None:
    x = np.arange(1, len(values) + 1, dtype=np.float64) if at is None else at
    order = np.argsort(x)
    marker = "o" if len(values) <= _FEW_BANDS else None
    # A band without any error has an infinite PSNR, which is left out.
    finite = np.where(np.isfinite(values), values, np.nan)
    axes.plot(x[order], finite[order], color=color, lw=1.6, marker=marker, markersize=4)
    style(axes)
    axes.margins(x=0.015)
    axes.set_xlabel("Band" if at is None else label("Wavelength", "nm"), fontsize=10)
    axes.set_ylabel(name, fontsize=10)
    axes.set_title(f"{name.split(' ')[0]} of each band", fontsize=10, color=INK)
    if at is None:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _check_wavelength(wavelength: Any, bands: int) -> Floats:
    values = wavelength.detach().cpu() if isinstance(wavelength, torch.Tensor) else wavelength
    at: Floats = np.asarray(values, dtype=np.float64)
    if at.shape != (bands,):
        raise InputError(f"wavelength has shape {at.shape}; expected ({bands},)")
    if not np.isfinite(at).all():
        raise InputError(f"wavelength is not finite at band {int(np.flatnonzero(~np.isfinite(at))[0])}")
    return at


def _check_previews(previews: Mapping[str, npt.NDArray[np.uint8]]) -> None:
    for name, image in previews.items():
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            kind = getattr(image, "dtype", type(image).__name__)
            raise InputTypeError(f"previews[{name!r}] is of type {kind}; expected an array of uint8")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(f"previews[{name!r}] has shape {image.shape}; expected (h, w, 3)")
