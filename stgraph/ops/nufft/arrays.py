"""Arrays and tensors that a user hands in, as float64 or complex128 tensors."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["ArrayLike", "as_bool", "as_double", "as_real"]

ArrayLike: TypeAlias = Tensor | npt.NDArray[np.generic]


def _as_tensor(value: ArrayLike, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputTypeError(f"{name} is no array of numbers ({error})") from None
    if array.dtype.kind not in "biufc":
        raise InputTypeError(f"{name} is of type {array.dtype}; expected numbers in a tensor or an array")
    # A copy in the machine's byte order: files of telescopes are big-endian, and torch takes no read-only arrays.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def as_double(value: ArrayLike, name: str) -> Tensor:
    """``value`` as float64, or as complex128 where it is complex."""
    tensor = _as_tensor(value, name)
    if tensor.dtype == torch.bool:
        raise InputTypeError(f"{name} is of type bool; expected numbers")
    return tensor.to(torch.complex128 if tensor.is_complex() else torch.float64)


def as_real(value: ArrayLike, name: str, *, finite: bool = True) -> Tensor:
    """``value`` as float64, refused where it is complex or (unless told otherwise) holds NaN or infinity."""
    tensor = as_double(value, name)
    if tensor.is_complex():
        raise InputTypeError(f"{name} is complex; expected real numbers")
    if finite and not torch.isfinite(tensor).all():
        raise InputError(f"{name} holds NaN or infinite values; expected finite numbers")
    return tensor


def as_bool(value: ArrayLike, name: str) -> Tensor:
    """``value`` as a boolean tensor, refused where it is of another type."""
    tensor = _as_tensor(value, name)
    if tensor.dtype != torch.bool:
        raise InputTypeError(f"{name} is of type {tensor.dtype}; expected bool")
    return tensor
