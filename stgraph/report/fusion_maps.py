"""Figures of fused images beside those they were made from, of their errors, and of the error that is expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from stgraph.data.images.image import as_band_wavelengths
from stgraph.data.images.preview import rgb_preview
from stgraph.errors import InputError
from stgraph.report.arrays import Array, Floats
from stgraph.report.fusion import as_floats, draw_curve, plain_array
from stgraph.report.style import COLORS, INK, label, new_figure

__all__ = ["draw_errors", "draw_fusion", "draw_uncertainty"]

_PANEL = 3.2  # width of an image in inches
_TALLEST = 6.0
# A panel has about 500 dots; more pixels than this along a side are left out.
_MOST_PIXELS = 600
# A percentile as the end of the scale, so that single pixels do not use it up.
_SCALE_END = 98
_UNIT = "Root mean square over bands"


def draw_fusion(
    lr_hsi: Any,
    hr_msi: Any,
    fused: Any,
    *,
    truth: Any = None,
    error: Any = None,
    uncertainty: Any = None,
    wavelengths: Any = None,
    msi_wavelengths: Any = None,
    title: str | None = None,
) -> Figure:
    """Draw the two images, what they were fused to, and where known the truth and errors, beside each other.

    Images of many bands are shown in red, green and blue, each stretched on its own
    (:func:`~stgraph.data.images.rgb_preview`). The maps of the errors have one colour scale, from 0 to the 98th
    percentile of both.

    Args:
        lr_hsi: Hyperspectral image of low resolution.
        hr_msi: Multispectral image of high resolution.
        fused: Hyperspectral image of high resolution, made from both.
        truth: What it should be.
        error: Error of each pixel, the root mean square over the bands.
        uncertainty: Expected error of each pixel.
        wavelengths: Centre of each band of the hyperspectral images in nm.
        msi_wavelengths: Centre of each band of the multispectral image in nm.
        title: Title of the figure.

    Shapes:
        - **lr_hsi:** :math:`(h, w, C)`; **hr_msi:** :math:`(H, W, b)`; **fused**, **truth:** :math:`(H, W, C)`
        - **error**, **uncertainty:** :math:`(H, W)`
        - **wavelengths:** :math:`(C)`; **msi_wavelengths:** :math:`(b)`

    Raises:
        InputError: If a shape does not fit or an image has no finite value.
        InputTypeError: If something is not numeric.

    Examples:
        >>> sharp = np.linspace(0, 1, 48).reshape(4, 4, 3)
        >>> figure = draw_fusion(sharp[::2, ::2], sharp[:, :, :1], sharp, truth=sharp)
        >>> [axes.get_title() for axes in figure.axes]
        ['Low resolution, 3 bands', 'High resolution, 1 band', 'Fused, 3 bands', 'Truth']
    """
    images = {
        f"Low resolution, {_bands(lr_hsi)}": _preview(lr_hsi, wavelengths),
        f"High resolution, {_bands(hr_msi)}": _preview(hr_msi, msi_wavelengths),
        f"Fused, {_bands(fused)}": _preview(fused, wavelengths),
    }
    if truth is not None:
        images["Truth"] = _preview(truth, wavelengths)
    maps = {"Error": error, "Expected error": uncertainty}
    shown = {name: _map(values, name.lower()) for name, values in maps.items() if values is not None}
    return _beside(images, shown, title)


def draw_uncertainty(uncertainty: Any, *, error: Any = None, title: str | None = None) -> Figure:
    """Draw the expected error of each pixel, and beside it the error where it is known, with one colour scale.

    Both are root mean squares over the bands, in units of the image, whose values lie from 0 to 1. The scale begins at
    0 and ends at the 98th percentile of both.

    Args:
        uncertainty: Expected error of each pixel.
        error: Error of each pixel.
        title: Title of the figure.

    Shapes:
        - **uncertainty**, **error:** :math:`(H, W)`

    Raises:
        InputError: If a shape does not fit or no value is finite.

    Examples:
        >>> figure = draw_uncertainty([[0.1, 0.2]], error=[[0.2, 0.1]])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['Expected error, mean 0.15', 'Error, mean 0.15']
    """
    maps = {"Expected error": _map(uncertainty, "uncertainty")}
    if error is not None:
        maps["Error"] = _map(error, "error")
        if maps["Error"].shape != maps["Expected error"].shape:
            raise InputError(
                f"error has shape {maps['Error'].shape}; expected that of uncertainty, {maps['Expected error'].shape}"
            )
    return _beside({}, {f"{name}, mean {np.nanmean(values):.3g}": values for name, values in maps.items()}, title)


def draw_errors(
    error: Any,
    angle: Any,
    band_rmse: Any,
    band_psnr: Any,
    wavelengths: Any = None,
    *,
    title: str | None = None,
) -> Figure:
    """Draw where and in which bands a fused image differs from the true one, from maps and curves known already.

    :func:`image_error_map` reckons them from the images. The scale of each map ends at its 98th percentile; pixels
    without a value are white.

    Args:
        error: Error of each pixel, the root mean square over the bands.
        angle: Angle between the true and the fused spectrum of each pixel in degrees.
        band_rmse: Root mean squared error of each band.
        band_psnr: Peak signal-to-noise ratio of each band in dB; infinite ones are left out.
        wavelengths: Centre of each band in nm; without it the bands are numbered from 1.
        title: Title of the figure.

    Shapes:
        - **error**, **angle:** :math:`(H, W)`; **band_rmse**, **band_psnr**, **wavelengths:** :math:`(C)`

    Raises:
        InputError: If a shape does not fit or nothing is finite.

    Examples:
        >>> figure = draw_errors([[0.1, 0.2]], [[1.0, 2.0]], [0.1, 0.2, 0.3], [20.0, 14.0, 10.5])
        >>> [axes.get_title() for axes in figure.axes[:4]]
        ['Error, mean 0.15', 'Spectral angle, mean 1.5 degrees', 'RMSE of each band', 'PSNR of each band']
    """
    maps = [_map(error, "error"), _map(angle, "angle")]
    curves = [_curve(band_rmse, "band_rmse"), _curve(band_psnr, "band_psnr")]
    count = len(curves[0])
    if len(curves[1]) != count or maps[0].shape != maps[1].shape:
        shapes = ", ".join(str(values.shape) for values in (*maps, *curves))
        raise InputError(f"error, angle, band_rmse and band_psnr have the shapes {shapes}; expected the same in pairs")
    known = None if wavelengths is None else as_band_wavelengths(plain_array(wavelengths), count, "wavelengths")
    tall = min(_TALLEST, max(0.8, 4.0 * maps[0].shape[0] / maps[0].shape[1]))
    figure = new_figure(10.0, tall + 3.2 + (0.4 if title else 0.0))
    (left, right), (rmse, psnr) = figure.subplots(2, 2, height_ratios=[tall, 2.6])
    named = (f"Error, mean {np.nanmean(maps[0]):.3g}", f"Spectral angle, mean {np.nanmean(maps[1]):.3g} degrees")
    for axes, values, name, unit in zip((left, right), maps, named, (_UNIT, "Degrees"), strict=True):
        high = float(np.nanpercentile(values, _SCALE_END))
        extend = "max" if 0 < high < np.nanmax(values) else "neither"
        image = _draw_map(axes, name, values, high)
        figure.colorbar(image, ax=axes, extend=extend, shrink=0.9, pad=0.02, label=unit)
    for axes, values, name, color in zip((rmse, psnr), curves, ("RMSE", "PSNR"), COLORS, strict=False):
        draw_curve(axes, values, known, color)
        axes.set_ylabel(label(name, "dB" if name == "PSNR" else None), fontsize=10)
        axes.set_title(f"{name} of each band", fontsize=10, color=INK)
    rmse.set_ylim(bottom=0)
    if title:
        figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _curve(values: Any, name: str) -> Floats:
    return as_floats(values, name, 1, "(C)", finite=False)


def _beside(images: Mapping[str, Array], maps: Mapping[str, Floats], title: str | None) -> Figure:
    """Draw a row of images, and one of maps with a colour bar of their own."""
    rows: list[Mapping[str, Array]] = [row for row in (images, maps) if row]
    heights = [_height(row.values()) for row in rows]
    width = _PANEL * max(map(len, rows)) + (0.9 if len(maps) == max(map(len, rows)) else 0.0)
    figure = new_figure(width, sum(heights) + (0.4 if title else 0.0))
    parts = figure.subfigures(len(rows), 1, height_ratios=heights, squeeze=False)[:, 0]
    if images:
        for axes, (name, image) in zip(parts[0].subplots(1, len(images)), images.items(), strict=True):
            axes.imshow(image)
            axes.set_title(name, fontsize=10, color=INK)
            axes.set_axis_off()
    if maps:
        known = np.concatenate([values[np.isfinite(values)] for values in maps.values()])
        high = float(np.percentile(known, _SCALE_END))
        panels = list(parts[-1].subplots(1, len(maps), squeeze=False)[0])
        drawn = [_draw_map(axes, name, maps[name], high) for axes, name in zip(panels, maps, strict=True)]
        extend = "max" if 0 < high < known.max() else "neither"
        parts[-1].colorbar(drawn[-1], ax=panels, label=_UNIT, extend=extend, shrink=0.9, pad=0.02)
    if title:
        figure.suptitle(title, fontsize=12, color=INK)
    return figure


def _height(images: Iterable[Array]) -> float:
    """Height in inches of a row of images."""
    slope = max(float(image.shape[0] / image.shape[1]) for image in images)
    return min(_TALLEST, max(0.6, _PANEL * slope)) + 0.4


def _draw_map(axes: Axes, name: str, values: Floats, high: float) -> AxesImage:
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=high if high > 0 else 1.0)
    axes.set_title(name, fontsize=10, color=INK)
    axes.set_axis_off()
    return image


def _preview(image: Any, wavelengths: Any) -> Array:
    values = _cube(image)
    step = -(-max(values.shape[:2]) // _MOST_PIXELS)
    return rgb_preview(values[::step, ::step], plain_array(wavelengths))


def _cube(image: Any) -> Array:
    array: Array = np.asanyarray(plain_array(image))
    if array.ndim != 3 or array.size == 0:
        raise InputError(f"an image has the shape {array.shape}; expected (rows, columns, bands)")
    return array


def _bands(image: Any) -> str:
    count = _cube(image).shape[2]
    return f"{count} band{'' if count == 1 else 's'}"


def _map(values: Any, name: str) -> Floats:
    return as_floats(values, name, 2, "(H, W)", finite=False)
