"""NumPy archives: our own layout, that of the PEMS benchmarks, and any other with one array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError

__all__ = ["open_npz", "read_npz"]

_PEMS_CHANNELS = ("flow", "occupancy", "speed")
_SYNONYMS = {
    "time": ("time",),
    "mask": ("mask",),
    "coords": ("coords", "pos", "lonlat"),
    "node_names": ("node_names", "station", "sensor_ids"),
    "channel_names": ("channel_names", "channels"),
    "static": ("static",),
    "covariates": ("covariates",),
}


def read_npz(path: Path, key: str | None = None) -> dict[str, Any]:
    """Arguments of :func:`stgraph.data.from_array` that an archive holds.

    The archive's ``values`` (or its ``data``, as in the PEMS benchmarks, with the channels flow, occupancy and speed
    where there are three) come with ``time``, ``mask``, ``coords`` (or ``latitude`` and ``longitude`` of a grid),
    ``node_names`` (or ``station``), ``channel_names`` (or ``channels``), ``static`` and ``covariates`` where it has
    them. An archive of one array is read as values alone.

    Args:
        path: The file.
        key: Name of the array of values. (default: ``values``, ``data``, or the only one)

    Raises:
        InputError: If there is no such array.
    """
    with open_npz(path) as archive:
        key = _find_key(archive, key, path)
        arguments: dict[str, Any] = {"values": archive[key]}
        for argument, names in _SYNONYMS.items():
            found = next((name for name in names if name in archive and name != key), None)
            if found is not None:
                arguments[argument] = archive[found]
        if "coords" not in arguments and {"latitude", "longitude"} <= set(archive):
            arguments["coords"] = (archive["latitude"], archive["longitude"])
        if "grid" in archive and key != "grid":
            arguments["grid"] = tuple(int(side) for side in archive["grid"])
    values: npt.NDArray[Any] = arguments["values"]
    if key == "data" and values.ndim == 3 and values.shape[2] == len(_PEMS_CHANNELS):
        arguments.setdefault("channel_names", _PEMS_CHANNELS)
    return arguments


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
    """Open an archive; unlike ``numpy.load`` alone, this closes the file also if it is damaged.

    Raises:
        InputError: If the file is an array instead of an archive.
    """
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise InputError(f"{path} is a single array; give it the ending .npy")
        with archive:
            yield archive


def _find_key(archive: Mapping[str, Any], key: str | None, path: Path) -> str:
    names = list(archive)
    if key is not None:
        if key not in names:
            raise InputError(f"{path} holds no array {key!r}; there are {', '.join(names) or 'none'}")
        return key
    usual = [name for name in ("values", "data") if name in names]
    if not usual and len(names) != 1:
        raise InputError(f"{path} holds {', '.join(names) or 'no array'}; choose the array of values by key=")
    return (usual or names)[0]
