"""Spectra from named arrays, as HDF5 files and NumPy archives hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.files import reading
from stgraph.data.light_curves.hdf5 import get_array, get_metadata, open_hdf5
from stgraph.data.light_curves.metadata import Metadata, as_text
from stgraph.data.npz_files import open_npz
from stgraph.data.spectra.flags import SDSS_BAD_PIXELS, Bitmask, flagged
from stgraph.data.spectra.parts import FileSpectra, identifiers
from stgraph.errors import InputError

__all__ = ["METADATA_PREFIX", "load_arrays", "names_of_arrays", "spectra_of_arrays"]

#: Before the names of the metadata in an archive, which has no groups.
METADATA_PREFIX = "metadata/"

_HDF5 = (".h5", ".hdf5")
_KNOWN = (
    *("flux", "wavelength", "loglam", "ivar", "error", "mask", "and_mask", "targetid", "sky", "ra", "dec", "z"),
    *("anomaly_mask", "anomalous", "no_data", "pos", "edge_index", "edge_attr", "edge_weight", "format", "frame"),
)


def load_arrays(path: Path) -> tuple[dict[str, npt.NDArray[Any]], Metadata, str]:
    """Arrays, metadata and ``format`` (empty if it has none) of an HDF5 file or NumPy archive.

    Raises:
        InputError: If the file is damaged.
    """
    if path.suffix.lower() in _HDF5:
        with open_hdf5(path) as file:
            arrays = {name: get_array(file, name) for name in file if hasattr(file[name], "shape")}
            return arrays, get_metadata(file), str(file.attrs.get("format", ""))
    with reading(path), open_npz(path) as archive:
        arrays = {name: as_text(archive[name]) for name in archive}
    names = [name for name in arrays if name.startswith(METADATA_PREFIX)]
    metadata = {name[len(METADATA_PREFIX) :]: arrays.pop(name) for name in names}
    return arrays, metadata, str(arrays.get("format", ""))


def names_of_arrays(path: Path) -> list[str]:
    """Identifiers of the spectra of a file, without reading the spectra; empty if it has none."""
    needed = {"flux", "targetid"}
    if path.suffix.lower() in _HDF5:
        with open_hdf5(path) as file:
            return identifiers(get_array(file, "targetid"), str(path)) if needed <= set(file) else []
    with reading(path), open_npz(path) as archive:
        return identifiers(archive["targetid"], str(path)) if needed <= set(archive) else []


def spectra_of_arrays(
    arrays: Mapping[str, npt.NDArray[Any]], where: str, metadata: Metadata, bitmask: Bitmask
) -> FileSpectra:
    """Spectra from ``flux``, ``wavelength`` (or ``loglam``) and what else there is.

    Other vectors with an entry for each spectrum become metadata.

    Raises:
        InputError: If ``flux`` or the wavelength is missing (lists what there is), or shapes do not fit.
    """
    missing = [] if "flux" in arrays else ["flux"]
    missing += [] if {"wavelength", "loglam"} & set(arrays) else ["wavelength"]
    if missing:
        raise InputError(f"{where} has no {' and no '.join(missing)}; there are {', '.join(arrays) or 'no arrays'}")
    flux = arrays["flux"]
    if flux.ndim != 2:
        raise InputError(f"{where}: flux must have the shape (N, L), got {flux.shape}")
    for name in ("targetid", "z", "ra", "dec", "anomalous"):
        if name in arrays and arrays[name].shape != flux.shape[:1]:
            raise InputError(f"{where}: {name} must have the shape ({len(flux)},), got {arrays[name].shape}")
    axis = arrays["wavelength"] if "wavelength" in arrays else 10.0 ** arrays["loglam"].astype(np.float64)
    others = {
        name: values
        for name, values in arrays.items()
        if name not in _KNOWN and values.shape == flux.shape[:1] and values.dtype.kind in "biufU"
    }
    # Errors stand for inverse variances where a file has both.
    error = arrays.get("error")
    return FileSpectra(
        where,
        axis,
        flux,
        error,
        None if error is not None else arrays.get("ivar"),
        _good(arrays, flux, where, bitmask),
        identifiers(arrays["targetid"], where) if "targetid" in arrays else None,
        _sky(arrays),
        arrays.get("z"),
        others | metadata,
        arrays.get("anomaly_mask"),
        arrays.get("anomalous"),
        str(arrays["frame"].ravel()[0]) if "frame" in arrays else None,
    )


def _good(
    arrays: Mapping[str, npt.NDArray[Any]], flux: npt.NDArray[Any], where: str, bitmask: Bitmask
) -> npt.NDArray[np.bool_] | None:
    for name in ("mask", "and_mask"):
        if name in arrays and arrays[name].shape != flux.shape:
            raise InputError(f"{where}: {name} must have the shape {flux.shape} of flux, got {arrays[name].shape}")
    if "mask" in arrays:
        return np.asarray(arrays["mask"] != 0)
    return ~flagged(arrays["and_mask"], bitmask, SDSS_BAD_PIXELS) if "and_mask" in arrays else None


def _sky(arrays: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[Any] | None:
    if "sky" in arrays:
        return arrays["sky"]
    return np.stack([arrays["ra"], arrays["dec"]], axis=1) if {"ra", "dec"} <= set(arrays) else None
