"""ENVI files: a header of text, and the values beside it in any order of rows, columns and bands."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.images.extras import import_envi
from stgraph.data.images.image import MAPPED_BYTES, MICROMETRES_BELOW, Image, without_missing
from stgraph.data.images.stored import reading_with
from stgraph.errors import InputError, InputTypeError

__all__ = ["read_envi", "write_envi"]

_logger = logging.getLogger("stgraph")
_NANOMETRES = {"nanometers": 1.0, "nanometres": 1.0, "nanometer": 1.0, "nm": 1.0}
_MICROMETRES = dict.fromkeys(("micrometers", "micrometres", "micrometer", "microns", "micron", "um", "µm"), 1000.0)
_UNITS = _NANOMETRES | _MICROMETRES
_PLACES = ("map info", "projection info", "coordinate system string")
_MISSING = "data ignore value"


def read_envi(path: Path) -> Image:
    """Read an ENVI file by its header.

    Raises:
        InputError: If header or data are damaged or missing, or it is a library of spectra.
        InputTypeError: If it does not hold real numbers.
        ImportError: If Spectral Python is not installed.
    """
    envi = import_envi()
    with reading_with(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of capitals in the names of fields
        source = envi.open(str(path.absolute()))
        if not hasattr(source, "open_memmap"):
            raise InputError(f"{path} is a library of spectra, expected an image")
        _check_size(path, source)
        values = _values(source)
    if values.dtype.kind not in "biuf":
        raise InputTypeError(f"{path} must hold real numbers, got dtype {values.dtype}")
    header = source.metadata
    image = without_missing(values, header.get(_MISSING))
    if source.scale_factor != 1:
        image = image / np.float32(source.scale_factor)
    return Image(image, _wavelengths(header, values.shape[2], path), _georeference(header), path.stem)


def _check_size(path: Path, source: Any) -> None:
    needed = source.offset + source.nrows * source.ncols * source.nbands * np.dtype(source.dtype).itemsize
    size = Path(source.filename).stat().st_size
    if min(source.nrows, source.ncols, source.nbands) < 1 or size < needed:
        raise InputError(f"{path} describes {needed} bytes, but {source.filename} has {size}; is it cut off?")


def _values(source: Any) -> npt.NDArray[Any]:
    """The values [H, W, C]; of a large file a memory map whose changes are not written."""
    order = {"bsq": ("bands", "rows", "columns"), "bil": ("rows", "bands", "columns")}
    axes = order.get(str(source.metadata["interleave"]).lower(), ("rows", "columns", "bands"))
    sides = {"rows": source.nrows, "columns": source.ncols, "bands": source.nbands}
    stored = np.memmap(
        source.filename, dtype=source.dtype, mode="c", offset=source.offset, shape=tuple(sides[axis] for axis in axes)
    )
    image = stored.transpose([axes.index(axis) for axis in ("rows", "columns", "bands")])
    return image if stored.nbytes > MAPPED_BYTES else np.array(image, order="C")


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _wavelengths(header: dict[str, Any], bands: int, path: Path) -> npt.NDArray[np.float64] | None:
    if "wavelength" not in header:
        return None
    numbers = [_number(text) for text in np.atleast_1d(header["wavelength"])]
    unit = str(header.get("wavelength units", "unknown")).strip().lower()
    values = np.array([np.nan if number is None else number for number in numbers])
    if values.size != bands or not bool((np.isfinite(values) & (values > 0)).all()):
        _logger.warning("%s: its wavelengths are left out, as they are not %d positive numbers", path, bands)
        return None
    if unit not in (*_UNITS, "unknown", ""):
        _logger.warning("%s: its wavelengths are left out, as their unit is %s instead of nm or um", path, unit)
        return None
    guess = 1000.0 if bool((values < MICROMETRES_BELOW).all()) else 1.0
    return values * _UNITS.get(unit, guess)


def _georeference(header: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for name in _PLACES:
        if name in header:
            value = header[name]
            found[name] = [str(item) for item in value] if isinstance(value, list) else str(value)
    return {"format": "envi", **found} if found else None


def write_envi(path: Path, image: Image) -> None:
    """Write an image in float32, pixel by pixel (bip), its data in a file ``.img`` beside the header."""
    envi = import_envi()
    header: dict[str, Any] = {}
    georeference = image.georeference or {}
    if georeference.get("format") == "envi":
        header |= {name: georeference[name] for name in _PLACES if name in georeference}
    if image.wavelength is not None:
        header |= {"wavelength": [repr(float(value)) for value in image.wavelength], "wavelength units": "Nanometers"}
    if bool(np.isnan(image.values).any()):
        header[_MISSING] = "nan"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        target = envi.create_image(
            str(path), header, shape=image.values.shape, dtype=np.float32, interleave="bip", ext=".img", force=True
        )
    stored = target.open_memmap(writable=True)
    stored[...] = image.values
    stored.flush()
