"""Checks of the files that commands are given, before any work."""

from __future__ import annotations

from pathlib import Path

from stgraph.errors import InputError, OutputExistsError

__all__ = ["check_file", "require", "short"]


def require(value: str, what: str) -> None:
    """Refuse a missing argument.

    Raises:
        InputError: If the value is empty.
    """
    if not value:
        raise InputError(f"name {what}")


def check_file(path: str | None, overwrite: bool) -> None:
    """Refuse an output file that cannot be written.

    Raises:
        OutputExistsError: If it is there and shall not be replaced.
        InputError: If its folder is not there.
    """
    if path is None:
        return
    if Path(path).exists() and not overwrite:
        raise OutputExistsError(f"output file {path} exists; use --overwrite to replace it")
    parent = Path(path).absolute().parent
    if not parent.is_dir():
        raise InputError(f"output {path} cannot be written: there is no folder {parent}")


def short(path: Path) -> str:
    """Name a path as it is seen from the current folder, if it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
