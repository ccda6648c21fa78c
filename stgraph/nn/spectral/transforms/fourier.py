"""Fourier transforms as modules."""

from __future__ import annotations

from torch import Tensor

from stgraph.nn.spectral.transforms.base import Transform, checked_norm
from stgraph.ops.transforms.empty_fft import fftn
from stgraph.ops.transforms.fourier import irfft, rfft
from stgraph.ops.transforms.precision import full_precision

__all__ = ["FFT1D", "FFT2D", "RFFT", "RFFT2D"]

_fftn = full_precision(fftn)


class _Fourier(Transform):
    def __init__(self, norm: str | None = "ortho") -> None:
        super().__init__()
        self.norm = checked_norm(norm)

    def extra_repr(self) -> str:
        """Show the normalisation."""
        return f"norm={self.norm!r}"


class FFT1D(_Fourier):
    """Fourier transform along one axis, complex both ways.

    Args:
        norm: ``"ortho"`` scales both ways by one over the square root of N, ``"backward"`` (or ``None``) the inverse by
            1/N, ``"forward"`` the transform by 1/N.

    Shapes:
        - **input, output:** :math:`(..., N, ...)`

    Examples:
        >>> import torch
        >>> FFT1D().transform(torch.ones(4))
        tensor([2.+0.j, 0.+0.j, 0.+0.j, 0.+0.j])
    """

    @property
    def is_unitary(self) -> bool:  # type: ignore[override]
        """True with the norm ``"ortho"``."""
        return self.norm == "ortho"

    def transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Transform ``x`` along ``dim``."""
        return _fftn(x, (dim,), self.norm)

    def inverse_transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Undo :meth:`transform`; the result is complex."""
        return _fftn(x, (dim,), self.norm, inverse=True)


class FFT2D(_Fourier):
    """Fourier transform along two axes, complex both ways.

    Args:
        norm: As for :class:`FFT1D`.

    Examples:
        >>> import torch
        >>> FFT2D().transform(torch.ones(2, 2))
        tensor([[2.+0.j, 0.+0.j],
                [0.+0.j, 0.+0.j]])
    """

    def transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Transform ``x`` along the two axes ``dim``."""
        return _fftn(x, dim, self.norm)

    def inverse_transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Undo :meth:`transform`; the result is complex."""
        return _fftn(x, dim, self.norm, inverse=True)


class RFFT(_Fourier):
    """Fourier transform of real signals along one axis: the N // 2 + 1 bins of non-negative frequency.

    Args:
        norm: As for :class:`FFT1D`.

    Examples:
        >>> import torch
        >>> RFFT().transform(torch.ones(4))
        tensor([2.+0.j, 0.+0.j, 0.+0.j])
    """

    @property
    def is_unitary(self) -> bool:  # type: ignore[override]
        """True with the norm ``"ortho"``, where the bins that stand for two frequencies are counted twice."""
        return self.norm == "ortho"

    def transform(self, x: Tensor, dim: int = -1) -> Tensor:
        """Transform ``x`` along ``dim``."""
        return rfft(x, dim, self.norm)

    def inverse_transform(self, x: Tensor, dim: int = -1, n: int | None = None) -> Tensor:
        """Undo :meth:`transform`; ``n`` is the number of points, by default the even one, 2 (bins - 1)."""
        size = 2 * (x.shape[dim] - 1) if n is None else n
        return irfft(x, size, dim, self.norm)


class RFFT2D(_Fourier):
    """Fourier transform of real signals along two axes, the half spectrum along the second.

    Args:
        norm: As for :class:`FFT1D`.

    Examples:
        >>> import torch
        >>> RFFT2D().transform(torch.ones(4, 6)).shape
        torch.Size([4, 4])
    """

    def transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1)) -> Tensor:
        """Transform ``x`` along the two axes ``dim``."""
        return rfft(x, dim, self.norm)

    def inverse_transform(self, x: Tensor, dim: tuple[int, int] = (-2, -1), s: tuple[int, int] | None = None) -> Tensor:
        """Undo :meth:`transform`; ``s`` are the numbers of points, the second by default the even one."""
        sizes = (x.shape[dim[0]], 2 * (x.shape[dim[1]] - 1)) if s is None else tuple(s)
        return irfft(x, sizes, dim, self.norm)
