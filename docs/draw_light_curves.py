"""Draw a rotation period and filled gaps of mock light curves: ``python docs/draw_light_curves.py``.

All curves and weights are drawn from fixed seeds. The second figure trains a small network for about half a minute.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.axes import Axes
from PIL import Image
from scipy.stats import f as f_distribution
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data import Masking, ScaleSeries, SeriesLoader
from stgraph.data.simulation.light_curves import simulate_light_curves
from stgraph.models.autoencoders import SeriesReconstructor
from stgraph.nn import ReconstructionLoss
from stgraph.ops.interpolation import linear_interpolation
from stgraph.ops.multitaper import RotationPeriod, multitaper, rotation_period
from stgraph.report.style import BAND, COLORS, GREY, INK, new_figure, save_figure, style

IMAGES = Path(__file__).resolve().parent / "images"
DPI = 110
NW, K = 4.0, 7
STAR_SEED, STAR_DAYS, STAR_POINTS = 4, 420.0, 600
STEPS, TRAINED, HELD_OUT, BATCH_SIZE, EPOCHS, PEAK_RATE = 128, 512, 128, 32, 18, 4e-3
MASKING = Masking(min_block_size=4, max_block_size=16, min_mask_ratio=0.2, max_mask_ratio=0.4)
SHOWN = (0, 1, 2, 3)


class Filled(NamedTuple):
    """Curves with hidden points ``[B, L]`` in scaled units, and what a network makes of them."""

    time: Tensor
    value: Tensor
    real: Tensor
    hidden: Tensor
    mean: Tensor
    deviation: Tensor
    line: Tensor


def rotating_star() -> Data:
    """Return a spotted star that is seen in two seasons."""
    return simulate_light_curves(
        1,
        seed=STAR_SEED,
        classes={"rotation": 1.0},
        samplings={"astronomical": 1.0},
        duration=(STAR_DAYS, STAR_DAYS),
        points=(STAR_POINTS, STAR_POINTS),
        snr=(5.0, 5.0),
    )


def find_period(star: Data) -> RotationPeriod:
    """Return the period by the rule of :func:`stgraph.ops.multitaper.rotation_period`."""
    return rotation_period(star.time[0], star.x[0, :, 0], NW=NW, K=K)


def mock_curves(count: int = TRAINED + HELD_OUT) -> Data:
    """Return scaled curves of a sinusoid or a quasi-periodic oscillation each, half of them with gaps."""
    curves = simulate_light_curves(
        count,
        seed=3,
        classes={"sinusoid": 0.5, "qpo": 0.5},
        samplings={"regular": 0.5, "random_gaps": 0.5},
        duration=(50.0, 100.0),
        points=(110, STEPS),
        snr=(10.0, 30.0),
    )
    scaled: Data = ScaleSeries("robust")(curves)
    return scaled


def train(curves: Data, nodes: Tensor, epochs: int = EPOCHS) -> SeriesReconstructor:
    """Return a hierarchical minGRU that has learned to fill hidden blocks of some of the curves."""
    torch.manual_seed(0)
    loader = SeriesLoader(
        curves, steps=STEPS, nodes=nodes, masking=MASKING, random=True, shuffle=True, batch_size=BATCH_SIZE
    )
    model = SeriesReconstructor(
        "mingru", 1, STEPS, {"encoder_dims": [32, 64], "num_recurrent_blocks": 1}, uncertainty=True
    )
    loss = ReconstructionLoss("gaussian_nll", hidden_weight=0.8)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, epochs * len(loader))
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for batch in loader:
            output = model(batch)
            sums = loss.sums(output["mean"], batch.x, batch.mask, batch.hidden, None, output["log_variance"])
            optimizer.zero_grad()
            loss(sums).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def fill(model: SeriesReconstructor, curves: Data, nodes: Tensor) -> Filled:
    """Hide blocks of curves that the model has not seen, and fill them."""
    batch = next(iter(SeriesLoader(curves, steps=STEPS, nodes=nodes, masking=MASKING, batch_size=len(nodes))))
    output = model(batch)
    line = linear_interpolation(batch.time, batch.x, batch.mask & ~batch.hidden)
    parts = (batch.x, batch.mask, batch.hidden, output["mean"], (0.5 * output["log_variance"]).exp(), line)
    return Filled(batch.time, *(part[..., 0] for part in parts))


def draw_period(path: Path) -> Path:
    """Draw a light curve with a seasonal gap, its power spectrum and its F-statistic."""
    star = rotating_star()
    time, flux = star.time[0], star.x[0, :, 0]
    found, true = find_period(star), float(star.metadata["rotation_period"][0])
    duration = float(time[-1] - time[0])
    frequency = torch.arange(0.5 * NW, 5 * duration / true, 0.125, dtype=torch.float64) / duration
    spectrum = multitaper(time, flux, NW, K, frequency)
    assert spectrum.fstat is not None

    figure = new_figure(9, 7.4)
    curve, power, test = figure.subplots(3, 1, height_ratios=(1, 1, 1.15))
    curve.plot(time, flux, ".", color=INK, markersize=2.5)
    _finish(curve, "A mock star with spots, seen in two seasons", "time (days)", "flux")
    power.semilogy(frequency, spectrum.psd, color=COLORS[0], linewidth=1.2)
    power.axvline(1 / true, color=COLORS[2], linewidth=1.6, zorder=1)
    power.axvspan(1 / true - NW / duration, 1 / true + NW / duration, color=BAND, alpha=0.4, linewidth=0)
    _finish(power, "Multitaper power spectrum; the band is ±NW/T wide", None, "density (flux² · days)")
    test.plot(frequency, spectrum.fstat, color=COLORS[0], linewidth=1.0)
    threshold = f_distribution.isf(1 / len(time), 2, 2 * K - 2)
    test.axhline(threshold, color=GREY, linewidth=1.2, linestyle=":", label="p = 1/N")
    test.axvline(1 / true, color=COLORS[2], linewidth=1.6, zorder=1, label=f"true period, {true:.2f} d")
    place, height, label = float(found.frequency), float(found.fstat), f"period found, {float(found.period):.2f} d"
    test.plot(
        place, height, "o", color=COLORS[1], markerfacecolor="none", markersize=9, markeredgewidth=1.8, label=label
    )
    _finish(test, "Harmonic F-statistic", "frequency (1/day)", "F")
    test.set_ylim(0, 1.35 * float(spectrum.fstat.max()))
    test.legend(fontsize=9, frameon=False, loc="upper right", ncols=3, labelcolor=INK)
    for axes in (power, test):
        axes.set_xlim(float(frequency[0]), float(frequency[-1]))
    return _small(save_figure(figure, path, dpi=DPI))


def draw_filled(path: Path, epochs: int = EPOCHS, trained: int = TRAINED, held_out: int = HELD_OUT) -> Path:
    """Draw hidden blocks of curves, filled by a network that was trained on others."""
    curves = mock_curves(trained + held_out)
    model = train(curves, torch.arange(trained), epochs)
    filled = fill(model, curves, torch.arange(trained, trained + held_out))
    figure = new_figure(9, 6.2)
    panels = figure.subplots(2, 2, sharey=True).flat
    for axes, row in zip(panels, SHOWN, strict=True):
        _draw_example(axes, filled, row)
        below, left = row in SHOWN[2:], row in SHOWN[::2]
        share = float(filled.hidden[row].sum() / filled.real[row].sum())
        title = f"{100 * share:.0f} % of the points hidden"
        _finish(axes, title, "time (days)" if below else None, "flux (scaled)" if left else None)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False, fontsize=9, labelcolor=INK)
    hidden = filled.hidden
    for name, values in (("network", filled.mean), ("linear interpolation", filled.line)):
        print(f"  {name}: mean squared error {(values - filled.value)[hidden].square().mean():.3f}")
    print(
        f"  inside one deviation: {((filled.mean - filled.value).abs() < filled.deviation)[hidden].float().mean():.2f}"
    )
    return _small(save_figure(figure, path, dpi=DPI))


def _draw_example(axes: Axes, filled: Filled, row: int) -> None:
    real = filled.real[row]
    time, value, mean, deviation, line, hidden = (
        part[row][real].numpy()
        for part in (filled.time, filled.value, filled.mean, filled.deviation, filled.line, filled.hidden)
    )
    axes.fill_between(
        time, mean - deviation, mean + deviation, color=BAND, alpha=0.6, linewidth=0, label="± 1 standard deviation"
    )
    axes.plot(
        time, np.where(_blocks(hidden), line, np.nan), "--", color=COLORS[4], linewidth=1.3, label="straight line"
    )
    axes.plot(time, mean, color=COLORS[0], linewidth=1.4, label="network")
    axes.plot(time[~hidden], value[~hidden], ".", color=INK, markersize=3.5, label="visible")
    axes.plot(time[hidden], value[hidden], "x", color=COLORS[1], markersize=4, label="hidden")


def _blocks(hidden: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Hidden points and the visible ones next to them, between which the straight lines run."""
    wide = np.pad(hidden, 1)
    return np.asarray(wide[:-2] | wide[1:-1] | wide[2:])


def _finish(axes: Axes, title: str, xlabel: str | None, ylabel: str | None) -> None:
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    axes.set_xlabel(xlabel or "", fontsize=9)
    axes.set_ylabel(ylabel or "", fontsize=9)
    style(axes)


def _small(path: Path) -> Path:
    """Give a picture a palette, in half of the space."""
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def main(arguments: list[str] | None = None) -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/light_curves.md.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder for the figures")
    output = parser.parse_args(arguments).output
    torch.set_num_threads(1)  # the same sums in the same order
    print(draw_period(output / "light_curves_period.png"))
    print(draw_filled(output / "light_curves_filled.png"))


if __name__ == "__main__":
    main()
