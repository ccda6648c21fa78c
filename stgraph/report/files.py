"""How files of a report are written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

__all__ = ["write_then_rename"]


def write_then_rename(path: Path, write: Callable[[Path], object]) -> Path:
    """Let ``write`` fill a file of a temporary name beside ``path``, then rename it; nothing is lost when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".partial-{path.name}")
    try:
        write(temporary)
        return temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
