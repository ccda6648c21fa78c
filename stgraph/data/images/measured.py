"""Measured spectral responses of satellite sensors, from a table."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import as_finite_array
from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.files import existing
from stgraph.data.images.image import as_band_wavelengths
from stgraph.data.images.stored import reading_with
from stgraph.errors import InputError

__all__ = ["measured_bands", "measured_response"]

_logger = logging.getLogger("stgraph")
_FloatArray = npt.NDArray[np.float64]
_COLUMNS = ("sensor", "band", "wavelength_nm", "response")
_ZERO = 1e-8
_COVERED = 0.9


def measured_response(
    sensor: str,
    wavelengths: Any,
    *,
    bands: Sequence[str] | None = None,
    table: str | PathLike[str] | None = None,
) -> Tensor:
    """Spectral response of a real sensor at the wavelengths of a hyperspectral image.

    The measured curve of each band is interpolated linearly to the wavelengths, taken as 0 outside its own range and
    where it is slightly negative, and divided by its sum. A band of which the wavelengths cover less than 90 % is
    named in a warning of the logger ``stgraph``.

    Args:
        sensor: Name of the sensor in the table, such as ``"Sentinel-2A"``, ``"Landsat-8"`` or ``"RapidEye"``.
        wavelengths: Wavelengths of the image in nm.
        bands: Names of the sensor's bands, such as ``["2", "3", "4", "8"]``. (default: all of the table, see
            :func:`measured_bands`)
        table: CSV file with the columns ``sensor``, ``band``, ``wavelength_nm`` and ``response``. (default:
            ``spectral_response/srf.csv`` below the environment variable ``STGRAPH_DATA``)

    Shapes:
        - **wavelengths:** :math:`(C)`
        - **output:** :math:`(b, C)`, float64

    Raises:
        FileNotFoundError: If there is no such table.
        InputError: If the table has no such sensor or bands (lists those it has), or a band lies outside the
            wavelengths (names it).
        InputTypeError: If wavelengths are not numeric.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     text = "sensor,band,wavelength_nm,response\\nA,1,500,0\\nA,1,510,1\\nA,1,520,0\\n"
        ...     path = Path(folder, "table.csv")
        ...     _ = path.write_text(text)
        ...     measured_response("A", [500.0, 505.0, 510.0, 600.0], table=path)
        tensor([[0.0000, 0.3333, 0.6667, 0.0000]], dtype=torch.float64)
    """
    curves = _curves(sensor, table)
    names = list(curves) if bands is None else [str(band) for band in bands]
    unknown = [name for name in names if name not in curves]
    if unknown or not names:
        raise InputError(f"bands of {sensor} must be some of {', '.join(curves)}, got {', '.join(names) or 'none'}")
    target = as_finite_array(wavelengths, "wavelengths")
    target = as_band_wavelengths(target, target.size, "wavelengths")
    rows = np.stack([np.interp(target, *curves[name], left=0.0, right=0.0) for name in names])
    total = rows.sum(axis=1)
    outside = [name for name, value in zip(names, total, strict=True) if value <= _ZERO]
    if outside:
        raise InputError(
            f"{sensor} has bands outside the wavelengths {target.min():g} to {target.max():g} nm: "
            f"{', '.join(outside)}; choose others by bands="
        )
    _tell_partly_covered(sensor, {name: curves[name] for name in names}, target)
    return torch.from_numpy(rows / total[:, None])


def measured_bands(sensor: str, *, table: str | PathLike[str] | None = None) -> list[str]:
    """Names of the bands of a sensor in a table, in the order of :func:`measured_response`.

    Args:
        sensor: Name of the sensor in the table.
        table: As for :func:`measured_response`.

    Raises:
        FileNotFoundError: If there is no such table.
        InputError: If it has no such sensor; lists those it has.

    Examples:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "table.csv")
        ...     _ = path.write_text("sensor,band,wavelength_nm,response\\nA,10,900,1\\nA,8A,865,1\\nA,9,945,1\\n")
        ...     measured_bands("A", table=path)
        ['8A', '9', '10']
    """
    return list(_curves(sensor, table))


def _curves(sensor: str, table: str | PathLike[str] | None) -> dict[str, tuple[_FloatArray, _FloatArray]]:
    """Wavelengths, which rise, and responses of each band, in the order of the bands' numbers."""
    import pandas as pd

    path = existing(stgraph_data_folder("spectral_response") / "srf.csv" if table is None else table)
    with reading_with(path):
        frame = pd.read_csv(path, dtype={"sensor": str, "band": str})
    missing = [name for name in _COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(f"{path} must have the columns {', '.join(_COLUMNS)}, but has no {', '.join(missing)}")
    sensors = frame["sensor"].dropna().unique().tolist()
    if sensor not in sensors:
        raise InputError(f"{path} has no sensor {sensor!r}; there are {', '.join(sensors) or 'none'}")
    curves = {}
    for band, part in frame[frame["sensor"] == sensor].groupby("band"):
        ordered = part.sort_values("wavelength_nm")
        axis = as_finite_array(ordered["wavelength_nm"].to_numpy(), f"{path}: wavelength_nm of band {band}")
        response = as_finite_array(ordered["response"].to_numpy(), f"{path}: response of band {band}")
        curves[str(band)] = (axis, response.clip(min=0))
    return dict(sorted(curves.items(), key=lambda item: _by_number(item[0])))


def _by_number(band: str) -> tuple[int, str]:
    digits = re.match(r"\d+", band)
    return (int(digits.group()) if digits else 0, band)


def _tell_partly_covered(sensor: str, curves: dict[str, tuple[_FloatArray, _FloatArray]], target: _FloatArray) -> None:
    for name, (axis, response) in curves.items():
        inside = (axis >= target.min()) & (axis <= target.max())
        share = response[inside].sum() / response.sum()
        if share < _COVERED:
            _logger.warning("%s: the wavelengths cover only %.0f %% of band %s", sensor, 100 * share, name)
