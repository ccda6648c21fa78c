import numpy as np

from stgraph.data.datasets.road_layout import road_layout


def distances(pos):
    return np.linalg.norm(pos[:, None] - pos[None], axis=-1)


def test_a_plane_is_found_again():
    """Where all distances are known and those of a plane, they come out but for the scale."""
    points = np.random.default_rng(0).normal(size=(6, 2))
    source, target = np.triu_indices(6, 1)
    pos = road_layout(6, np.stack([source, target]), distances(points)[source, target])
    ratio = distances(pos)[source, target] / distances(points)[source, target]
    np.testing.assert_allclose(ratio, ratio[0])
    np.testing.assert_allclose([pos.mean(), (pos**2).sum(1).mean()], [0, 1], atol=1e-12)


def test_parts_do_not_overlap():
    edge_index = np.array([[0, 1, 3, 3], [1, 2, 4, 3]])  # a road of three, one of two with a loop, and a lone detector
    pos = road_layout(6, edge_index, np.array([2.0, 2.0, 1.0, 0.0]))
    apart = distances(pos)
    np.testing.assert_allclose([apart[0, 2], apart[1, 2], apart[3, 4]], apart[0, 1] * np.array([2, 1, 0.5]))
    parts = np.array([0, 0, 0, 1, 1, 2])
    assert apart[parts[:, None] != parts[None]].min() > 0.1


def test_the_same_whatever_the_direction_and_unit():
    edge_index, length = np.array([[0, 1, 2, 2], [1, 2, 3, 4]]), np.array([1.0, 2.0, 0.5, 0.7])
    pos = road_layout(5, edge_index, length)
    np.testing.assert_allclose(road_layout(5, edge_index[::-1], 1609 * length), pos, atol=1e-9)
