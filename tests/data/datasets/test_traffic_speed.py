import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from stgraph.data import to_datetime64
from stgraph.data.datasets import METRLA, PEMSBAY
from stgraph.data.datasets.traffic_speed import read_traffic_speed
from stgraph.errors import InputError
from tests.data.datasets.published_files import forget_hashes, write_fixed

IDS = ["773869", "767541", "767542"]
SPEED = np.array([[64.375, 0.0, 67.625], [62.666, 61.0, 0.0], [0.0, 60.25, 65.5], [61.5, 59.0, 66.0]])
MATRIX = np.array([[1, 0.5, 0], [0, 1, 0.25], [0.75, 0, 1]], dtype=np.float32)
EDGES = {(0, 1): 0.5, (1, 2): 0.25, (2, 0): 0.75}


def write_adjacency(path, ids):
    content = [ids, {name: i for i, name in enumerate(ids)}, MATRIX]
    path.write_bytes(pickle.dumps(content, 0))  # the protocol of Python 2


def write_metr_la(folder, values=SPEED, ids=IDS):
    folder.mkdir(parents=True)
    times = pd.date_range("2012-03-01", periods=len(values), freq="5min")
    write_fixed(folder / "metr-la.h5", pd.DataFrame(values, times, IDS))
    write_adjacency(folder / "adj_mx.pkl", ids)
    (folder / "graph_sensor_locations.csv").write_text(
        "index,sensor_id,latitude,longitude\n"
        "0,767541,34.11621,-118.23799\n1,773869,34.15497,-118.31829\n2,767542,34.11641,-118.23819\n"
    )
    return folder


def edges_of(data):
    pairs = zip(*data.edge_index.tolist(), strict=True)
    return dict(zip(pairs, data.edge_weight.tolist(), strict=True))


def test_metr_la(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    write_metr_la(tmp_path / "metr_la" / "raw")
    data = METRLA(tmp_path, coordinates="cartesian")[0]
    np.testing.assert_array_equal(data.x[:, :, 0].T, SPEED.astype(np.float32))
    np.testing.assert_array_equal(data.mask[:, :, 0].T, SPEED != 0)
    np.testing.assert_array_equal(
        to_datetime64(data.time), np.datetime64("2012-03-01", "ns") + np.timedelta64(5, "m") * np.arange(4)
    )
    assert data.node_names == IDS
    assert data.channel_names == ["speed_mph"]
    assert edges_of(data) == EDGES
    torch.testing.assert_close(
        data.pos, torch.tensor([[-118.31829, 34.15497], [-118.23799, 34.11621], [-118.23819, 34.11641]])
    )
    assert data.edge_attr.shape == (3, 3)
    assert "mask" not in METRLA(tmp_path, null_value=None)[0]


def test_pems_bay_lacks_the_hour_of_daylight_saving(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    folder = tmp_path / "pems_bay"
    folder.mkdir()
    times = pd.date_range("2017-03-12 01:50", "2017-03-12 03:15", freq="5min")
    times = times[(times < "2017-03-12 02:00") | (times >= "2017-03-12 03:00")]
    speed = np.random.default_rng(0).uniform(1, 70, (len(times), 3)).round(1)
    speed[3, 1] = 0
    ids = [400001, 400017, 400030]
    write_fixed(folder / "pems-bay.h5", pd.DataFrame(speed, times, ids), "speed")
    write_adjacency(folder / "adj_mx_bay.pkl", [str(item) for item in ids])
    (folder / "graph_sensor_locations_bay.csv").write_text(
        "400001,37.364085,-121.901149\n400017,37.253303,-121.945440\n400030,37.359087,-121.906538\n"
    )
    data = PEMSBAY(tmp_path, coordinates="cartesian")[0]  # files beside the folder raw
    np.testing.assert_array_equal(to_datetime64(data.time), times.to_numpy())
    steps = np.diff(to_datetime64(data.time))
    assert (steps == np.timedelta64(65, "m")).sum() == 1
    np.testing.assert_array_equal(data.x[:, :, 0].T, speed.astype(np.float32))
    assert (~data.mask).nonzero().tolist() == [[1, 3, 0]]
    assert data.node_names == ["400001", "400017", "400030"]
    assert data.pos[1].tolist() == pytest.approx([-121.945440, 37.253303])
    assert edges_of(data) == EDGES


def test_what_does_not_fit(tmp_path):
    folder = write_metr_la(tmp_path / "one", ids=IDS[::-1])
    files = folder / "metr-la.h5", folder / "graph_sensor_locations.csv", folder / "adj_mx.pkl"
    with pytest.raises(InputError, match=r"adj_mx\.pkl has other sensors, or another order"):
        read_traffic_speed(*files)
    write_adjacency(files[2], IDS)
    (files[1]).write_text("sensor_id,latitude,longitude\n773869,34,-118\n")
    with pytest.raises(InputError, match="no row for 2 of 3 nodes"):
        read_traffic_speed(*files)
    files[1].write_text("773869,34\n767541,35\n")
    with pytest.raises(InputError, match="must have the columns sensor_id, latitude, longitude"):
        read_traffic_speed(*files)
    shutil.copy(write_metr_la(tmp_path / "two") / "graph_sensor_locations.csv", files[1])
    files[0].write_bytes(files[0].read_bytes()[:3000])
    with pytest.raises(InputError, match=r"metr-la\.h5 cannot be read"):
        read_traffic_speed(*files)
    with pytest.raises(FileNotFoundError, match=r"none\.h5"):
        read_traffic_speed(tmp_path / "none.h5", *files[1:])


def test_true_graph_of_metr_la(tmp_path, monkeypatch):
    """The true adjacency and locations pass their hashes and give 207 sensors and 1515 edges."""
    source = Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "metr_la_week"
    if not source.is_dir():
        pytest.skip("needs the folder metr_la_week in STGRAPH_DATA")
    folder = tmp_path / "metr_la" / "raw"
    folder.mkdir(parents=True)
    for name in ("adj_mx.pkl", "graph_sensor_locations.csv"):
        shutil.copy(source / name, folder / name)
    speed = pd.read_csv(source / "los_speed.csv", nrows=20)
    speed.index = pd.date_range("2012-03-01", periods=20, freq="5min")
    write_fixed(folder / "metr-la.h5", speed)
    with pytest.raises(InputError, match=r"metr-la\.h5"):  # not the published speeds
        METRLA(tmp_path)
    forget_hashes(monkeypatch)
    data = METRLA(tmp_path)[0]
    assert data.x.shape == (207, 20, 1)
    assert data.edge_index.shape == (2, 1515)
    assert data.node_names == list(speed.columns)


def test_true_locations_of_pems_bay(tmp_path):
    source = Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "pems_bay_graph"
    if not source.is_dir():
        pytest.skip("needs the folder pems_bay_graph in STGRAPH_DATA")
    with np.load(source / "adj_mx_bay.npz") as archive:
        ids, matrix = archive["sensor_ids"].tolist(), archive["adj"]
    content = [ids, {name: i for i, name in enumerate(ids)}, matrix]
    (tmp_path / "adj_mx_bay.pkl").write_bytes(pickle.dumps(content, 2))
    times = pd.date_range("2017-01-01", periods=3, freq="5min")
    write_fixed(
        tmp_path / "pems-bay.h5", pd.DataFrame(np.ones((3, 325)).cumsum(0), times, [int(i) for i in ids]), "speed"
    )
    locations = source / "graph_sensor_locations_bay.csv"
    data = read_traffic_speed(tmp_path / "pems-bay.h5", locations, tmp_path / "adj_mx_bay.pkl", coordinates="cartesian")
    assert data.edge_index.shape == (2, 2369)
    expected = pd.read_csv(locations, header=None, index_col=0).loc[[int(i) for i in ids], [2, 1]]
    np.testing.assert_allclose(data.pos, expected, rtol=1e-6)
