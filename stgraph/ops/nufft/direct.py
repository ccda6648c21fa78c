"""Fourier sums as matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["direct_sum"]

_BLOCK = 1 << 21  # phases held at once: 16 MiB, beside as much for their cosines and sines


def direct_sum(t: Tensor, strengths: Tensor, freqs: Tensor, eps: float) -> Tensor:
    """Sums ``[R, K, F]`` for times ``[R, N]``, strengths ``[R, K, N]`` and frequencies ``[R, F]``."""
    num_rows, num_times = t.shape
    num_freqs = freqs.shape[-1]
    columns = min(num_freqs, max(1, _BLOCK // num_times))
    rows = max(1, _BLOCK // (num_times * columns))
    blocks = [
        torch.cat(
            [
                _block(t[first : first + rows], strengths[first : first + rows], part)
                for part in freqs[first : first + rows].split(columns, dim=-1)
            ],
            dim=-1,
        )
        for first in range(0, num_rows, rows)
    ]
    return torch.cat(blocks)


def _block(t: Tensor, strengths: Tensor, freqs: Tensor) -> Tensor:
    cycles = t.unsqueeze(-1) * freqs.unsqueeze(-2)
    phase = cycles.sub_(cycles.round()).mul_(2 * math.pi)  # small angles keep the last digits of sine and cosine
    cosine, sine = phase.cos(), phase.sin_()
    if not strengths.is_complex():
        return torch.complex(strengths @ cosine, -(strengths @ sine))
    real, imaginary = strengths.real, strengths.imag
    return torch.complex(real @ cosine + imaginary @ sine, imaginary @ cosine - real @ sine)
