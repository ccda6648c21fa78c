"""Fetch the files of a data set: from one mirror after another, resumed, verified, and never half a file."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from stgraph.data.datasets.catalog import RemoteFile
from stgraph.data.datasets.lock import FileLock
from stgraph.data.datasets.transfer import MirrorError, RefusedError, Transfer
from stgraph.errors import InputError

__all__ = ["DownloadError", "Failure", "fetch", "fetch_all"]

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:
    fcntl = None

_logger = logging.getLogger("stgraph")
_LONGEST_PAUSE = 30.0


@dataclasses.dataclass(frozen=True)
class Failure:
    """A file that could not be fetched.

    Args:
        file: The file.
        path: Where it belongs.
        reasons: What each mirror answered.
    """

    file: RemoteFile
    path: Path
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        facts = [f"{self.file.size} bytes"] if self.file.size is not None else []
        facts += [f"SHA-256 {self.file.sha256}"] if self.file.sha256 is not None else []
        where = [*self.file.urls, self.file.source]
        what = self.file.name + (f" ({', '.join(facts)})" if facts else "")
        tried = f"; tried: {'; '.join(self.reasons)}" if self.reasons else "; it can only be fetched by hand"
        return f"fetch {what} from {' or '.join(where)}, and put it at {self.path}{tried}"


class DownloadError(InputError):
    """Files are missing and could not be fetched; the message says where each is to be had and where it belongs.

    Args:
        failures: The files.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures)
        count = "a file" if len(self.failures) == 1 else f"{len(self.failures)} files"
        super().__init__("\n".join([f"{count} could not be fetched:", *map(str, self.failures)]))


def fetch_all(files: Sequence[RemoteFile], folder: str | Path, *, lock: FileLock, **options: Any) -> list[Path]:
    """Fetch several files; see :func:`fetch`. Those that can be had are fetched although others cannot.

    Raises:
        DownloadError: If one or more could not be fetched; names all of them.
    """
    paths: list[Path] = []
    failures: list[Failure] = []
    for file in files:
        try:
            paths.append(fetch(file, folder, lock=lock, **options))
        except DownloadError as error:
            failures += error.failures
    if failures:
        raise DownloadError(failures)
    return paths


def fetch(
    file: RemoteFile,
    folder: str | Path,
    *,
    lock: FileLock,
    timeout: float = 30.0,
    retries: int = 4,
    pause: float = 1.0,
) -> Path:
    """Fetch a file, unless it is there, and verify it in either case.

    The mirrors are tried in their order. What has arrived is kept in ``<name>.partial`` and continued, by the same
    mirror if its file has not changed since, by another if the hash is known. The file gets its name when it is
    complete and verified.

    Args:
        file: What to fetch.
        folder: Where to put it.
        lock: Has, or is given, its hash where the catalogue has none.
        timeout: Seconds without any data after which a transfer has stalled.
        retries: How often to try again in a row without anything new having arrived, for each mirror.
        pause: Seconds before the first such attempt; doubled for each further one.

    Returns:
        pathlib.Path: The file.

    Raises:
        DownloadError: If no mirror has it.
        InputError: If the file that is there is not the published one.
    """
    path = Path(folder).expanduser().absolute() / file.name
    if path.exists():
        lock.verify(file, path)
        return path
    reasons = _prepare(path) if file.urls else []
    if reasons or not file.urls:
        raise DownloadError([Failure(file, path, tuple(reasons))])
    with _alone(path.parent):
        if path.exists():  # another process has fetched it meanwhile
            return path
        transfer = Transfer(timeout)
        for url in file.urls:
            try:
                _fetch_from(url, file, path, lock, transfer, retries, pause)
            except MirrorError as error:
                _logger.info("%s: %s: %s", file.name, url, error)
                reasons.append(f"{url}: {error}")
            else:
                return path
    raise DownloadError([Failure(file, path, tuple(reasons))])


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time fetch into a folder, where the system can lock one (not on Windows)."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _prepare(path: Path) -> list[str]:
    """Make the folder; the reason if that cannot be done."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return [f"{path.parent} cannot be made ({error.strerror}); pass root= with a folder that can be written"]
    if not os.access(path.parent, os.W_OK):
        return [f"{path.parent} cannot be written; pass root= with a folder that can be"]
    return []


def _fetch_from(
    url: str, file: RemoteFile, path: Path, lock: FileLock, transfer: Transfer, retries: int, pause: float
) -> None:
    partial = _Partial(path)
    if not partial.continues(url, known=lock.sha256(file) is not None):
        partial.discard()
    resumed = partial.size > 0
    _receive(url, file, partial, transfer, retries, pause)
    wrong = lock.mismatch(file, partial.path)
    if wrong is not None and resumed:  # the beginning may have been that of another file
        partial.discard()
        _receive(url, file, partial, transfer, retries, pause)
        wrong = lock.mismatch(file, partial.path)
    if wrong is not None:
        partial.discard()
        raise RefusedError(f"the file that came {wrong}")
    partial.path.replace(path)
    partial.discard()
    _logger.info("%s: complete, %s", file.name, path)


def _receive(url: str, file: RemoteFile, partial: _Partial, transfer: Transfer, retries: int, pause: float) -> None:
    """Repeat the transfer until all is there, with a limit on attempts that bring nothing new."""
    furthest, attempts = partial.size, 0
    while True:
        try:
            transfer.run(url, file, partial)
        except RefusedError:
            raise
        except MirrorError as error:
            attempts = 0 if partial.size > furthest else attempts + 1
            furthest = max(furthest, partial.size)
            if attempts > retries:
                raise
            _logger.info("%s: %s; trying again from byte %d", file.name, error, partial.size)
            time.sleep(min(pause * 2 ** max(attempts - 1, 0), _LONGEST_PAUSE))
        else:
            return


class _Partial:
    """What has arrived of a file, and of which version on which mirror it is a part."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.partial")
        self._origin = path.with_name(f"{path.name}.partial.json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def origin(self) -> dict[str, Any]:
        """``url``, ``validator`` (ETag or date) and ``total`` (bytes) of the version; empty if not known."""
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self._origin.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}

    @origin.setter
    def origin(self, value: dict[str, Any]) -> None:
        self._origin.write_text(json.dumps(value), encoding="utf-8")

    def continues(self, url: str, known: bool) -> bool:
        """Whether this mirror may continue it: it began it, or the hash will tell."""
        return known or self.origin.get("url") == url

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._origin.unlink(missing_ok=True)
