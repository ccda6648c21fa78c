"""The finished runs of a grid, kept in a file so that none is repeated."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from stgraph.errors import InputError
from stgraph.tasks.folder import replace_file

__all__ = ["GridRecords"]


class GridRecords:
    """Results by the settings that gave them, in a file of JSON lines that is whole at any time.

    Runs of other settings stay in the file.

    Args:
        path: The file, which need not be there yet; ``None`` to keep results in memory alone.

    Raises:
        InputError: If the file holds something else, or its folder cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path).expanduser()
        self._records: list[dict[str, Any]] = [] if self.path is None else _read(self.path)

    def find(self, settings: dict[str, Any]) -> dict[str, float] | None:
        """Return the results of a run; ``None`` if it was not done with exactly these settings."""
        # The newest counts; as JSON has it, a tuple is a list.
        wanted = json.loads(json.dumps(settings))
        found = next((one["results"] for one in reversed(self._records) if one["settings"] == wanted), None)
        return None if found is None else {name: math.nan if value is None else value for name, value in found.items()}

    def add(self, settings: dict[str, Any], results: dict[str, float]) -> None:
        """Keep the results of a run; those that are not finite become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in results.items()}
        self._records.append({"settings": settings, "results": finite})
        if self.path is not None:
            replace_file(self.path, "".join(json.dumps(record) + "\n" for record in self._records))


def _read(path: Path) -> list[dict[str, Any]]:
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path} cannot be written: {folder} is not a writable folder")
    if not path.exists():
        return []
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected one of finished runs, or none")
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not all(isinstance(record.get(k), dict) for k in ("settings", "results")):
            raise InputError(f"line {number} of {path} is not a finished run; expected the file of an earlier grid")
        records.append(record)
    return records
