"""Curves of one star, each of a quarter or sector, become one curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stgraph.data.light_curves.metadata import Metadata
from stgraph.data.light_curves.sources import Source
from stgraph.errors import InputError

__all__ = ["stitch_sources"]


def stitch_sources(sources: Sequence[Source]) -> list[Source]:
    """Divide each curve by the median of its good points and join those of a star in the order of time.

    Sources hold one curve each, with ``star`` and perhaps ``bjd_reference`` in their metadata.

    Raises:
        InputError: If a median is not positive.
    """
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(str(source.metadata["star"][0]), []).append(source)
    return [_stitch(star, group) for star, group in groups.items()]


def _stitch(star: str, group: list[Source]) -> Source:
    parts = sorted((_Part(source, group[0]) for source in group), key=lambda part: part.start)
    with_errors = all(source.flux_errors is not None for source in group)
    return Source(
        ", ".join(source.where for source in group),
        [np.concatenate([part.time for part in parts])],
        [np.concatenate([part.flux for part in parts])],
        [np.concatenate([part.error for part in parts])] if with_errors else None,
        [np.concatenate([part.flagged for part in parts])],
        [star],
        next((source.sky for source in group if source.sky is not None), None),
        _common_metadata([source.metadata for source in group]),
    )


class _Part:
    """A curve relative to its median, with times counted as in the star's first file."""

    def __init__(self, source: Source, first: Source) -> None:
        self.time = source.times[0] + _reference(source) - _reference(first)
        self.flagged: npt.NDArray[np.bool_] = source.quality[0]
        good = np.isfinite(self.time) & np.isfinite(source.fluxes[0]) & ~self.flagged
        median = float(np.median(source.fluxes[0][good])) if good.any() else 1.0
        if not median > 0:
            raise InputError(f"{source.where}: the median flux is {median}; stitch=True divides by it")
        self.flux = source.fluxes[0] / median
        # Zeros are not used: the star has errors only where all its files do.
        self.error = self.flux * 0 if source.flux_errors is None else source.flux_errors[0] / median
        self.start = float(self.time[good].min()) if good.any() else np.inf


def _reference(source: Source) -> float:
    return float(source.metadata["bjd_reference"][0]) if "bjd_reference" in source.metadata else 0.0


def _common_metadata(parts: Sequence[Metadata]) -> Metadata:
    """The first file's metadata, without what differs between the files (the quarter, say)."""
    return {
        name: vector
        for name, vector in parts[0].items()
        if name == "bjd_reference" or all(name in part and part[name][0] == vector[0] for part in parts)
    }
