"""Where images are written: endings, folders, and files that get their names only when they are complete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from stgraph.data.images.extras import import_envi, import_tifffile
from stgraph.errors import InputError

__all__ = ["IMAGE_ENDINGS", "array_name", "check_image_path", "renamed_when_complete"]

#: Endings of the files that images are written to.
IMAGE_ENDINGS = (".npy", ".h5", ".hdf5", ".mat", ".tif", ".tiff", ".hdr")


def check_image_path(path: str | PathLike[str]) -> Path:
    """Check that an image can be written to a file, before the work that makes the image.

    Args:
        path: The file.

    Raises:
        InputError: If the ending is unknown, there is no such folder, or it cannot be written to.
        ImportError: If the extra for this kind of file is missing.

    Examples:
        >>> check_image_path("result.h5").name
        'result.h5'
    """
    path = Path(path).expanduser()
    if path.suffix.lower() not in IMAGE_ENDINGS:
        raise InputError(f"images are written to {', '.join(IMAGE_ENDINGS)} files, got {path}")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent.absolute()}")
    if path.is_dir():
        raise InputError(f"{path} cannot be written: it is a folder")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: no permission for the folder {path.parent.absolute()}")
    if path.suffix.lower() in (".tif", ".tiff"):
        import_tifffile()
    elif path.suffix.lower() == ".hdr":
        import_envi()
    return path


def array_name(path: Path) -> str:
    """Name of the array in a file: the base name of the file, as MATLAB allows it."""
    name = re.sub(r"\W", "_", path.stem, flags=re.ASCII)
    return (name if name[:1].isalpha() else f"image_{name}")[:63]


@contextmanager
def renamed_when_complete(path: Path, *endings: str) -> Iterator[Path]:
    """A temporary path that becomes :obj:`path` at the end, in place of any older file; nothing is left on failure.

    Args:
        path: The file.
        *endings: Endings of further files of the same base name, which are renamed first.
    """
    temporary = path.with_name(f".partial-{path.name}")
    files = [(temporary.with_suffix(ending), path.with_suffix(ending)) for ending in endings] + [(temporary, path)]
    try:
        yield temporary
        for source, target in files:
            source.replace(target)
    finally:
        for source, _ in files:
            source.unlink(missing_ok=True)
