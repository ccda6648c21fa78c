"""Draw a fused image beside what it was made from: ``STGRAPH_DATA=... python docs/draw_fusion.py``.

The cube is a part of the Indian Pines scene (220 Band AVIRIS Hyperspectral Image Data Set: June 12, 1992 Indian Pine
Test Site 3, M. F. Baumgardner, L. L. Biehl and D. A. Landgrebe, Purdue University Research Repository, 2015,
doi:10.4231/R7RX991C, CC BY 3.0), which does not come with stgraph; STGRAPH_DATA names the folder that holds
``hsi_indian_pines/indian_pines.npz``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.images import rgb_preview
from stgraph.data.simulation.fusion import FusionPair, simulate_pair
from stgraph.report.style import COLORS, GREY, INK, new_figure, save_figure, style
from stgraph.tasks import fuse
from stgraph.tasks.fuse_images import FusionResult

IMAGES = Path(__file__).resolve().parent / "images"
DPI = 130
RATIO, BANDS, SNR, COUNT = 4, 4, 30.0, 9
#: The pixels whose spectra are drawn: those whose error is larger than that of so many of all pixels.
SHARES = {"a pixel of median error": 0.5, "a pixel worse than 99 %": 0.99}
MARKERS = ("o", "s")
# A step of more than this many usual ones is a gap.
_GAP = 3.0

Floats = npt.NDArray[np.floating]


class Fused(NamedTuple):
    """Two images made from a cube, what they were fused to, and the error of each pixel (root mean square)."""

    pair: FusionPair
    result: FusionResult
    error: Floats

    @property
    def wavelengths(self) -> Floats:
        """Wavelengths of the bands in nm."""
        assert self.pair.wavelengths is not None
        return self.pair.wavelengths.numpy()

    def pixel(self, share: float) -> tuple[int, int]:
        """Row and column of the pixel whose error is larger than that of a share of all pixels."""
        order = np.argsort(self.error, axis=None)
        row, column = np.unravel_index(order[round(share * (order.size - 1))], self.error.shape)
        return int(row), int(column)


def indian_pines() -> tuple[Floats, Floats]:
    """Return the cube ``[H, W, C]`` and its wavelengths in nm."""
    with np.load(stgraph_data_folder("hsi_indian_pines") / "indian_pines.npz") as found:
        return found["cube"].astype(np.float32), found["wavelength_nm"].astype(np.float64)


def make(cube: Floats, wavelengths: Floats, **arguments: Any) -> Fused:
    """Make both images from the cube and fuse them."""
    pair = simulate_pair(
        cube, ratio=RATIO, bands=BANDS, wavelengths=wavelengths, snr_spatial=SNR, snr_spectral=SNR, seed=0
    )
    result = fuse(pair.lr_hsi, pair.hr_msi, pair.srf, pair.psf, pair.ratio, wavelengths=pair.wavelengths, **arguments)
    error = np.sqrt(np.square(result.image - pair.truth.numpy()).mean(axis=2))
    return Fused(pair, result, error)


def draw(path: Path, fused: Fused) -> Path:
    """Draw the images, where the result is wrong and where errors were expected, and the spectra of two pixels."""
    figure = new_figure(8.0, 6.7)
    rows: Any = figure.subfigures(2, 1, height_ratios=[1.0, 2.05])
    images, below = rows
    _draw_images(images, fused)
    maps, spectra = below.subfigures(1, 2, width_ratios=[1.0, 2.1])
    _draw_maps(maps, fused)
    panels = spectra.subplots(2, 1, sharex=True)
    for axes, marker, (name, share) in zip(panels, MARKERS, SHARES.items(), strict=True):
        _draw_spectrum(axes, fused, fused.pixel(share), name, marker)
    panels[-1].set_xlabel("wavelength (nm)", fontsize=9)
    panels[0].legend(frameon=False, fontsize=8, labelcolor=INK)
    return _small(save_figure(figure, path, dpi=DPI))


def _draw_images(figure: Figure, fused: Fused) -> None:
    pair, known = fused.pair, fused.wavelengths
    truth = pair.truth.numpy()
    coarse = pair.lr_hsi.numpy().repeat(pair.ratio, axis=0).repeat(pair.ratio, axis=1)
    # One image, so that all three have one scale of each colour.
    low, sharp, true = np.split(rgb_preview(np.concatenate([coarse, fused.result.image, truth]), known), 3)
    shown = {
        f"low resolution, {len(known)} bands": low,
        f"high resolution, {BANDS} bands": rgb_preview(pair.hr_msi.numpy(), pair.srf.double().numpy() @ known),
        f"fused, {len(known)} bands": sharp,
        "truth": true,
    }
    for axes, (name, image) in zip(figure.subplots(1, len(shown)), shown.items(), strict=True):
        axes.imshow(image, interpolation="nearest")
        _finish(axes, name)


def _draw_maps(figure: Figure, fused: Fused) -> None:
    assert fused.result.uncertainty is not None
    high = float(np.percentile(fused.error, 99))
    panels = figure.subplots(2, 1)
    maps = {"error": fused.error, "expected error": fused.result.uncertainty}
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        drawn = axes.imshow(values, cmap="magma", vmin=0, vmax=high, interpolation="nearest")
        _finish(axes, name)
    for marker, share in zip(MARKERS, SHARES.values(), strict=True):
        row, column = fused.pixel(share)
        panels[0].plot(column, row, marker, ms=7, mfc="none", mec="white", mew=1.4, clip_on=False)
    bar = figure.colorbar(drawn, ax=panels, shrink=0.7, extend="max")
    bar.ax.tick_params(labelsize=8)


def _draw_spectrum(axes: Axes, fused: Fused, pixel: tuple[int, int], name: str, marker: str) -> None:
    pair, (row, column) = fused.pair, pixel
    coarse = pair.lr_hsi[row // pair.ratio, column // pair.ratio].numpy()
    lines = {
        "low-resolution pixel there": (coarse, GREY, 0.8),
        "truth": (pair.truth[row, column].numpy(), INK, 1.4),
        "fused": (fused.result.image[row, column], COLORS[1], 1.0),
    }
    for text, (values, color, width) in lines.items():
        axes.plot(*broken(fused.wavelengths, values), color=color, lw=width, label=text)
    style(axes)
    axes.tick_params(labelsize=8)
    title = f"{name} ({'circle' if marker == 'o' else 'square'}), error {fused.error[pixel]:.3f}"
    axes.set_title(title, fontsize=9, color=INK, loc="left")


def broken(wavelengths: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Break a line where bands are missing, and where the next of several spectrometers begins again below."""
    steps = np.diff(wavelengths)
    after = np.flatnonzero((steps > _GAP * np.median(steps)) | (steps <= 0)) + 1
    return np.insert(wavelengths, after, np.nan), np.insert(values.astype(np.float64), after, np.nan)


def _finish(axes: Axes, name: str) -> None:
    axes.set_title(name, fontsize=9, color=INK)
    axes.set_axis_off()


def _small(path: Path) -> Path:
    """Give a picture a palette, in a third of the space."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    """Draw the figure."""
    parser = argparse.ArgumentParser(description="Draw the figure of docs/fusion.md.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder for the figure")
    output = parser.parse_args(arguments).output
    torch.set_num_threads(1)  # the same sums in the same order
    print(draw(output / "fusion_indian_pines.png", make(*indian_pines(), count=COUNT)))


if __name__ == "__main__":
    main()
