"""Cut an image into tiles that overlap just enough for an operation with a finite footprint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stgraph.errors import InputError

__all__ = ["Tile", "tiles"]

Window = tuple[slice, slice]


class Tile(NamedTuple):
    """Rows and columns of one tile.

    Attributes:
        inner: The tile in the image; the tiles of an image cover each pixel once.
        outer: The tile and its halo in the image, cut at the border of the image.
        local: The tile within :obj:`outer`.
    """

    inner: Window
    outer: Window
    local: Window


def tiles(height: int, width: int, size: int, halo: int = 0) -> Iterator[Tile]:
    r"""Tiles of :math:`size \times size` pixels, row by row; the last ones may be smaller.

    An operation whose result at a pixel depends on no pixel further away than :obj:`halo` rows or columns gives, tile
    by tile, what it gives in one piece: apply it to ``image[(..., *tile.outer)]``, and of the result keep
    ``[(..., *tile.local)]``. For :func:`~stgraph.ops.fusion.blur` the halo is half the size of the kernel; whatever
    its boundary, it acts only where the tile meets the border of the image.

    Args:
        height: Rows H of the image.
        width: Columns W of the image.
        size: Rows and columns of a tile. For downsampling afterwards, take a multiple of the ratio.
        halo: Rows and columns added on each side.

    Raises:
        InputError: If a size is not positive or the halo is negative.

    Examples:
        >>> first, second = tiles(4, 6, size=4, halo=1)
        >>> first.outer[1], second.inner[1], second.outer[1], second.local[1]
        (slice(0, 5, None), slice(4, 6, None), slice(3, 6, None), slice(1, 3, None))
    """
    if min(height, width, size) < 1 or halo < 0:
        raise InputError(
            f"height, width and size must be positive and halo 0 or more, got {height}, {width}, {size} and {halo}"
        )
    return _tiles(height, width, size, halo)


def _tiles(height: int, width: int, size: int, halo: int) -> Iterator[Tile]:
    columns = list(_parts(width, size, halo))
    for rows in _parts(height, size, halo):
        for part in columns:
            yield Tile((rows[0], part[0]), (rows[1], part[1]), (rows[2], part[2]))


def _parts(length: int, size: int, halo: int) -> Iterator[tuple[slice, slice, slice]]:
    for start in range(0, length, size):
        stop = min(start + size, length)
        first = max(start - halo, 0)
        yield slice(start, stop), slice(first, min(stop + halo, length)), slice(start - first, stop - first)
