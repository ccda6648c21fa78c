"""Write spectra of objects to files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.light_curves.hdf5 import put_array, put_metadata, write_hdf5
from stgraph.data.light_curves.metadata import Metadata
from stgraph.data.spectra.arrays import METADATA_PREFIX
from stgraph.data.spectra.stored import STORED_FORMAT, arrays_of, metadata_of
from stgraph.errors import InputError

__all__ = ["write_object_spectra"]

_logger = logging.getLogger("stgraph")
_Arrays = dict[str, npt.NDArray[Any]]
_NOT_IN_TABLES = ("edge_index", "edge_attr", "edge_weight")
_FOLLOWS = ("pos", "no_data")  # from the position and the mask


def write_object_spectra(path: str | PathLike[str], data: Data) -> None:
    r"""Write spectra to a file, from which :func:`read_object_spectra` gives back the same graph.

    ``.h5`` and ``.npz`` hold ``flux``, ``mask``, ``error`` [N, L], ``wavelength`` [L] or [N, L] in angstrom,
    ``targetid``, ``sky`` [N, 2], ``pos``, ``z``, ``no_data``, ``frame``, metadata, edges, and labels of anomalies
    (``anomaly_mask``, ``anomalous``), where the graph has them. ``.csv`` holds a row for each spectrum with its points
    as JSON arrays in the cells; it has no edges, and text of metadata that reads as a number comes back as one. What a
    file cannot hold is named in a warning of the logger ``stgraph``. A file of this name is replaced, once the new one
    is complete.

    Args:
        path: The file, ``.h5``, ``.hdf5``, ``.npz`` or ``.csv``.
        data: Spectra as :func:`from_spectra` gives them.

    Raises:
        InputError: If the graph holds no spectra, a name or text cannot stand in the file, or there is no such folder.

    Examples:
        >>> import tempfile
        >>> from stgraph.data.spectra import from_spectra, read_object_spectra
        >>> data = from_spectra([4000.0, 4001.0], [[1.0, 2.0]], names=["39627866878514741"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_object_spectra(f"{folder}/spectra.npz", data)
        ...     read_object_spectra(f"{folder}/spectra.npz").node_names
        ['39627866878514741']
    """
    path = Path(path).expanduser()
    writers: dict[str, Callable[[Path, _Arrays, Metadata], None]] = {
        ".h5": _write_hdf5,
        ".hdf5": _write_hdf5,
        ".npz": _write_npz,
        ".csv": _write_csv,
    }
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise InputError(f"spectra are written to {', '.join(writers)} files, got {path}")
    writer(path, arrays_of(data, path), metadata_of(data))


def _write_hdf5(path: Path, arrays: _Arrays, metadata: Metadata) -> None:
    with write_hdf5(path) as file:
        file.attrs["format"] = STORED_FORMAT
        for name, values in arrays.items():
            put_array(file, name, values)
        if metadata:
            put_metadata(file, metadata)


def _write_npz(path: Path, arrays: _Arrays, metadata: Metadata) -> None:
    named: dict[str, Any] = {f"{METADATA_PREFIX}{name}": values for name, values in metadata.items()}
    named |= {"format": np.array(STORED_FORMAT), **arrays}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:  # savez adds an ending to a name
            np.savez(file, **named)

    _replace(path, write)


def _write_csv(path: Path, arrays: _Arrays, metadata: Metadata) -> None:
    import pandas as pd

    left_out = [name for name in _NOT_IN_TABLES if name in arrays]
    if left_out:
        _logger.warning("%s: not written, as tables of spectra do not hold it: %s", path, ", ".join(left_out))
    count, length = arrays["flux"].shape
    columns: dict[str, Any] = {"targetid": arrays.get("targetid", np.arange(count).astype(np.str_))}
    if "sky" in arrays:
        columns |= {"ra": arrays["sky"][:, 0], "dec": arrays["sky"][:, 1]}
    columns |= {name: arrays[name] for name in ("z", "anomalous") if name in arrays}
    columns |= {"frame": arrays["frame"].repeat(count)} if "frame" in arrays else {}
    lists: _Arrays = {name: arrays[name] for name in ("flux", "error", "mask", "anomaly_mask") if name in arrays}
    lists["wavelength"] = np.broadcast_to(arrays["wavelength"], (count, length))
    taken = [name for name in metadata if name in (*columns, *lists)]
    if taken:
        raise InputError(f"metadata cannot have the name {taken[0]!r} in a table; the spectra have a column of it")
    # Float32 would be written with the digits that tell it from its neighbours in float32 only.
    columns |= {name: vector.astype(float) if vector.dtype.kind == "f" else vector for name, vector in metadata.items()}
    columns |= {name: [json.dumps(row) for row in values.tolist()] for name, values in lists.items()}
    _replace(path, lambda temporary: pd.DataFrame(columns).to_csv(temporary, index=False, na_rep="nan"))


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    """Write under a temporary name and rename, so that nobody sees half a file."""
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent.absolute()}")
    temporary = path.with_name(f".partial-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
