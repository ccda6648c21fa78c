"""How points are hidden from an autoencoder; light, so that the command line can read it without torch."""

from __future__ import annotations

import dataclasses

from stgraph.errors import InputError

__all__ = ["Masking"]


@dataclasses.dataclass
class Masking:
    """Blocks of points that are hidden in training: lengths are powers of two, the hidden share is drawn per series.

    Args:
        min_block_size: Shortest block, in points.
        max_block_size: Longest block; a quarter of the length by default.
        min_mask_ratio: Smallest share of points to hide.
        max_mask_ratio: Largest share of points to hide.
    """

    min_block_size: int = 1
    max_block_size: int | None = None
    min_mask_ratio: float = 0.1
    max_mask_ratio: float = 0.7

    def largest_block(self, steps: int) -> int:
        """Return the length of the longest block of series of ``steps`` points."""
        return max(steps // 4, self.min_block_size) if self.max_block_size is None else self.max_block_size

    def check(self, steps: int | None = None) -> None:
        """Refuse values that cannot be used, on series of ``steps`` points where they are known.

        Raises:
            InputError: If a value is out of range.
        """
        if self.min_block_size < 1:
            raise InputError(f"masking.min_block_size is {self.min_block_size}; expected at least 1")
        if self.max_block_size is not None and self.max_block_size < self.min_block_size:
            raise InputError(
                f"masking.max_block_size is {self.max_block_size}; expected at least min_block_size, "
                f"{self.min_block_size}"
            )
        if not 0 <= self.min_mask_ratio <= self.max_mask_ratio <= 1:
            raise InputError(
                f"masking hides {self.min_mask_ratio} to {self.max_mask_ratio} of the points; expected shares with "
                "0 <= min_mask_ratio <= max_mask_ratio <= 1"
            )
        if steps is not None and self.min_block_size > steps // 2:
            raise InputError(
                f"masking.min_block_size is {self.min_block_size}; expected at most half the length of {steps} points"
            )
