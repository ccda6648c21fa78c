"""The graph of alike spectra: who is a neighbour of whom, and on what that must not depend."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.spectra.neighbors import SpectralNeighborGraph
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.neighbors import knn_graph


def families(members: int = 6, points: int = 80) -> Data:
    """Spectra of three kinds, one after another, of different brightness; on the sky in another order."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.linspace(0, 3, points)
    kinds = torch.stack([wave.exp() / 10, (-wave).exp(), 1 + (4 * wave).sin()])
    x = kinds.repeat_interleave(members, 0) + 0.02 * torch.randn(3 * members, points, generator=generator)
    x = x * (1 + 9 * torch.rand(3 * members, 1, generator=generator))
    angle = torch.arange(3 * members) * 0.9
    return Data(
        x=x.unsqueeze(2),
        mask=(torch.rand(*x.shape, 1, generator=generator) > 0.1),
        wavelength=torch.arange(points) + 4000.0,
        pos=torch.stack([angle.cos(), angle.sin(), 0 * angle], dim=1),
    )


def neighbors(data: Data, node: int) -> set[int]:
    return set(data.edge_index[0][data.edge_index[1] == node].tolist())


def permuted(data: Data, order: Tensor) -> Data:
    result = data.__copy__()
    for key in ("x", "mask", "pos", "flux_error", "latent"):
        if data.get(key) is not None:
            result[key] = data[key][order]
    return result


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbors_are_of_the_same_kind(metric):
    data = SpectralNeighborGraph(k=5, components=4, metric=metric)(families())
    assert data.edge_index.shape == (2, 18 * 5)
    for node in range(18):
        assert neighbors(data, node) == {6 * (node // 6) + other for other in range(6)} - {node}


def test_an_anomaly_does_not_choose_the_neighbors():
    data = families(points=200)
    before = SpectralNeighborGraph(k=5, components=4)(data.__copy__())
    data.x = data.x.clone()
    data.x[2, 90:100] += 20 * data.x[2].max()
    assert neighbors(SpectralNeighborGraph(k=5, components=4)(data), 2) == neighbors(before, 2)


@pytest.mark.parametrize("source", ["spectra", "sky", "both", "latent"])
def test_permuting_the_spectra_permutes_the_edges(source):
    data = families()
    data.flux_error = 0.01 + 0.01 * data.x.abs()
    data.latent = data.x[:, :3, 0]
    order = torch.randperm(18, generator=torch.Generator().manual_seed(1))
    transform = SpectralNeighborGraph(k=4, components=4, source=source)
    first, second = transform(data.__copy__()), transform(permuted(data, order))
    pairs = [{tuple(edge) for edge in edges.t().tolist()} for edges in (first.edge_index, order[second.edge_index])]
    assert pairs[0] == pairs[1]


def test_spectra_without_data_have_no_edges():
    data = families()
    data.mask[[0, 7]] = False
    data.x = data.x.masked_fill(~data.mask, torch.nan)
    for source in ("spectra", "sky", "both"):
        edges = SpectralNeighborGraph(k=4, components=4, source=source)(data.__copy__()).edge_index
        assert not {0, 7} & set(edges.flatten().tolist())
        assert set(edges[1].tolist()) == set(range(18)) - {0, 7}


def test_sky_and_both():
    data = families()
    sky = SpectralNeighborGraph(k=3, source="sky")(data.__copy__()).edge_index
    assert torch.equal(sky, knn_graph(data.pos, 3))
    spectra = SpectralNeighborGraph(k=3)(data.__copy__()).edge_index
    both = SpectralNeighborGraph(k=3, source="both")(data.__copy__()).edge_index
    united = {tuple(edge) for edges in (sky, spectra) for edge in edges.t().tolist()}
    assert sorted(united, key=lambda edge: (edge[1], edge[0])) == [tuple(edge) for edge in both.t().tolist()]


def test_latents_by_euclidean_distance_and_by_angle():
    data = Data(x=torch.ones(4, 2, 1), latent=torch.tensor([[1.0, 0.0], [0.9, 0.3], [9.0, 0.1], [0.0, 1.0]]))
    assert SpectralNeighborGraph(1, source="latent")(data.__copy__()).edge_index[0].tolist() == [1, 0, 0, 1]
    found = SpectralNeighborGraph(1, source="latent", metric="cosine")(data.__copy__())
    assert found.edge_index[0].tolist() == [2, 2, 0, 1]


def test_edges_there_were_are_replaced_and_the_graph_is_left_alone():
    data = families()
    data.edge_index, data.edge_weight = torch.tensor([[0], [1]]), torch.ones(1)
    before = data.x.clone()
    found = SpectralNeighborGraph(k=2)(data)
    assert "edge_weight" not in found
    assert found.edge_index.shape == (2, 36)
    assert data.edge_index.shape == (2, 1)
    assert torch.equal(data.x, before)
    assert torch.equal(found.x, before)
    assert "scale" not in found


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_spectra_than_neighbors(count):
    data = families()
    few = Data(x=data.x[:count], wavelength=data.wavelength)
    assert SpectralNeighborGraph(k=16)(few).edge_index.shape == (2, count * (count - 1))
    few.mask = torch.zeros_like(few.x, dtype=torch.bool)
    assert SpectralNeighborGraph(k=16)(few).edge_index.shape == (2, 0)


def test_wrong_input_is_refused_by_name():
    data = families()
    for name in ("k", "components"):
        with pytest.raises(InputError, match=f"{name} is 0"):
            SpectralNeighborGraph(**{name: 0})
    with pytest.raises(InputError, match="metric is 'angle'"):
        SpectralNeighborGraph(metric="angle")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="data has no latent"):
        SpectralNeighborGraph(source="latent")(data)
    data.latent = [1.0]
    with pytest.raises(InputTypeError, match="latent is list"):
        SpectralNeighborGraph(source="latent")(data)
    data.latent = torch.ones(18)
    with pytest.raises(InputError, match=r"latent has shape \(18,\)"):
        SpectralNeighborGraph(source="latent")(data)
    data.wavelength = data.wavelength.expand(18, 80)
    with pytest.raises(InputError, match="common grid"):
        SpectralNeighborGraph()(data)
    del data.pos
    with pytest.raises(InputError, match="data has no pos"):
        SpectralNeighborGraph(source="sky")(data)


def test_repr():
    assert repr(SpectralNeighborGraph(k=3)) == (
        "SpectralNeighborGraph(k=3, components=10, metric='euclidean', source='spectra')"
    )
