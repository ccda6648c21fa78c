"""Walsh-Hadamard transforms as modules."""

from __future__ import annotations

from torch import Tensor

from stgraph.nn.spectral.transforms.base import NormalizedTransform
from stgraph.ops.transforms.hadamard import fwht, ifwht

__all__ = ["HadamardTransform", "HadamardTransform2D"]


class HadamardTransform(NormalizedTransform):
    """Walsh-Hadamard transform along one axis, in natural order (:func:`stgraph.ops.transforms.hadamard.fwht`).

    Args:
        normalized: Orthonormal and its own inverse; else the matrix has entries 1 and -1.

    Examples:
        >>> import torch
        >>> HadamardTransform().transform(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        tensor([0.5000, 0.5000, 0.5000, 0.5000])
    """

    def transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Transform ``x`` along ``dim``, whose size is a power of 2."""
        return fwht(x, dim, self._norm)

    def inverse_transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Undo :meth:`transform`."""
        return ifwht(x, dim, self._norm)


class HadamardTransform2D(NormalizedTransform):
    """Walsh-Hadamard transform along two axes.

    Args:
        normalized: Orthonormal and its own inverse; else the matrix has entries 1 and -1.

    Examples:
        >>> import torch
        >>> HadamardTransform2D(normalized=False).transform(torch.ones(2, 2))
        tensor([[4., 0.],
                [0., 0.]])
    """

    def transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Transform ``x`` along the two axes ``dim``, whose sizes are powers of 2."""
        return fwht(fwht(x, dim[0], self._norm), dim[1], self._norm)

    def inverse_transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Undo :meth:`transform`."""
        return ifwht(ifwht(x, dim[0], self._norm), dim[1], self._norm)
