"""Read pickles of plain data without running anything they name.

A pickle is a program: it can call whatever its reader finds by name. Here the reader finds only the stand-ins of this
module for the three names that an array needs, so that not even NumPy's own functions, which trust their arguments,
see the file. What the stand-ins collect is checked and then made an array.
"""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError

__all__ = ["load_plain_pickle"]

_NUMBERS = re.compile(r"[<>=|]?(b1|[iu][1248]|f[248])")
_MAX_DEPTH = 5  # of lists in lists; more would only serve to make a small file grow without end
_PLAIN = (str, bytes, bool, int, float)
_DAMAGED = (pickle.UnpicklingError, EOFError, IndexError, KeyError, AttributeError, TypeError, ValueError, MemoryError)


def load_plain_pickle(path: Path) -> Any:
    """Read lists, tuples, dictionaries, text, numbers and NumPy arrays of numbers from a pickle.

    Raises:
        InputError: If the pickle names anything else or is damaged.
    """
    with path.open("rb") as file:
        try:
            content = _PlainUnpickler(file, encoding="latin1").load()
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except (*_DAMAGED, OverflowError, RecursionError) as error:
            raise InputError(f"{path} is no readable pickle ({type(error).__name__}: {error})") from error
    return _finish(content, str(path), depth=0)


class _DtypeStandIn:
    """Collects what ``numpy.dtype`` would be called with and set to."""

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def dtype(self) -> np.dtype[Any]:
        if not isinstance(self.name, str) or not _NUMBERS.fullmatch(self.name):
            raise InputError(f"the pickle holds an array of dtype {self.name!r}; only arrays of numbers are read")
        order = self.state[1] if isinstance(self.state, tuple) and len(self.state) > 1 else "="
        if order not in ("<", ">", "=", "|"):
            raise InputError(f"the pickle holds an array of byte order {order!r}")
        return np.dtype(order + self.name.lstrip("<>=|"))


class _ArrayStandIn:
    """Collects the state of an array."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> npt.NDArray[Any]:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise InputError("the pickle holds an array without content")
        _, shape, dtype, fortran, content = self.state
        if isinstance(content, str):
            content = content.encode("latin1")
        if not isinstance(dtype, _DtypeStandIn) or not isinstance(content, (bytes, bytearray)):
            raise InputError("the pickle holds an array of objects; only arrays of numbers are read")
        if not isinstance(shape, tuple) or not all(isinstance(side, int) and side >= 0 for side in shape):
            raise InputError(f"the pickle holds an array of shape {shape!r}")
        kind = dtype.dtype()
        if math.prod(shape) * kind.itemsize != len(content):
            raise InputError(f"the pickle holds {len(content)} bytes for an array of shape {shape} and dtype {kind}")
        array = np.frombuffer(content, dtype=kind).reshape(shape, order="F" if fortran else "C")
        return array.astype(kind.newbyteorder("="))


class _BufferStandIn:
    """Protocol 5 of Python 3 writes arrays through a function of NumPy with these arguments."""

    def __new__(cls, content: Any, dtype: Any, shape: Any, order: Any) -> Any:
        array = _ArrayStandIn()
        array.__setstate__((1, shape, dtype, order == "F", content))
        return array

    def __setstate__(self, state: Any) -> None:
        raise InputError("the pickle changes a name it imports, which is refused")


class _EncodeStandIn:
    """Protocol 2 of Python 3 writes bytes as text that ``codecs.encode`` turns back."""

    def __new__(cls, text: Any, encoding: Any) -> Any:
        if not isinstance(text, str) or encoding != "latin1":
            raise InputError("the pickle encodes something else than bytes")
        return text.encode("latin1")

    def __setstate__(self, state: Any) -> None:
        raise InputError("the pickle changes a name it imports, which is refused")


# All are classes with a `__setstate__`: the BUILD instruction, which otherwise sets attributes of whatever stands on
# the stack, then fails on the class itself.
_STAND_INS = {
    ("_codecs", "encode"): _EncodeStandIn,
    ("numpy", "dtype"): _DtypeStandIn,
    ("numpy", "ndarray"): _ArrayStandIn,
    **{(f"{core}.multiarray", "_reconstruct"): _ArrayStandIn for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): _BufferStandIn for core in ("numpy.core", "numpy._core")},
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        stand_in = _STAND_INS.get((module, name))
        if stand_in is None:
            raise InputError(f"the pickle names {module}.{name}, which is refused; only arrays and plain data are read")
        return stand_in

    def persistent_load(self, pid: Any) -> Any:
        raise InputError("the pickle refers to something outside it, which is refused")


def _finish(value: Any, where: str, depth: int) -> Any:
    """Turn stand-ins into arrays and refuse what is no plain data."""
    if depth > _MAX_DEPTH:
        raise InputError(f"{where}: the pickle is nested too deeply")
    if isinstance(value, _ArrayStandIn):
        try:
            return value.array()
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    if isinstance(value, (list, tuple)):
        return type(value)([_finish(item, where, depth + 1) for item in value])
    if isinstance(value, dict):
        if all(isinstance(key, _PLAIN) for key in value):
            return {key: _finish(item, where, depth + 1) for key, item in value.items()}
        raise InputError(f"{where}: the pickle holds a dictionary with keys that are no text or numbers")
    if value is None or isinstance(value, _PLAIN):
        return value
    raise InputError(f"{where}: the pickle holds a {type(value).__name__}; only arrays and plain data are read")
