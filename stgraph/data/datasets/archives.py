"""Read a file that may lie in a ZIP archive, which may itself lie in another, without unpacking anything."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from stgraph.data.files import existing, reading
from stgraph.errors import InputError

__all__ = ["member", "member_names"]


@contextmanager
def member(archive: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file of an archive by its name without folders, also in an archive inside it.

    Raises:
        FileNotFoundError: If there is no such archive.
        InputError: If it is damaged or holds no such file.
    """
    with ExitStack() as stack:
        with reading(existing(archive)):
            outer = stack.enter_context(zipfile.ZipFile(archive))
            for opened in _levels(outer, stack):
                found = [item for item in opened.namelist() if PurePosixPath(item).name == name]
                if found:
                    file = stack.enter_context(opened.open(found[0]))
                    break
            else:
                raise InputError(f"{archive} holds no file {name}; there are {', '.join(outer.namelist()) or 'none'}")
        yield file


def member_names(archive: Path, suffix: str) -> list[str]:
    """Names without folders of the files of an archive, and of archives inside it, that end in :obj:`suffix`.

    Raises:
        FileNotFoundError: If there is no such archive.
        InputError: If it is damaged.
    """
    with ExitStack() as stack, reading(existing(archive)):
        outer = stack.enter_context(zipfile.ZipFile(archive))
        names = [PurePosixPath(item).name for opened in _levels(outer, stack) for item in opened.namelist()]
    return sorted(name for name in names if name.endswith(suffix))


def _levels(outer: zipfile.ZipFile, stack: ExitStack) -> Iterator[zipfile.ZipFile]:
    yield outer
    for name in outer.namelist():
        if name.lower().endswith(".zip"):
            yield stack.enter_context(zipfile.ZipFile(stack.enter_context(outer.open(name))))
