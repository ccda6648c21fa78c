"""Where the files of the catalogue's data sets lie."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_root", "default_root", "lock_path", "raw_path"]


def default_root() -> Path:
    """Folder of all data sets: the environment variable ``STGRAPH_DATA``, else :func:`cache_root`."""
    found = os.environ.get("STGRAPH_DATA")
    return Path(found).expanduser() if found else cache_root()


def cache_root() -> Path:
    """Folder of what can be made again: ``stgraph`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "stgraph"


def raw_path(folder: Path, name: str) -> Path:
    """Where a raw file of a data set is or, if it is missing, will be.

    Args:
        folder: Folder of the data set.
        name: Name of the file, looked for in ``raw`` and beside it.

    Examples:
        >>> raw_path(Path("no_such_folder"), "speed.h5").as_posix()
        'no_such_folder/raw/speed.h5'
    """
    raw, beside = folder / "raw" / name, folder / name
    return beside if beside.exists() and not raw.exists() else raw


def lock_path(folder: Path) -> Path:
    """The lock file of a data set."""
    return folder / "files.lock.json"
