"""How far a fusion run is, and how it keeps silent."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

__all__ = ["ProgressBars", "silent"]

#: What is counted at each stage of a run.
_UNITS = {"training": "epoch", "writing": "row", "judging": "image"}


class ProgressBars:
    """A bar for each stage of a run, one after the other; none where nobody looks at a terminal.

    Called with the name of the stage, how much of it is done, and how much there is.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> ProgressBars:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` is reached."""
        if not sys.stderr.isatty():
            return
        if stage != self._stage:
            from tqdm import tqdm  # type: ignore[import-untyped]

            self._close()
            unit = f" {_UNITS.get(stage, 'step')}s"
            self._bar, self._stage = tqdm(desc=stage.capitalize(), total=total, unit=unit, file=sys.stderr), stage
        self._bar.update(done - self._bar.n)
        if done >= total:  # so that what is printed next has a line of its own
            self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep what the package says from the terminal; files of it that are opened within get it all the same."""
    handlers = logging.getLogger("stgraph").handlers
    levels = {handler: handler.level for handler in handlers}
    for handler in levels:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)
