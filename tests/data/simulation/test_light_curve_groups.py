import numpy as np
import pytest
import scipy.spatial
import torch

from stgraph.data.simulation.light_curves import simulate_light_curves
from stgraph.data.simulation.light_curves.draws import Draws
from stgraph.data.simulation.light_curves.systematics import group_trends, sky_positions
from stgraph.errors import InputError

SETTINGS = {"shared_sampling": True, "points": (300, 300), "duration": (27.0, 27.0)}


def trends(data):
    """What the trend adds to each star, in units of its own amplitude [N, T]."""
    plain = simulate_light_curves(data.num_nodes, **SETTINGS, trend_variance=0.0)
    added = (data.x - plain.x)[..., 0].double()
    return added / torch.from_numpy(data.metadata["trend_amplitude"])[:, None]


def test_all_stars_share_the_times():
    data = simulate_light_curves(16, **SETTINGS)
    assert data.time.shape == (300,)
    torch.testing.assert_close(data.time, torch.linspace(0, 27, 300, dtype=torch.float64))
    assert data.x.shape == data.mask.shape == data.flux_error.shape == (16, 300, 1)
    assert "length" not in data
    assert (data.metadata["sampling_strategy"] == "random_gaps").all()
    assert 0.02 < float((~data.mask).float().mean()) < 0.25
    assert (~data.mask).any(dim=1).all()
    assert (data.x[~data.mask] == 0).all()
    assert (data.metadata["points"] == data.mask.sum(dim=(1, 2)).numpy()).all()
    row = data.mask[3, :, 0].nonzero().flatten()
    assert data.metadata["duration"][3] == float(data.time[row[-1]] - data.time[row[0]])
    assert simulate_light_curves(8, **SETTINGS, samplings={"regular": 1.0}).mask.all()


def test_edges_are_the_groups():
    data = simulate_light_curves(200, **(SETTINGS | {"points": (20, 20)}), group_size=5)
    group = torch.from_numpy(data.metadata["group"])
    assert group.equal(torch.arange(200) // 5)
    expected = (group[:, None] == group) & ~torch.eye(200, dtype=torch.bool)
    adjacency = torch.zeros(200, 200, dtype=torch.bool)
    adjacency[data.edge_index[1], data.edge_index[0]] = True
    assert adjacency.equal(expected)
    assert data.edge_index.shape == (2, 200 * 4)


def test_groups_are_small_and_far_apart_however_many_there_are():
    group = np.repeat(np.arange(6250), 2)
    stars = Draws.of(0, "curve", np.arange(12_500))
    sky = sky_positions(Draws.of(0, "grid", np.zeros(1, dtype=np.int64)), stars, group)
    assert sky[:, 0].min() >= 0
    assert sky[:, 0].max() < 360
    ra, dec = np.deg2rad(sky).T
    pos = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    distance = np.rad2deg(scipy.spatial.cKDTree(pos).query(pos, 3)[0])
    assert distance[:, 1].max() <= 0.1 + 1e-6  # the other star of the group
    assert distance[:, 2].min() > 1.0  # the nearest star of another group
    # The groups cover the sky evenly.
    assert np.abs(pos.mean(axis=0)).max() < 0.02


def test_positions_are_unit_vectors_of_the_sky():
    data = simulate_light_curves(8, **SETTINGS)
    ra, dec = torch.deg2rad(data.sky).T
    expected = torch.stack([dec.cos() * ra.cos(), dec.cos() * ra.sin(), dec.sin()], dim=1)
    torch.testing.assert_close(data.pos, expected)
    assert data.sky.dtype == data.pos.dtype == torch.float64


def test_trends_are_shared_within_groups_and_not_across():
    data = simulate_light_curves(160, **SETTINGS)
    trend = trends(data)
    seen = data.mask[..., 0].double()
    group = torch.from_numpy(data.metadata["group"])
    within, across = [], []
    for i, j in torch.combinations(torch.arange(0, 160, 3)).tolist():
        both = (seen[i] * seen[j]).bool()
        r = float(torch.corrcoef(torch.stack([trend[i, both], trend[j, both]]))[0, 1])
        (within if group[i] == group[j] else across).append(r)
    assert min(within) > 0.999
    assert abs(np.mean(across)) < 0.06
    assert np.std(across) < 0.45


def test_trends_have_the_stated_variance():
    data = simulate_light_curves(800, **(SETTINGS | {"points": (50, 50)}), trend_variance=0.5)
    deviation = data.metadata["noise_level"] * data.metadata["snr"]
    share = data.metadata["trend_amplitude"] / deviation / np.sqrt(0.5)
    assert share.min() >= 0.8
    assert share.max() <= 1.2
    assert abs(share.mean() - 1) < 0.02
    drawn = group_trends(Draws.of(0, "group", np.arange(20)), np.linspace(0, 27, 200))
    np.testing.assert_allclose(drawn.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(drawn.var(axis=1), 1)


def test_trends_are_smooth_and_not_noise():
    drawn = group_trends(Draws.of(0, "group", np.arange(200)), np.linspace(0, 27, 300))
    neighbours = (drawn[:, 1:] * drawn[:, :-1]).mean(axis=1)
    assert np.median(neighbours) > 0.9
    later = (drawn[:, 75:] * drawn[:, :-75]).mean(axis=1)
    assert np.median(np.abs(later)) < 0.6


def test_groups_do_not_depend_on_the_others():
    whole, part = simulate_light_curves(256, **SETTINGS), simulate_light_curves(16, first=160, **SETTINGS)
    for name in ("x", "mask", "flux_error", "sky"):
        assert part[name].equal(whole[name][160:176])
    for name, values in part.metadata.items():
        np.testing.assert_array_equal(values, whole.metadata[name][160:176])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_curves": 12}, "multiples of group_size, 8"),
        ({"first": 4}, "multiples of group_size, 8"),
        ({"group_size": 1}, "group_size is 1"),
        ({"trend_variance": -1.0}, "trend_variance is -1.0"),
        ({"samplings": {"astronomical": 1.0}}, "samplings has astronomical"),
    ],
)
def test_bad_values_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        simulate_light_curves(**({"num_curves": 16, "shared_sampling": True} | wrong))
