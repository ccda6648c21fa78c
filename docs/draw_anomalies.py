"""Draw injected anomalies that were found, and scores of all spectra: ``python docs/draw_anomalies.py``.

All spectra are mock galaxies drawn from fixed seeds; nothing is trained.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from PIL import Image
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies import analytic_galaxies, inject
from stgraph.data.spectra import common_wavelengths, to_rest_frame
from stgraph.models.detectors import GraphResidualDetector
from stgraph.ops.anomaly import AnomalousRegions
from stgraph.report.anomaly_panels import FLAGGED, RED, flagged_spans, line, shade, with_gaps
from stgraph.report.style import COLORS, GREY, INK, new_figure, save_figure, style

IMAGES = Path(__file__).resolve().parent / "images"
DPI = 150
KINDS = ("line", "bump", "noisy", "gap", "step")
COUNT, LENGTH, FRACTION = 600, 1001, 0.1
HELD_OUT, SHORT = 400, 400


class Judged(NamedTuple):
    """Spectra in the rest frame with injected anomalies, and what was found in them."""

    data: Data
    found: AnomalousRegions


def judge(count: int = COUNT, length: int = LENGTH) -> Judged:
    """Inject anomalies into mock galaxies, and compare each spectrum with those most like it."""
    data = to_rest_frame(inject(analytic_galaxies(count, length=length), KINDS, FRACTION))
    return Judged(data, GraphResidualDetector().fit_detect(data))


def typical(judged: Judged, kind: str) -> int:
    """Return the spectrum with the (lower) median score of a kind."""
    rows = torch.from_numpy(np.flatnonzero(judged.data.metadata["anomaly_kind"] == kind))
    return int(rows[judged.found.score[rows].argsort()[(len(rows) - 1) // 2]])


def new_pvalues(count: int = HELD_OUT, length: int = SHORT) -> torch.Tensor:
    """Return p-values of clean spectra that a detector, fitted and calibrated on others, has not seen."""
    galaxies = [analytic_galaxies(count, length=length, seed=seed) for seed in (1, 2, 3)]
    grid = common_wavelengths(galaxies[0], rest_frame=True)
    fitted, normal, new = (to_rest_frame(data, grid) for data in galaxies)
    found = GraphResidualDetector().fit(fitted).calibrate(normal).detect(new)
    assert found.p_value is not None
    return found.p_value


def draw_spectra(path: Path, judged: Judged) -> Path:
    """Draw a typical spectrum of each kind, what was expected, what is left, and what is flagged."""
    figure = new_figure(7.8, 8.2)
    ratios = [3, 1.2] * len(KINDS)
    panels = figure.subplots(2 * len(KINDS), 1, height_ratios=ratios, gridspec_kw={"hspace": 0.0})
    for kind, axes, below in zip(KINDS, panels[::2], panels[1::2], strict=True):
        _draw_spectrum(axes, below, judged, typical(judged, kind), kind)
    panels[-1].set_xlabel("rest wavelength (Å)", fontsize=9)
    handles = [
        Line2D([], [], color=COLORS[0], lw=1.5, label="spectrum"),
        Line2D([], [], color=RED, lw=1.5, alpha=0.7, label="expected"),
        Line2D([], [], color=INK, lw=1.2, label="residual"),
        Patch(color=FLAGGED, alpha=0.35, lw=0, label="flagged"),
        Line2D([], [], color=COLORS[2], lw=3, label="injected"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=9, labelcolor=INK)
    return _small(save_figure(figure, path, dpi=DPI))


def _draw_spectrum(axes: Axes, below: Axes, judged: Judged, row: int, kind: str) -> None:
    data, found = judged
    assert found.expected is not None
    at, x, expected = data.wavelength.numpy(), data.x[row, :, 0].numpy(), found.expected[row].numpy()
    good, flagged = data.mask[row, :, 0].numpy(), found.regions[row].numpy()
    line(axes, at, with_gaps(x, good), COLORS[0], 0.8, "spectrum")
    line(axes, at, with_gaps(expected, good), RED, 1.0, "expected", alpha=0.7)
    line(below, at, with_gaps(x - expected, good), INK, 0.6, "residual")
    spans = flagged_spans(at, flagged, good)
    for start, end in flagged_spans(at, data.anomaly_mask[row, :, 0].numpy(), good):
        axes.plot([start, end], [0.03, 0.03], color=COLORS[2], lw=3, transform=axes.get_xaxis_transform())
    for part, ticks in ((axes, 4), (below, 2)):
        shade(part, spans)
        style(part)
        part.locator_params(axis="y", nbins=ticks)
        part.tick_params(labelsize=8)
        part.set_xlim(at[good].min(), at[good].max())
        part.margins(y=0.12)
    axes.tick_params(labelbottom=False, length=0)
    axes.spines["bottom"].set_visible(False)
    verdict = "anomalous" if bool(found.anomalous[row]) else "not flagged"
    title = f"{kind}: score {float(found.score[row]):.0f}, {verdict}"
    axes.set_title(title, fontsize=9, color=INK, loc="left", pad=3)


def draw_scores(path: Path, judged: Judged, pvalues: torch.Tensor) -> Path:
    """Draw the scores of clean and of anomalous spectra, and how often new clean ones have small p-values."""
    figure = new_figure(7.8, 3.3)
    scores, rates = figure.subplots(1, 2, width_ratios=(1.7, 1))
    kind_of, found = judged.data.metadata["anomaly_kind"], judged.found
    spread = np.random.default_rng(0).uniform(-0.28, 0.28, len(kind_of))
    for place, kind in enumerate(("", *KINDS)):
        for flagged, marker, color in ((False, "o", COLORS[0]), (True, "D", RED)):
            rows = (kind_of == kind) & (found.anomalous.numpy() == flagged)
            size = 5 if kind == "" else 14
            scores.scatter(
                found.score.numpy()[rows], place + spread[rows], size, color, marker=marker, alpha=0.75, lw=0
            )
    scores.axvline(found.threshold, color=GREY, ls="--", lw=1.2)
    scores.set_xscale("log")
    scores.set_yticks(range(len(KINDS) + 1), ["clean", *KINDS])
    scores.invert_yaxis()
    _finish(scores, "Scores, and the threshold (dashed)", "score")
    points = np.linspace(0, 1, len(pvalues) + 1)
    rates.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1.2)
    rates.step(np.concatenate([[0], pvalues.sort().values.numpy()]), points, where="post", color=COLORS[0], lw=1.4)
    rates.set_ylabel("share of clean spectra at most p", fontsize=9)
    _finish(rates, "p-values of new spectra", "p")
    return _small(save_figure(figure, path, dpi=DPI))


def _finish(axes: Axes, title: str, xlabel: str) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(xlabel, fontsize=9)
    style(axes)


def _small(path: Path) -> Path:
    """Give a picture a palette, in half of the space."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/anomalies.md.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder for the figures")
    output = parser.parse_args(arguments).output
    torch.set_num_threads(1)  # the same sums in the same order
    judged = judge()
    print(draw_spectra(output / "anomalies_spectra.png", judged))
    print(draw_scores(output / "anomalies_scores.png", judged, new_pvalues()))


if __name__ == "__main__":
    main()
