import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from stgraph.data import to_datetime64
from stgraph.data.datasets import metr_la_week
from stgraph.errors import InputError


@pytest.fixture
def small(tmp_path):
    """A folder of the same files with three sensors."""
    folder = tmp_path / "metr_la_week"
    folder.mkdir()
    (folder / "los_speed.csv").write_text("700,600,800\n64.5,60,70\n62,61,69.5\n")
    (folder / "graph_sensor_locations.csv").write_text(
        "index,sensor_id,latitude,longitude\n0,700,34.0,-118.0\n1,600,34.1,-118.0\n2,800,34.0,-118.1\n"
    )
    matrix = np.array([[1, 0.5, 0], [0, 1, 0.25], [0, 0, 1]], dtype=np.float32)
    write_graph(folder, ["700", "600", "800"], matrix)
    return tmp_path


def write_graph(folder, ids, matrix):
    content = [ids, {name: i for i, name in enumerate(ids)}, matrix]
    (folder / "adj_mx.pkl").write_bytes(pickle.dumps(content, 2))


def test_three_sensors(small):
    data = metr_la_week(small)
    assert data.node_names == ["700", "600", "800"]
    assert data.channel_names == ["speed_mph"]
    assert data.x[:, :, 0].tolist() == [[64.5, 62], [60, 61], [70, 69.5]]
    assert to_datetime64(data.time).astype(str).tolist() == [
        "2012-03-01T00:00:00.000000000",
        "2012-03-01T00:05:00.000000000",
    ]
    assert data.edge_index.tolist() == [[0, 1], [1, 2]]
    assert data.edge_weight.tolist() == [0.5, 0.25]
    north = data.edge_attr[0]
    assert north[1].item() == pytest.approx(11.12, abs=0.01)
    torch.testing.assert_close(data.edge_attr[:, :2], data.pos[[1, 2]] - data.pos[[0, 1]])
    torch.testing.assert_close(data.edge_attr[:, 2], data.edge_attr[:, :2].norm(dim=1))


def test_without_the_graph_and_in_degrees(small):
    data = metr_la_week(small, coordinates="cartesian", graph=False)
    assert "edge_index" not in data
    torch.testing.assert_close(data.pos[1], torch.tensor([-118.0, 34.1]))


def test_a_graph_of_other_sensors_is_refused(small):
    write_graph(small / "metr_la_week", ["600", "700", "800"], np.eye(3))
    with pytest.raises(InputError, match="other sensors"):
        metr_la_week(small)


def test_where_the_data_are_expected(tmp_path, monkeypatch):
    monkeypatch.delenv("STGRAPH_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="STGRAPH_DATA"):
        metr_la_week()
    with pytest.raises(FileNotFoundError, match="metr_la_week"):
        metr_la_week(tmp_path)


@pytest.mark.skipif(
    not (Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "metr_la_week").is_dir(),
    reason="needs metr_la_week in the folder STGRAPH_DATA",
)
def test_the_real_week():
    data = metr_la_week()
    assert data.x.shape == (207, 2016, 1)
    assert "mask" not in data
    assert data.x.mean().item() == pytest.approx(58.89, abs=0.01)
    assert data.x.min() == 1
    assert data.x.max() == 70
    assert data.edge_index.shape == (2, 1515)
    assert 0 < data.edge_weight.min() <= data.edge_weight.max() <= 1
    assert to_datetime64(data.time)[-1] == np.datetime64("2012-03-07T23:55")
    assert data.pos.norm(dim=1).max() < 40  # kilometres from the middle of the sensors
