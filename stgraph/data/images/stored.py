"""Named arrays in MATLAB, NumPy and HDF5 files; nothing in a file is ever unpickled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.files import existing, reading
from stgraph.data.images.image import MAPPED_BYTES
from stgraph.data.npz_files import open_npz
from stgraph.errors import InputError, InputTypeError

__all__ = [
    "ARRAY_ENDINGS",
    "GEOREFERENCE",
    "WAVELENGTH",
    "StoredArray",
    "georeference_text",
    "parse_georeference",
    "read_array",
    "reading_with",
]

# Arrays of these names go with an image and are never taken for it.
WAVELENGTH = "wavelength"
GEOREFERENCE = "georeference"
_WAVELENGTHS = (WAVELENGTH, "wavelengths", "wavelength_nm", "wavelengths_nm", "wl")


@dataclass(frozen=True)
class StoredArray:
    """An array of a file, its name there, and what goes with it: wavelengths and the text of a georeference."""

    name: str
    values: npt.NDArray[Any]
    wavelength: npt.NDArray[Any] | None = None
    georeference: dict[str, Any] | None = None


@contextmanager
def reading_with(path: Path) -> Iterator[None]:
    """Like :func:`~stgraph.data.files.reading`, for libraries that have exceptions of their own.

    Raises:
        InputError: If the file cannot be read.
    """
    with reading(path):
        try:
            yield
        except (InputError, InputTypeError, ImportError, OSError):
            raise
        except Exception as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def read_array(path: str | PathLike[str], key: str | None = None) -> StoredArray:
    """Read one array of a file.

    Args:
        path: A file ``.mat`` (also of MATLAB 7.3), ``.npy``, ``.npz``, ``.h5`` or ``.hdf5``.
        key: Name of the array, case-sensitive. (default: the only one)

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is damaged, or the array is not there or not the only one; lists those that are.
        InputTypeError: If it does not hold real numbers.
    """
    path = existing(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path} is of an unknown kind; arrays are read from {', '.join(_READERS)}")
    with reading_with(path):
        return reader(path, key)


def georeference_text(georeference: Mapping[str, Any]) -> str:
    """A georeference as JSON.

    Raises:
        InputTypeError: If it holds something else than plain values.
    """
    try:
        return json.dumps(dict(georeference))
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"georeference must be a dict of plain values: {error}") from error


def parse_georeference(text: Any) -> dict[str, Any] | None:
    """A georeference from its JSON, or None if the text is something else."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _choose(names: list[str], key: str | None, path: Path) -> str:
    found = [name for name in names if name != GEOREFERENCE and name not in _WAVELENGTHS]
    if key is not None:
        if key not in names:
            raise InputError(f"{path} holds no array {key!r}; there are {', '.join(names) or 'none'}")
        return key
    if len(found) != 1:
        raise InputError(f"{path} must hold one array, or key= must name one; there are {', '.join(names) or 'none'}")
    return found[0]


def _collect(path: Path, names: list[str], key: str | None, get: Callable[[str], Any]) -> StoredArray:
    name = _choose(names, key, path)
    values = np.asanyarray(get(name))  # keeps memory maps
    if values.dtype.kind not in "biuf":
        raise InputTypeError(f"{path}: {name} must hold real numbers, got dtype {values.dtype}")
    wavelength = None
    for candidate in _WAVELENGTHS:
        if candidate in names and candidate != name:
            wavelength = np.asarray(get(candidate)).ravel()
            break
    text = np.asarray(get(GEOREFERENCE)).ravel() if GEOREFERENCE in names and name != GEOREFERENCE else None
    georeference = None if text is None or text.dtype.kind != "U" or text.size != 1 else parse_georeference(text[0])
    return StoredArray(name, values, wavelength, georeference)


def _read_mat(path: Path, key: str | None) -> StoredArray:
    import h5py
    from scipy.io import loadmat, whosmat

    if h5py.is_hdf5(path):
        return _read_mat73(path, key)
    names = [name for name, _, _ in whosmat(path)]
    return _collect(path, names, key, lambda name: loadmat(path, variable_names=[name])[name])


def _read_mat73(path: Path, key: str | None) -> StoredArray:
    import h5py

    with h5py.File(path, "r") as file:

        def get(name: str) -> npt.NDArray[Any]:
            dataset = file[name]
            if not isinstance(dataset, h5py.Dataset) or "MATLAB_empty" in dataset.attrs:
                raise InputTypeError(
                    f"{path}: {name} must be a full array of numbers, got a structure, a sparse "
                    "matrix or an empty array"
                )
            if dataset.attrs.get("MATLAB_class") == b"char":
                return np.array("".join(map(chr, dataset[()].ravel().tolist())))
            return np.asarray(dataset[()]).T  # MATLAB stores columns first

        return _collect(path, [name for name in file if not name.startswith("#")], key, get)


def _read_npy(path: Path, key: str | None) -> StoredArray:
    if key is not None:
        raise InputError(f"key={key!r} chooses within a file that holds several arrays, but {path} holds one")
    # Copy on write: torch warns of a map that cannot be written.
    values = np.load(path, mmap_mode="c" if path.stat().st_size > MAPPED_BYTES else None, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        values.close()
        raise InputError(f"{path} is an .npz archive; give it this ending")
    return _collect(path, [path.stem], None, lambda _: values)


def _read_npz(path: Path, key: str | None) -> StoredArray:
    with open_npz(path) as archive:
        return _collect(path, list(archive), key, lambda name: archive[name])


def _read_hdf5(path: Path, key: str | None) -> StoredArray:
    import h5py

    with h5py.File(path, "r") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        stored = _collect(path, names, key, lambda name: file[name][()])
        attributes = file[stored.name].attrs
        wavelength = attributes.get(WAVELENGTH, stored.wavelength)
        georeference = parse_georeference(attributes.get(GEOREFERENCE)) or stored.georeference
    return StoredArray(stored.name, stored.values, wavelength, georeference)


_READERS: dict[str, Callable[[Path, str | None], StoredArray]] = {
    ".mat": _read_mat,
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
}

#: Endings of the files that hold arrays.
ARRAY_ENDINGS = tuple(_READERS)
