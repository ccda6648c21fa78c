"""Read spectra of objects from files; their kind is told by the ending of their names."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any

from torch_geometric.data import Data

from stgraph.data.files import existing
from stgraph.data.spectra.arrays import load_arrays, names_of_arrays, spectra_of_arrays
from stgraph.data.spectra.catalog import add_catalog
from stgraph.data.spectra.fits import names_of_fits, read_fits_spectra
from stgraph.data.spectra.flags import Bitmask, check_bitmask
from stgraph.data.spectra.parts import FileSpectra, build
from stgraph.data.spectra.stored import STORED_FORMAT, restored
from stgraph.data.spectra.tables import names_of_table, read_table_spectra
from stgraph.errors import InputError

__all__ = ["files_of", "names_in", "read_file", "read_object_spectra"]

_KINDS = {
    **dict.fromkeys((".fits", ".fit"), "fits"),
    **dict.fromkeys((".h5", ".hdf5", ".npz"), "arrays"),
    ".csv": "table",
}
_PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def read_object_spectra(
    path: str | PathLike[str] | Iterable[str | PathLike[str]], *, catalog: Any = None, bitmask: Bitmask = "default"
) -> Data:
    r"""Read spectra of objects from a file, several files, or all files of a folder.

    ====================  ========================================================================================
    ``.fits[.gz]``        ``spec-*.fits`` of SDSS (columns flux, loglam, ivar, and_mask); coadded spectra of DESI
                          (arms ``B_FLUX``, ``B_IVAR``, ``B_MASK``, ``B_WAVELENGTH``, ... are joined as by
                          :func:`join_arms`; ``FIBERMAP``); extra ``astronomy``
    ``.npz``, ``.h5``     arrays ``flux`` [N, L], ``wavelength`` [L] or [N, L] in angstrom (or ``loglam``, its decimal
                          logarithm), and what there is of ``ivar`` or ``error``, ``mask`` (True = good) or
                          ``and_mask``, ``targetid``, ``ra`` and ``dec`` (or ``sky``), ``z``; other vectors [N] are
                          metadata
    ``.csv``              a row for each spectrum; ``flux``, ``wavelength``, ``error`` or ``ivar``, ``mask`` are JSON
                          arrays; columns as above; the position also under ``mean_fiber_ra``, ``target_ra``, ...
    ====================  ========================================================================================

    Objects are named by ``targetid``, spectra of SDSS by plate, MJD and fibre, as in ``0266-51602-0013``. Spectra on
    different grids keep their own wavelengths; :func:`resample_spectra` puts them on one. What
    :func:`write_object_spectra` wrote is given back as it was. Pickled files are never read.

    Args:
        path: A file, several, or a folder.
        catalog: Table (a CSV or FITS file, or a pandas DataFrame) whose rows are joined with the spectra by its column
            ``targetid``: ``z`` is the redshift, ``mean_fiber_ra`` and ``mean_fiber_dec`` (or ``ra`` and ``dec``) the
            position, and the other columns are metadata. Rows of other objects are ignored.
        bitmask: Points that are bad by their flags: those of SDSS whose flags say that the pixel is bad, and those of
            DESI with any flag (``"default"``), those with one of the bits of this number, or none (``"none"``). Points
            whose inverse variance is 0 are bad in any case.

    Shapes:
        - **output:** as of :func:`from_spectra`

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If a file is damaged, of an unknown kind, or lacks something (lists what it has); the catalogue has
            no row for a spectrum; an object occurs twice; or :func:`from_spectra` refuses the spectra.
        ImportError: If astropy is missing for FITS files; says how to install it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lines = 'targetid,z,wavelength,flux\n39627866878514741,0.2,"[4000, 4001]","[1.5, 2.5]"\n'
        ...     _ = Path(folder, "spectra.csv").write_text(lines)
        ...     data = read_object_spectra(f"{folder}/spectra.csv")
        >>> data.node_names, data.x[0, :, 0]
        (['39627866878514741'], tensor([1.5000, 2.5000]))
    """
    check_bitmask(bitmask)
    paths = files_of(path)
    alone = len(paths) == 1 and _KINDS[_suffix(paths[0])] == "arrays"
    data = _read_arrays(paths[0], bitmask) if alone else build([read_file(file, bitmask) for file in paths])
    return data if catalog is None else add_catalog(data, catalog)


def files_of(path: str | PathLike[str] | Iterable[str | PathLike[str]]) -> list[Path]:
    """The files that are meant, all of a kind that is known.

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If there is none, or one is of an unknown kind.
    """
    if not isinstance(path, (str, PathLike)):
        files = [existing(item) for item in path]
        if not files:
            raise InputError("path must name at least one file, got an empty list")
    else:
        place = existing(path)
        files = [place]
        if place.is_dir():
            files = sorted(file for file in place.iterdir() if file.is_file() and _suffix(file) in _KINDS)
            if not files:
                raise InputError(f"the folder {place} holds no spectra; they end in {', '.join(_KINDS)}")
    for file in files:
        if _suffix(file) not in _KINDS:
            hint = "; pickled files are never read" if _suffix(file) in _PICKLED else ""
            raise InputError(f"{file} is of an unknown kind; spectra are read from {', '.join(_KINDS)}{hint}")
    return files


def read_file(path: Path, bitmask: Bitmask = "default") -> FileSpectra:
    """Spectra of one file."""
    kind = _KINDS[_suffix(path)]
    if kind == "fits":
        return read_fits_spectra(path, bitmask)
    if kind == "table":
        return read_table_spectra(path)
    arrays, metadata, _ = load_arrays(path)
    return spectra_of_arrays(arrays, str(path), metadata, bitmask)


def names_in(path: Path) -> list[str]:
    """Identifiers of the spectra of one file, without reading them; none where it holds no spectra or identifiers."""
    readers = {"fits": names_of_fits, "arrays": names_of_arrays, "table": names_of_table}
    return readers[_KINDS[_suffix(path)]](path)


def _read_arrays(path: Path, bitmask: Bitmask) -> Data:
    """The graph of a file of arrays, as it was if we wrote it."""
    arrays, metadata, kind = load_arrays(path)
    if kind == STORED_FORMAT:
        return restored(arrays, metadata, str(path))
    return build([spectra_of_arrays(arrays, str(path), metadata, bitmask)])


def _suffix(path: Path) -> str:
    suffixes = path.suffixes
    return (suffixes[-2] if path.suffix == ".gz" and len(suffixes) > 1 else path.suffix).lower()
