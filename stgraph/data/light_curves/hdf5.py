"""Parts that all our HDF5 files of stars share: compressed arrays, text, metadata, whole files or none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.files import existing, reading
from stgraph.data.light_curves.metadata import Metadata, as_text
from stgraph.errors import InputError

__all__ = ["LIGHT_CURVE_FORMAT", "get_array", "get_metadata", "open_hdf5", "put_array", "put_metadata", "write_hdf5"]

#: The attribute ``format`` of our files of light curves, which :func:`read_light_curves` takes as they are.
LIGHT_CURVE_FORMAT = "stgraph light curves"

_METADATA = "metadata"


@contextmanager
def open_hdf5(path: str | PathLike[str]) -> Iterator[Any]:
    """Open a file for reading.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, here or while it is read.
    """
    import h5py

    path = existing(path)
    with reading(path), h5py.File(path, "r") as file:
        yield file


@contextmanager
def write_hdf5(path: str | PathLike[str]) -> Iterator[Any]:
    """Open a file for writing; it gets its name, in place of any older file, only when it is complete.

    Raises:
        InputError: If its folder does not exist.
    """
    import h5py

    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent.absolute()}")
    temporary = path.with_name(f".partial-{path.name}")
    try:
        with h5py.File(temporary, "w") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def put_array(group: Any, name: str, values: Any) -> None:
    """Write an array of numbers or text, compressed.

    Raises:
        InputError: If the name or a text cannot stand in an HDF5 file.
    """
    import h5py

    array = np.asarray(values)
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise InputError(f"{name!r} cannot be the name of an array in an HDF5 file")
    if array.dtype.kind == "U":
        _check_text(array, name)
        group.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype("utf-8"))
    else:
        # Times and fluxes are nearly incompressible: higher levels cost time and save nothing.
        group.create_dataset(name, data=array, compression="gzip", compression_opts=1, shuffle=True)


def _check_text(array: npt.NDArray[Any], name: str) -> None:
    text = "".join(array.ravel().tolist())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{name} holds text that is not valid in UTF-8: {error}") from error
    if "\0" in text:
        raise InputError(f"{name} holds text with the character NUL, which cannot be written")


def get_array(group: Any, name: str) -> npt.NDArray[Any]:
    """Read an array of numbers or text.

    Raises:
        InputError: If it is a group.
    """
    item = group[name]
    if not hasattr(item, "shape"):
        raise InputError(f"{group.file.filename}: {name} is a group, expected an array")
    return as_text(np.asarray(item[()]))


def put_metadata(file: Any, metadata: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write the group ``metadata``."""
    group = file.create_group(_METADATA)
    for name, vector in metadata.items():
        put_array(group, name, vector)


def get_metadata(file: Any) -> Metadata:
    """Read the group ``metadata``, in the order of its names; empty if there is none."""
    if _METADATA not in file or hasattr(file[_METADATA], "shape"):
        return {}
    group = file[_METADATA]
    return {name: get_array(group, name) for name in group if hasattr(group[name], "shape")}
