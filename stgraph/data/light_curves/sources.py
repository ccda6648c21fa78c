"""What one file says about light curves, and the contents of several files in one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.light_curves.build import from_light_curves
from stgraph.data.light_curves.metadata import Metadata, join_metadata

__all__ = ["Source", "build"]

_logger = logging.getLogger("stgraph")


@dataclass
class Source:
    """Arguments of :func:`~stgraph.data.light_curves.from_light_curves` that a file holds."""

    where: str  # for messages
    times: Any  # list of vectors, [N, L], or a vector for all curves
    fluxes: Any  # list of vectors, or [N, L]
    flux_errors: Any = None
    quality: Any = None
    names: list[str] | None = None
    sky: npt.NDArray[Any] | None = None
    metadata: Metadata = field(default_factory=dict)
    shared_time: bool = False  # all curves have the same times
    cleaned: bool = False  # outliers were clipped when it was written

    def rows(self, value: Any) -> list[Any]:
        """A vector for each curve."""
        if isinstance(value, np.ndarray) and value.ndim == 1:
            return [value] * len(self.fluxes)
        return list(value)


def build(sources: Sequence[Source], options: dict[str, Any]) -> Data:
    """Build the graph of all curves; ``options`` are those of ``from_light_curves``."""
    source = sources[0] if len(sources) == 1 else _join(sources)
    if source.cleaned:
        options.setdefault("clip", None)
    if source.shared_time:
        options.setdefault("shared_time", True)
    options.setdefault("quality", source.quality)
    options.setdefault("names", source.names)
    options.setdefault("sky", source.sky)
    options.setdefault("metadata", source.metadata or None)
    return from_light_curves(source.times, source.fluxes, source.flux_errors, **options)


def _join(sources: Sequence[Source]) -> Source:
    counts = [len(source.fluxes) for source in sources]
    total = Source(f"{len(sources)} files", [], [], names=[])
    names: list[str] = []
    for source, count in zip(sources, counts, strict=True):
        total.times += source.rows(source.times)
        total.fluxes += source.rows(source.fluxes)
        # Curves of files without names are told apart by the file.
        names += source.names or [f"{source.where}:{row}" for row in range(count)]
    total.names = names
    total.flux_errors = _join_rows(sources, "flux_errors", all_needed=True)
    total.quality = _join_rows(sources, "quality", all_needed=False)
    known = [source.sky for source in sources if source.sky is not None]
    if len(known) == len(sources):
        total.sky = np.concatenate(known)
    elif known:
        _logger.warning("sky positions are left out: %s", _without(sources, "sky"))
    total.metadata = join_metadata([source.metadata for source in sources], counts)
    total.shared_time = all(source.shared_time for source in sources)
    total.cleaned = all(source.cleaned for source in sources)
    return total


def _join_rows(sources: Sequence[Source], name: str, *, all_needed: bool) -> list[Any] | None:
    known = [getattr(source, name) is not None for source in sources]
    if not any(known):
        return None
    if all_needed and not all(known):
        _logger.warning("%s are left out: %s", name, _without(sources, name))
        return None
    joined: list[Any] = []
    for source, is_known in zip(sources, known, strict=True):
        value = getattr(source, name)
        joined += source.rows(value) if is_known else [np.zeros(len(row)) for row in source.fluxes]
    return joined


def _without(sources: Sequence[Source], name: str) -> str:
    missing = [source.where for source in sources if getattr(source, name) is None]
    return f"{len(missing)} of {len(sources)} files have none ({missing[0]}{', ...' if len(missing) > 1 else ''})"
