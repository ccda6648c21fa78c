"""Read an image of many bands from a file."""

from __future__ import annotations

import logging
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from stgraph.data.files import existing
from stgraph.data.images.envi import read_envi
from stgraph.data.images.image import MICROMETRES_BELOW, Image, as_band_wavelengths, as_cube, as_float32
from stgraph.data.images.stored import ARRAY_ENDINGS, read_array
from stgraph.data.images.tiff import read_tiff
from stgraph.errors import InputError

__all__ = ["read_image"]

_logger = logging.getLogger("stgraph")
_TIFF = (".tif", ".tiff")
_ENVI = ".hdr"


def read_image(
    path: str | PathLike[str],
    key: str | None = None,
    *,
    layout: Literal["bands_pixels"] | None = None,
    rows: int | None = None,
    columns: int | None = None,
    wavelength: Any = None,
) -> Image:
    r"""Read an image of many bands from a file; its kind is told by the ending of its name.

    ===================  =========================================================================================
    ``.mat``             a variable of a MATLAB file, up to version 7.3
    ``.npy``, ``.npz``   an array, or one of an archive; nothing is unpickled
    ``.h5``, ``.hdf5``   a data set
    ``.tif``, ``.tiff``  bands are samples, pages, or both (extra ``images``); GeoTIFF tags are kept
    ``.hdr``             header of an ENVI file beside its data (extra ``images``), divided by its scale factor
    ===================  =========================================================================================

    Wavelengths are read where the file has them: from ``.mat``, ``.npz`` and HDF5 files an array ``wavelength`` (or
    ``wavelengths``, ``wavelength_nm``, ``wavelengths_nm``, ``wl``) with an entry for each band, or the attribute
    ``wavelength`` of the data set. Unless a file states their unit, those below 100 are taken for micrometres. These
    arrays, and ``georeference``, do not count when a file must hold one array only. Where a GeoTIFF or an ENVI header
    names a value for missing data, the image is NaN. Large ``.npy`` and ENVI files of float32 stay on disk as memory
    maps; changes of their values are not written.

    Args:
        path: The file.
        key: Name of the array in a ``.mat``, ``.npz`` or HDF5 file, case-sensitive. (default: the only one)
        layout: ``"bands_pixels"`` reads an array of bands by pixels, its pixels column by column as MATLAB stores
            them. (default: rows, columns, bands, or one band of rows and columns)
        rows: Rows of the image; only with ``layout="bands_pixels"``.
        columns: Columns of the image; only with ``layout="bands_pixels"``.
        wavelength: Wavelengths of the bands in nm. (default: those of the file)

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, of an unknown kind (names those accepted), or holds no array :obj:`key` (lists
            those that are there), or its shape does not fit.
        InputTypeError: If its values are not real numbers.
        ImportError: If the extra is missing; says how to install it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.savez(f"{folder}/scene.npz", cube=np.ones((4, 5, 3)), wavelength=[0.46, 0.55, 0.64])
        ...     image = read_image(f"{folder}/scene.npz")
        >>> image.values.shape, image.wavelength
        ((4, 5, 3), array([460., 550., 640.]))
    """
    path = existing(path)
    _check_layout(layout, rows, columns)
    ending = path.suffix.lower()
    if ending in ARRAY_ENDINGS:
        stored = read_array(path, key)
        where = f"{path}: {stored.name}"
        values = as_cube(_arrange(stored.values, where, rows, columns), where)
        image = Image(
            as_float32(values),
            _found_wavelengths(stored.wavelength, values.shape[2], path),
            stored.georeference,
            stored.name,
        )
    elif ending in _TIFF or ending == _ENVI:
        for name, value in (("key", key), ("layout", layout)):
            if value is not None:
                raise InputError(f"{name} is for {', '.join(ARRAY_ENDINGS)} files, got {path}")
        image = read_envi(path) if ending == _ENVI else read_tiff(path)
    else:
        accepted = ", ".join((*ARRAY_ENDINGS, *_TIFF, _ENVI))
        raise InputError(f"{path} is of an unknown kind; images are read from {accepted} files")
    if wavelength is None:
        return image
    return Image(image.values, as_band_wavelengths(wavelength, image.values.shape[2]), image.georeference, image.name)


def _check_layout(layout: str | None, rows: int | None, columns: int | None) -> None:
    if layout not in (None, "bands_pixels"):
        raise InputError(f"layout must be None or 'bands_pixels', got {layout!r}")
    given = [isinstance(side, int) and side > 0 for side in (rows, columns)]
    if layout is not None and not all(given):
        raise InputError(f"layout='bands_pixels' needs rows and columns, at least 1, got {rows!r} and {columns!r}")
    if layout is None and (rows is not None or columns is not None):
        raise InputError("rows and columns are for layout='bands_pixels' only")


def _arrange(values: npt.NDArray[Any], where: str, rows: int | None, columns: int | None) -> npt.NDArray[Any]:
    if rows is None or columns is None:
        return values
    if values.ndim != 2 or values.shape[1] != rows * columns:
        raise InputError(
            f"{where} must have the shape (bands, {rows} x {columns} = {rows * columns}) for layout='bands_pixels', "
            f"got {values.shape}"
        )
    return values.T.reshape(rows, columns, values.shape[0], order="F")


def _found_wavelengths(value: Any, bands: int, path: Path) -> npt.NDArray[np.float64] | None:
    """Wavelengths that a file holds beside its image; what cannot be such is left out."""
    if value is None or np.asarray(value).dtype.kind not in "iuf":
        return None
    wavelength = np.asarray(value, dtype=np.float64).ravel()
    if wavelength.size != bands:  # those of another array of the file
        return None
    if not bool((np.isfinite(wavelength) & (wavelength > 0)).all()):
        _logger.warning("%s: its wavelengths are left out, as they are not %d positive numbers", path, bands)
        return None
    return wavelength * (1000.0 if bool((wavelength < MICROMETRES_BELOW).all()) else 1.0)
