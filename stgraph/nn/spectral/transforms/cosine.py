"""Cosine and sine transforms as modules."""

from __future__ import annotations

from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.spectral.transforms.base import NormalizedTransform
from stgraph.ops.transforms.cosine import dct, dst, idct, idst

__all__ = ["DCT", "DCT2D", "DST"]


class _Typed(NormalizedTransform):
    def __init__(self, normalized: bool = True, type: int = 2) -> None:
        super().__init__(normalized)
        if type not in (2, 3, 4):
            raise InputError(f"type is {type}; expected 2, 3 or 4")
        self.transform_type = type

    def extra_repr(self) -> str:
        """Show the options."""
        return f"normalized={self.normalized}, type={self.transform_type}"


class DCT(_Typed):
    """Discrete cosine transform along one axis (:func:`stgraph.ops.transforms.cosine.dct`).

    Args:
        normalized: Orthonormal; else with the factor 2 of :func:`scipy.fft.dct`.
        type: 2, 3 or 4.

    Examples:
        >>> import torch
        >>> DCT().transform(torch.ones(4)).round().abs()
        tensor([2., 0., 0., 0.])
    """

    def transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Transform ``x`` along ``dim``."""
        return dct(x, self.transform_type, dim, self._norm)

    def inverse_transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Undo :meth:`transform`."""
        return idct(x, self.transform_type, dim, self._norm)


class DST(_Typed):
    """Discrete sine transform along one axis (:func:`stgraph.ops.transforms.cosine.dst`).

    Args:
        normalized: Orthonormal; else with the factor 2 of :func:`scipy.fft.dst`.
        type: 2, 3 or 4.

    Examples:
        >>> import torch
        >>> DST().transform(torch.tensor([1.0, -1.0, 1.0, -1.0])).round().abs()
        tensor([0., 0., 0., 2.])
    """

    def transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Transform ``x`` along ``dim``."""
        return dst(x, self.transform_type, dim, self._norm)

    def inverse_transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Undo :meth:`transform`."""
        return idst(x, self.transform_type, dim, self._norm)


class DCT2D(NormalizedTransform):
    """Discrete cosine transform of type 2 along two axes.

    Args:
        normalized: Orthonormal; else with the factor 2 of :func:`scipy.fft.dctn` for each axis.

    Examples:
        >>> import torch
        >>> DCT2D().transform(torch.ones(2, 2)).round().abs()
        tensor([[2., 0.],
                [0., 0.]])
    """

    def transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Transform ``x`` along the two axes ``dim``."""
        return dct(dct(x, 2, dim[0], self._norm), 2, dim[1], self._norm)

    def inverse_transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Undo :meth:`transform`."""
        return idct(idct(x, 2, dim[0], self._norm), 2, dim[1], self._norm)
