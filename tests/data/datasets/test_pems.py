import os
from pathlib import Path

import numpy as np
import pytest
import torch

from stgraph.data import to_datetime64
from stgraph.data.datasets import PEMS03, PEMS04, PEMS07, PEMS08
from stgraph.data.datasets.pems import read_pems
from stgraph.errors import InputError
from tests.data.datasets.published_files import forget_hashes

LINKS = "from,to,cost\r\n1,0,310.6\r\n2,1,330.9\r\n1,0,310.6\r\n0,1,310.6\r\n2,2,0.0\r\n"
BOTH_WAYS = {(0, 1), (1, 0), (1, 2), (2, 1)}


def values_of(num_nodes, num_channels):
    values = np.random.default_rng(0).uniform(1, 200, (4, num_nodes, num_channels)).round()
    values[1, 2] = 0
    return values


def write(folder, stem, values, links=LINKS):
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{stem}.npz", data=values)
    (folder / f"{stem}.csv").write_bytes(links.encode())


def edges_of(data):
    assert data.edge_weight.tolist() == [1.0] * data.num_edges
    pairs = list(zip(*data.edge_index.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    return set(pairs)


@pytest.mark.parametrize(("dataset", "start"), [(PEMS04, "2018-01-01"), (PEMS08, "2016-07-01")])
def test_three_channels(tmp_path, monkeypatch, dataset, start):
    forget_hashes(monkeypatch)
    values = values_of(3, 3)
    write(tmp_path / dataset.name / "raw", dataset.__name__, values)
    data = dataset(tmp_path)[0]
    np.testing.assert_array_equal(data.x[:, :, 0].T, values[:, :, 0].astype(np.float32))
    assert (~data.mask).nonzero().tolist() == [[2, 1, 0]]
    assert data.channel_names == ["flow"]
    assert data.node_names == ["0", "1", "2"]
    np.testing.assert_array_equal(
        to_datetime64(data.time), np.datetime64(start, "ns") + np.timedelta64(5, "m") * np.arange(4)
    )
    assert edges_of(data) == BOTH_WAYS
    both = dataset(tmp_path, channels=["speed", "flow"], null_value=None)[0]
    np.testing.assert_array_equal(both.x.permute(1, 0, 2), values[:, :, [2, 0]].astype(np.float32))
    assert both.channel_names == ["speed", "flow"]
    assert "mask" not in both


def test_one_channel(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    values = values_of(3, 1)
    write(tmp_path / "pems07" / "raw", "PEMS07", values)
    data = PEMS07(tmp_path)[0]
    np.testing.assert_array_equal(data.x.permute(1, 0, 2), values.astype(np.float32))
    assert str(to_datetime64(data.time)[0]).startswith("2017-05-01T00:00")
    with pytest.raises(InputError, match="channels must be a list of some of flow"):
        PEMS07(tmp_path, channels=["speed"])


def test_sensors_by_their_identifiers(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    folder = tmp_path / "pems03" / "raw"
    write(folder, "PEMS03", values_of(3, 1), "from,to,distance\n318711,317842,0.872\n313344,318711,1.322\n")
    (folder / "PEMS03.txt").write_bytes(b"317842\r\n318711\r\n313344")
    data = PEMS03(tmp_path)[0]
    assert data.node_names == ["317842", "318711", "313344"]
    assert edges_of(data) == BOTH_WAYS
    assert str(to_datetime64(data.time)[0]).startswith("2018-09-01T00:00")
    short = tmp_path / "short.txt"
    short.write_text("317842\n318711\n")
    with pytest.raises(InputError, match=r"short\.txt must hold 3 distinct identifiers, got 2"):
        read_pems(folder / "PEMS03.npz", folder / "PEMS03.csv", start="2018-09-01", sensor_ids=short)


def test_positions_keep_the_lengths_of_a_road(tmp_path):
    write(tmp_path, "road", values_of(3, 1), "from,to,cost\n0,1,100\n1,2,300\n")
    pos = read_pems(tmp_path / "road.npz", tmp_path / "road.csv", start="2018-01-01").pos
    assert pos.shape == (3, 2)
    first, second = (pos[1] - pos[0]).norm(), (pos[2] - pos[1]).norm()
    torch.testing.assert_close(second, 3 * first)
    torch.testing.assert_close((pos[2] - pos[0]).norm(), first + second)


def test_what_does_not_fit(tmp_path):
    path, links = tmp_path / "bad.npz", tmp_path / "bad.csv"
    write(tmp_path, "bad", values_of(3, 1), "from,to,cost\n0,3,1\n")
    with pytest.raises(InputError, match="links of node 3, which is none of the 3"):
        read_pems(path, links, start="2018-01-01")
    np.savez(path, flow=np.ones((4, 3, 1)))
    with pytest.raises(InputError, match="must hold an array 'data', got flow"):
        read_pems(path, links, start="2018-01-01")
    np.savez(path, data=np.ones((4, 3)))
    with pytest.raises(InputError, match=r"must have the shape \(T, N, 1\) or \(T, N, 3\), got \(4, 3\)"):
        read_pems(path, links, start="2018-01-01")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"bad\.npz cannot be read"):
        read_pems(path, links, start="2018-01-01")


@pytest.mark.parametrize(
    ("name", "num_nodes", "rows"),
    [("PEMS03", 358, 547), ("PEMS04", 307, 340), ("PEMS07", 883, 866), ("PEMS08", 170, 295)],
)
def test_true_links(tmp_path, name, num_nodes, rows):
    folder = Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "pems_0347_8_graphs"
    if not folder.is_dir():
        pytest.skip("needs the folder pems_0347_8_graphs in STGRAPH_DATA")
    np.savez(tmp_path / "values.npz", data=np.arange(2.0 * num_nodes).reshape(2, num_nodes, 1) + 1)
    ids = folder / "PEMS03.txt" if name == "PEMS03" else None
    data = read_pems(tmp_path / "values.npz", folder / f"{name}.csv", start="2018-01-01", sensor_ids=ids)
    names = {node: i for i, node in enumerate(data.node_names)}
    table = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)
    assert len(table) == rows
    links = {(names[str(int(a))], names[str(int(b))]) for a, b in table[:, :2] if a != b}
    assert edges_of(data) == links | {(b, a) for a, b in links}
    torch.testing.assert_close(data.pos.square().sum(1).mean(), torch.tensor(1.0))
    apart = torch.pdist(data.pos)
    assert data.edge_attr[:, 2].median() < 0.2 * apart.median()  # what a road joins is near
    assert (apart > 0).float().mean() > 0.99
