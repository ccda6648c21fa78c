"""Draw what the spectral layers do to a signal, and how far they see: ``python docs/draw_spectral_layers.py``.

Every line and map is computed from a layer of :mod:`stgraph.nn.spectral`, in float64 and from fixed seeds.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import NullLocator
from PIL import Image
from torch import Tensor, nn

from stgraph.nn import spectral
from stgraph.ops.graph_fourier import laplacian_modes
from stgraph.report.style import COLORS, GREY, INK, new_figure, save_figure, style

Function = Callable[[Tensor], Tensor]

IMAGES = Path(__file__).resolve().parent / "images"
TOKENS, CHANNELS, CUTOFF = 128, 8, 0.125
DPI, FIELD, GRID, GRAPH = 110, 64, 32, 300
SINES = {4: 1.0, 16: 0.7, 40: 0.5}


def test_signal() -> Tensor:
    """Return three sines of 4, 16 and 40 cycles, an impulse at token 20 and a step at token 96, ``[128]``."""
    n = torch.arange(TOKENS, dtype=torch.float64)
    signal = sum(size * torch.sin(2 * math.pi * cycles * n / TOKENS) for cycles, size in SINES.items())
    return signal + 4.0 * (n == 20) + 1.5 * (n >= 96)


def gain(function: Function, tokens: int = TOKENS, base: Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in cycles per token, and the norm of the output over that of the input for sines of each.

    Sines enter in one channel at a time, in both phases; the result is the root mean square over them. A function that
    is not linear is linearised at ``base`` ``[tokens, CHANNELS]`` by central differences.
    """
    cycles = torch.arange(tokens // 2 + 1, dtype=torch.float64).unsqueeze(-1)
    angle = 2 * math.pi / tokens * cycles * torch.arange(tokens)
    waves = torch.stack([angle.cos(), angle.sin()], dim=1)  # [F, 2, N]
    x = waves[:, :, None, :, None] * torch.eye(CHANNELS, dtype=torch.float64).unsqueeze(-2)  # [F, 2, D, N, D]
    start, step = (torch.zeros(tokens, CHANNELS, dtype=torch.float64), 1.0) if base is None else (base, 1e-4)
    with torch.no_grad():
        y = (function(start + step * x) - function(start - step * x)) / (2 * step)
    ratio = y.square().flatten(1).sum(dim=-1) / x.square().flatten(1).sum(dim=-1)
    return (cycles.squeeze(-1) / tokens).numpy(), ratio.sqrt().numpy()


def sensitivity(function: Function, x: Tensor, place: int) -> np.ndarray:
    """Return the norm of d out[place] / d in[n] over the channels for each token n of ``x`` ``[N, D]``."""
    x = x.clone().requires_grad_()
    rows = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in function(x)[place]]
    return torch.linalg.vector_norm(torch.stack(rows), dim=(0, 2)).numpy()


def random_graph(nodes: int, radius: float) -> tuple[Tensor, Tensor]:
    """Return places in the unit square ``[N, 2]``, and the edges ``[2, E]`` between those closer than ``radius``."""
    places = torch.rand(nodes, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    near = (torch.cdist(places, places) < radius).fill_diagonal_(False)
    return places, near.nonzero().T


def draw_response(path: Path) -> Path:
    """Draw the gains of the filters, and what the other layers make of the test signal."""
    figure = new_figure(9, 10.6)
    filters, fourier, attention = figure.subfigures(3, 1, height_ratios=(2.05, 1.15, 2.05))
    _headline(filters, "Gain of a sine by its frequency")
    axes = list(filters.subplots(2, 3, sharey=True).flat)
    for ax, (title, lines) in zip(axes, _gains().items(), strict=True):
        ax.axhline(1, color=GREY, linewidth=0.8)
        for (name, (x, y)), color, dash in zip(lines.items(), COLORS, ("-", "--"), strict=False):
            ax.plot(x, y, dash, color=color, linewidth=1.6, label=name)
        _finish(ax, title, "frequency (cycles per token)", "gain |Y| / |X|" if ax in (axes[0], axes[3]) else None)
        ax.set_ylim(-0.1, 2.6)
        ax.legend(fontsize=8, frameon=False, loc="upper right", labelcolor=INK)
    axes[5].set_xlabel(r"graph frequency $\sqrt{\lambda / 2}$", fontsize=9)

    _headline(fourier, "Spectra in the place of tokens")
    axes = fourier.subplots(1, 3)
    signal = test_signal()
    axes[0].plot(signal, color=GREY, linewidth=1)
    _finish(axes[0], "test signal", "token n", "value")
    magnitude = torch.fft.fft(signal, norm="ortho").abs()
    for ax, kind in zip(axes[1:], (spectral.FourierMixing1D, spectral.RealFourierMixing), strict=True):
        ax.plot(magnitude, color=GREY, linewidth=0.8, label="|X|")
        ax.plot(kind(1)(signal.unsqueeze(-1)).squeeze(-1), color=COLORS[0], linewidth=1.3, label="output")
        _finish(ax, kind.__name__, f"output token k (cycles per {TOKENS} tokens)", "value" if ax is axes[1] else None)
        ax.set_ylim(-6.5, 9)
        ax.legend(fontsize=8, frameon=False, loc="upper center", ncols=2, labelcolor=INK)

    _headline(attention, "Attention on the test signal and its delays, without projections")
    axes = list(attention.subplots(2, 3, sharex=True, sharey=True).flat)
    for ax, (title, output) in zip(axes, _attended(signal).items(), strict=True):
        ax.plot(signal, color=GREY, linewidth=0.8, label="input")
        ax.plot(output, color=COLORS[0], linewidth=1.3, label="output")
        below, left = ax in (axes[3], axes[4], axes[5]), ax in (axes[0], axes[3])
        _finish(ax, title, "token n" if below else None, "value" if left else None)
    axes[0].set_ylim(-3, 5.5)
    axes[0].legend(fontsize=8, frameon=False, loc="upper right", ncols=2, labelcolor=INK)
    return _save(figure, path)


def draw_field(path: Path) -> Path:
    """Draw the sensitivity of one output token to each input token, cell or node."""
    figure = new_figure(9, 11)
    sequences, planes = figure.subfigures(2, 1, height_ratios=(5, 2))
    _headline(sequences, f"|d out[{FIELD // 2}] / d in[n]| of sequences of {FIELD} tokens, relative to its maximum")
    axes = sequences.subplots(5, 4, sharex=True, sharey=True)
    x = _noise(FIELD, CHANNELS)
    for ax, (title, layer) in zip(axes.flat, _sequence_layers().items(), strict=True):
        ax.axvline(FIELD // 2, color=GREY, linewidth=0.8)
        field = sensitivity(layer, x, FIELD // 2)
        ax.semilogy(field / field.max(), color=COLORS[0], linewidth=1.3)
        _finish(ax, title, "token n" if ax in axes[-1] else None, "sensitivity" if ax in axes[:, 0] else None)
    ax.set(ylim=(1e-3, 2), xlim=(0, FIELD - 1), xticks=(0, 16, 32, 48), yticks=(1e-3, 1e-2, 1e-1, 1))
    ax.yaxis.set_minor_locator(NullLocator())

    _headline(planes, "The same for a cell of a grid and a node of a graph")
    axes = planes.subplots(1, 3)
    norm = LogNorm(1e-4, 1, clip=True)
    for ax, (title, function) in zip(axes, _grid_layers().items(), strict=False):
        field = sensitivity(function, _noise(GRID * GRID, CHANNELS), GRID * GRID // 2 + GRID // 2)
        ax.imshow((field / field.max()).reshape(GRID, GRID), norm=norm, cmap="cividis", origin="lower")
        ax.plot(GRID // 2, GRID // 2, "o", markerfacecolor="none", color=COLORS[1], markersize=10, markeredgewidth=1.8)
        _finish(ax, title, "column", "row" if ax is axes[0] else None, grid="none")
    image = _draw_graph_field(axes[2], norm)
    planes.colorbar(image, ax=axes, label="relative sensitivity", shrink=0.8, pad=0.01)
    return _save(figure, path)


def _draw_graph_field(ax: Axes, norm: LogNorm) -> Any:
    places, edges = random_graph(GRAPH, 0.1)
    layer = _made(spectral.GraphFourierMixing, CHANNELS, num_modes=48)
    place = int((places - 0.5).square().sum(dim=-1).argmin())
    field = sensitivity(lambda x: layer(x, edges), _noise(GRAPH, CHANNELS), place)
    ax.add_collection(LineCollection(list(places[edges.T].numpy()), colors="#C8C8C8", linewidths=0.4, zorder=1))
    image = ax.scatter(*places.T, c=field / field.max(), s=18, cmap="cividis", norm=norm, zorder=2)
    ax.plot(*places[place], "o", markerfacecolor="none", color=COLORS[1], markersize=10, markeredgewidth=1.8, zorder=3)
    ax.set_aspect("equal")
    _finish(ax, "GraphFourierMixing", "x", "y", grid="none")
    return image


def _gains() -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """The lines of each filter: frequencies and gains by what the line shows."""
    low_pass = _made(spectral.GlobalFilterMixing, CHANNELS, TOKENS, activation="identity")
    with torch.no_grad():
        low_pass.filter_imag.zero_()
        low_pass.filter_real.copy_((torch.fft.fftfreq(TOKENS).abs() <= CUTOFF).unsqueeze(-1))
    wavelets = {}
    for name in ("db4", "haar"):
        layer = _made(spectral.WaveletMixing, CHANNELS, wavelet=name, levels=2, residual=False)
        for key, weight in layer.mixing_weights.items():
            nn.init.constant_(weight, float(key == "approx"))
        wavelets[name] = gain(layer)
    modes = int(CUTOFF * TOKENS) + 1
    conv = _made(spectral.SpectralConv1d, CHANNELS, CHANNELS, modes)
    operator = _made(spectral.FourierNeuralOperator, CHANNELS, modes)
    afno = _made(spectral.AFNOMixing, CHANNELS, TOKENS, modes_seq=2 * modes - 1)
    base = _noise(TOKENS, CHANNELS)
    return {
        "GlobalFilterMixing": {"128 tokens": gain(low_pass), "96 tokens": gain(low_pass, 96)},
        "WaveletMixing": wavelets,
        "SpectralConv1d": {f"{modes} modes, {n} tokens": gain(conv.convolve_tokens, n) for n in (TOKENS, 96)},
        "FourierNeuralOperator": {
            "spectral part": gain(operator.spectral_conv.convolve_tokens),
            "layer": gain(operator, base=base),
        },
        "AFNOMixing": {"added part": gain(lambda x: afno(x) - x, base=base), "layer": gain(afno, base=base)},
        "GraphFourierMixing": _graph_gain(),
    }


def _graph_gain() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Gains of the eigenvectors of a graph, with a response that falls from 1 to 0."""
    layer = _made(spectral.GraphFourierMixing, 1, num_modes=160)
    with torch.no_grad():
        layer.response.copy_((torch.linspace(2, -2, layer.num_knots).clamp(0, 1)).unsqueeze(-1))
    _, edges = random_graph(GRAPH, 0.1)
    values, vectors = laplacian_modes(edges, GRAPH, GRAPH)
    with torch.no_grad():
        x = vectors.double().T.unsqueeze(-1)
        y = layer(x, edges)
    frequency = (values / 2).sqrt().numpy()
    parts = {"added part": y - x, "layer": y}
    return {name: (frequency, torch.linalg.vector_norm(part, dim=(1, 2)).numpy()) for name, part in parts.items()}


def _attended(signal: Tensor) -> dict[str, Tensor]:
    """First channel of the output for the signal and its delays as channels, with the identity for all projections."""
    x = torch.stack([signal.roll(4 * i) for i in range(CHANNELS)], dim=-1)
    made = {
        "SpectralAttention": _made(spectral.SpectralAttention, CHANNELS, 1, num_features=512),
        "KernelAttention, gaussian": _made(spectral.KernelAttention, CHANNELS, 1, num_features=512),
        "KernelAttention, polynomial": _made(spectral.KernelAttention, CHANNELS, 1, "polynomial"),
        "LSTAttention, dct": _made(spectral.LSTAttention, CHANNELS, 1),
        "HadamardAttention": _made(spectral.HadamardAttention, CHANNELS, 1),
        "MixedSpectralAttention, fft": _made(spectral.MixedSpectralAttention, CHANNELS, 1, True, False, False),
    }
    outputs = {}
    for name, layer in made.items():
        for projection in (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj):
            nn.init.eye_(projection.weight)
            nn.init.zeros_(projection.bias)
        output = layer(x)[:, 0].detach()
        if hasattr(layer, "normalize"):  # products, of a scale of their own
            output = output * (signal.std() / output.std())
        outputs[name] = output
    return outputs


def _sequence_layers() -> dict[str, Function]:
    """Every sequence layer with random weights, where the first ones would make it close to the identity."""
    made: dict[str, Any] = {}
    for kind in (spectral.FourierMixing, spectral.FourierMixing1D, spectral.RealFourierMixing):
        made[kind.__name__] = _made(kind, CHANNELS)
    made["SeparableFourierMixing"] = _made(spectral.SeparableFourierMixing, CHANNELS, intermediate_real=True)
    for kind in (spectral.GlobalFilterMixing, spectral.GlobalFilterMixing2D, spectral.AdaptiveGlobalFilter):
        made[kind.__name__] = _made(kind, CHANNELS, FIELD, "identity", filter_init_std=1.0)
    made["AFNOMixing"] = _made(spectral.AFNOMixing, CHANNELS, FIELD)
    made["WaveletMixing"] = _made(spectral.WaveletMixing, CHANNELS)
    made["WaveletMixing, level"] = _made(spectral.WaveletMixing, CHANNELS, mixing_mode="level")
    generator = torch.Generator().manual_seed(1)
    for weight in made["WaveletMixing"].mixing_weights.values():
        nn.init.normal_(weight, generator=generator)
    made["SpectralConv1d"] = _made(spectral.SpectralConv1d, CHANNELS, CHANNELS, 8).convolve_tokens
    for kind in (spectral.FourierNeuralOperator, spectral.FNOBlock):
        made[kind.__name__] = _made(kind, CHANNELS, 8)
    made["SpectralAttention"] = _made(spectral.SpectralAttention, CHANNELS, 4)
    made["PerformerAttention, relu"] = _made(spectral.PerformerAttention, CHANNELS, 4, generalized=True)
    made["KernelAttention"] = _made(spectral.KernelAttention, CHANNELS, 4)
    made["LSTAttention, dst"] = _made(spectral.LSTAttention, CHANNELS, 4, "dst")
    for kind in (spectral.DCTAttention, spectral.HadamardAttention, spectral.MixedSpectralAttention):
        made[kind.__name__] = _made(kind, CHANNELS, 4)
    return made


def _grid_layers() -> dict[str, Function]:
    wavelet = _made(spectral.WaveletMixing2D, CHANNELS)
    conv = _made(spectral.SpectralConv2d, CHANNELS, CHANNELS, (8, 8))
    return {
        "WaveletMixing2D": lambda x: wavelet(x, grid=(GRID, GRID)),
        "SpectralConv2d": lambda x: conv(x, grid=(GRID, GRID)),
    }


def _made(kind: type[nn.Module], *arguments: Any, **options: Any) -> Any:
    """Return a layer in float64 and evaluation mode, the same in every run."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(*arguments, **options).double().eval()


def _noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure with a palette, in half of the space."""
    save_figure(figure, path, dpi=DPI)
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(255, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def _headline(part: SubFigure, text: str) -> None:
    part.suptitle(text, x=0.01, ha="left", fontsize=11, color=INK, fontweight="bold")


def _finish(ax: Axes, title: str, xlabel: str | None, ylabel: str | None, grid: str = "both") -> None:
    ax.set_title(title, fontsize=10, color=INK, loc="left")
    ax.set_xlabel(xlabel or "", fontsize=9)
    ax.set_ylabel(ylabel or "", fontsize=9)
    style(ax, grid=grid)


def main(arguments: list[str] | None = None) -> None:
    """Draw both figures."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/spectral_layers.md.")
    parser.add_argument("--output", type=Path, default=IMAGES, help="folder for the figures")
    output = parser.parse_args(arguments).output
    print(draw_response(output / "spectral_layers_response.png"))
    print(draw_field(output / "spectral_layers_field.png"))


if __name__ == "__main__":
    main()
