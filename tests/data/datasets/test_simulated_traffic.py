import numpy as np
import pytest
import torch

from stgraph.data import select_nodes, to_datetime64
from stgraph.data.datasets.base import load_series
from stgraph.data.datasets.simulated_traffic import SimulatedTraffic
from stgraph.data.simulation import simulate_traffic
from stgraph.errors import InputError, InputTypeError

SMALL = {"num_detectors": 10, "num_days": 1, "seed": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def data(folder):
    return SimulatedTraffic(folder, **SMALL)[0]


def test_series(data):
    assert data.x.shape == data.mask.shape == (10, 288, 3)
    assert data.channel_names == ["speed_mph", "flow", "occupancy"]
    assert data.pos.shape == (10, 2)
    assert len(set(data.node_names)) == 10
    times = to_datetime64(data.time)
    assert times[0] == np.datetime64("2024-01-01")
    assert (np.diff(times) == np.timedelta64(5, "m")).all()
    assert not data.mask.all()
    assert (data.x[~data.mask] == 0).all()
    traffic = simulate_traffic(**SMALL)
    np.testing.assert_array_equal(data.mask[..., 0].T.numpy(), traffic.mask)
    np.testing.assert_allclose(data.x[..., 2].T[traffic.mask], traffic.occupancy[traffic.mask], rtol=1e-6)


def test_graph_is_the_kernel_of_road_distances(data):
    distance = simulate_traffic(**SMALL).road_distance
    listed = distance[distance <= 10]
    weight = np.exp(-((distance / listed.std()) ** 2))
    np.fill_diagonal(weight, 0)
    weight[(weight < 0.1) | (distance > 10)] = 0
    dense = torch.zeros(10, 10)
    dense[tuple(data.edge_index)] = data.edge_weight.float()
    np.testing.assert_allclose(dense, weight, rtol=1e-5, atol=1e-7)
    assert data.edge_index.size(1) > 0
    source, target = data.edge_index
    np.testing.assert_allclose(data.edge_distance, distance[source, target], rtol=1e-6)
    relative = data.pos[target] - data.pos[source]
    torch.testing.assert_close(data.edge_attr, torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1))
    assert (data.edge_distance > 0.95 * data.edge_attr[:, 2] - 0.1).all()
    part = select_nodes(data, [0, 1, 2, 3])
    assert part.edge_distance.shape == part.edge_weight.shape


def test_kept_by_all_its_arguments(folder, data, monkeypatch):
    def fail(**_):
        raise AssertionError("simulated again")

    monkeypatch.setattr("stgraph.data.datasets.simulated_traffic.simulate_traffic", fail)
    again = SimulatedTraffic(folder, **SMALL)[0]
    torch.testing.assert_close(again.x, data.x, rtol=0, atol=0)
    torch.testing.assert_close(load_series("simulated_traffic", folder, **SMALL).x, data.x, rtol=0, atol=0)
    changes = {"num_detectors": 11, "num_days": 2, "seed": 4, "start": "2024-01-02", "demand": 0.9, "noise": 0.5}
    changes |= {"incidents_per_day": 1.0, "missing_rate": 0.1, "channels": ["speed_mph"]}
    for name, value in changes.items():
        with pytest.raises(AssertionError, match="simulated again"):
            SimulatedTraffic(folder, **SMALL | {name: value})


def test_channels(folder, data):
    chosen = SimulatedTraffic(folder, **SMALL, channels=["occupancy", "speed_mph"])[0]
    torch.testing.assert_close(chosen.x, data.x[..., [2, 0]], rtol=0, atol=0)
    for channels in ([], ["speed"], ["flow", "flow"]):
        with pytest.raises(InputError, match="channels must be distinct ones of speed_mph, flow, occupancy"):
            SimulatedTraffic(folder, channels=channels)


def test_bad_arguments(folder):
    with pytest.raises(InputError, match="num_detectors must be at least 4, got 3"):
        SimulatedTraffic(folder, num_detectors=3)
    with pytest.raises(InputTypeError, match="num_days must be an integer"):
        SimulatedTraffic(folder, num_days=1.5)
