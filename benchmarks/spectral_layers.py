"""The spectral layers against exact softmax attention: time, peak memory, and growth with the number of tokens.

The unit of time is PyTorch's exact attention with the same projections and 8 heads in the same run, so that the figures
carry to other machines. Beside them stand the limits that the layers are held to, in the same unit: what another
implementation of the same layers took on another machine, divided by 10 for wavelets and 40 for Hadamard transforms,
and what a vectorised prototype of the formulas took, where there is one. "x plain" is the time over that of the
formula in plain PyTorch (``plain_spectral.py``), on this machine. Images are in units of a spectral convolution
of 16 x 16 modes by three calls of torch.fft. Differences under 25 % are noise.
"""

from __future__ import annotations

import math
import statistics
from argparse import Namespace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import measure
from benchmarks.plain_spectral import PLAIN, ChannelsFirst  # noqa: F401
from stgraph.nn import spectral

CHANNELS, HEADS, NOISE = 128, 8, 1.25
SIZES = ((8, 512), (4, 2048))
IMAGES = (4, 32, 64, 64)
LENGTHS = (256, 1024, 4096, 16384)
LARGEST_EXPONENT = 1.15


class Row(NamedTuple):
    """A layer: how to make it for N tokens, and its limits at the two sizes.

    Args:
        make: Python expression of the layer, in which ``N`` is the number of tokens and ``s`` the spectral namespace.
        other: Time of another implementation at both sizes, in units of exact attention; none where it did not run.
        prototype: That of a vectorised prototype.
        faster: How many times faster than the other implementation the layer has to be.
    """

    make: str
    other: tuple[float | None, float | None]
    prototype: tuple[float | None, float | None] = (None, None)
    faster: float = 1.0

    def limit(self, size: int) -> float | None:
        """The smallest of all limits; every layer has to be faster than exact attention."""
        other, prototype = self.other[size], self.prototype[size]
        limits = [1.0, *([] if other is None else [other / self.faster]), *([] if prototype is None else [prototype])]
        return min(limits)


ROWS = {
    "FourierMixing": Row("s.FourierMixing(128)", (0.05, 0.02), (0.06, 0.02)),
    "FourierMixing1D": Row("s.FourierMixing1D(128)", (0.07, 0.03)),
    "RealFourierMixing": Row("s.RealFourierMixing(128)", (0.09, 0.02), (0.10, 0.03)),
    "SeparableFourierMixing": Row("s.SeparableFourierMixing(128)", (0.12, 0.03)),
    "GlobalFilterMixing": Row("s.GlobalFilterMixing(128, N)", (0.17, 0.06), (0.10, 0.04)),
    "GlobalFilterMixing, made for N / 2": Row("s.GlobalFilterMixing(128, N // 2)", (0.19, 0.06)),
    "GlobalFilterMixing2D": Row("s.GlobalFilterMixing2D(128, N)", (0.11, 0.04)),
    "AdaptiveGlobalFilter": Row("s.AdaptiveGlobalFilter(128, N)", (0.15, 0.06)),
    "AFNOMixing": Row("s.AFNOMixing(128, N)", (0.82, 0.41)),
    "AFNOMixing, 64 x 32 modes": Row("s.AFNOMixing(128, N, 64, 32)", (0.14, 0.03)),
    "WaveletMixing, pointwise": Row("s.WaveletMixing(128)", (4.29, 0.71), (0.32, 0.10), 10),
    "WaveletMixing, channel": Row("s.WaveletMixing(128, mixing_mode='channel')", (4.26, 0.71), faster=10),
    "WaveletMixing, level": Row("s.WaveletMixing(128, mixing_mode='level')", (55, 102), faster=10),
    "SpectralAttention, softmax": Row("s.SpectralAttention(128, num_features=64)", (0.77, 0.20)),
    "SpectralAttention, gaussian": Row(
        "s.SpectralAttention(128, num_features=64, kernel_type='gaussian')", (0.80, 0.26)
    ),
    "PerformerAttention": Row("s.PerformerAttention(128, num_features=64)", (0.72, 0.24), (0.73, 0.26)),
    "PerformerAttention, generalized": Row(
        "s.PerformerAttention(128, num_features=64, generalized=True)", (0.30, 0.09)
    ),
    "KernelAttention, gaussian": Row("s.KernelAttention(128, num_features=64)", (0.76, 0.25)),
    "KernelAttention, polynomial": Row("s.KernelAttention(128, kernel_type='polynomial')", (9.14, 9.90)),
    "KernelAttention, spectral": Row("s.KernelAttention(128, kernel_type='spectral')", (0.35, 0.11)),
    "LSTAttention, dct": Row("s.LSTAttention(128)", (1.23, 1.91), (0.78, 0.24)),
    "LSTAttention, dst": Row("s.LSTAttention(128, transform_type='dst')", (2.27, 7.30)),
    "LSTAttention, hadamard": Row("s.LSTAttention(128, transform_type='hadamard')", (152, None), (0.40, 0.14), 40),
    "LSTAttention, mixed": Row("s.LSTAttention(128, transform_type='mixed')", (40, 77), faster=40),
    "DCTAttention": Row("s.DCTAttention(128)", (1.21, 1.66), (0.78, 0.24)),
    "HadamardAttention": Row("s.HadamardAttention(128)", (161, 316), (0.40, 0.14), 40),
    "MixedSpectralAttention": Row("s.MixedSpectralAttention(128, 8)", (36, 76), faster=40),
    "SpectralConv1d, 16 modes": Row("ChannelsFirst(s.SpectralConv1d(128, 128, 16))", (0.07, 0.03)),
    "SpectralConv1d, 128 modes": Row("ChannelsFirst(s.SpectralConv1d(128, 128, 128))", (0.62, 0.07)),
    "FourierNeuralOperator, 16 modes": Row("s.FourierNeuralOperator(128)", (0.21, 0.07)),
    "FNOBlock, 16 modes": Row("s.FNOBlock(128)", (0.45, 0.16)),
}
IMAGE_ROWS = {
    "SpectralConv2d, 16 x 16 modes": Row("s.SpectralConv2d(32, 32, (16, 16))", (1.0, None)),
    "FourierNeuralOperator, 16 x 16 modes": Row("ChannelsLast(s.FourierNeuralOperator(32, (16, 16)))", (1.9, None)),
    "FNOBlock, 16 x 16 modes": Row("ChannelsLast(s.FNOBlock(32, (16, 16)))", (2.9, None)),
    "WaveletMixing2D, subband": Row("s.WaveletMixing2D(32)", (37.9, None), faster=10),
    "WaveletMixing2D, cross": Row("s.WaveletMixing2D(32, mixing_mode='cross')", (None, None)),
    "WaveletMixing2D, attention": Row("s.WaveletMixing2D(32, mixing_mode='attention')", (27.4, None), faster=10),
}


class ExactAttention(nn.Module):
    """Softmax attention with projections, the unit of time."""

    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(CHANNELS, CHANNELS) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (HEADS, -1)).transpose(-3, -2) for p in self.projections[:3])
        out = F.scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2)
        mixed: Tensor = self.projections[3](out)
        return mixed


class PlainConvolution(nn.Module):
    """A one-sided spectral convolution by three calls of torch.fft, the unit of time for images."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(32, 32, 16, 16, 2) / 32)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        out = torch.zeros_like(spectrum)
        weights = torch.view_as_complex(self.weights)
        out[..., :16, :16] = torch.einsum("bixy,ioxy->boxy", spectrum[..., :16, :16], weights)
        return torch.fft.irfft2(out, s=x.shape[-2:])


class ChannelsLast(nn.Module):
    """A layer for ``[B, H, W, C]`` on a tensor that is laid out so, seen as ``[B, C, H, W]``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.view(x.shape[0], x.shape[2], x.shape[3], x.shape[1]))
        return out


def layer_step(make: str, shape: list[int]) -> measure.Step:
    """Forward and backward pass of a layer on an input of that shape."""
    torch.manual_seed(0)
    return _step(eval(make, {"s": spectral, "N": shape[1], **globals()}), shape)


def _step(layer: nn.Module, shape: list[int]) -> measure.Step:
    x = torch.randn(shape, requires_grad=True)
    ones = None

    def step() -> None:
        nonlocal ones
        x.grad = None
        layer.zero_grad()
        out = layer(x)
        ones = torch.ones_like(out) if ones is None else ones
        out.backward(ones)

    return step


def verdict(units: float, limit: float) -> str:
    """Whether a limit was kept."""
    return "kept" if units <= limit else ("within noise" if units <= NOISE * limit else "MISSED")


def compare(
    report: measure.Report, args: Namespace, rows: dict[str, Row], unit: str, size: int, shape: list[int]
) -> None:
    """Time all layers at one size in turns with the unit and the plain formulas, and measure their peak memory."""
    tokens = len(shape) == 3
    case = f"{'tokens' if tokens else 'images'} {tuple(shape)}"
    made = {"unit": unit, **{name: row.make for name, row in rows.items()}}
    steps = {name: layer_step(make, shape) for name, make in made.items()}
    plain = {f"plain {name}": _step(PLAIN[name](shape[1]), shape) for name in rows if tokens and name in PLAIN}
    measured = measure.time_in_turns(steps | plain, args.repeats, args.warmup)
    seconds = {name: statistics.median(values) for name, values in measured.items()}
    table = [["layer", "ms", "units", "limit", "", "x plain", "MiB"]]
    for name, make in made.items():
        units = seconds[name] / seconds["unit"]
        limit = None if name == "unit" else rows[name].limit(size) if tokens else _image_limit(rows[name])
        ratio = seconds[name] / seconds[f"plain {name}"] if f"plain {name}" in plain else None
        memory = {"make": make, "shape": shape}
        peak = measure.peak_memory(__file__, "layer_step", memory, args.threads) if args.memory else None
        record = {
            "case": case,
            "layer": f"({unit.removesuffix('()')})" if name == "unit" else name,
            "seconds": seconds[name],
            "units": units,
            "limit": limit,
            "verdict": "" if limit is None else verdict(units, limit),
            "times_plain": ratio,
            "bytes": peak,
        }
        report.records.append(record)
        shown = [f"{value:{pattern}}" if value is not None else "" for value, pattern in (
            (1e3 * seconds[name], ".1f"), (units, ".3f"), (limit, ".3g"), (record["verdict"], ""), (ratio, ".2f"),
            (None if peak is None else peak / measure.MIB, ".1f"),
        )]  # fmt: skip
        table.append([str(record["layer"]), *shown])
    report.note(f"{case}\n\n{measure.format_table(table)}\n")


def _image_limit(row: Row) -> float | None:
    return None if row.other[0] is None else row.other[0] / row.faster


def growth(report: measure.Report, args: Namespace, rows: dict[str, Row]) -> None:
    """Fit the exponent of the time over the number of tokens, one sequence."""
    table = [["layer", *(f"{length}: ms" for length in LENGTHS), "exponent", "limit", ""]]
    for name, row in rows.items():
        medians = []
        for length in LENGTHS:
            step = layer_step(row.make, [1, length, CHANNELS])
            medians.append(statistics.median(measure.time_in_turns({name: step}, args.repeats, args.warmup)[name]))
        slope = fitted_exponent(LENGTHS, medians)
        judged = "kept" if slope <= LARGEST_EXPONENT else "MISSED"
        table.append([name, *(f"{1e3 * s:.2f}" for s in medians), f"{slope:.2f}", str(LARGEST_EXPONENT), judged])
        report.records.append(
            {"case": "growth", "layer": name, "seconds": medians, "exponent": slope, "verdict": judged}
        )
    report.note(f"growth with the number of tokens, batch 1\n\n{measure.format_table(table)}")


def fitted_exponent(lengths: tuple[int, ...], seconds: list[float]) -> float:
    """Slope of the least-squares line through the logarithms.

    >>> round(fitted_exponent((1, 10, 100), [1.0, 100.0, 10000.0]), 6)
    2.0
    """
    x, y = [math.log(n) for n in lengths], [math.log(s) for s in seconds]
    return statistics.linear_regression(x, y).slope


def main() -> None:
    """Run all cases with one number of threads."""
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--only", default="", help="layers whose name contains this")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peak memory")
    parser.add_argument("--no-growth", dest="growth", action="store_false", help="leave out the growth with N")
    args = parser.parse_args()
    report = measure.Report(f"spectral_layers_{args.threads}_threads", args.threads, args.results)
    rows = {name: row for name, row in ROWS.items() if args.only in name}
    for i, (batch, tokens) in enumerate(SIZES):
        compare(report, args, rows, "ExactAttention()", i, [batch, tokens, CHANNELS])
    images = {name: row for name, row in IMAGE_ROWS.items() if args.only in name}
    compare(report, args, images, "PlainConvolution()", 0, list(IMAGES))
    if args.growth:
        growth(report, args, rows)
    report.finish()


if __name__ == "__main__":
    main()
