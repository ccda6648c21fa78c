import logging

import numpy as np
import pytest
import torch

from stgraph.data import crop, from_array, to_array
from stgraph.data.coordinates import default_positions
from stgraph.errors import InputError, InputTypeError

VALUES = np.arange(2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7, 1)


def grid(**options):
    return from_array(VALUES, **options)


@pytest.mark.parametrize(
    ("mode", "size", "rows", "columns"),
    [
        ("center", 3, slice(1, 4), slice(2, 5)),
        ("center", 2, slice(1, 3), slice(2, 4)),
        ("center", (1, 4), slice(2, 3), slice(1, 5)),
        ("top_left", 3, slice(0, 3), slice(0, 3)),
        ("bottom_right", (3, 2), slice(2, 5), slice(5, 7)),
        ("center", 6, slice(0, 5), slice(0, 6)),
        ("center", 20, slice(0, 5), slice(0, 7)),
        ("none", None, slice(0, 5), slice(0, 7)),
    ],
)
def test_modes(mode, size, rows, columns):
    result = crop(grid(), mode, size)
    np.testing.assert_array_equal(to_array(result), VALUES[:, rows, columns])


@pytest.mark.parametrize("box", [(1, 3, 2, 6), (0, 5, 0, 7), (4, 5, 6, 7), (3, 99, 0, 99)])
def test_box(box):
    top, bottom, left, right = box
    np.testing.assert_array_equal(to_array(crop(grid(), "box", box=box)), VALUES[:, top:bottom, left:right])


def test_random_is_seeded_and_reaches_every_corner():
    corners = {tuple(to_array(crop(grid(), "random", (4, 6), seed=seed))[0, 0, 0]) for seed in range(40)}
    assert corners == {(0,), (1,), (7,), (8,)}
    assert torch.equal(crop(grid(), "random", 3, seed=5).x, crop(grid(), "random", 3, seed=5).x)


def test_everything_of_the_grid_is_cropped():
    values = VALUES.copy()
    values[0, 2, 3] = np.nan
    data = from_array(
        values,
        coords=(np.arange(5.0), np.arange(7.0)),
        static=np.arange(35),
        time=[0.0, 1.0],
        node_names=[f"n{i}" for i in range(35)],
    )
    data.edge_index = torch.tensor([[8, 9, 0], [9, 16, 8]])
    data.edge_attr = torch.rand(3, 3)
    result = crop(data, "box", box=(1, 3, 1, 4))
    assert result.grid == (2, 3)
    assert result.static.flatten().tolist() == [8, 9, 10, 15, 16, 17]
    assert result.node_names[0] == "n8"
    assert result.pos.tolist() == [[1, 1], [2, 1], [3, 1], [1, 2], [2, 2], [3, 2]]
    assert result.edge_index.tolist() == [[0, 1], [1, 4]]
    assert torch.equal(result.edge_attr, data.edge_attr[:2])
    assert result.mask[5].tolist() == [[False], [True]]
    assert result.time.tolist() == [0, 1]
    assert data.grid == (5, 7)
    assert data.x.shape[0] == 35


def test_default_positions_stay_within_one():
    data = grid()
    data.edge_index = torch.tensor([[0, 1], [1, 7]])
    data.edge_attr = torch.zeros(2, 3)
    result = crop(data, "top_left", 3)
    assert torch.equal(result.pos, default_positions(9, (3, 3)))
    torch.testing.assert_close(result.edge_attr, torch.tensor([[0.0, 1.0, 1.0], [1.0, -1.0, 2**0.5]]))


def test_node_data_are_untouched(caplog):
    data = from_array(np.arange(6.0).reshape(2, 3), coords=np.eye(3))
    with caplog.at_level(logging.INFO, logger="stgraph"):
        assert crop(data, "center", 2) is data
    assert "skipped" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"mode": "middle"}, InputError, "mode must be one of none, center"),
        ({"mode": "center"}, InputError, "needs size"),
        ({"mode": "center", "size": 0}, InputError, "at least 1"),
        ({"mode": "center", "size": (1, 2, 3)}, InputError, "2 integers"),
        ({"mode": "center", "size": (1.5, 2)}, InputTypeError, "integers"),
        ({"mode": "box"}, InputError, "needs box"),
        ({"mode": "box", "box": (0, 1, 2)}, InputError, "4 integers"),
        ({"mode": "box", "box": (2, 1, 0, 3)}, InputError, "h0 < h1"),
        ({"mode": "box", "box": (-1, 1, 0, 3)}, InputError, "0 <= h0"),
        ({"mode": "box", "box": (5, 6, 0, 3)}, InputError, "no cell of the 5 x 7 grid"),
    ],
)
def test_bad_crops(arguments, error, message):
    with pytest.raises(error, match=message):
        crop(grid(), **arguments)
