"""One process at a time in the folder of a cell."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from stgraph.errors import InputError

__all__ = ["CellLock", "LockedError"]


class LockedError(InputError):
    """Another process is running the cell."""


class CellLock:
    """Hold a cell for as long as the process lives.

    The operating system lets go of the lock when the process ends, however it ends, so that a lock is never stale; the
    file holds the id of the process for people. On Windows nothing is locked.

    Args:
        path: The lock file.

    Raises:
        LockedError: On entering, if another process holds the lock; names the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> None:
        file = self.path.open("a+", encoding="utf-8")
        try:
            if sys.platform != "win32":
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip()
            file.close()
            raise LockedError(f"process {owner} is running {self.path.parent}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.truncate(0)
        self._file.close()
