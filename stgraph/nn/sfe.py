"""Spectral feature extraction: learned processing of temporal frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.inits import uniform_fan_in

__all__ = ["SFE", "real_spectrum"]

# Above this many steps the FFT is cheaper than the product with a small Fourier matrix.
_MATRIX_STEPS = 64


class SFE(nn.Module):
    r"""Spectral feature extraction over the time axis of a series.

    The first :math:`F` bins of the real Fourier transform over time each pass through their own two-layer network; a
    further two-layer network combines them into one feature :math:`s` per series, which is added to every step:

    .. math::
        u_i = \mathrm{MLP}_i([\mathrm{Re}\,\hat h_i, \mathrm{Im}\,\hat h_i]), \qquad
        h_t \leftarrow h_t + \gamma \, \mathrm{MLP}([u_1, \ldots, u_F])

    All bins are processed by grouped matrix products. Bins that a series of length T does not have
    (:math:`i > T/2`) cost nothing, nor do the imaginary parts that are zero. Since no nonlinearity stands between the
    second layer of :math:`\mathrm{MLP}_i` and the first of the combiner, their weights are multiplied before use.

    Args:
        channels: Number of features.
        num_frequencies: Number of frequency bins F.
        gain: Initial value of :math:`\gamma`.
        learn_gain: Train :math:`\gamma`.

    Shapes:
        - **input, output:** :math:`(..., T, \text{channels})`

    Examples:
        >>> import torch
        >>> layer = SFE(8, num_frequencies=4)
        >>> layer(torch.randn(2, 5, 12, 8)).shape  # 2 windows of 5 nodes and 12 steps
        torch.Size([2, 5, 12, 8])
    """

    gain: Tensor

    def __init__(self, channels: int, num_frequencies: int = 16, gain: float = 0.3, learn_gain: bool = True) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("num_frequencies", num_frequencies)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.channels, self.num_frequencies = channels, num_frequencies
        bins, d = num_frequencies, channels
        self.weight1 = nn.Parameter(torch.empty(bins, d, 2 * d))
        self.bias1 = nn.Parameter(torch.empty(bins, d))
        self.weight2 = nn.Parameter(torch.empty(bins, d, d))
        self.bias2 = nn.Parameter(torch.empty(bins, d))
        self.combine1 = nn.Linear(bins * d, d)
        self.combine2 = nn.Linear(d, d)
        self.initial_gain = float(gain)
        initial = torch.tensor(self.initial_gain)
        if learn_gain:
            self.gain = nn.Parameter(initial)
        else:
            self.register_buffer("gain", initial)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters, as :class:`torch.nn.Linear` does, and return the gain to its start."""
        for weight, bias in ((self.weight1, self.bias1), (self.weight2, self.bias2)):
            uniform_fan_in(weight, bias, fan_in=weight.shape[-1])
        self.combine1.reset_parameters()
        self.combine2.reset_parameters()
        with torch.no_grad():
            self.gain.fill_(self.initial_gain)

    def forward(self, h: Tensor) -> Tensor:
        """Add the spectral feature of each series to all of its steps."""
        if h.shape[-2] == 0 or h.shape[-1] != self.channels:
            raise InputError(f"h has shape {tuple(h.shape)}; expected (..., T, {self.channels}) with T >= 1")
        real, imaginary = real_spectrum(h, self.num_frequencies)
        series = h.shape[:-2].numel()
        parts = (part.reshape(len(part), series, self.channels) for part in (real, imaginary))
        hidden = self.first_layer(*parts)
        feature = self.combine(hidden).reshape(*h.shape[:-2], 1, self.channels)
        return h + self.gain.to(h.dtype) * feature

    def first_layer(self, real: Tensor, imaginary: Tensor, projection: Tensor | None = None) -> tuple[Tensor, ...]:
        """Apply the first layer of each bin's network, before its nonlinearity.

        Args:
            real: Real parts of the bins 0, 1, ... as ``[bins, M, d]``.
            imaginary: Imaginary parts of the bins from 1 on, ``[fewer bins, M, d]``.
            projection: A matrix ``[d, C]`` that would turn C channels into the d features; with it the spectra are
                those of the C channels and the features are never computed. No bias is added then.

        Returns:
            tuple[Tensor, ...]: Hidden values ``[some bins, M, d]``; joined in order they are those of all bins.
        """
        bins, d = real.shape[0], self.channels
        complex_bins = 1 + imaginary.shape[0]
        weight, bias = self.weight1[:bins], self.bias1[:bins].unsqueeze(1)
        weight_real, weight_imaginary = weight[..., :d], weight[1:complex_bins, :, d:]
        if projection is not None:
            weight_real, weight_imaginary, bias = weight_real @ projection, weight_imaginary @ projection, bias * 0
        # Bin 0 and, for an even length, the last one are real. Splitting costs less than slicing in the backward pass.
        groups = [1, complex_bins - 1, bins - complex_bins]
        parts = zip(bias.split(groups), real.split(groups), weight_real.split(groups), strict=True)
        hidden = [torch.baddbmm(b, x, w.mT) for b, x, w in parts]
        hidden[1] = torch.baddbmm(hidden[1], imaginary, weight_imaginary.mT)
        return tuple(part for part in hidden if part.shape[0])

    def combine(self, hidden: tuple[Tensor, ...]) -> Tensor:
        """Turn the first layer's output into one feature ``[M, d]`` per series."""
        bins, d = sum(part.shape[0] for part in hidden), self.channels
        blocks = self.combine1.weight[:, : bins * d].unflatten(1, (bins, d)).transpose(0, 1)
        merged = blocks @ self.weight2[:bins]
        bias = self.combine1.bias + (blocks @ self.bias2[:bins].unsqueeze(-1)).sum(dim=(0, 2))
        activated = torch.cat([F.gelu(part).transpose(0, 1) for part in hidden], dim=1).flatten(1)
        combined = F.linear(activated, merged.transpose(0, 1).flatten(1), bias)
        feature: Tensor = self.combine2(F.gelu(combined))
        return feature

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.channels}, num_frequencies={self.num_frequencies}"


def real_spectrum(h: Tensor, num_frequencies: int) -> tuple[Tensor, Tensor]:
    """Real Fourier transform over the time axis, without the parts that are always zero.

    Args:
        h: Series ``[..., T, d]``.
        num_frequencies: Largest number of bins wanted.

    Returns:
        tuple[Tensor, Tensor]: real parts of bins 0, 1, ... ``[bins, ..., d]`` and imaginary parts of the bins from 1 on
        that can have one, ``[fewer bins, ..., d]``; bin T/2 of an even length has none.

    Examples:
        >>> import torch
        >>> real, imaginary = real_spectrum(torch.tensor([[1.0], [0.0], [-1.0], [0.0]]), num_frequencies=8)
        >>> real.flatten().round().abs().tolist(), imaginary.shape[0]
        ([0.0, 2.0, 0.0], 1)
    """
    steps = h.shape[-2]
    bins = min(num_frequencies, steps // 2 + 1)
    imaginary_bins = min(num_frequencies, (steps + 1) // 2) - 1
    if steps > _MATRIX_STEPS and h.numel():
        work = h if h.dtype in (torch.float32, torch.float64) else h.float()
        spectrum = torch.fft.rfft(work, dim=-2).narrow(-2, 0, bins).movedim(-2, 0)
        return spectrum.real.to(h.dtype), spectrum[1 : 1 + imaginary_bins].imag.to(h.dtype)
    matrix = _fourier_matrix(steps, bins, imaginary_bins, h.device).to(h.dtype)
    flat = h.movedim(-2, 0).reshape(steps, -1)
    out = (matrix @ flat).reshape(bins + imaginary_bins, *h.shape[:-2], h.shape[-1])
    real, imaginary = out.split([bins, imaginary_bins])
    return real, imaginary


def _fourier_matrix(steps: int, bins: int, imaginary_bins: int, device: torch.device) -> Tensor:
    time = torch.arange(steps, device=device, dtype=torch.float64)
    frequency = torch.arange(bins, device=device, dtype=torch.float64).unsqueeze(-1)
    angle = (2 * math.pi / steps) * (frequency * time).remainder(steps)
    return torch.cat([angle.cos(), -angle[1 : 1 + imaginary_bins].sin()])
