"""Write an image of many bands to a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from stgraph.data.images.envi import write_envi
from stgraph.data.images.graphs import to_image
from stgraph.data.images.image import Image, as_band_wavelengths, as_cube, as_float32
from stgraph.data.images.outputs import array_name, check_image_path, renamed_when_complete
from stgraph.data.images.stored import GEOREFERENCE, WAVELENGTH, georeference_text
from stgraph.data.images.tiff import write_tiff
from stgraph.data.images.tiles import ImageWriter, chunk_side
from stgraph.errors import InputError

__all__ = ["write_image"]

_logger = logging.getLogger("stgraph")
_MATLAB_LIMIT = 2**31 - 1
# What each kind of file has a place for; a GeoTIFF's tags and the fields of an ENVI header do not say the same.
_KEEPS = {".npy": (), ".tif": ("geotiff",), ".tiff": ("geotiff",), ".hdr": ("envi",)}
_NO_WAVELENGTH = (".npy", ".tif", ".tiff")
_BLOCK_VALUES = 2**24


def write_image(
    path: str | PathLike[str],
    image: Any,
    *,
    wavelength: Any = None,
    georeference: Mapping[str, Any] | None = None,
) -> None:
    r"""Write an image of many bands to a file, in float32; its kind is told by the ending of its name.

    ===================  =========================================================================================
    ``.npy``             the array alone
    ``.h5``, ``.hdf5``   a data set named like the file, compressed, with wavelengths and georeference as attributes
    ``.mat``             a variable named like the file (MATLAB 5, up to 2 GB), beside it ``wavelength`` and
                         ``georeference``
    ``.tif``, ``.tiff``  bands as samples (extra ``images``), with the tags of a GeoTIFF
    ``.hdr``             an ENVI header beside its data, ``.img`` (extra ``images``), with wavelengths and map info
    ===================  =========================================================================================

    :func:`read_image` reads all of them. Characters that MATLAB does not allow in names become underscores. What a file
    has no place for is named in a warning of the logger ``stgraph``. A file of this name is replaced, once the new one
    is complete; nothing is left on failure.

    Args:
        path: The file.
        image: An array, an :class:`Image`, or the graph of an image.
        wavelength: Wavelengths of the bands in nm. (default: those of the image)
        georeference: Where the image lies on the Earth, as :func:`read_image` gives it. (default: that of the image)

    Shapes:
        - **image:** :math:`(H, W, C)`, or :math:`(H, W)` for one band; **wavelength:** :math:`(C)`

    Raises:
        InputError: If the ending is unknown, the folder is missing or cannot be written to, the image is too large for
            the kind of file, or shapes do not fit.
        InputTypeError: If the image does not hold real numbers.
        ImportError: If the extra is missing; says how to install it.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from stgraph.data.images import read_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(f"{folder}/scene.h5", np.ones((4, 5, 2)), wavelength=[500.0, 600.0])
        ...     image = read_image(f"{folder}/scene.h5")
        >>> image.name, image.values.shape, image.wavelength
        ('scene', (4, 5, 2), array([500., 600.]))
    """
    path = check_image_path(path)
    image = _as_image(image, wavelength, georeference)
    ending = path.suffix.lower()
    _tell_what_is_lost(path, ending, image)
    if ending in (".npy", ".h5", ".hdf5"):
        _write_blocks(path, image)
    elif ending == ".mat":
        _write_matlab(path, image)
    elif ending == ".hdr":
        with renamed_when_complete(path, ".img") as temporary:
            write_envi(temporary, image)
    else:
        with renamed_when_complete(path) as temporary:
            write_tiff(temporary, image)


def _as_image(image: Any, wavelength: Any, georeference: Mapping[str, Any] | None) -> Image:
    if isinstance(image, Data):
        known = image.get("wavelength")
        found = Image(to_image(image), None if known is None else known.cpu().numpy(), image.get("georeference"))
    elif isinstance(image, Image):
        found = replace(image, values=as_float32(as_cube(image.values, "image")))
    else:
        found = Image(as_float32(as_cube(image, "image")))
    if wavelength is not None or found.wavelength is not None:
        given = found.wavelength if wavelength is None else wavelength
        found = replace(found, wavelength=as_band_wavelengths(given, found.values.shape[2]))
    return found if georeference is None else replace(found, georeference=dict(georeference))


def _tell_what_is_lost(path: Path, ending: str, image: Image) -> None:
    lost = ["wavelength"] if image.wavelength is not None and ending in _NO_WAVELENGTH else []
    if image.georeference and ending in _KEEPS and image.georeference.get("format") not in _KEEPS[ending]:
        lost.append("georeference")
    if lost:
        _logger.warning("%s: not written, as the file has no place for it: %s", path, ", ".join(lost))


def _write_blocks(path: Path, image: Image) -> None:
    height, width, bands = image.values.shape
    side = chunk_side(bands)  # whole chunks, which are compressed once
    step = max(1, _BLOCK_VALUES // (width * bands * side)) * side
    with ImageWriter(path, (height, width, bands), wavelength=image.wavelength, georeference=image.georeference) as out:
        for row in range(0, height, step):
            out.write(row, 0, image.values[row : row + step])


def _write_matlab(path: Path, image: Image) -> None:
    from scipy.io import savemat

    if image.values.nbytes > _MATLAB_LIMIT:
        raise InputError(
            f"{path} cannot be written: a variable of a MATLAB 5 file holds 2 GB at most, and the image needs "
            f"{image.values.nbytes / 2**30:.1f} GB; use .h5, which MATLAB reads as well"
        )
    variables: dict[str, Any] = {array_name(path): image.values}
    if image.wavelength is not None:
        variables[WAVELENGTH] = image.wavelength
    if image.georeference is not None:
        variables[GEOREFERENCE] = georeference_text(image.georeference)
    with renamed_when_complete(path) as temporary:
        savemat(temporary, variables)
