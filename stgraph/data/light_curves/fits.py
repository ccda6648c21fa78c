"""Light curve tables of Kepler and TESS in FITS files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stgraph.data.files import reading
from stgraph.data.light_curves.headers import distinct_names, header_metadata, header_sky, star_name
from stgraph.data.light_curves.sources import Source
from stgraph.data.light_curves.stitching import stitch_sources
from stgraph.errors import InputError

__all__ = ["QualityBitmask", "read_fits_sources"]

QualityBitmask: TypeAlias = "Literal['default', 'none'] | int"

_logger = logging.getLogger("stgraph")
_FLUX_COLUMNS = ("PDCSAP_FLUX", "SAP_FLUX")
_QUALITY_COLUMNS = ("SAP_QUALITY", "QUALITY")
_DAYS = ("d", "day", "days")


@dataclass(frozen=True)
class _Columns:
    flux: str | None
    quality_bitmask: QualityBitmask


def read_fits_sources(
    paths: Sequence[Path], *, flux_column: str | None, quality_bitmask: QualityBitmask, stitch: bool
) -> list[Source]:
    """Read the files, each of which is one curve; with ``stitch`` the files of a star become one curve.

    Raises:
        InputError: If a file is damaged or holds no light curve.
        ImportError: If astropy is missing.
    """
    known = quality_bitmask in ("default", "none")
    if not known and (isinstance(quality_bitmask, (str, bool)) or not isinstance(quality_bitmask, (int, np.integer))):
        raise InputError(f"quality_bitmask must be 'default', 'none' or a whole number, got {quality_bitmask!r}")
    sources = [_read(path, _Columns(flux_column, quality_bitmask)) for path in paths]
    if stitch:
        return stitch_sources(sources)
    stars = [str(source.metadata["star"][0]) for source in sources]
    for source, name in zip(sources, distinct_names(stars, [s.metadata for s in sources]), strict=True):
        source.names = [name]
    return sources


def _read(path: Path, columns: _Columns) -> Source:
    fits = _import_fits()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            with reading(path), fits.open(path, memmap=False) as file:
                table = _find_table(file, path)
                header = {**_known(table.header), **_known(file[0].header)}
                source = _source_of(table, header, columns, path)
        except (fits.VerifyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); is it damaged?") from error
    for warning in caught:
        if "truncated" in str(warning.message):
            raise InputError(f"{path} is cut off: {warning.message}")
        _logger.warning("%s: %s", path, warning.message)
    return source


def _import_fits() -> Any:
    try:
        from astropy.io import fits
    except ImportError as error:
        raise ImportError('reading FITS files needs astropy: pip install "stgraph-pyg[astronomy]"') from error
    return fits


def _known(header: Any) -> dict[str, Any]:
    """Keywords that have a value."""
    return {keyword: value for keyword, value in header.items() if isinstance(value, (str, bool, int, float))}


def _find_table(file: Any, path: Path) -> Any:
    tables = [unit for unit in file if getattr(unit, "columns", None) is not None]
    for unit in tables:
        if "TIME" in unit.columns.names:
            return unit
    found = ", ".join(name for unit in tables for name in unit.columns.names) or "no tables"
    raise InputError(f"{path} holds no light curve: no table has a column TIME; there are {found}")


def _source_of(table: Any, header: dict[str, Any], columns: _Columns, path: Path) -> Source:
    unit = str(header.get("TIMEUNIT") or "d").strip()
    if unit not in _DAYS:
        raise InputError(f"{path}: times must be in days, got TIMEUNIT {unit!r}")
    names = table.columns.names
    flux = columns.flux or next((name for name in _FLUX_COLUMNS if name in names), _FLUX_COLUMNS[0])
    if flux not in names:
        raise InputError(f"{path} has no column {flux}; there are {', '.join(names)}")
    star = star_name(header, path.name.partition(".")[0])
    error = _column(table, f"{flux}_ERR") if f"{flux}_ERR" in names else None
    # Where no error is known at all, the fluxes are still of use.
    errors = None if error is None or not bool(np.isfinite(error).any()) else [error]
    return Source(
        str(path),
        [_column(table, "TIME")],
        [_column(table, flux)],
        errors,
        [_flagged(table, columns.quality_bitmask)],
        [star],
        header_sky(header),
        header_metadata(header, star),
    )


def _column(table: Any, name: str) -> npt.NDArray[np.float64]:
    # FITS is big-endian.
    return np.asarray(table.data[name]).astype(np.float64)


def _flagged(table: Any, bitmask: QualityBitmask) -> npt.NDArray[np.bool_]:
    name = next((name for name in _QUALITY_COLUMNS if name in table.columns.names), None)
    if name is None or bitmask == "none":
        return np.zeros(len(table.data), dtype=np.bool_)
    flags = np.asarray(table.data[name]).astype(np.int64)
    flagged: npt.NDArray[np.bool_] = (flags if bitmask == "default" else flags & int(bitmask)) != 0
    return flagged
