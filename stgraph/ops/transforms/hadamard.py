"""The Walsh-Hadamard transform as products with a few small matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.transforms.constants import constant_table
from stgraph.ops.transforms.precision import full_precision

__all__ = ["fwht", "ifwht"]

# Products with blocks of up to this size are faster than butterflies, which pass over the data log2 N times.
_BLOCK = 64


@full_precision
def fwht(x: Tensor, dim: int = -1, norm: str | None = "ortho") -> Tensor:
    r"""Fast Walsh-Hadamard transform in natural (Sylvester) order.

    :math:`H_1 = [1]`, :math:`H_{2n} = [[H_n, H_n], [H_n, -H_n]]`; since :math:`H_{ab} = H_a \otimes H_b`, it is
    computed as one product with a block of at most 64 points for every factor of N.

    Args:
        x: Real or complex signals, any number of axes.
        dim: The axis, whose size N is a power of 2.
        norm: ``"ortho"`` divides by :math:`\sqrt N`, which makes the transform its own inverse; ``None`` does not.

    Raises:
        InputError: If N is not a power of 2.

    Examples:
        >>> fwht(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """
    size = x.shape[dim]
    if size < 1 or size & (size - 1):
        raise InputError(f"x has {size} points along axis {dim}; expected a power of 2")
    if norm not in ("ortho", None):
        raise InputError(f"norm is {norm!r}; expected 'ortho' or None")
    axis = dim % x.dim() if x.dim() else 0
    before, after = x.shape[:axis].numel(), x.shape[axis + 1 :].numel()
    out, inner = x.reshape(before, size, after), after
    left = size
    while left > 1:
        block = _block(left)
        left //= block
        matrix = _hadamard_matrix(block, norm == "ortho", dtype=x.dtype, device=x.device)
        rows = out.reshape(before * left, block, inner)
        out = rows.squeeze(-1) @ matrix if inner == 1 else matrix @ rows
        inner *= block
    return out.reshape(x.shape)


def ifwht(y: Tensor, dim: int = -1, norm: str | None = "ortho") -> Tensor:
    """Inverse of :func:`fwht`.

    Examples:
        >>> ifwht(fwht(torch.tensor([1.0, 2.0, 3.0, 4.0]), norm=None), norm=None)
        tensor([1., 2., 3., 4.])
    """
    out: Tensor = fwht(y, dim, norm)
    return out if norm == "ortho" else out / y.shape[dim]


def _block(size: int) -> int:
    """The next factor: the factors are as few and as equal as possible."""
    bits, most = size.bit_length() - 1, _BLOCK.bit_length() - 1
    count = -(-bits // most)
    return 1 << -(-bits // count)


@constant_table
def _hadamard_matrix(size: int, ortho: bool, device: torch.device) -> Tensor:
    # The sign is the parity of the bits that row and column share.
    shared = torch.arange(size, device=device).unsqueeze(1) & torch.arange(size, device=device)
    for shift in (4, 2, 1):
        shared = shared ^ (shared >> shift)
    signs = 1.0 - 2.0 * (shared & 1).double()
    return signs * size**-0.5 if ortho else signs
