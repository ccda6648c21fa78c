"""Properties of stars that come with their light curves: a vector of numbers or text for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError, InputTypeError

__all__ = ["Metadata", "as_metadata", "as_text", "join_metadata"]

Metadata: TypeAlias = dict[str, npt.NDArray[Any]]


def as_metadata(value: Any, count: int) -> Metadata:
    """Check a mapping (or table) from names to one number or text for each star.

    Raises:
        InputError: If a vector has the wrong length.
        InputTypeError: If it is no mapping, or holds something else than numbers and text.

    Examples:
        >>> as_metadata({"teff": [4524, 5777]}, 2)
        {'teff': array([4524, 5777])}
    """
    if not isinstance(value, Mapping) and not hasattr(value, "items"):
        raise InputTypeError(f"metadata must be a mapping from names to vectors, got {type(value).__name__}")
    return {str(name): _as_vector(vector, str(name), count) for name, vector in value.items()}


def as_text(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Bytes and objects that are text as an array of text; anything else as it is."""
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype.kind == "O":
        items = [item.decode() if isinstance(item, bytes) else item for item in array.ravel()]
        if all(isinstance(item, str) for item in items):
            return np.array(items, dtype=np.str_).reshape(array.shape)
    return array


def join_metadata(parts: Sequence[Metadata], counts: Sequence[int]) -> Metadata:
    """Metadata of several sets of stars in one; NaN or empty text where a set does not know a property.

    Examples:
        >>> join_metadata([{"teff": np.array([4524.0])}, {}], [1, 2])
        {'teff': array([4524.,   nan,   nan])}
    """
    joined: Metadata = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        known = [part[name] for part in parts if name in part]
        textual = any(vector.dtype.kind == "U" for vector in known)
        vectors = [
            (part[name].astype(np.str_) if textual else part[name])
            if name in part
            else np.full(count, "" if textual else np.nan)
            for part, count in zip(parts, counts, strict=True)
        ]
        joined[name] = np.concatenate(vectors)
    return joined


def _as_vector(value: Any, name: str, count: int) -> npt.NDArray[Any]:
    vector = as_text(np.array(value))
    if vector.dtype.kind not in "biufU":
        raise InputTypeError(f"metadata[{name!r}] must hold numbers or text, got dtype {vector.dtype}")
    if vector.shape != (count,):
        raise InputError(f"metadata[{name!r}] must hold one entry for each of {count} stars, got {vector.shape}")
    return vector
