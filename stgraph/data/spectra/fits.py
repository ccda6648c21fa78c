"""Spectra of SDSS and DESI in FITS files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.light_curves.metadata import Metadata
from stgraph.data.spectra.arms import join_arms
from stgraph.data.spectra.columns import take_sky
from stgraph.data.spectra.fits_files import native, open_fits, scalar_columns
from stgraph.data.spectra.flags import ANY_FLAG, SDSS_BAD_PIXELS, Bitmask, flagged
from stgraph.data.spectra.parts import FileSpectra, identifiers
from stgraph.errors import InputError

__all__ = ["names_of_fits", "read_fits_spectra"]

#: Columns of SDSS's table of the object that become metadata; the others describe how it was observed and fitted.
_SDSS_METADATA = (
    *("class", "subclass", "z_err", "zwarning", "sn_median_all", "survey", "instrument", "programname"),
    *("plate", "mjd", "fiberid"),
)


def read_fits_spectra(path: Path, bitmask: Bitmask) -> FileSpectra:
    """Read a ``spec-*.fits`` file of SDSS or a file of coadded spectra of DESI.

    Raises:
        InputError: If the file is damaged or holds neither; lists what it holds.
        ImportError: If astropy is missing.
    """
    with open_fits(path) as file:
        unit = _sdss_table(file)
        if unit is not None:
            return _read_sdss(file, unit, path, bitmask)
        arms = _desi_arms(file)
        if arms:
            return _read_desi(file, arms, path, bitmask)
        found = ", ".join(unit.name or "(no name)" for unit in file)
    raise InputError(
        f"{path} holds no spectra: neither a table with the columns flux, loglam and ivar (SDSS), nor arrays such as "
        f"B_FLUX and B_WAVELENGTH (DESI); there are {found}"
    )


def names_of_fits(path: Path) -> list[str]:
    """Identifiers of the spectra of a file, without reading the spectra; empty if it holds none."""
    with open_fits(path) as file:
        if _sdss_table(file) is not None:
            return [_sdss_name(file, _sdss_object(file), path)]
        return (_desi_names(file, path) or []) if _desi_arms(file) else []


def _sdss_table(file: Any) -> Any:
    for unit in file[1:]:
        columns = getattr(unit, "columns", None)
        if columns is not None and {"flux", "loglam", "ivar"} <= {name.lower() for name in columns.names}:
            return unit
    return None


def _sdss_object(file: Any) -> Metadata:
    """What the file's table of the object says, if it has one."""
    for unit in file[1:]:
        columns = getattr(unit, "columns", None)
        if columns is not None and len(unit.data) == 1 and {"z", "zwarning"} <= {n.lower() for n in columns.names}:
            return scalar_columns(unit)
    return {}


def _read_sdss(file: Any, unit: Any, path: Path, bitmask: Bitmask) -> FileSpectra:
    table = {name.lower(): native(unit.data[name])[None] for name in unit.columns.names}
    properties = _sdss_object(file)
    header = file[0].header
    flags = table.get("and_mask")
    # RA and DEC of the header are those of the telescope, which points at the middle of the plate.
    plug = {name: np.array([header[name]]) for name in ("PLUG_RA", "PLUG_DEC") if _is_number(header.get(name))}
    return FileSpectra(
        str(path),
        10.0 ** table["loglam"][0].astype(np.float64),
        table["flux"],
        ivar=table["ivar"],
        mask=None if flags is None else ~flagged(flags, bitmask, SDSS_BAD_PIXELS),
        names=[_sdss_name(file, properties, path)],
        sky=take_sky({name.lower(): value for name, value in plug.items()} or dict(properties), str(path)),
        redshift=properties.get("z"),
        metadata={name: properties[name] for name in _SDSS_METADATA if name in properties},
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _sdss_name(file: Any, properties: Metadata, path: Path) -> str:
    """The name plate-mjd-fiber, as in names of files; that of the file where the headers do not tell."""
    header = file[0].header
    numbers = []
    for keywords in (("PLATEID", "PLATE"), ("MJD",), ("FIBERID", "FIBER")):
        known = [header[keyword] for keyword in keywords if _is_number(header.get(keyword))]
        known += [properties[key.lower()][0] for key in reversed(keywords) if key.lower() in properties]
        if not known or not str(known[0]).isdecimal():
            return path.name.partition(".")[0]
        numbers.append(int(known[0]))
    return "{:04d}-{:05d}-{:04d}".format(*numbers)


def _desi_arms(file: Any) -> list[str]:
    names = [unit.name for unit in file]
    ends = "_FLUX"
    return [name[: -len(ends)] for name in names if name.endswith(ends) and f"{name[: -len(ends)]}_WAVELENGTH" in names]


def _desi_names(file: Any, path: Path) -> list[str] | None:
    names = [unit.name for unit in file]
    if "FIBERMAP" not in names or "TARGETID" not in file["FIBERMAP"].columns.names:
        return None
    return identifiers(native(file["FIBERMAP"].data["TARGETID"]), str(path))


def _read_desi(file: Any, arms: list[str], path: Path, bitmask: Bitmask) -> FileSpectra:
    names = [unit.name for unit in file]
    missing = [f"{arm}_IVAR" for arm in arms if f"{arm}_IVAR" not in names]
    if missing:
        raise InputError(f"{path} has no {', '.join(missing)}; there are {', '.join(names)}")

    def arrays(what: str) -> list[npt.NDArray[Any]]:
        return [native(file[f"{arm}_{what}"].data) for arm in arms]

    fluxes = arrays("FLUX")
    masks = [
        ~flagged(native(file[f"{arm}_MASK"].data), bitmask, ANY_FLAG) if f"{arm}_MASK" in names else np.ones(flux.shape)
        for arm, flux in zip(arms, fluxes, strict=True)
    ]
    try:
        wavelength, flux, ivar = join_arms(arrays("WAVELENGTH"), fluxes, arrays("IVAR"), masks)
    except InputError as error:
        raise InputError(f"{path}: arms {', '.join(arms)}: {error}") from error
    metadata = scalar_columns(file["FIBERMAP"]) if "FIBERMAP" in names else {}
    metadata.pop("targetid", None)
    sky = take_sky(metadata, str(path))
    return FileSpectra(
        str(path), wavelength, flux, ivar=ivar, names=_desi_names(file, path), sky=sky, metadata=metadata
    )
