"""Turn what a user passes into plain NumPy arrays, with errors that name the argument and the first offending entry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["as_finite_array", "as_names", "as_numeric_array", "first_position"]

_CONVERTERS = {"pandas": "from_table", "xarray": "from_xarray"}


def first_position(bad: npt.NDArray[np.bool_]) -> tuple[int, ...]:
    """Index of the first True entry."""
    return tuple(int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))


def as_numeric_array(value: Any, name: str) -> npt.NDArray[Any]:
    """View or copy :obj:`value` as a real numeric array; memory maps and masked arrays stay what they are.

    Raises:
        InputTypeError: If it holds objects, text, dates or complex numbers, or is a pandas or xarray object.
        InputError: If it is a ragged sequence.
    """
    package = type(value).__module__.partition(".")[0]
    if name == "values" and package in _CONVERTERS:
        raise InputTypeError(f"values is a {package} {type(value).__name__}; use stgraph.data.{_CONVERTERS[package]}")
    if isinstance(value, Tensor):
        if value.layout != torch.strided:
            raise InputTypeError(f"{name} must be a dense tensor, got layout {value.layout}")
        value = value.detach().cpu()
        array: npt.NDArray[Any] = (
            value if value.dtype.itemsize > 2 or not value.is_floating_point() else value.float()
        ).numpy()
    else:
        try:
            array = np.asanyarray(value)
        except ValueError as error:
            raise InputError(f"{name} cannot be made an array: {error}") from error
    if array.dtype.kind not in "biuf":
        hint = "; convert it to numbers first, with NaN where a value is missing" if array.dtype.kind in "OSU" else ""
        raise InputTypeError(f"{name} must hold real numbers, got dtype {array.dtype}{hint}")
    return array


def as_finite_array(value: Any, name: str) -> npt.NDArray[np.float64]:
    """A copy in float64 of a numeric array without NaN, masked entries or infinity.

    Raises:
        InputError: If an entry is NaN or infinite; its position is named.
        InputTypeError: If it is not numeric.
    """
    array = as_numeric_array(value, name)
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(np.float64), np.nan)
    finite = np.array(array, dtype=np.float64)
    bad = ~np.isfinite(finite)
    if bad.any():
        position = first_position(bad)
        raise InputError(f"{name} must be finite, but {name}[{_join(position)}] is {finite[position]}")
    return finite


def as_names(value: Iterable[Any], name: str, length: int) -> list[str]:
    """List of distinct names as strings.

    Raises:
        InputError: If there are too few or too many, or one appears twice.
        InputTypeError: If it is one string instead of a list of them.
    """
    if isinstance(value, str):
        raise InputTypeError(f"{name} must be a list of {length} names, got the string {value!r}")
    names = [item.decode() if isinstance(item, bytes) else str(item) for item in value]
    if len(names) != length:
        raise InputError(f"{name} must hold {length} names, got {len(names)}")
    seen: set[str] = set()
    for item in names:
        if item in seen:
            raise InputError(f"{name} must be distinct, but {item!r} appears more than once")
        seen.add(item)
    return names


def _join(position: tuple[int, ...]) -> str:
    return ", ".join(str(i) for i in position)
