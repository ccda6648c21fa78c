"""Figures of flagged spectra with the sky around them, and of the reconstruction error by wavelength."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch_geometric.data import Data

from stgraph.data.spectra.columns import SKY_COLUMNS
from stgraph.errors import InputError
from stgraph.report.anomaly_panels import (
    Row,
    as_bools,
    as_floats,
    draw_sky,
    draw_spectrum,
    legend_handles,
)
from stgraph.report.arrays import Floats, masked_mean
from stgraph.report.sky_images import ImageProvider, SkyImages
from stgraph.report.style import COLORS, GREY, INK, new_figure, save_figure, style
from stgraph.tasks.catalogues import catalogue_column, target_names
from stgraph.tasks.unique_files import reserved_path

__all__ = ["MAX_ROWS", "plot_combined_spectra", "plot_reconstruction_error_distribution", "plot_spectra"]

#: Largest number of spectra in one figure; an image can be only 2**16 pixels high.
MAX_ROWS = 60

_DPI = 300
_LARGEST_SEED = 10_000

# Inches.
_WIDTH, _ROW, _TOP, _BOTTOM, _LEFT, _RIGHT, _SPACE = 12.0, 2.6, 0.75, 0.6, 0.9, 0.2, 0.55


def plot_combined_spectra(
    original_fluxes: Any,
    reconstructed_fluxes: Any,
    anomalous_regions: Any,
    spectrum_anomalies: Any,
    catalogue: Any = None,
    wavelengths: Any = None,
    save_directory: str | os.PathLike[str] = "output_images",
    max_samples: int = 20,
    seed: int | None = None,
    only_anomalous: bool = False,
    *,
    zpix_cat: Any = None,
    mask: Any = None,
    image_provider: ImageProvider | SkyImages = None,
) -> tuple[list[int], list[int], int | None]:
    """Draw some spectra, what was expected of them, what is flagged and the sky around the object; write it as PNG.

    The figure is ``anomalous_spectra_{n}.png`` or ``spectra_reconstruction_{n}.png``, with a number that no other file
    has. Bad points are gaps. Where nothing is to be drawn, no file is written.

    Args:
        original_fluxes: Spectra.
        reconstructed_fluxes: What was expected in their place.
        anomalous_regions: True at flagged points.
        spectrum_anomalies: True for flagged spectra.
        catalogue: Table with a row for each spectrum, in their order, with the columns ``targetid``, and
            ``mean_fiber_ra`` and ``mean_fiber_dec`` or ``ra`` and ``dec`` (degrees); or the graph of the spectra.
        wavelengths: Wavelengths in angstrom, at rest if the catalogue is a graph of spectra in the rest frame.
            (default: numbers of points)
        save_directory: Folder of the figure.
        max_samples: Largest number of spectra to draw, at most 60.
        seed: Seed of the draw, without replacement. (default: one from 0 to 10000)
        only_anomalous: Draw flagged spectra alone.
        zpix_cat: The catalogue; its documented name.
        mask: True at good points. (default: all that are finite)
        image_provider: Where images of the sky come from, as for :class:`~stgraph.report.SkyImages`. (default: nowhere,
            and no connection is made)

    Shapes:
        - **original_fluxes**, **reconstructed_fluxes**, **anomalous_regions**, **mask:** ``[N, L]`` or ``[N, L, 1]``
        - **spectrum_anomalies:** ``[N]``, **wavelengths:** ``[L]`` or ``[N, L]``

    Returns:
        tuple: Indices of the spectra among which those to draw were chosen, indices of those drawn, and the seed.

    Raises:
        InputError: If a shape does not fit or a number is out of range.
    """
    if catalogue is not None and zpix_cat is not None:
        raise InputError("catalogue is given twice; expected one of catalogue and zpix_cat")
    x = as_floats(original_fluxes, "original_fluxes")
    if x.ndim != 2:
        raise InputError(f"original_fluxes has shape {x.shape}; expected (N, L)")
    expected = as_floats(reconstructed_fluxes, "reconstructed_fluxes", x.shape)
    regions = as_bools(anomalous_regions, "anomalous_regions", x.shape)
    flagged = as_bools(spectrum_anomalies, "spectrum_anomalies", x.shape[:1])
    at = _positions(wavelengths, x.shape)
    good = np.isfinite(x) & np.isfinite(expected) & np.isfinite(at)
    good &= True if mask is None else as_bools(mask, "mask", x.shape)
    if not 1 <= max_samples <= MAX_ROWS:
        raise InputError(f"max_samples is {max_samples}; expected 1 to {MAX_ROWS}")
    catalogue = catalogue if zpix_cat is None else zpix_cat
    names, sky = _catalogue(catalogue, len(x))
    images = image_provider if isinstance(image_provider, SkyImages) else SkyImages(image_provider)
    candidates, chosen, seed = _draw_sample(flagged if only_anomalous else np.ones_like(flagged), max_samples, seed)
    if chosen:
        rows = [Row(at[i], x[i], expected[i], good[i], regions[i], bool(flagged[i]), names[i]) for i in chosen]
        places = [None if sky is None else (float(sky[i, 0]), float(sky[i, 1])) for i in chosen]
        frame = catalogue.get("frame") if isinstance(catalogue, Data) else None
        figure = _spectra_figure(rows, places, images, _axis_label(wavelengths, at_rest=frame == "rest"))
        _save(figure, save_directory, "anomalous_spectra" if only_anomalous else "spectra_reconstruction")
    return candidates, chosen, seed


#: The later name of :func:`plot_combined_spectra`.
plot_spectra = plot_combined_spectra


def plot_reconstruction_error_distribution(
    errors: Any,
    wavelengths: Any = None,
    save_directory: str | os.PathLike[str] = "output_images",
    *,
    mask: Any = None,
    at_rest: bool = False,
) -> tuple[Path, Path]:
    """Draw the mean error of all spectra against wavelength; write it as PNG, with a linear and a logarithmic axis.

    Args:
        errors: Error of each point, such as that of :func:`~stgraph.ops.anomaly.compute_reconstruction_errors`.
        wavelengths: Wavelengths in angstrom. (default: numbers of points)
        save_directory: Folder of the figures.
        mask: True at good points. (default: all that are finite)
        at_rest: Whether the wavelengths are those in the rest frame, for the label of the axis.

    Shapes:
        - **errors**, **mask:** ``[N, L]`` or ``[N, L, 1]``, **wavelengths:** ``[L]``

    Returns:
        tuple: The files ``mean_reconstruction_error_linear_{n}.png`` and ``mean_reconstruction_error_log_{n}.png``.

    Raises:
        InputError: If there are no errors, one is negative, or a shape does not fit.
    """
    e = as_floats(errors, "errors")
    if e.ndim != 2 or e.size == 0:
        raise InputError(f"errors has shape {e.shape}; expected (N, L) with at least one spectrum and point")
    at = np.arange(e.shape[1], dtype=np.float64)
    if wavelengths is not None:
        at = as_floats(wavelengths, "wavelengths", e.shape[1:])
    good = np.isfinite(e) if mask is None else np.isfinite(e) & as_bools(mask, "mask", e.shape)
    if (e[good] < 0).any():
        raise InputError("errors holds negative numbers; expected squared or absolute errors")
    mean = masked_mean(e, good, 0)
    paths = []
    for scale in ("linear", "log"):
        figure = _error_figure(at, mean, scale, len(e), _axis_label(wavelengths, at_rest=at_rest))
        paths.append(_save(figure, save_directory, f"mean_reconstruction_error_{scale}"))
    return paths[0], paths[1]


def _save(figure: Figure, directory: str | os.PathLike[str], base: str) -> Path:
    with reserved_path(directory, base) as path:
        return save_figure(figure, path, dpi=_DPI)


def _positions(wavelengths: Any, shape: tuple[int, ...]) -> Floats:
    if wavelengths is None:
        return np.broadcast_to(np.arange(shape[1], dtype=np.float64), shape)
    at = as_floats(wavelengths, "wavelengths")
    if at.shape not in (shape, shape[1:]):
        raise InputError(f"wavelengths has shape {at.shape}; expected ({shape[1]},) or {shape}")
    return np.broadcast_to(at, shape)


def _catalogue(catalogue: Any, count: int) -> tuple[list[str], Floats | None]:
    """Titles of the spectra, and their places on the sky where the catalogue has them."""
    if catalogue is None:
        return [f"Spectrum {i}" for i in range(count)], None
    names = target_names(catalogue)
    if isinstance(catalogue, Data):
        sky = catalogue.get("sky")
        sky = None if sky is None else as_floats(sky, "sky", (count, 2))
    else:
        sky = _position(catalogue, count)
    if len(names) != count:
        raise InputError(f"catalogue has {len(names)} rows; original_fluxes has {count} spectra")
    return [f"Target {name}" for name in names], sky


def _position(catalogue: Any, count: int) -> Floats | None:
    """Right ascension and declination from the first pair of columns that a catalogue has."""
    for pair in SKY_COLUMNS:
        columns = [catalogue_column(catalogue, [name]) for name in pair]
        known = [as_floats(column, "catalogue", (count,)) for column in columns if column is not None]
        if len(known) == 2:
            return np.stack(known, axis=1)
    return None


def _draw_sample(allowed: Any, count: int, seed: int | None) -> tuple[list[int], list[int], int | None]:
    candidates = np.flatnonzero(allowed)
    if not len(candidates):
        return [], [], seed
    if seed is None:
        seed = int(np.random.default_rng().integers(_LARGEST_SEED + 1))
    chosen = np.random.default_rng(seed).choice(candidates, size=min(count, len(candidates)), replace=False)
    return candidates.tolist(), sorted(chosen.tolist()), seed


def _spectra_figure(rows: list[Row], places: list[tuple[float, float] | None], images: SkyImages, axis: str) -> Figure:
    height = _TOP + _BOTTOM + len(rows) * _ROW + (len(rows) - 1) * _SPACE
    # Fixed places: an automatic layout would part the residual from its spectrum.
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")
    grid = figure.add_gridspec(
        len(rows),
        2,
        width_ratios=[3, 1],
        left=_LEFT / _WIDTH,
        right=1 - _RIGHT / _WIDTH,
        bottom=_BOTTOM / height,
        top=1 - _TOP / height,
        hspace=_SPACE / _ROW,
        wspace=0.06,
    )
    for i, (row, place) in enumerate(zip(rows, places, strict=True)):
        parts = grid[i, 0].subgridspec(2, 1, height_ratios=[4, 1], hspace=0.0)
        axes = figure.add_subplot(parts[0])
        below = figure.add_subplot(parts[1], sharex=axes)
        draw_spectrum(axes, below, row)
        axes.set_ylabel("Flux", fontsize=9)
        below.set_ylabel("Residual", fontsize=8)
        figure.align_ylabels([axes, below])
        image = None if place is None else images.get(*place)
        draw_sky(figure.add_subplot(grid[i, 1]), image, place)
        if i == len(rows) - 1:
            below.set_xlabel(axis, fontsize=10)
    legend_handles(figure)
    return figure


def _axis_label(wavelengths: Any, *, at_rest: bool) -> str:
    if wavelengths is None:
        return "Number of the point"
    return "Rest wavelength (Å)" if at_rest else "Wavelength (Å)"


def _error_figure(at: Floats, mean: Floats, scale: str, count: int, axis: str) -> Figure:
    figure = new_figure(9.5, 4.2)
    axes = figure.subplots()
    known = np.isfinite(mean) & (mean > 0) if scale == "log" else np.isfinite(mean)
    if known.any():
        _fill(axes, at, np.where(known, mean, np.nan), float(mean[known].min()) / 2 if scale == "log" else 0.0)
        axes.set_xlim(at[known].min(), at[known].max()) if known.sum() > 1 else None
    else:
        axes.text(0.5, 0.5, "Nothing to draw", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_yscale(scale)
    style(axes)
    axes.set_xlabel(axis, fontsize=10)
    axes.set_ylabel("Mean error", fontsize=10)
    axes.set_title(f"Mean reconstruction error of {count} spectra", fontsize=12, color=INK)
    return figure


def _fill(axes: Axes, at: Floats, mean: Floats, floor: float) -> None:
    axes.fill_between(at, floor, mean, color=COLORS[0], alpha=0.3, lw=0)
    axes.plot(at, mean, color=COLORS[0], lw=1.0)
    axes.set_ylim(bottom=floor)
