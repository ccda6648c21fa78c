"""Names of files that are never given twice."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from stgraph.errors import InputError

__all__ = ["create_save_path", "reserved_path"]


def create_save_path(directory: str | os.PathLike[str], base: str, suffix: str = ".png") -> Path:
    """Reserve the file ``directory/base_{m + 1}.png``, ``m`` the largest number among those there, 0 if none.

    Only files named exactly ``base_<digits>.png`` count. The file is created empty, and exclusively, so that no other
    thread or process is given the same name; whoever writes it puts the finished file in its place, by a rename.
    :func:`reserved_path` also takes an unused reservation back.

    Args:
        directory: Folder of the file; made if it is not there.
        base: Name without number and ending. It may hold digits and any characters but those that separate folders.
        suffix: Ending, with its dot.

    Returns:
        pathlib.Path: The file.

    Raises:
        InputError: If the name or the ending cannot be part of the name of a file, or the folder cannot be written.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     [create_save_path(folder, "set2_spectra").name for _ in range(2)]
        ['set2_spectra_1.png', 'set2_spectra_2.png']
    """
    _check_name(base, "base")
    _check_name(suffix, "suffix")
    if not suffix.startswith("."):
        raise InputError(f"suffix is {suffix!r}; expected the ending of a file with its dot, such as '.png'")
    folder = Path(directory).expanduser()
    named = re.compile(rf"{re.escape(base)}_([0-9]+){re.escape(suffix)}")
    number = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            taken = [int(match[1]) for entry in folder.iterdir() if (match := named.fullmatch(entry.name))]
            # Where names differ in case alone and the file system does not tell them apart, the list shows nothing new.
            number = max([number, *taken]) + 1
            path = folder / f"{base}_{number}{suffix}"
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                return path
    except OSError as error:
        raise InputError(f"directory {folder} cannot be written: {error.strerror}") from error


@contextlib.contextmanager
def reserved_path(directory: str | os.PathLike[str], base: str, suffix: str = ".png") -> Iterator[Path]:
    """Reserve a file as :func:`create_save_path` does, and remove it if it is still empty afterwards.

    Args:
        directory: Folder of the file; made if it is not there.
        base: Name without number and ending.
        suffix: Ending, with its dot.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with reserved_path(folder, "record", ".json") as path:
        ...         pass
        ...     path.name, path.exists()
        ('record_1.json', False)
    """
    path = create_save_path(directory, base, suffix)
    try:
        yield path
    finally:
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == 0:
                path.unlink()


def _check_name(name: str, argument: str) -> None:
    separators = {"/", "\\", "\0", os.sep}
    if not isinstance(name, str) or not name or any(character in name for character in separators):
        raise InputError(f"{argument} is {name!r}; expected a part of the name of a file, without a folder")
