"""Frequency grids with equal steps, for which the transform has a cheaper form."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["UniformGrid", "uniform_grid", "unit"]


class UniformGrid(NamedTuple):
    """Steps ``[R]`` and middle frequencies ``[R]`` (entry F // 2) of grids, and whether each is uniform ``[R]``."""

    step: Tensor
    middle: Tensor
    is_uniform: Tensor


def uniform_grid(freqs: Tensor, reach: Tensor, eps: float) -> UniformGrid:
    """Whether frequencies ``[R, F]`` are so equally spaced that it moves no phase, up to a time ``[R]``, by ``eps``."""
    num_freqs = freqs.shape[-1]
    step = (freqs[:, -1] - freqs[:, 0]) / max(num_freqs - 1, 1)
    middle = freqs[:, num_freqs // 2]
    modes = torch.arange(num_freqs, device=freqs.device) - num_freqs // 2
    deviation = (freqs - middle.unsqueeze(-1) - step.unsqueeze(-1) * modes).abs().amax(dim=-1)
    return UniformGrid(step, middle, 2 * math.pi * deviation * reach < 0.1 * eps)


def unit(cycles: Tensor) -> Tensor:
    """``exp(-2 pi i cycles)``."""
    angle = -2 * math.pi * (cycles - cycles.round())
    return torch.complex(angle.cos(), angle.sin())
