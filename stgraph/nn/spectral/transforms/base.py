"""What the transform modules have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["NormalizedTransform", "Transform", "checked_norm"]


class Transform(nn.Module, ABC):
    """A transform without state, along one axis or two; all other axes are batch axes."""

    #: Whether the transform of real signals is an orthogonal map.
    is_orthogonal: bool = False
    #: Whether it is a unitary map.
    is_unitary: bool = False

    @abstractmethod
    def transform(self, x: Tensor, dim: Any = -1) -> Tensor:
        """Transform ``x`` along ``dim``."""

    @abstractmethod
    def inverse_transform(self, x: Tensor, dim: Any = -1) -> Tensor:
        """Undo :meth:`transform`."""

    def forward(self, x: Tensor, dim: Any = None) -> Tensor:
        """Transform ``x`` along ``dim``, or along the last axis or axes."""
        return self.transform(x) if dim is None else self.transform(x, dim)


class NormalizedTransform(Transform):
    """A transform that is orthonormal or, as an option, without that scale.

    Args:
        normalized: Orthonormal.
    """

    def __init__(self, normalized: bool = True) -> None:
        super().__init__()
        self.normalized = normalized

    @property
    def is_orthogonal(self) -> bool:  # type: ignore[override]
        """True where the transform is normalized."""
        return self.normalized

    @property
    def _norm(self) -> str | None:
        return "ortho" if self.normalized else None

    def extra_repr(self) -> str:
        """Show the normalisation."""
        return f"normalized={self.normalized}"


def checked_norm(norm: str | None) -> str | None:
    """Return the normalisation of a Fourier transform if it is a known one."""
    if norm not in ("forward", "backward", "ortho", None):
        raise InputError(f"norm is {norm!r}; expected 'forward', 'backward' or 'ortho'")
    return norm
