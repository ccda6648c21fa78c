from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.sparse
import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.transforms import AdjacencyGraph, DistanceKernelGraph, GridStencilGraph, KNNGraph, RadiusGraph
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.geodesy import great_circle_distance, sphere_points
from stgraph.ops.neighbors import grid_stencil, knn_graph, radius_graph


def published(name: str) -> Path:
    folder = os.environ.get("STGRAPH_DATA")
    if folder is None:
        pytest.skip(f"STGRAPH_DATA is not set: {name}")
    return Path(folder) / name


def graph(n: int = 20, dimensions: int = 2, **attributes: Any) -> Data:
    pos = torch.randn(n, dimensions, generator=torch.Generator().manual_seed(n))
    return Data(x=torch.randn(n, 5, 1), pos=pos, **attributes)


def dense(data: Data, num_nodes: int) -> Tensor:
    matrix = torch.zeros(num_nodes, num_nodes)
    matrix[data.edge_index[0], data.edge_index[1]] = data.edge_weight
    return matrix


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_edge_attributes_are_relative_positions_and_distances(dimensions: int) -> None:
    data = graph(dimensions=dimensions)
    out = KNNGraph(k=4)(data)
    assert "edge_index" not in data, "the input is left as it was"
    assert torch.equal(out.edge_index, knn_graph(data.pos, 4))
    source, target = out.edge_index
    torch.testing.assert_close(out.edge_attr[:, :-1], data.pos[target] - data.pos[source])
    torch.testing.assert_close(out.edge_attr[:, -1], (data.pos[target] - data.pos[source]).norm(dim=1))
    assert out.edge_attr.dtype == data.pos.dtype
    assert out.x is data.x


def test_transforms_compose_with_those_of_pyg() -> None:
    out = T.Compose([T.Center(), KNNGraph(k=4), T.ToUndirected()])(graph())
    assert out.is_undirected()
    assert out.num_edges > 80
    torch.testing.assert_close(out.pos.mean(dim=0), torch.zeros(2))


def test_positions_on_a_line_and_of_integers() -> None:
    out = KNNGraph(k=1)(Data(pos=torch.tensor([0, 2, 3])))
    assert out.edge_index.tolist() == [[1, 2, 1], [0, 1, 2]]
    assert out.edge_attr.tolist() == [[-2.0, 2.0], [-1.0, 1.0], [1.0, 1.0]]


def test_new_edges_replace_all_of_the_old_ones() -> None:
    data = graph(n=4, time=torch.arange(5))
    data.edge_index = torch.tensor([[0, 1, 2, 3, 0], [1, 2, 3, 0, 2]])
    data.edge_weight, data.edge_type = torch.ones(5), torch.ones(5)
    out = RadiusGraph(r=100.0)(data)
    assert out.edge_index.shape == (2, 12)
    assert "edge_weight" not in out
    assert "edge_type" not in out
    assert torch.equal(out.time, torch.arange(5)), "as long as the edges, but not theirs"
    assert data.edge_weight.shape == (5,)


@pytest.mark.parametrize(
    ("loop", "k", "fits"), [(False, 3, True), (False, 4, False), (True, 4, True), (True, 5, False)]
)
def test_k_must_leave_enough_nodes(loop: bool, k: int, fits: bool) -> None:
    transform = KNNGraph(k=k, loop=loop)
    if fits:
        assert transform(graph(n=4)).edge_index.shape == (2, 4 * k)
    else:
        with pytest.raises(InputError, match=f"k is {k}, but a node of 4 has only"):
            transform(graph(n=4))


def test_radius_graph_options() -> None:
    data = graph()
    expected = radius_graph(data.pos, 0.8, loop=True, max_num_neighbors=3)
    assert torch.equal(RadiusGraph(0.8, loop=True, max_num_neighbors=3)(data).edge_index, expected)


def lonlat(n: int = 60) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    points = torch.rand(n, 2, generator=generator, dtype=torch.float64)
    # Around the date line, where the plane of degrees tears apart.
    return torch.stack([torch.remainder(points[:, 0] * 40 + 160 + 180, 360) - 180, points[:, 1] * 100 - 50], dim=1)


@pytest.mark.parametrize("as_points", [False, True])
def test_great_circles(as_points: bool) -> None:
    degrees = lonlat()
    arc = great_circle_distance(degrees[:, None], degrees[None])
    data = Data(pos=sphere_points(degrees) if as_points else degrees)

    out = KNNGraph(k=5, metric="great_circle")(data)
    expected = arc.clone().fill_diagonal_(math.inf).argsort(dim=1)[:, :5]
    assert torch.equal(out.edge_index[0].view(-1, 5), expected)
    source, target = out.edge_index
    torch.testing.assert_close(out.edge_attr[:, -1], arc[target, source], atol=1e-6, rtol=1e-9)

    within = RadiusGraph(r=800.0, metric="great_circle")(data)
    assert within.edge_index.shape[1] == int(((arc <= 800) & (arc > 0)).sum())
    assert float(within.edge_attr[:, -1].max()) <= 800
    everyone = RadiusGraph(r=1e6, metric="great_circle")(data)
    assert everyone.edge_index.shape[1] == 60 * 59


def test_relative_longitude_goes_the_short_way_round() -> None:
    out = KNNGraph(k=1, metric="great_circle")(Data(pos=torch.tensor([[179.5, 0.0], [-179.5, 0.0]])))
    assert out.edge_attr[:, 0].tolist() == [-1.0, 1.0]
    assert out.edge_attr[:, 2].tolist() == pytest.approx([111.195, 111.195], abs=1e-3)


@pytest.mark.parametrize(
    ("transform", "pos", "message"),
    [
        (KNNGraph(k=1), None, "no pos"),
        (RadiusGraph(r=1.0), None, "no pos"),
        (KNNGraph(k=1), torch.tensor([[0.0], [math.nan], [1.0]]), "point 1"),
        (KNNGraph(k=1, metric="great_circle"), torch.rand(4, 3), "great-circle"),
        (KNNGraph(k=1, metric="great_circle"), torch.rand(4, 1), "great-circle"),
        (KNNGraph(k=1, metric="great_circle"), torch.tensor([[0.0, 91.0], [0.0, 0.0]]), "-90..90"),
    ],
)
def test_bad_positions_are_named(transform: T.BaseTransform, pos: Tensor | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        transform(Data(pos=pos, num_nodes=4) if pos is None else Data(pos=pos))


def test_bad_metric_is_named() -> None:
    with pytest.raises(InputError, match="metric is 'manhattan'"):
        KNNGraph(metric="manhattan")  # type: ignore[arg-type]


# Distance kernel


def kernel(distance: np.ndarray[Any, Any], sigma: float, threshold: float) -> np.ndarray[Any, Any]:
    weight = np.exp(-((distance / sigma) ** 2))
    weight[weight < threshold] = 0
    np.fill_diagonal(weight, 0)
    return weight


class Table(NamedTuple):
    node_ids: list[str]
    edge_index: Tensor
    distance: Tensor


@pytest.mark.parametrize("form", ["matrix", "nan", "pair", "table", "sparse"])
def test_distance_kernel_of_all_forms(form: str) -> None:
    rng = np.random.default_rng(0)
    matrix = np.where(rng.random((9, 9)) < 0.7, rng.random((9, 9)), np.inf)
    np.fill_diagonal(matrix, 0)
    source, target = np.nonzero(np.isfinite(matrix))
    edges, distance = torch.from_numpy(np.stack([source, target])), torch.from_numpy(matrix[source, target])
    given: Any = {
        "matrix": matrix.tolist(),
        "nan": torch.from_numpy(np.where(np.isfinite(matrix), matrix, np.nan)),
        "pair": (edges, distance),
        "table": Table([f"s{i}" for i in range(9)], edges, distance),
        "sparse": scipy.sparse.coo_array((distance.numpy(), (source, target)), shape=(9, 9)),
    }[form]
    sigma = float(matrix[np.isfinite(matrix)].std())
    transform = DistanceKernelGraph(given, threshold=0.3)
    assert transform.sigma == pytest.approx(sigma)
    out = transform(graph(n=9, node_names=[f"s{i}" for i in range(9)]))
    np.testing.assert_allclose(dense(out, 9).numpy(), kernel(matrix, sigma, 0.3), atol=1e-6)
    assert out.edge_attr.shape == (out.edge_index.shape[1], 3)
    assert out.edge_weight.dtype == torch.float32


def test_distance_kernel_options() -> None:
    matrix = torch.tensor([[0.0, 2.0], [1.0, 0.0]])
    out = DistanceKernelGraph(matrix, sigma=2.0, threshold=0.0, loop=True)(Data(num_nodes=2))
    assert out.edge_index.tolist() == [[0, 1, 0, 1], [0, 0, 1, 1]]
    assert out.edge_weight.tolist() == pytest.approx([1.0, math.exp(-0.25), math.exp(-1.0), 1.0])
    assert DistanceKernelGraph(matrix, sigma=2.0, threshold=1.0)(Data(num_nodes=2)).edge_index.shape == (2, 0)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"distances": [[0.0, -1.0], [1.0, 0.0]]}, "not negative"),
        ({"distances": [[0.0, 1.0]]}, r"shape \(1, 2\)"),
        ({"distances": [[1.0, 1.0], [1.0, 1.0]]}, "all alike"),
        ({"distances": [[math.inf, math.inf], [math.inf, math.inf]]}, "all alike"),
        ({"distances": [[0.0, 1.0], [1.0, 0.0]], "sigma": 0.0}, "sigma is 0"),
        ({"distances": [[0.0, 1.0], [1.0, 0.0]], "sigma": math.nan}, "sigma is nan"),
        ({"distances": [[0.0, 1.0], [1.0, 0.0]], "threshold": 1.5}, "threshold is 1.5"),
        ({"distances": (torch.tensor([[0], [1]]), torch.ones(2))}, r"\(2,\) values"),
        ({"distances": (torch.tensor([[0.0], [1.0]]), torch.ones(1))}, "float32"),
        ({"distances": (torch.tensor([[0], [-1]]), torch.ones(1))}, "node -1"),
    ],
)
def test_bad_distances_are_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DistanceKernelGraph(**args)


def test_distances_must_belong_to_the_nodes() -> None:
    edges, distance = torch.tensor([[0, 1], [1, 0]]), torch.tensor([1.0, 2.0])
    with pytest.raises(InputError, match="of 2 nodes, but the graph has 3"):
        DistanceKernelGraph(Table(["a", "b"], edges, distance))(Data(num_nodes=3))
    with pytest.raises(InputError, match="names node 1, but the graph has 1"):
        DistanceKernelGraph((edges, distance))(Data(num_nodes=1))
    with pytest.raises(InputError, match="node_names"):
        DistanceKernelGraph(Table(["a", "b"], edges, distance))(Data(num_nodes=2, node_names=["b", "a"]))


def test_pems_bay_is_reproduced() -> None:
    from stgraph.data.adjacency import load_distance_table

    folder = published("pems_bay_graph")
    archive = np.load(folder / "adj_mx_bay.npz")
    table = load_distance_table(folder / "distances_bay_2017.csv", archive["sensor_ids"])
    ours = dense(DistanceKernelGraph(table, threshold=0.1)(Data(num_nodes=325)), 325).numpy()
    theirs = archive["adj"] * (1 - np.eye(325))
    edges = (theirs != 0) | (ours != 0)
    assert edges.sum() == 2369
    assert (np.abs(ours - theirs)[edges] < 1e-3).mean() >= 0.99


# Given adjacency


@pytest.mark.parametrize("form", ["list", "numpy", "int", "tensor", "scipy", "csr", "coo_tensor", "csr_tensor"])
def test_adjacency_of_all_forms(form: str) -> None:
    matrix = np.array([[0.5, 2.0, 0.0], [0.0, 0.0, 3.0], [4.0, 0.0, 0.0]])
    given: Any = {
        "list": matrix.tolist(),
        "numpy": matrix,
        "int": matrix.astype(int),
        "tensor": torch.from_numpy(matrix),
        "scipy": scipy.sparse.coo_array(matrix),
        "csr": scipy.sparse.csr_matrix(matrix),
        "coo_tensor": torch.from_numpy(matrix).to_sparse_coo(),
        "csr_tensor": None,
    }[form]
    if form == "csr_tensor":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # PyTorch tells once per process that CSR is in beta
            given = torch.from_numpy(matrix).to_sparse_csr()
    out = AdjacencyGraph(given)(Data(num_nodes=3))
    expected = matrix.astype(int) if form == "int" else matrix
    np.testing.assert_allclose(dense(out, 3).numpy(), expected)
    order = (out.edge_index[1] * 3 + out.edge_index[0]).tolist()
    assert order == sorted(order), "sorted by target, then source"
    assert "edge_attr" not in out


def test_adjacency_entry_is_from_row_to_column() -> None:
    out = AdjacencyGraph([[0, 1], [0, 0]])(Data(num_nodes=2))
    assert out.edge_index.tolist() == [[0], [1]]


def test_given_edges_keep_their_order() -> None:
    edges = torch.tensor([[2, 0], [0, 1]])
    out = AdjacencyGraph(edge_index=edges)(graph(n=3))
    assert torch.equal(out.edge_index, edges)
    assert "edge_weight" not in out
    assert out.edge_attr.shape == (2, 3)
    out = AdjacencyGraph(edge_index=edges.tolist(), edge_weight=[0.5, 1.5])(graph(n=3))
    assert out.edge_weight.tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({}, InputError, "either adjacency or edge_index"),
        ({"adjacency": [[0.0]], "edge_index": [[0], [0]]}, InputError, "either adjacency or edge_index"),
        ({"adjacency": [[0.0, 1.0]]}, InputError, r"shape \(1, 2\)"),
        ({"adjacency": [[0.0, math.nan], [0.0, 0.0]]}, InputError, "NaN or infinite"),
        ({"adjacency": [["a", "b"], ["c", "d"]]}, InputTypeError, "expected numbers"),
        ({"edge_index": [[0, 1]]}, InputError, r"\(1, 2\)"),
        ({"edge_index": [[0.0], [1.0]]}, InputError, "float64"),
        ({"edge_index": [[0], [1]], "edge_weight": [1.0, 2.0]}, InputError, r"\(2,\) values"),
        ({"edge_index": [[0], [1]], "edge_weight": [math.inf]}, InputError, "NaN or infinite"),
    ],
)
def test_bad_adjacency_is_named(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        AdjacencyGraph(**kwargs)


def test_adjacency_must_belong_to_the_nodes() -> None:
    with pytest.raises(InputError, match="of 2 nodes, but the graph has 3"):
        AdjacencyGraph([[0.0, 1.0], [0.0, 0.0]])(Data(num_nodes=3))
    with pytest.raises(InputError, match="names node 5"):
        AdjacencyGraph(edge_index=[[0], [5]])(Data(num_nodes=3))


# Grid


def test_grid_stencil_of_a_graph() -> None:
    data = Data(grid=(3, 4), pos=torch.cartesian_prod(torch.arange(3.0), torch.arange(4.0)))
    out = GridStencilGraph(4)(data)
    assert torch.equal(out.edge_index, grid_stencil(3, 4, 4))
    assert bool((out.edge_attr[:, -1] == 1).all())
    assert torch.equal(GridStencilGraph(6)(data).edge_index, grid_stencil(3, 4, 6))


@pytest.mark.parametrize(
    ("data", "neighbors", "message"),
    [
        (Data(num_nodes=4), 4, "no grid"),
        (Data(num_nodes=5, grid=(2, 2)), 4, "2 x 2, but there are 5 nodes"),
        (Data(num_nodes=4, grid=(2, 2)), 5, "neighbors is 5"),
        (Data(num_nodes=4, grid=(2, 2)), 0, "neighbors is 0"),
    ],
)
def test_bad_grid_is_named(data: Data, neighbors: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        GridStencilGraph(neighbors)(data)


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (KNNGraph(k=3), "KNNGraph(k=3, loop=False, metric='euclidean')"),
        (RadiusGraph(r=2.0), "RadiusGraph(r=2.0, loop=False, metric='euclidean')"),
        (GridStencilGraph(4), "GridStencilGraph(neighbors=4)"),
        (AdjacencyGraph([[0, 1], [0, 0]]), "AdjacencyGraph(1 edges)"),
        (DistanceKernelGraph([[0, 1], [1, 0]], sigma=2), "DistanceKernelGraph(sigma=2, threshold=0.1, loop=False)"),
    ],
)
def test_repr(transform: T.BaseTransform, text: str) -> None:
    assert repr(transform) == text
