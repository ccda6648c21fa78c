"""Whether something computed from some inputs is that of others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["same_inputs"]


def same_inputs(kept: tuple[Any, ...], given: tuple[Any, ...]) -> bool:
    """Tell whether two tuples hold equal tensors, of one dtype and on one device, and equal values.

    Examples:
        >>> same_inputs((torch.ones(2), 3), (torch.ones(2), 3)), same_inputs((torch.ones(2),), (None,))
        (True, False)
    """
    return all(_same(a, b) for a, b in zip(kept, given, strict=True))


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
    return not isinstance(a, Tensor) and not isinstance(b, Tensor) and bool(a == b)
