"""Random numbers of curves that depend on the seed, the curve and the name of the quantity, and on nothing else."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from stgraph.ops.counter_random import random_bits, uniform

__all__ = ["Bools", "Draws", "Floats", "Ints"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Draws:
    """Random numbers for each of n curves.

    The same curve gets the same numbers in whatever company it is drawn, and more of them do not change the first.

    Args:
        seeds: One seed per curve, uint64.

    Examples:
        >>> together = Draws.of(42, "curve", np.arange(3)).uniform("period", 2.0, 100.0)
        >>> alone = Draws.of(42, "curve", np.array([1])).uniform("period", 2.0, 100.0)
        >>> bool(together[1] == alone[0])
        True
    """

    def __init__(self, seeds: npt.NDArray[np.uint64]) -> None:
        self._seeds = seeds

    @classmethod
    def of(cls, seed: int, kind: str, index: Ints) -> Draws:
        """The draws of the things of one kind (curves, groups of curves) with these numbers."""
        return cls(random_bits(random_bits(np.array([seed], np.uint64), _number(kind)), index.astype(np.uint64)))

    def __len__(self) -> int:
        return len(self._seeds)

    def __getitem__(self, rows: Bools) -> Draws:
        return Draws(self._seeds[rows])

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, count: int | None = None) -> Floats:
        """Numbers in [low, high): one per curve, or ``count`` of them, [n, count]."""
        stream = random_bits(self._seeds, _number(name))
        values = uniform(random_bits(stream[:, None], np.arange(1 if count is None else count, dtype=np.uint64)))
        values *= high - low
        values += low
        return values[:, 0] if count is None else values

    def integers(self, name: str, low: int, high: int, count: int | None = None) -> Ints:
        """Whole numbers from low to high, both included."""
        # Rounding may take a number just below the end to the end.
        return np.minimum(self.uniform(name, low, high + 1, count).astype(np.int64), high)

    def normal(self, name: str, count: int) -> Floats:
        """Standard normal numbers [n, count], by the transform of Box and Muller."""
        pairs = (count + 1) // 2
        values = np.empty((len(self), pairs, 2))
        radius = np.sqrt(-2.0 * np.log1p(-self.uniform(f"{name} radius", count=pairs)))
        angle = self.uniform(f"{name} angle", high=2 * np.pi, count=pairs)
        np.multiply(radius, np.cos(angle), out=values[..., 0])
        np.multiply(radius, np.sin(angle), out=values[..., 1])
        return values.reshape(len(self), -1)[:, :count]


def _number(name: str) -> npt.NDArray[np.uint64]:
    return np.array([zlib.crc32(name.encode())], np.uint64)
