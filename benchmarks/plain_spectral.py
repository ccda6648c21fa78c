"""The formulas of some spectral layers as their papers print them, in a few calls of PyTorch each.

``spectral_layers.py`` times them beside the layers, on the same machine and in the same run. They are neither slowed
down nor optimised, and they lack what the layers add (masks, checks, exact normalisation, both signs of frequencies).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["PLAIN"]


class Formula(nn.Module):
    """A function of the input alone."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class GlobalFilter(nn.Module):
    """Complex transforms over the given axes, and a filter over all of their bins."""

    def __init__(self, channels: int, tokens: int, dim: tuple[int, ...]) -> None:
        super().__init__()
        self.real, self.imaginary = (nn.Parameter(0.02 * torch.randn(tokens, channels)) for _ in range(2))
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        response = torch.complex(self.real.sigmoid(), self.imaginary.sigmoid())
        return torch.fft.ifftn(response * torch.fft.fftn(x, dim=self.dim), dim=self.dim).real


class DenseModes(nn.Module):
    """One network on the lowest non-negative frequencies of tokens and channels together."""

    def __init__(self, channels: int, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns
        self.norm = nn.LayerNorm(channels)
        self.weight = nn.Parameter(torch.randn(rows, columns, 2))
        size = 2 * rows * columns
        self.network = nn.Sequential(nn.Linear(size, 2 * channels), nn.GELU(), nn.Linear(2 * channels, size))

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(self.norm(x), norm="ortho")
        kept = spectrum[:, : self.rows, : self.columns] * torch.view_as_complex(self.weight)
        mixed = self.network(torch.view_as_real(kept).flatten(1)).view(-1, self.rows, self.columns, 2)
        out = torch.zeros_like(spectrum)
        out[:, : self.rows, : self.columns] = torch.view_as_complex(mixed)
        return x + torch.fft.irfft2(out, s=x.shape[-2:], norm="ortho")


class LinearAttention(nn.Module):
    """Linear attention with relu features, or with signed features of a learned kernel and their normalisation."""

    def __init__(self, channels: int, heads: int, rank: int | None) -> None:
        super().__init__()
        self.heads = heads
        self.projections = nn.ModuleList(nn.Linear(channels, channels) for _ in range(4))
        self.kernel = None if rank is None else nn.Parameter(torch.randn(channels // heads, rank))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (p(x).unflatten(-1, (self.heads, -1)).transpose(-3, -2) for p in self.projections[:3])
        if self.kernel is None:
            mixed = (q.relu() / q.shape[-1] ** 0.5) @ (k.relu().mT @ v)
        else:
            q, k = q @ self.kernel, k @ self.kernel
            mixed = (q @ (k.mT @ v)) / (q @ k.sum(dim=-2, keepdim=True).mT + 1e-6)
        out: Tensor = self.projections[3](mixed.transpose(-3, -2).flatten(-2))
        return out


class LowModes(nn.Module):
    """A spectral convolution of ``[B, C, N]``."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(channels, channels, modes, 2) / channels)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)
        out = torch.zeros_like(spectrum)
        weight = torch.view_as_complex(self.weight)
        out[..., : self.modes] = torch.einsum("bik,iok->bok", spectrum[..., : self.modes], weight)
        return torch.fft.irfft(out, n=x.shape[-1])


class Operator(nn.Module):
    """A Fourier neural operator on ``[B, N, C]``."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.spectral, self.linear = LowModes(channels, modes), nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.mT
        return F.gelu(self.spectral(rows) + self.linear(rows)).mT


class Block(nn.Module):
    """An operator and a feed-forward network, each with layer normalisation and a skip connection."""

    def __init__(self, channels: int, modes: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.operator = Operator(channels, modes)
        self.network = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.operator(self.norms[0](x))
        out: Tensor = x + self.network(self.norms[1](x))
        return out


#: Formulas by the name of the layer in ``spectral_layers.py``, for N tokens of 128 channels.
PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "FourierMixing": lambda n: Formula(lambda x: torch.fft.fft2(x, norm="ortho").real),
    "FourierMixing1D": lambda n: Formula(lambda x: torch.fft.fft(x, dim=-2, norm="ortho").real),
    "GlobalFilterMixing": lambda n: GlobalFilter(128, n, (-2,)),
    "AdaptiveGlobalFilter": lambda n: GlobalFilter(128, n, (-2,)),
    "GlobalFilterMixing2D": lambda n: GlobalFilter(128, n, (-2, -1)),
    "AFNOMixing, 64 x 32 modes": lambda n: DenseModes(128, 64, 32),
    "PerformerAttention, generalized": lambda n: LinearAttention(128, 8, None),
    "KernelAttention, spectral": lambda n: LinearAttention(128, 8, 16),
    "SpectralConv1d, 16 modes": lambda n: ChannelsFirst(LowModes(128, 16)),
    "SpectralConv1d, 128 modes": lambda n: ChannelsFirst(LowModes(128, 128)),
    "FourierNeuralOperator, 16 modes": lambda n: Operator(128, 16),
    "FNOBlock, 16 modes": lambda n: Block(128, 16),
}


class ChannelsFirst(nn.Module):
    """A layer for ``[B, C, N]`` on a tensor that is laid out so, seen as ``[B, N, C]``."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x.view(x.shape[0], x.shape[2], x.shape[1]))
        return out
