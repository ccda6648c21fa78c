"""Tell whether a file is the published one, by the catalogue or by what was fetched first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import uuid
from pathlib import Path
from typing import Any

from stgraph.data.datasets.catalog import RemoteFile
from stgraph.errors import InputError

__all__ = ["FileLock", "sha256_of"]

_logger = logging.getLogger("stgraph")
_BLOCK = 1 << 20


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits, read in blocks.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder, "empty")
        ...     path.touch()
        ...     sha256_of(path)[:8]
        'e3b0c442'
    """
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class FileLock:
    """Sizes and hashes of the files of one data set, written down when each was first verified.

    The hash of the catalogue comes first. Where it has none, the first file that is seen (fetched, or put there by
    hand) is recorded here, and any later one must be the same.

    Args:
        path: The lock file (JSON), which need not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def recorded(self) -> dict[str, dict[str, Any]]:
        """Return ``{"sha256": ..., "size": ...}`` of each recorded file by its name.

        Raises:
            InputError: If the lock file is damaged.
        """
        if not self.path.is_file():
            return {}
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except (ValueError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path} is not JSON ({error}); delete it to record the files anew") from error
        files = found.get("files") if isinstance(found, dict) else None
        if not isinstance(files, dict) or not all(_is_record(record) for record in files.values()):
            raise InputError(f"{self.path} is not a lock file of this package; delete it to record the files anew")
        return files

    def sha256(self, file: RemoteFile) -> str | None:
        """Return the hash that a file must have, or :obj:`None` if neither catalogue nor lock file knows it."""
        return file.sha256 or self.recorded().get(file.name, {}).get("sha256")

    def verify(self, file: RemoteFile, path: Path) -> None:
        """Check that a file is the published one, and record it if its hash was not known. Folders are not checked.

        Args:
            file: What it should be.
            path: Where it is, under whichever name.

        Raises:
            FileNotFoundError: If it is not there.
            InputError: If its size or hash is another; names both and what to delete if the change is intended.
        """
        wrong = self.mismatch(file, path)
        if wrong is not None:
            raise InputError(f"{path} {wrong}; if it is damaged, delete it")

    def mismatch(self, file: RemoteFile, path: Path) -> str | None:
        """Return what is wrong with a file, as the end of a sentence, or :obj:`None`; see :meth:`verify`."""
        if path.is_dir():
            return None
        if not path.exists():
            raise FileNotFoundError(f"there is no file {path}")
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            return f"has {size} bytes, but the catalogue says {file.size}"
        digest, record = sha256_of(path), self.recorded().get(file.name)
        if file.sha256 is not None:
            return None if digest == file.sha256 else f"has the SHA-256 {digest}, but the catalogue says {file.sha256}"
        if record is None:
            self._record(file.name, {"sha256": digest, "size": size})
            return None
        if digest == record["sha256"]:
            return None
        return (
            f"has {size} bytes and the SHA-256 {digest}, but the first {file.name} had {record['size']} bytes and the "
            f"SHA-256 {record['sha256']}; if the change is intended, delete the entry {file.name!r} of {self.path}"
        )

    def _record(self, name: str, record: dict[str, Any]) -> None:
        text = json.dumps({"files": {**self.recorded(), name: record}}, indent=2, sort_keys=True) + "\n"
        temporary = self.path.with_name(f".{self.path.name}-{uuid.uuid4().hex}.partial")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text, encoding="utf-8")
            temporary.replace(self.path)
        except OSError as error:
            _logger.info("the hash of %s is not recorded: %s cannot be written (%s)", name, self.path, error.strerror)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _is_record(record: Any) -> bool:
    return isinstance(record, dict) and isinstance(record.get("sha256"), str) and isinstance(record.get("size"), int)
