"""Which pixels are trained on."""

from __future__ import annotations

import pytest
import torch

from stgraph.errors import InputError
from stgraph.models.fusion import held_out_blocks, tile_batches


@pytest.mark.parametrize(("height", "width"), [(22, 22), (11, 11), (30, 7), (8, 50)])
def test_about_the_share_is_held_out_in_whole_blocks(height: int, width: int) -> None:
    held_out = held_out_blocks(height, width, share=0.1, block=4)
    assert held_out.shape == (height * width,)
    assert 0.1 * height * width <= held_out.sum() < 0.1 * height * width + 16
    for tile in tile_batches(height, width, 4):
        assert len(held_out[tile].unique()) == 1


def test_the_seed_sets_the_blocks() -> None:
    first, again, other = (held_out_blocks(40, 40, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("height", "width"), [(2, 2), (3, 1), (4, 4), (1, 2)])
def test_small_images_keep_pixels_on_both_sides(height: int, width: int) -> None:
    held_out = held_out_blocks(height, width, share=0.1)
    assert 0 < held_out.sum() < height * width


def test_no_share_and_a_single_pixel_hold_nothing_out() -> None:
    assert not held_out_blocks(9, 9, share=0.0).any()
    assert not held_out_blocks(1, 1).any()


def test_tiles_are_a_partition_in_raster_order() -> None:
    tiles = tile_batches(5, 7, 3)
    assert [len(tile) for tile in tiles] == [9, 9, 3, 6, 6, 2]
    assert torch.equal(torch.cat(tiles).sort().values, torch.arange(35))
    assert tiles[1].tolist() == [3, 4, 5, 10, 11, 12, 17, 18, 19]


def test_bad_input() -> None:
    with pytest.raises(InputError, match="share is 1"):
        held_out_blocks(4, 4, share=1.0)
    with pytest.raises(InputError, match="width is 0"):
        held_out_blocks(4, 0)
    with pytest.raises(InputError, match="tile is 0"):
        tile_batches(4, 4, 0)
