import numpy as np
import pytest
import torch

from stgraph.data import KNNGraph
from stgraph.data.light_curves import from_light_curves
from stgraph.errors import InputError
from stgraph.ops.geodesy import great_circle_distance


def stars(sky):
    count = len(sky)
    return from_light_curves([0.0, 1.0], [[1.0, 2.0]] * count, sky=sky)


def test_positions_are_unit_vectors():
    data = stars([[0.0, 0.0], [90.0, 0.0], [180.0, 45.0], [33.0, -90.0], [360.0, 0.0]])
    half = 0.5**0.5
    expected = torch.tensor([[1, 0, 0], [0, 1, 0], [-half, 0, half], [0, 0, -1], [1, 0, 0]])
    torch.testing.assert_close(data.pos, expected)
    assert data.sky.dtype == torch.float64
    assert data.sky[2].tolist() == [180, 45]


@pytest.mark.parametrize(
    ("centre", "spread"),
    [((0.0, 20.0), 1.0), ((120.0, 89.7), 1.0), ((250.0, -89.9), 0.5), ((77.0, 5.0), 60.0)],
    ids=["right ascension 0", "north pole", "south pole", "wide field"],
)
def test_nearest_by_chord_are_nearest_by_great_circle(centre, spread):
    generator = np.random.default_rng(1)
    radius, angle = spread * np.sqrt(generator.uniform(size=40)), generator.uniform(0, 2 * np.pi, 40)
    ra, dec = np.deg2rad(centre)
    axis = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
    east = np.array([-np.sin(ra), np.cos(ra), 0])
    north = np.cross(axis, east)
    tilt = np.deg2rad(radius)[:, None]
    points = np.cos(tilt) * axis + np.sin(tilt) * (np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * north)
    sky = np.rad2deg(np.stack([np.arctan2(points[:, 1], points[:, 0]) % (2 * np.pi), np.arcsin(points[:, 2])], axis=1))
    if centre[0] == 0:
        assert sky[:, 0].min() < 2 < 358 < sky[:, 0].max()

    data = KNNGraph(k=4)(stars(sky))
    lonlat = torch.from_numpy(sky)
    distance = great_circle_distance(lonlat[:, None], lonlat[None])
    distance.fill_diagonal_(float("inf"))
    nearest = distance.argsort(dim=1)[:, :4]
    assert torch.equal(data.edge_index[0].view(40, 4), nearest)
    assert torch.equal(data.edge_index[1].view(40, 4), torch.arange(40)[:, None].expand(40, 4))


@pytest.mark.parametrize(
    ("sky", "message"),
    [
        ([[10.0, 0.0], [361.0, 0.0]], r"right ascension within 0..360 degrees, but star '1' \(number 1\) has 361.0"),
        ([[-0.5, 0.0], [0.0, 0.0]], r"right ascension .* star '0'"),
        ([[0.0, 0.0], [0.0, 90.1]], r"declination within -90..90 degrees, but star '1'"),
        ([[0.0, 0.0], [float("nan"), 0.0]], r"star '1' \(number 1\) has nan"),
        ([[0.0, float("nan")], [0.0, 0.0]], r"declination .* star '0' \(number 0\) has nan"),
        ([0.0, 1.0], r"shape \(2, 2\).*got \(2,\)"),
    ],
)
def test_positions_that_are_not_on_the_sky(sky, message):
    with pytest.raises(InputError, match=message):
        from_light_curves([0.0, 1.0], [[1.0, 2.0]] * 2, sky=sky)
