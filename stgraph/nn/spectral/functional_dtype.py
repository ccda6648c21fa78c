"""Modules applied in the dtype of their input, without touching their parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["apply_in_dtype", "linear_in_dtype"]


def linear_in_dtype(linear: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer with its parameters cast to the dtype of ``x``."""
    return F.linear(x, linear.weight.to(x.dtype), None if linear.bias is None else linear.bias.to(x.dtype))


def apply_in_dtype(module: nn.Module, x: Tensor) -> Any:
    """Apply a module with its floating parameters and buffers cast to the dtype of ``x``; the module's own keep theirs.

    Examples:
        >>> module = nn.Linear(2, 3)
        >>> apply_in_dtype(module, torch.ones(1, 2, dtype=torch.float64)).dtype, module.weight.dtype
        (torch.float64, torch.float32)
    """
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    other = {name: tensor for name, tensor in state.items() if tensor.is_floating_point() and tensor.dtype != x.dtype}
    if not other:
        return module(x)
    cast = {name: tensor.to(x.dtype) for name, tensor in other.items()}
    out = torch.func.functional_call(module, cast, (x,))
    with torch.no_grad():  # running statistics that the module updated
        for name, buffer in module.named_buffers():
            if name in cast:
                buffer.copy_(cast[name])
    return out
