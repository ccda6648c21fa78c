"""Wavelengths of a hyperspectral image, and the spectral response of the multispectral sensor to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stgraph.data.images import Image, measured_response, read_response
from stgraph.data.images.image import as_band_wavelengths
from stgraph.errors import InputError
from stgraph.ops.fusion import sensor_response
from stgraph.tasks.fusion_options import FusionOptions

__all__ = ["find_response", "read_wavelengths"]


def read_wavelengths(
    given: list[float | str] | str | None, image: Image, where: str
) -> npt.NDArray[np.float64] | str | None:
    """Return the wavelengths of the bands of a hyperspectral image in nm ``[C]``, or "stretched".

    Args:
        given: What the option says: numbers, the first and the last, a file, or "stretched"; None for those that the
            image has.
        image: The image.
        where: Its file, for messages.

    Raises:
        InputError: If they are not one for each band, or not in nm.
    """
    bands = image.values.shape[2]
    if isinstance(given, list) and len(given) == 1:
        given = str(given[0])
    if given is None:
        return image.wavelength
    if given == "stretched":
        return "stretched"
    name = "wavelengths"
    if isinstance(given, str):
        name = f"wavelengths: {given}"
        values = _wavelength_file(Path(given).expanduser())
    else:
        values = np.asarray(given, dtype=np.float64)
    if values.size == 2 and bands != 2:
        values = np.linspace(values[0], values[1], bands)
    if values.shape != (bands,):
        raise InputError(
            f"{name} has {values.size} numbers, and {where} has {bands} bands; expected one each, or the first and "
            "the last"
        )
    return as_band_wavelengths(values, bands, name)


def _wavelength_file(path: Path) -> npt.NDArray[np.float64]:
    if not path.is_file():
        raise InputError(
            f"wavelengths is {str(path)!r}; expected 'stretched', or a file .npy, .csv or .txt that exists"
        )
    try:
        if path.suffix.lower() == ".npy":
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float64).ravel()
        if path.suffix.lower() in (".csv", ".txt"):
            words = path.read_text(encoding="utf-8").replace(",", " ").replace(";", " ").split()
            return np.array([float(word) for word in words])
    except (ValueError, EOFError) as error:
        raise InputError(f"wavelengths: {path} is no list of numbers: {error}") from error
    raise InputError(f"wavelengths: {path} is of an unknown kind; expected .npy, .csv or .txt")


def find_response(
    options: FusionOptions, bands: int, known: npt.NDArray[np.float64] | str | None, channels: int
) -> Tensor:
    """Return the spectral response ``[b, C]``: from a file, of a sensor, or of a table of bands.

    Args:
        options: The options.
        bands: Number of multispectral bands, for the table.
        known: Wavelengths of the hyperspectral image in nm, or "stretched".
        channels: Its number of bands.

    Raises:
        InputError: If the response depends on wavelengths that are not known, or does not fit them.
    """
    if options.provide_srf:
        return read_response(str(options.srf_file), channels)
    if known is None:
        raise InputError(
            f"the wavelengths of the {channels} hyperspectral bands are not known, and the spectral response depends "
            "on them; give them in nm by wavelengths (a number each, the first and the last, or a file), or give the "
            "response by srf_file (in a run with provide_srf=true); wavelengths='stretched' takes invented ones"
        )
    if options.sensor is None:
        return sensor_response(bands, known, channels=channels, fwhm_factor=options.fwhm_factor)
    if isinstance(known, str):
        raise InputError(f"sensor {options.sensor!r} needs the true wavelengths, and wavelengths is {known!r}")
    chosen = None if options.sensor_bands is None else [str(band) for band in options.sensor_bands]
    return measured_response(options.sensor, known, bands=chosen)
