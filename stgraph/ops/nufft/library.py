"""Fourier sums by the finufft library."""

from __future__ import annotations

import importlib
import math
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.nufft.uniform import uniform_grid, unit

__all__ = ["library_sum"]

_BIG = 1 << 20  # values and results of one call from which threads pay


def library_sum(t: Tensor, strengths: Tensor, freqs: Tensor, eps: float) -> Tensor:
    """Sums ``[R, K, F]`` for times ``[R, N]``, strengths ``[R, K, N]`` and frequencies ``[R, F]``."""
    library = _import()
    if strengths.requires_grad:
        raise InputError("engine 'finufft' has no gradients; detach strengths or use engine 'direct' or 'gridding'")
    centre = (t.amax(dim=-1) + t.amin(dim=-1)) / 2
    shifted = t - centre.unsqueeze(-1)
    grid = uniform_grid(freqs, shifted.abs().amax(dim=-1), eps)
    # Equally spaced frequencies are counted from the middle one, to which the strengths are shifted first.
    origin = torch.where(grid.is_uniform, grid.middle, torch.zeros_like(grid.middle))
    turned = strengths * unit(shifted * origin.unsqueeze(-1)).unsqueeze(-2)
    angles = 2 * math.pi * torch.where(grid.is_uniform.unsqueeze(-1), shifted * grid.step.unsqueeze(-1), shifted)
    x, c, f = angles.cpu().contiguous().numpy(), turned.cpu().contiguous().numpy(), freqs.cpu().numpy()
    out = np.empty((*c.shape[:2], f.shape[-1]), dtype=np.complex128)
    size = c.shape[1] * (c.shape[2] + f.shape[-1])
    options: dict[str, Any] = {"isign": -1, "eps": eps, "nthreads": torch.get_num_threads() if size > _BIG else 1}
    for row, is_uniform in enumerate(grid.is_uniform.tolist()):  # each row of times is a plan of its own
        out[row] = _row(library, x[row], c[row], None if is_uniform else f[row], out.shape[1:], options)
    return torch.from_numpy(out).to(t.device) * unit(freqs * centre.unsqueeze(-1)).unsqueeze(-2)


def _row(
    library: ModuleType,
    x: npt.NDArray[np.float64],
    c: npt.NDArray[np.complex128],
    freqs: npt.NDArray[np.float64] | None,
    shape: tuple[int, ...],
    options: dict[str, Any],
) -> npt.NDArray[np.complex128]:
    if freqs is None:
        x = np.remainder(x + math.pi, 2 * math.pi) - math.pi  # any angle, but old versions want it within a turn
        out = library.nufft1d1(x, c, shape[-1], **options)
    else:
        out = library.nufft1d3(x, c, np.ascontiguousarray(freqs), **options)
    result: npt.NDArray[np.complex128] = out.reshape(shape)
    return result


def _import() -> ModuleType:
    try:
        return importlib.import_module("finufft")
    except ImportError:
        raise ImportError('engine "finufft" needs finufft: pip install "stgraph-pyg[nufft]"') from None
