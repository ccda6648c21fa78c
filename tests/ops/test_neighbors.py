from __future__ import annotations

import math
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops import neighbor_engines, neighbors
from stgraph.ops.neighbors import grid_stencil, installed_engines, knn_graph, radius_graph

ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(name not in installed_engines(), reason=f"{name} is not installed"))
    for name in neighbor_engines.ENGINES
]


@pytest.fixture
def eager_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetch few candidates, so that the search of an engine runs, and comes short, on small inputs too."""
    monkeypatch.setattr(neighbors, "_EXTRA_CANDIDATES", 1)


def reference(pos: Tensor, k: int, batch: Tensor | None = None, loop: bool = False) -> Tensor:
    """Edges by sorting all pairs by (target, distance, source) in NumPy."""
    points = pos.double().reshape(len(pos), -1).numpy()
    graph = np.zeros(len(points), int) if batch is None else batch.numpy()
    pairs = []
    for i in range(len(points)):
        others = np.flatnonzero(graph == graph[i])
        if not loop:
            others = others[others != i]
        squared = np.zeros(len(others))
        for d in range(points.shape[1]):
            squared += (points[i, d] - points[others, d]) ** 2
        nearest = others[np.lexsort((others, squared))][:k]
        pairs.append(np.stack([nearest, np.full(len(nearest), i)]))
    return torch.from_numpy(np.concatenate(pairs, axis=1)) if pairs else torch.empty(2, 0, dtype=torch.int64)


def random_points(kind: str, n: int, dimensions: int) -> Tensor:
    generator = torch.Generator().manual_seed(n + dimensions)
    pos = torch.randn(n, dimensions, generator=generator)
    if kind == "lattice":
        return pos.mul(2).round()
    if kind == "repeated":
        return pos[torch.randint(0, max(n // 3, 1), (n,), generator=generator)]
    return torch.zeros_like(pos) if kind == "one_place" else pos


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["spread", "lattice", "repeated", "one_place"])
@pytest.mark.parametrize(("n", "dimensions"), [(1, 2), (2, 3), (50, 1), (90, 2), (90, 3), (60, 20)])
@pytest.mark.usefixtures("eager_search")
def test_every_engine_gives_the_reference(engine: str, kind: str, n: int, dimensions: int) -> None:
    pos = random_points(kind, n, dimensions)
    for k, loop in ((1, False), (3, True), (7, False)):
        torch.testing.assert_close(knn_graph(pos, k, loop=loop, engine=engine), reference(pos, k, loop=loop))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["spread", "lattice", "repeated"])
@pytest.mark.usefixtures("eager_search")
def test_graphs_of_a_batch_stay_apart(engine: str, kind: str) -> None:
    pos = random_points(kind, 120, 2)
    # Graph 1 is empty, graph 2 has one point, graph 3 has fewer than k + 1.
    batch = torch.tensor([0] * 60 + [2] + [3] * 3 + [4] * 56)
    for k, loop in ((1, True), (5, False)):
        edges = knn_graph(pos, k, batch, loop, engine)
        torch.testing.assert_close(edges, reference(pos, k, batch, loop))
        assert torch.equal(batch[edges[0]], batch[edges[1]])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("eager_search")
@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(
        st.tuples(*[st.one_of(st.integers(-2, 2).map(float), st.floats(-1e6, 1e6, width=32))] * 2),
        min_size=1,
        max_size=40,
    ),
    k=st.integers(1, 6),
    loop=st.booleans(),
    cuts=st.lists(st.integers(0, 40), max_size=3),
)
def test_engines_agree_on_any_points(
    engine: str, points: list[tuple[float, float]], k: int, loop: bool, cuts: list[int]
) -> None:
    pos = torch.tensor(points, dtype=torch.float64)
    batch = torch.bucketize(torch.arange(len(points)), torch.tensor(sorted(cuts)))
    assert torch.equal(knn_graph(pos, k, batch, loop, engine), reference(pos, k, batch, loop))


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree_on_a_large_cloud(engine: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for pos in (
        torch.rand(2000, 2, generator=generator),
        torch.randint(0, 30, (2000, 2), generator=generator).float(),
    ):
        assert torch.equal(knn_graph(pos, 32, engine=engine), knn_graph(pos, 32, engine="dense"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.usefixtures("eager_search")
def test_far_from_the_origin_distances_keep_their_digits(engine: str) -> None:
    # The expansion |a|^2 - 2ab + |b|^2 has no correct digit here.
    pos = torch.tensor([[1e8], [1e8 + 1], [1e8 + 3], [1e8 + 3.5], [1e8 + 9]], dtype=torch.float64).repeat(1, 2)
    assert torch.equal(knn_graph(pos, 1, engine=engine), torch.tensor([[1, 0, 3, 2, 3], [0, 1, 2, 3, 4]]))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("offset", [1e3, 1e8, 1e12])
@pytest.mark.parametrize("dimensions", [2, 30])
def test_an_offset_costs_no_digit(engine: str, offset: float, dimensions: int) -> None:
    # Multiples of 1/64, so that adding the offset is exact.
    pos = torch.randint(0, 6400, (400, dimensions), generator=torch.Generator().manual_seed(0)).double() / 64
    assert torch.equal(knn_graph(pos + offset, 5, engine=engine), reference(pos, 5))


def test_pyg_lib_engine_calls_its_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """pyg-lib is rarely installable; its operator is replaced by one with the signature that PyG 2.8 calls."""
    calls = []

    def knn(x: Tensor, y: Tensor, ptr_x: Tensor, ptr_y: Tensor, k: int, cosine: bool, num_workers: int) -> Tensor:
        calls.append(k)
        target, source = [], []
        ends_x = [0, len(x)] if ptr_x is None else ptr_x.tolist()
        ends_y = [0, len(y)] if ptr_y is None else ptr_y.tolist()
        for (x0, x1), (y0, y1) in zip(pairwise(ends_x), pairwise(ends_y), strict=True):
            order = torch.cdist(y[y0:y1], x[x0:x1], compute_mode="donot_use_mm_for_euclid_dist").argsort(dim=1)[:, :k]
            target.append(torch.arange(y0, y1).repeat_interleave(order.shape[1]))
            source.append(order.flatten() + x0)
        return torch.stack([torch.cat(target), torch.cat(source)])

    monkeypatch.setattr(torch.ops, "pyg", type("Ops", (), {"knn": staticmethod(knn)}), raising=False)
    monkeypatch.setattr(neighbor_engines, "_installed", lambda name: True)
    monkeypatch.setattr(neighbors, "_EXTRA_CANDIDATES", 1)
    pos = random_points("lattice", 120, 2)
    batch = torch.tensor([0] * 60 + [1] * 4 + [3] * 56)
    for group in (None, batch):
        assert torch.equal(knn_graph(pos, 5, group, engine="pyg_lib"), reference(pos, 5, group))
    assert calls


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64])
def test_any_real_type_and_layout(dtype: torch.dtype) -> None:
    pos = torch.randint(0, 9, (3, 40), generator=torch.Generator().manual_seed(1)).t()
    edges = knn_graph(pos.to(dtype), 4)
    assert edges.dtype == torch.int64
    assert torch.equal(edges, reference(pos, 4))
    assert torch.equal(knn_graph(pos[:, 0].to(dtype), 4), reference(pos[:, 0], 4))


def test_permuted_points_give_the_permuted_graph() -> None:
    pos = random_points("spread", 80, 3)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(0))
    moved = order[knn_graph(pos[order], 6)]
    edges = {tuple(edge) for edge in knn_graph(pos, 6).t().tolist()}
    assert edges == {tuple(edge) for edge in moved.t().tolist()}


def test_fewer_points_than_neighbors() -> None:
    assert knn_graph(torch.empty(0, 2), 3).shape == (2, 0)
    assert knn_graph(torch.zeros(1, 2), 3).shape == (2, 0)
    assert knn_graph(torch.zeros(1, 2), 3, loop=True).tolist() == [[0], [0]]
    assert knn_graph(torch.zeros(3, 2), 5).tolist() == [[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]]
    assert knn_graph(torch.empty(0, 2), 3, torch.empty(0, dtype=torch.int64)).shape == (2, 0)


def test_no_gradient_is_kept() -> None:
    pos = random_points("spread", 20, 2).requires_grad_()
    assert torch.equal(knn_graph(pos, 3), knn_graph(pos.detach(), 3))


def test_blocks_of_the_distance_matrix_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    pos = random_points("lattice", 90, 2)
    batch = torch.tensor([0] * 20 + [1] * 70)
    expected = knn_graph(pos, 4, engine="dense"), knn_graph(pos, 4, batch, engine="dense"), radius_graph(pos, 2.0)
    monkeypatch.setattr(neighbor_engines, "_BLOCK", 500)
    found = knn_graph(pos, 4, engine="dense"), knn_graph(pos, 4, batch, engine="dense"), radius_graph(pos, 2.0)
    for a, b in zip(expected, found, strict=True):
        assert torch.equal(a, b)


def test_auto_picks_by_size_dimension_and_device() -> None:
    def choice(n: int, dimensions: int) -> str:
        cloud = neighbor_engines.PointCloud(torch.zeros(n, dimensions), None)
        return neighbor_engines.choose_engine("auto", cloud, 8)

    assert choice(20, 2) == "dense"
    assert choice(5000, 2) == "kdtree"
    assert choice(5000, 64) == "dense"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
def test_cuda_gives_the_same_edges(engine: str) -> None:
    pos = random_points("lattice", 3000, 2)
    batch = torch.arange(3000) // 700
    for group in (None, batch):
        on_cuda = knn_graph(pos.cuda(), 9, None if group is None else group.cuda(), engine=engine)
        assert on_cuda.is_cuda
        assert torch.equal(on_cuda.cpu(), knn_graph(pos, 9, group, engine="dense"))
    assert torch.equal(radius_graph(pos.cuda(), 1.0).cpu(), radius_graph(pos, 1.0))


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"pos": [[0.0, 1.0]]}, InputTypeError, "pos is list"),
        ({"pos": torch.zeros(3, 2, dtype=torch.complex64)}, InputTypeError, "complex64"),
        ({"pos": torch.zeros(3, 2, 2)}, InputError, r"shape \(3, 2, 2\)"),
        ({"pos": torch.zeros(3, 0)}, InputError, r"shape \(3, 0\)"),
        ({"pos": torch.tensor([[0.0], [math.nan]])}, InputError, "point 1"),
        ({"pos": torch.tensor([[math.inf], [0.0]])}, InputError, "point 0"),
        ({"k": 0}, InputError, "k is 0"),
        ({"k": -1}, InputError, "k is -1"),
        ({"k": 1.5}, InputTypeError, "k is 1.5"),
        ({"k": True}, InputTypeError, "k is True"),
        ({"engine": "faiss"}, InputError, "'faiss'"),
        ({"batch": torch.zeros(2, dtype=torch.int64)}, InputError, r"shape \(2,\)"),
        ({"batch": torch.zeros(3)}, InputError, "float32"),
        ({"batch": torch.tensor([0, 1, 0])}, InputError, "decrease"),
        ({"batch": torch.tensor([-1, 0, 0])}, InputError, "negative"),
    ],
)
def test_bad_input_is_named(kwargs: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        knn_graph(**{"pos": torch.rand(3, 2), "k": 1, **kwargs})  # type: ignore[arg-type]


def test_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_engines, "_installed", lambda name: name == "dense")
    with pytest.raises(ImportError, match="torch_cluster"):
        knn_graph(torch.rand(3, 2), 1, engine="torch_cluster")


@pytest.mark.parametrize("force", ["kdtree", "dense"])
@settings(max_examples=60, deadline=None)
@given(
    points=st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=30),
    r=st.sampled_from([0.0, 1.0, math.sqrt(2.0), 2.5]),
    loop=st.booleans(),
    limit=st.sampled_from([None, 1, 3]),
    cut=st.integers(0, 30),
)
def test_radius_is_all_pairs_within(
    force: str, points: list[tuple[int, int]], r: float, loop: bool, limit: int | None, cut: int
) -> None:
    pos = torch.tensor(points, dtype=torch.float64)
    batch = (torch.arange(len(points)) >= cut).long()
    everyone = reference(pos, len(points), batch, loop)
    squared = (pos[everyone[0]] - pos[everyone[1]]).square().sum(-1)
    edges = everyone[:, squared <= r * r]
    if limit is not None:
        kept = [e for i in range(len(points)) for e in edges.t().tolist() if e[1] == i]
        position = [sum(other[1] == e[1] for other in kept[:at]) for at, e in enumerate(kept)]
        edges = torch.tensor([e for e, p in zip(kept, position, strict=True) if p < limit]).view(-1, 2).t()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbor_engines, "_DENSE_POINTS", 0 if force == "kdtree" else 1000)
        assert torch.equal(radius_graph(pos, r, batch, loop, limit), edges)


def test_a_radius_beyond_everything_connects_each_graph_alone() -> None:
    pos = random_points("spread", 900, 2)
    batch = torch.arange(900) // 300
    edges = radius_graph(pos, 1e6, batch)
    assert edges.shape == (2, 3 * 300 * 299)
    assert torch.equal(batch[edges[0]], batch[edges[1]])
    assert radius_graph(torch.zeros(300, 2), 1.0).shape == (2, 300 * 299)


def test_radius_is_inclusive_in_the_type_of_the_points() -> None:
    assert radius_graph(torch.tensor([0.0, 0.1]), r=0.1).shape == (2, 2)
    assert radius_graph(torch.tensor([0.0, 0.1], dtype=torch.float64), r=0.1).shape == (2, 2)
    assert radius_graph(torch.empty(0, 2), r=0.1).shape == (2, 0)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"r": -1.0}, "r is -1"), ({"r": math.nan}, "r is nan"), ({"max_num_neighbors": 0}, "max_num_neighbors is 0")],
)
def test_bad_radius_is_named(kwargs: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        radius_graph(torch.rand(3, 2), **{"r": 1.0, **kwargs})  # type: ignore[arg-type]


def cells(height: int, width: int) -> Tensor:
    return torch.cartesian_prod(torch.arange(height), torch.arange(width)).view(-1, 2)


@settings(max_examples=80, deadline=None)
@given(height=st.integers(1, 14), width=st.integers(1, 14), k=st.integers(1, 40).filter(lambda k: k not in (4, 8)))
def test_stencil_of_k_equals_the_search(height: int, width: int, k: int) -> None:
    edges = grid_stencil(height, width, k)
    assert torch.equal(edges, knn_graph(cells(height, width), k))
    assert edges.shape[1] == height * width * min(k, height * width - 1)


@pytest.mark.parametrize(("height", "width", "k"), [(40, 70, 32), (1, 200, 9), (3, 300, 50), (12, 12, 143)])
def test_stencil_of_large_grids_equals_the_search(height: int, width: int, k: int) -> None:
    assert torch.equal(grid_stencil(height, width, k), knn_graph(cells(height, width), k))


@pytest.mark.parametrize(("neighbors", "r"), [(4, 1.0), (8, 1.5)])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 6), (2, 2), (9, 5)])
def test_adjoining_cells_are_those_within_reach(neighbors: int, r: float, height: int, width: int) -> None:
    assert torch.equal(grid_stencil(height, width, neighbors), radius_graph(cells(height, width), r))


@pytest.mark.parametrize("args", [(0, 3, 4), (3, 0, 4), (3, 3, 0)])
def test_bad_grid_is_named(args: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="is 0; expected at least 1"):
        grid_stencil(*args)


def test_eight_neighbors_of_a_published_grid() -> None:
    folder = os.environ.get("STGRAPH_DATA")
    if folder is None:
        pytest.skip("STGRAPH_DATA is not set: nyc_bike_grid")
    published = np.load(Path(folder) / "nyc_bike_grid" / "nyc_bike_grid.npz")["adj_8neighbour"]
    source, target = grid_stencil(16, 8, 8)
    ours = torch.zeros(128, 128)
    ours[source, target] = 1
    assert np.array_equal(ours.numpy(), published)
