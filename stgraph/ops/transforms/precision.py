"""In which precision a transform is computed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from stgraph.errors import InputTypeError

__all__ = ["full_precision"]

Function = TypeVar("Function", bound=Callable[..., Any])

_HALF = (torch.float16, torch.bfloat16)


def full_precision(function: Function) -> Function:
    """Compute a function of tensors in float32 or better.

    CPUs have no FFT in half precision, and an orthogonal matrix rounded to it is not orthogonal. Half-precision tensors
    among the positional arguments become float32, autocast is off inside, and real results return to the dtype of the
    first argument. Integers become torch's default dtype, as in :mod:`torch.fft`.

    Raises:
        InputTypeError: If the first argument is not a tensor.

    Examples:
        >>> full_precision(torch.cumsum)(torch.ones(3, dtype=torch.bfloat16), 0).dtype
        torch.bfloat16
    """

    @functools.wraps(function)
    def run(x: Tensor, *arguments: Any, **options: Any) -> Any:
        if not isinstance(x, Tensor):
            raise InputTypeError(f"{function.__name__} got {type(x).__name__}; expected a tensor")
        if not (x.is_floating_point() or x.is_complex()):
            x = x.to(torch.get_default_dtype())
        with torch.autocast(x.device.type, enabled=False):
            if x.dtype not in _HALF:
                return function(x, *arguments, **options)
            out = function(x.float(), *(_raised(argument) for argument in arguments), **options)
            return _lowered(out, x.dtype)

    return run  # type: ignore[return-value]


def _raised(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in _HALF else value


def _lowered(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return type(value)(_lowered(part, dtype) for part in value)
