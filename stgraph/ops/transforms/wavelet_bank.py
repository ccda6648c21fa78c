"""One level of a wavelet filter bank as a linear map, forwards and transposed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.transforms.constants import constant_table

__all__ = ["KNOWN_WAVELETS", "Step", "analyse", "filter_length", "synthesise", "wavelet_filters"]

_TAPS: dict[str, dict[str, list[float]]] = json.loads(
    Path(__file__).with_name("wavelet_taps.json").read_text(encoding="utf-8")
)
_TAPS["haar"] = _TAPS["db1"]

#: Names of the wavelets.
KNOWN_WAVELETS = tuple(_TAPS)

#: Up to this many points a level is one dense matrix.
_DENSE_POINTS = 64

#: Coefficients that one block of the banded product yields.
_BLOCK = 16


class Step(NamedTuple):
    """One level: N points and twice K coefficients.

    The coefficients are :math:`c_b[k] = \\sum_i f_b[i] \\tilde x[2k + i]` with the signal extended on both sides.

    Args:
        wavelet: Name of the wavelet.
        filters: ``"dec"`` for the reversed decomposition filters, ``"rec"`` for the reconstruction filters.
        extension: ``"symmetric"``, ``"periodic"`` or ``"zero"``.
        points: Length N of the signal.
        coefficients: Number K of coefficients of each of the two bands.
    """

    wavelet: str
    filters: str
    extension: str
    points: int
    coefficients: int


def wavelet_filters(name: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Filters of a wavelet: decomposition low-pass and high-pass, reconstruction low-pass and high-pass, in float64.

    The high-pass filters are those of a two-channel bank without aliasing, :math:`r_1[j] = (-1)^j d_0[j]` and
    :math:`d_1[j] = (-1)^{j+1} r_0[j]`; an orthogonal wavelet has :math:`d_0[j] = r_0[L - 1 - j]` (Ingrid Daubechies,
    Ten Lectures on Wavelets, SIAM, 1992).

    Args:
        name: One of :data:`KNOWN_WAVELETS`.

    Raises:
        InputError: If the name is unknown.

    Examples:
        >>> wavelet_filters("haar")[1]
        tensor([-0.7071,  0.7071], dtype=torch.float64)
    """
    _check_name(name)
    dec_lo = torch.tensor(_TAPS[name]["dec_lo"], dtype=torch.float64)
    rec_lo = torch.tensor(_TAPS[name]["rec_lo"], dtype=torch.float64) if "rec_lo" in _TAPS[name] else dec_lo.flip(0)
    sign = 1.0 - 2.0 * (torch.arange(len(dec_lo), dtype=torch.float64) % 2)
    return dec_lo, -sign * rec_lo, rec_lo, sign * dec_lo


def filter_length(name: str) -> int:
    """Number L of taps of a wavelet's filters, which is even."""
    _check_name(name)
    return len(_TAPS[name]["dec_lo"])


def analyse(x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
    """Both bands ``[B, K, D]`` of signals ``[B, N, D]``."""
    if step.points <= _DENSE_POINTS:
        low, high = _matrix(*step, dtype=x.dtype, device=x.device)
        return _times(low, x), _times(high, x)
    both: tuple[Tensor, Tensor] = _Analyse.apply(x, step)  # type: ignore[no-untyped-call]
    return both


def synthesise(low: Tensor, high: Tensor, step: Step) -> Tensor:
    """Transpose of :func:`analyse`: signals ``[B, N, D]`` from both bands ``[B, K, D]``."""
    if step.points <= _DENSE_POINTS:
        of_low, of_high = _matrix(*step, dtype=low.dtype, device=low.device)
        return _times(of_low.T, low) + _times(of_high.T, high)
    out: Tensor = _Synthesise.apply(low, high, step)  # type: ignore[no-untyped-call]
    return out


class _Analyse(torch.autograd.Function):
    """Analysis of long signals by blocks of a banded matrix; its gradient gathers as well, and scatters nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        ctx.step = step
        taps = filter_length(step.wavelet)
        blocks, size = _split(step.coefficients)
        frame = _Frame(
            step.extension, _left(step.extension, taps), step.points, 2 * step.coefficients + taps - 2,
            2 * size, 2 * size + taps - 2, blocks,
        )  # fmt: skip
        windows = _windows(x, frame)
        matrices = _analysis_block(step.wavelet, step.filters, size, dtype=x.dtype, device=x.device)
        bands = [_times(matrix, windows).view(len(x), blocks * size, x.shape[-1]) for matrix in matrices]
        return bands[0][:, : step.coefficients], bands[1][:, : step.coefficients]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return synthesise(grads[0], grads[1], ctx.step), None


class _Synthesise(torch.autograd.Function):
    """Synthesis of long signals by blocks of a banded matrix, then folding what the extension had added."""

    @staticmethod
    def forward(ctx: Any, low: Tensor, high: Tensor, step: Step) -> Tensor:
        ctx.step = step
        half = filter_length(step.wavelet) // 2 - 1
        cropped = step.extension == "zero"
        length = step.points if cropped else 2 * (step.coefficients + half)
        blocks, size = _split((length + 1) // 2)
        left = 0 if cropped else half
        frame = _Frame("zero", left, step.coefficients, step.coefficients + 2 * left, size, size + half, blocks)
        of_low, of_high = _synthesis_block(step.wavelet, step.filters, size, dtype=low.dtype, device=low.device)
        out = _plus(_times(of_low, _windows(low, frame)), of_high, _windows(high, frame))
        whole = out.view(len(low), blocks * 2 * size, low.shape[-1])[:, :length]
        return whole if cropped else _folded(whole, step)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        return *analyse(grads[0], ctx.step), None


class _Frame(NamedTuple):
    """Windows over a sequence of ``points`` rows that was extended to ``total`` rows, ``left`` of them before it."""

    extension: str
    left: int
    points: int
    total: int
    stride: int
    width: int
    blocks: int


def _windows(x: Tensor, frame: _Frame) -> Tensor:
    """Windows ``[B * blocks, width, D]`` of sequences ``[B, N, D]``."""
    taken = x.index_select(1, _window_rows(*frame, dtype=torch.int64, device=x.device))
    if frame.extension == "zero" and frame.left > 0:
        taken.index_fill_(1, _outer_places(*frame, dtype=torch.int64, device=x.device), 0)
    return taken.view(-1, frame.width, x.shape[-1])


def _folded(whole: Tensor, step: Step) -> Tensor:
    """Add the extension of a signal to the points that it repeats."""
    left = _left(step.extension, filter_length(step.wavelet))
    rows = _extension_rows(
        step.extension, left, step.points, whole.shape[1], dtype=torch.int64, device=whole.device
    )  # fmt: skip
    right = left + step.points
    out = whole[:, left:right]
    out.index_add_(1, rows[:left], whole[:, :left])
    return out.index_add_(1, rows[right:], whole[:, right:])


def _times(matrix: Tensor, x: Tensor) -> Tensor:
    """Product of one matrix with each of ``x`` ``[B, n, D]``."""
    if x.shape[-1] == 1:  # a single product instead of B of a matrix with a vector
        return (x.squeeze(-1) @ matrix.T).unsqueeze(-1)
    return torch.matmul(matrix, x)


def _plus(total: Tensor, matrix: Tensor, x: Tensor) -> Tensor:
    """Add the product to ``total``, which is overwritten."""
    if x.shape[-1] == 1:
        return total.squeeze(-1).addmm_(x.squeeze(-1), matrix.T).unsqueeze(-1)
    return total.baddbmm_(matrix.expand(len(x), -1, -1), x)


def _split(count: int) -> tuple[int, int]:
    """Number and size of equal blocks that cover ``count``."""
    blocks = -(-count // _BLOCK)
    return blocks, -(-count // blocks)


def _left(extension: str, taps: int) -> int:
    return taps // 2 - 1 if extension == "periodic" else taps - 2


@constant_table
def _extension_rows(extension: str, left: int, points: int, total: int, device: torch.device) -> Tensor:
    """Row of the signal at each place of the extended one; -1 for a zero."""
    place = torch.arange(total, device=device) - left
    if extension == "symmetric":
        place = place % (2 * points)
        return torch.minimum(place, 2 * points - 1 - place)
    if extension == "periodic":  # of even period: an odd signal has its last value twice
        return (place % (points + points % 2)).clamp(max=points - 1)
    return torch.where((place >= 0) & (place < points), place, -1)


@constant_table
def _window_rows(
    extension: str, left: int, points: int, total: int, stride: int, width: int, blocks: int, device: torch.device
) -> Tensor:
    """Row of the signal at each place of each window."""
    rows = _extension_rows(extension, left, points, total, dtype=torch.int64, device=device).clamp(min=0)
    place = torch.arange(blocks, device=device).unsqueeze(-1) * stride + torch.arange(width, device=device)
    return rows[place.clamp(max=total - 1)].flatten()


@constant_table
def _outer_places(
    extension: str, left: int, points: int, total: int, stride: int, width: int, blocks: int, device: torch.device
) -> Tensor:
    """Places of the windows that lie outside the signal."""
    outside = [*range(left), *range(left + points, total)]
    pairs = ((place, block) for place in outside for block in range(blocks))
    found = [block * width + place - block * stride for place, block in pairs if 0 <= place - block * stride < width]
    return torch.tensor(found, device=device)


@constant_table
def _matrix(wavelet: str, filters: str, extension: str, points: int, coefficients: int, device: torch.device) -> Tensor:
    """Matrices ``[2, K, N]`` of the whole step."""
    taps = filter_length(wavelet)
    total = 2 * coefficients + taps - 2
    rows = _extension_rows(extension, _left(extension, taps), points, total, dtype=torch.int64, device=device)
    extend = (rows.unsqueeze(-1) == torch.arange(points, device=device)).double()
    return _analysis_block(wavelet, filters, coefficients, dtype=torch.float64, device=device) @ extend


@constant_table
def _analysis_block(wavelet: str, filters: str, size: int, device: torch.device) -> Tensor:
    """Matrices ``[2, size, 2 * size + L - 2]`` that take a window to its coefficients."""
    taps = filter_length(wavelet)
    width = torch.arange(2 * size + taps - 2, device=device)
    return _banded(wavelet, filters, width - 2 * torch.arange(size, device=device).unsqueeze(-1))


@constant_table
def _synthesis_block(wavelet: str, filters: str, size: int, device: torch.device) -> Tensor:
    """Matrices ``[2, 2 * size, size + L / 2 - 1]`` that take windows of coefficients to their points."""
    taps = filter_length(wavelet)
    width = torch.arange(size + taps // 2 - 1, device=device)
    return _banded(wavelet, filters, torch.arange(2 * size, device=device).unsqueeze(-1) + taps - 2 - 2 * width)


def _banded(wavelet: str, filters: str, tap: Tensor) -> Tensor:
    """Matrices ``[2, ...]`` with the given tap of each filter, zero where there is no such tap."""
    bank = wavelet_filters(wavelet)
    pair = torch.stack([bank[0].flip(0), bank[1].flip(0)] if filters == "dec" else list(bank[2:])).to(tap.device)
    inside = (tap >= 0) & (tap < pair.shape[-1])
    return torch.where(inside, pair[:, tap.clamp(0, pair.shape[-1] - 1)], 0)


def _check_name(name: str) -> None:
    if name not in _TAPS:
        raise InputError(f"Unsupported wavelet: wavelet is {name!r}; expected one of {list(KNOWN_WAVELETS)}")
