"""Read light curves from files; their kind is told by the ending of their names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from stgraph.data.files import existing
from stgraph.data.light_curves.fits import QualityBitmask, read_fits_sources
from stgraph.data.light_curves.hdf5_curves import read_hdf5_source, restore_light_curves
from stgraph.data.light_curves.sources import Source, build
from stgraph.data.light_curves.tables import ColumnNames, read_npz_source, read_table_source
from stgraph.errors import InputError

__all__ = ["read_light_curves"]

_KINDS = {
    **dict.fromkeys((".h5", ".hdf5"), "hdf5"),
    **dict.fromkeys((".fits", ".fit"), "fits"),
    **dict.fromkeys((".csv", ".parquet"), "table"),
    ".npz": "npz",
}
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
#: The options that only some kinds of files know.
_KINDS_OF_OPTION = {
    "flux_column": ("fits", "table"),
    "id_column": ("table",),
    "time_column": ("table",),
    "error_column": ("table",),
    "quality_bitmask": ("fits",),
    "stitch": ("fits",),
}


def read_light_curves(
    path: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    flux_column: str | None = None,
    id_column: str = "id",
    time_column: str = "time",
    error_column: str | None = None,
    quality_bitmask: QualityBitmask = "default",
    stitch: bool = False,
    **options: Any,
) -> Data:
    r"""Read light curves from a file, several files, or all files of a folder.

    =========================  ===================================================================================
    ``.h5``, ``.hdf5``         arrays ``flux`` [N, L] and ``time`` [N, L] or [L]; ``flux_err``, ``mask`` (True = real),
                               ``quality``, ``length``, ``targetid``, ``sky`` or ``ra`` and ``dec``, and vectors in a
                               group ``metadata`` where they are; padded with NaN or zeros
    ``.fits``, ``.fits.gz``    light curve tables of Kepler and TESS (extra ``astronomy``); each file is a curve
    ``.csv``, ``.parquet``     long tables with a row for each point (extra ``parquet``); also columns ``ra`` and
                               ``dec``, and ``quality``
    ``.npz``                   arrays as in HDF5; or vectors ``NAME_time``, ``NAME_flux`` (and ``NAME_flux_err``)
    =========================  ===================================================================================

    Curves are cleaned as by :func:`from_light_curves`; what :func:`write_light_curves` wrote is clean, and is given
    back as it was unless options are named. Pickled files are never read. Names and positions of FITS files come from
    their headers; metadata are ``star``, ``mission``, ``teff``, ``logg``, ``radius``, ``quarter``, ``sector``, ... as
    far as known, and ``bjd_reference``, the Julian date of time 0 (2454833 for Kepler, 2457000 for TESS). Several
    files of one star are told apart by quarter or sector in their names; ``star`` is the same.

    Args:
        path: A file, several, or a folder.
        flux_column: Column of the flux. (default: of FITS files ``PDCSAP_FLUX``, else ``SAP_FLUX``; of tables
            ``flux``)
        id_column: Column of a table that says which star a row belongs to.
        time_column: Column of a table with the times in days.
        error_column: Column of a table with the errors. (default: ``flux_err``, if there is one)
        quality_bitmask: Points of FITS files to drop: those with any flag (``"default"``), with one of the bits of
            this number, or no flagged ones (``"none"``).
        stitch: Join the FITS files of each star in one curve. Each file is divided by its median flux, also where it
            is the star's only one.
        **options: Those of :func:`from_light_curves`, such as :obj:`sort`, :obj:`clip` or :obj:`skip_bad`.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If a file is damaged, of an unknown kind, or lacks something (lists what it has); an option is for
            files of another kind; or :func:`from_light_curves` refuses the curves.
        ImportError: If an extra is missing; says how to install it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lines = "id,time,flux\nKIC 1,0.0,5.0\nKIC 2,0.0,7.0\nKIC 1,0.5,6.0\nKIC 2,0.7,8.0\n"
        ...     _ = Path(folder, "curves.csv").write_text(lines)
        ...     data = read_light_curves(f"{folder}/curves.csv")
        >>> data.node_names, data.x[0, :, 0]
        (['KIC 1', 'KIC 2'], tensor([5., 6.]))
    """
    paths = _files(path)
    by_kind: dict[str, list[Path]] = {}
    for file in paths:
        by_kind.setdefault(_kind(file), []).append(file)
    given = {
        "flux_column": flux_column is not None,
        "id_column": id_column != "id",
        "time_column": time_column != "time",
        "error_column": error_column is not None,
        "quality_bitmask": quality_bitmask != "default",
        "stitch": stitch,
    }
    _check_options(given, list(by_kind), paths)
    if len(paths) == 1 and "hdf5" in by_kind and not options:
        restored = restore_light_curves(paths[0])
        if restored is not None:
            return restored
    columns = ColumnNames(id_column, time_column, flux_column or "flux", error_column)
    readers: dict[str, Callable[[list[Path]], list[Source]]] = {
        "hdf5": lambda files: [read_hdf5_source(file) for file in files],
        "fits": lambda files: read_fits_sources(
            files, flux_column=flux_column, quality_bitmask=quality_bitmask, stitch=stitch
        ),
        "table": lambda files: [read_table_source(file, columns) for file in files],
        "npz": lambda files: [read_npz_source(file) for file in files],
    }
    return build([source for kind, files in by_kind.items() for source in readers[kind](files)], options)


def _files(path: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[Path]:
    if not isinstance(path, (str, PathLike)):
        files = [existing(item) for item in path]
        if not files:
            raise InputError("path must name at least one file, got an empty list")
        return files
    place = existing(path)
    if not place.is_dir():
        return [place]
    files = sorted(file for file in place.iterdir() if file.is_file() and _suffix(file) in _KINDS)
    if not files:
        raise InputError(f"the folder {place} holds no light curves; they end in {', '.join(_KINDS)}")
    return files


def _suffix(path: Path) -> str:
    suffixes = path.suffixes
    return (suffixes[-2] if path.suffix == ".gz" and len(suffixes) > 1 else path.suffix).lower()


def _kind(path: Path) -> str:
    suffix = _suffix(path)
    if suffix not in _KINDS:
        hint = "; pickled files are never read" if suffix in _PICKLED else ""
        raise InputError(f"{path} is of an unknown kind; light curves are read from {', '.join(_KINDS)}{hint}")
    return _KINDS[suffix]


def _check_options(given: dict[str, bool], kinds: list[str], paths: list[Path]) -> None:
    for name, is_given in given.items():
        if is_given and not set(kinds) & set(_KINDS_OF_OPTION[name]):
            raise InputError(f"{name} is for {' or '.join(_KINDS_OF_OPTION[name])} files, got {paths[0]}")
