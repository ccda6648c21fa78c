"""Which low-resolution pixels are trained on together, and which not at all."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["held_out_blocks", "tile_batches"]


def held_out_blocks(height: int, width: int, share: float = 0.1, block: int = 4, seed: int = 42) -> Tensor:
    """Draw square blocks of pixels to hold out, so that their neighbours do not tell what they are.

    The image is cut into blocks, with ragged ones at the lower and right edge; so many are drawn that at least
    ``share`` of the pixels is held out, but never the last block.

    Args:
        height: Number of rows of the low-resolution image.
        width: Number of columns.
        share: Share of the pixels, from 0 (none) to below 1.
        block: Edge of a block in pixels. It is halved where that leaves fewer than two blocks.
        seed: Seed of the draw.

    Returns:
        True at held-out pixels, of shape ``[height * width]``, row by row.

    Raises:
        InputError: If a size is below 1 or the share is not in its range.

    Examples:
        >>> held_out_blocks(8, 8, share=0.25, block=4).sum()
        tensor(16)
    """
    _check_sizes(height=height, width=width, block=block)
    if not 0 <= share < 1:
        raise InputError(f"share is {share}; expected from 0 to below 1")
    while block > 1 and block >= max(height, width):
        block //= 2
    across = math.ceil(width / block)
    index = (torch.arange(height) // block)[:, None] * across + torch.arange(width) // block
    sizes = index.flatten().bincount()
    order = torch.randperm(sizes.shape[0], generator=torch.Generator().manual_seed(seed))
    before = sizes[order].cumsum(0) - sizes[order]
    chosen = order[:-1][before[:-1] < share * height * width]
    return torch.isin(index.flatten(), chosen)


def tile_batches(height: int, width: int, tile: int) -> list[Tensor]:
    """Cut an image into tiles, in raster order and ragged at the edges, for one step of training each.

    Args:
        height: Number of rows of the low-resolution image.
        width: Number of columns.
        tile: Edge of a tile in pixels.

    Returns:
        The indices of the pixels of each tile.

    Raises:
        InputError: If a size is below 1.

    Examples:
        >>> tile_batches(2, 3, 2)
        [tensor([0, 1, 3, 4]), tensor([2, 5])]
    """
    _check_sizes(height=height, width=width, tile=tile)
    pixels = torch.arange(height * width).view(height, width)
    return [part.flatten() for rows in pixels.split(tile) for part in rows.split(tile, dim=1)]


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
