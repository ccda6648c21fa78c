"""TIFF files of many bands, with the tags of a GeoTIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.images.extras import import_tifffile
from stgraph.data.images.image import Image, without_missing
from stgraph.data.images.stored import reading_with
from stgraph.errors import InputError, InputTypeError

__all__ = ["read_tiff", "write_tiff"]

_DOUBLE, _SHORT, _ASCII = 12, 3, 2  # types of TIFF fields
#: Name, number and type of the tags that place an image on the Earth (GeoTIFF 1.1; the last one is of GDAL).
_TAGS = (
    ("ModelPixelScaleTag", 33550, _DOUBLE),
    ("ModelTiepointTag", 33922, _DOUBLE),
    ("ModelTransformationTag", 34264, _DOUBLE),
    ("GeoKeyDirectoryTag", 34735, _SHORT),
    ("GeoDoubleParamsTag", 34736, _DOUBLE),
    ("GeoAsciiParamsTag", 34737, _ASCII),
    ("GDAL_NODATA", 42113, _ASCII),
)


def read_tiff(path: Path) -> Image:
    """Read a TIFF file; smaller copies and masks among its pages are left out.

    Raises:
        InputError: If it is damaged or its pages differ in size.
        InputTypeError: If it does not hold real numbers.
        ImportError: If tifffile, or what it needs to decompress the file, is not installed.
    """
    tifffile = import_tifffile()
    with reading_with(path), tifffile.TiffFile(path) as file:
        pages = [page for page in file.pages if not (page.is_reduced or page.is_mask)]
        if not pages:
            raise InputError(f"{path} holds no image")
        parts = [_page(page, path) for page in pages]
        georeference = _tags(pages[0])
    sizes = {part.shape[:2] for part in parts}
    if len(sizes) > 1:
        raise InputError(f"{path}: its pages must be bands of one size, got {', '.join(map(str, sorted(sizes)))}")
    values = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
    if values.dtype.kind not in "biuf":
        raise InputTypeError(f"{path} must hold real numbers, got dtype {values.dtype}")
    return Image(without_missing(values, georeference.get("GDAL_NODATA")), None, _or_none(georeference), path.stem)


def _page(page: Any, path: Path) -> npt.NDArray[Any]:
    try:
        values: npt.NDArray[Any] = page.asarray()
    except ValueError as error:
        if "imagecodecs" in str(error):
            raise ImportError(f"{path} is compressed in a way that needs a further library: {error}") from error
        raise
    if page.axes == "SYX":
        values = values.transpose(1, 2, 0)
    elif page.axes == "YX":
        values = values[:, :, None]
    elif page.axes != "YXS":
        raise InputError(f"{path}: a page must be an image of rows, columns and samples, got the axes {page.axes}")
    return values


def _tags(page: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, code, kind in _TAGS:
        tag = page.tags.get(code)
        if tag is None:
            continue
        value = tag.value
        if kind == _ASCII:
            found[name] = str(value).strip("\0 ")
        else:
            numbers = np.atleast_1d(value).tolist()
            found[name] = [float(number) if kind == _DOUBLE else int(number) for number in numbers]
    return found


def _or_none(tags: dict[str, Any]) -> dict[str, Any] | None:
    return {"format": "geotiff", **tags} if tags else None


def write_tiff(path: Path, image: Image) -> None:
    """Write an image with bands as samples, in float32, and the tags of a GeoTIFF."""
    tifffile = import_tifffile()
    georeference = image.georeference or {}
    tags = []
    for name, code, kind in _TAGS:
        if georeference.get("format") != "geotiff" or name not in georeference:
            continue
        # What was missing is NaN by now.
        value = "nan" if name == "GDAL_NODATA" else georeference[name]
        tags.append((code, kind, 0 if kind == _ASCII else len(value), value, True))
    one_band = image.values.shape[2] == 1
    tifffile.imwrite(
        path,
        image.values[:, :, 0] if one_band else image.values,
        photometric="minisblack",
        planarconfig=None if one_band else "contig",
        metadata=None,
        extratags=tags,
    )
