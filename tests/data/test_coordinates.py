import numpy as np
import pytest
import torch

from stgraph.data.coordinates import as_positions, default_positions
from stgraph.ops.geodesy import great_circle_distance, local_plane, sphere_points

LONLAT = np.array([[7.0, 50.0], [8.0, 51.0], [7.5, 49.5]])


def test_cartesian_of_any_dimension():
    for dimension in (1, 2, 3, 5):
        coords = np.random.default_rng(0).normal(size=(4, dimension))
        np.testing.assert_allclose(as_positions(coords, 4).numpy(), coords, rtol=1e-6)
    assert as_positions([1.0, 2.0], 2).tolist() == [[1.0], [2.0]]
    assert as_positions(torch.ones(2, 2, dtype=torch.int32), 2).dtype == torch.float32


def test_local_plane_and_great_circle():
    plane = as_positions(LONLAT, 3, coordinates="local_plane")
    torch.testing.assert_close(plane, local_plane(torch.from_numpy(LONLAT)).float())
    assert plane.mean(dim=0).abs().max() < 0.5  # kilometres about the middle
    sphere = as_positions(LONLAT, 3, coordinates="great_circle")
    torch.testing.assert_close(sphere, sphere_points(torch.from_numpy(LONLAT)).float())
    arcs = great_circle_distance(torch.from_numpy(LONLAT[:1]), torch.from_numpy(LONLAT))
    torch.testing.assert_close(torch.cdist(sphere[:1], sphere)[0], arcs.float(), rtol=1e-3, atol=1e-2)


def test_elevation_is_kept_on_the_plane():
    coords = np.column_stack([LONLAT, [0.1, 0.2, 0.3]])
    assert as_positions(coords, 3, coordinates="local_plane")[:, 2].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_three_ways_to_place_a_grid():
    lat, lon = np.array([50.0, 49.0]), np.array([5.0, 6.0, 7.0])
    x, y = np.meshgrid(lon, lat)
    stacked = np.stack([x, y], axis=-1)
    expected = as_positions(stacked.reshape(6, 2), 6, grid=(2, 3))
    for coords in (stacked, (lat, lon), [torch.from_numpy(lat), lon]):
        assert torch.equal(as_positions(coords, 6, grid=(2, 3)), expected)
    assert expected[1].tolist() == [6.0, 50.0]
    plane = as_positions((lat, lon), 6, grid=(2, 3), coordinates="local_plane")
    assert plane[0, 1] > plane[3, 1]  # the first row is the northern one
    assert (plane[1:3, 0] > plane[0:2, 0]).all()


def test_a_grid_of_two_cells_is_not_confused_with_a_pair_of_vectors():
    assert as_positions([[0.0, 1.0], [2.0, 3.0]], 2, grid=(2, 1)).tolist() == [[0, 1], [2, 3]]
    assert as_positions(([4.0, 5.0], [6.0]), 2, grid=(2, 1)).tolist() == [[6, 4], [6, 5]]


def test_default_positions():
    assert default_positions(3, (1, 3)).tolist() == [[0, -1], [0, 0], [0, 1]]
    assert default_positions(1, (1, 1)).tolist() == [[0, 0]]
