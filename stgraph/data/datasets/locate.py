"""Find the data sets that come with the package."""

from __future__ import annotations

import os
import site
import sysconfig
from os import PathLike
from pathlib import Path

__all__ = ["locate", "stgraph_data_folder"]

_INSTALLED = Path("share", "stgraph", "data")


def locate(name: str, root: str | PathLike[str] | None = None) -> Path:
    """Path of a file that comes with the package.

    It lies in the folder ``data`` of the project where the package is used from there, and in ``share/stgraph/data`` of
    the environment (or of the user's own packages) where it was installed.

    Args:
        name: Name of the file.
        root: Folder to look in instead.

    Raises:
        FileNotFoundError: If it is in none of these folders; they are listed.

    Examples:
        >>> locate("germany_pm10.npz").name
        'germany_pm10.npz'
    """
    folders = _folders() if root is None else [Path(root).expanduser()]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    looked = ", ".join(str(folder.absolute()) for folder in folders)
    raise FileNotFoundError(f"{name} was found in none of these folders: {looked}; give its folder as root=")


def stgraph_data_folder(name: str, root: str | PathLike[str] | None = None) -> Path:
    """Folder of a data set that does not come with the package, below :obj:`root` or ``$STGRAPH_DATA``.

    Raises:
        FileNotFoundError: If neither is given or there is no such folder.
    """
    base = os.environ.get("STGRAPH_DATA") if root is None else root
    if not base:
        raise FileNotFoundError(
            f"{name} does not come with the package: give the folder that holds it as root=, or set the environment "
            "variable STGRAPH_DATA to it"
        )
    folder = Path(base).expanduser() / name
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder.absolute()}; root or STGRAPH_DATA is to hold {name}/")
    return folder


def _folders() -> list[Path]:
    project = Path(__file__).resolve().parents[3] / "data"
    return [project, Path(sysconfig.get_path("data")) / _INSTALLED, Path(site.getuserbase()) / _INSTALLED]
