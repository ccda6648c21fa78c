import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from stgraph.data import load_adjacency_pickle, load_distance_table, load_matrix
from stgraph.errors import InputError, InputTypeError

ROOT = Path(os.environ.get("STGRAPH_DATA", "."))


def needs(name):
    missing = "STGRAPH_DATA" not in os.environ or not (ROOT / name).is_dir()
    return pytest.mark.skipif(missing, reason=f"needs {name} in the folder STGRAPH_DATA")


def write(tmp_path, text, name="roads.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


@needs("metr_la_week")
def test_the_pickle_of_metr_la():
    folder = ROOT / "metr_la_week"
    ids, position, matrix = load_adjacency_pickle(folder / "adj_mx.pkl")
    plain = np.load(folder / "adj_mx.npz")
    np.testing.assert_array_equal(matrix, plain["adj"])
    assert ids == plain["sensor_ids"].tolist()
    assert [position[name] for name in ids] == list(range(207))
    np.testing.assert_array_equal(load_matrix(folder / "adj_mx.npz"), plain["adj"])
    np.testing.assert_allclose(load_matrix(folder / "los_adj.csv"), np.maximum(matrix, matrix.T), atol=1e-9)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_adjacency_pickles_of_every_protocol(tmp_path, protocol):
    content = [["b", "a"], {"a": 1, "b": 0}, np.array([[1.0, 0.5], [0.0, 1.0]], dtype=np.float32)]
    (tmp_path / "adj.pkl").write_bytes(pickle.dumps(content, protocol))
    ids, position, matrix = load_adjacency_pickle(tmp_path / "adj.pkl")
    assert (ids, position) == (content[0], content[1])
    np.testing.assert_array_equal(matrix, content[2])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"adj": np.eye(2)}, "holds a dict"),
        ([np.eye(2), np.eye(2), np.eye(2)], r"holds \[ndarray, ndarray, ndarray\]"),
        ([["a", "b"], {"a": 0, "b": 1}], "holds a list"),
        ([["a"], {"a": 0}, np.eye(2)], "2 names, got 1"),
        ([["a", "a"], {"a": 0}, np.eye(2)], "more than once"),
        ([["a", "b"], {"a": 1, "b": 0}, np.eye(2)], "do not belong"),
        ([["a", "b"], {"a": 0, "b": 1}, np.ones((2, 3))], r"square, got the shape \(2, 3\)"),
        ([["a", "b"], {"a": 0, "b": 1}, np.full((2, 2), np.nan)], r"entry \(0, 0\)"),
    ],
)
def test_other_pickles(tmp_path, content, message):
    (tmp_path / "adj.pkl").write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=message):
        load_adjacency_pickle(tmp_path / "adj.pkl")


def test_missing_files():
    for load in (load_adjacency_pickle, load_distance_table, load_matrix):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            load("nowhere.csv")


@pytest.mark.parametrize(
    "text",
    [
        "from,to,cost\n10,9,5.5\n9,10,4\n9,9,0\n",
        "10,9,5.5\n9,10,4\n9,9,0\n",
        "To,Distance,From\n9,5.5,10\n10,4,9\n9,0,9\n",
        "from,to,cost\n10,9,5.5\n9,10,4\n9,10,6\n9,9,0\n10,9,5.5\n",
        "from,to,cost\n10.0,9.0,5.5\n9.0,10.0,4\n9.0,9.0,0\n",
    ],
)
def test_distance_tables(tmp_path, text):
    table = load_distance_table(write(tmp_path, text))
    assert table.node_ids == ["9", "10"]
    assert table.edge_index.tolist() == [[0, 0, 1], [0, 1, 0]]
    assert table.distance.tolist() == [0, 4, 5.5]
    assert table.distance.dtype == torch.float64
    assert table.dense().tolist() == [[0, 4], [5.5, float("inf")]]


def test_the_order_of_nodes_is_that_asked_for(tmp_path):
    path = write(tmp_path, "from,to,cost\na,b,1\nb,c,2\nc,d,3\n")
    table = load_distance_table(path, node_ids=["c", "lonely", "b"])
    assert table.node_ids == ["c", "lonely", "b"]
    assert table.edge_index.tolist() == [[2], [0]]
    assert table.distance.tolist() == [2]
    assert torch.isinf(table.dense()).sum() == 8
    numbered = load_distance_table(write(tmp_path, "from,to,cost\n0,2,7\n"), node_ids=range(4))
    assert numbered.dense()[0, 2] == 7
    assert numbered.dense().shape == (4, 4)


@needs("pems_bay_graph")
def test_distances_of_pems_bay_make_its_published_matrix():
    folder = ROOT / "pems_bay_graph"
    plain = np.load(folder / "adj_mx_bay.npz")
    table = load_distance_table(folder / "distances_bay_2017.csv", node_ids=plain["sensor_ids"])
    assert table.distance.numel() == 8358
    sigma = table.distance.std(correction=0)
    kernel = torch.exp(-((table.dense() / sigma) ** 2)).numpy()
    kernel[kernel < 0.1] = 0
    published = plain["adj"]
    edges = published > 0
    assert (np.abs(kernel - published)[edges] < 1e-3).mean() > 0.99


@needs("pems_0347_8_graphs")
@pytest.mark.parametrize(("name", "nodes", "edges"), [("PEMS03", 358, 547), ("PEMS04", 307, 340), ("PEMS08", 170, 277)])
def test_tables_of_the_pems_benchmarks(name, nodes, edges):
    folder = ROOT / "pems_0347_8_graphs"
    ids = (folder / "PEMS03.txt").read_text().split() if name == "PEMS03" else range(nodes)
    table = load_distance_table(folder / f"{name}.csv", ids)
    assert len(table.node_ids) == nodes
    assert table.edge_index.shape == (2, edges)
    assert table.edge_index.unique(dim=1).shape == (2, edges)


@pytest.mark.parametrize(
    ("text", "options", "error", "message"),
    [
        ("", {}, InputError, "roads.csv"),
        ("from,to\n1,2\n", {}, InputError, "columns from, to and distance"),
        ("from,to,cost\n", {}, InputError, "columns from, to and distance"),
        ("from,to,cost\n1,2,far\n", {}, InputTypeError, "'cost' must hold numbers"),
        ("from,to,cost\n1,2,3\n2,1,-3\n", {}, InputError, r"row 1 has -3\.0"),
        ("from,to,cost\n1,2,\n", {}, InputError, "row 0 has nan"),
        ("from,to,cost\n1,,3\n", {}, InputError, "no node"),
        ("from,to,cost\n1,2,3\n2\n", {}, InputError, "cut off"),
        ("from,to,cost\n1,2,3\n", {"node_ids": [7, 8]}, InputError, "begin with"),
        ("from,to,cost\n1,2,3\n", {"node_ids": [1, 1]}, InputError, "more than once"),
    ],
)
def test_bad_distance_tables(tmp_path, text, options, error, message):
    with pytest.raises(error, match=message):
        load_distance_table(write(tmp_path, text), **options)


def test_matrices(tmp_path):
    matrix = np.array([[0.0, 1.5], [2.0, np.inf]])
    np.save(tmp_path / "m.npy", matrix)
    np.savez(tmp_path / "m.npz", names=["a", "b"], road=matrix)
    np.savetxt(tmp_path / "m.csv", matrix, delimiter=",")
    np.savetxt(tmp_path / "h.csv", matrix, delimiter=",", header="0,1", comments="")
    for name in ("m.npy", "m.npz", "m.csv", "h.csv"):
        np.testing.assert_array_equal(load_matrix(tmp_path / name), matrix)
    np.savez(tmp_path / "two.npz", a=matrix, b=2 * matrix)
    np.testing.assert_array_equal(load_matrix(tmp_path / "two.npz", key="b"), 2 * matrix)
    np.savez(tmp_path / "named.npz", adj=matrix, b=2 * matrix)
    np.testing.assert_array_equal(load_matrix(tmp_path / "named.npz"), matrix)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("two.npz", {}, "choose the matrix by key="),
        ("two.npz", {"key": "c"}, "no array 'c'; there are a, b"),
        ("flat.npy", {}, r"square, got the shape \(2, 3\)"),
        ("nan.npy", {}, r"entry \(0, 1\)"),
        ("empty.npy", {}, "square"),
        ("text.npy", {}, "text.npy: matrix must hold real numbers"),
        ("cut.npz", {}, "cut.npz cannot be read"),
        ("m.txt", {}, "must be an .npy"),
    ],
)
def test_bad_matrices(tmp_path, name, options, message):
    np.savez(tmp_path / "two.npz", a=np.eye(2), b=np.eye(2))
    np.save(tmp_path / "flat.npy", np.ones((2, 3)))
    np.save(tmp_path / "nan.npy", np.array([[1, np.nan], [1, 1]]))
    np.save(tmp_path / "empty.npy", np.empty((0, 0)))
    np.save(tmp_path / "text.npy", np.array([["a"]]))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-30])
    (tmp_path / "m.txt").write_text("1")
    with pytest.raises((InputError, InputTypeError), match=message):
        load_matrix(tmp_path / name, **options)
