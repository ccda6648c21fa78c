"""The optimal-transport score of a node against its neighbourhood."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly import transport
from stgraph.ops.anomaly.transport import neighborhood_transport_score
from stgraph.ops.neighbors import knn_graph

FLOOR = 1e-3  # of eps: the accuracy of a divergence


def spectra(count: int = 24, length: int = 64, seed: int = 0) -> Tensor:
    """Smooth series with a feature, and noise."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.linspace(0.0, 1.0, length, dtype=torch.float64)
    level = torch.randn(count, 1, generator=generator, dtype=torch.float64)
    noise = 0.1 * torch.randn(count, length, generator=generator, dtype=torch.float64)
    return level * (1 + 0.2 * t) + 3.0 * torch.exp(-((t - 0.5) / 0.05).square()) + noise


def ring(count: int, reach: int = 3) -> Tensor:
    node = torch.arange(count)
    steps = [step for step in range(-reach, reach + 1) if step]
    return torch.cat([torch.stack([(node + step) % count, node]) for step in steps], dim=1)


def line() -> Tensor:
    return torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def scores_of_line(divergence: list[float], eps: float) -> np.ndarray:
    """Scores of the nodes of a line of four from the divergences of its three edges."""
    s = np.array(divergence)
    own = np.array([s[0], s[:2].mean(), s[1:].mean(), s[2]])
    around = np.array([own[1], (own[0] + own[2]) / 2, (own[1] + own[3]) / 2, own[2]])
    return (own + FLOOR * eps) / (around + FLOOR * eps)


def clouds_of_line(x: Tensor) -> list[np.ndarray]:
    squares = (x[1:] - x[:-1]).square()
    median = squares.median(dim=-1).values.median()  # odd numbers of points and edges
    place = np.linspace(0.0, 16.0, x.shape[1])
    return [np.stack([row.numpy() / math.sqrt(median / 0.45494), place], axis=1) for row in x]


@pytest.mark.parametrize("eps", [1.0, 5.0])
def test_score_equals_that_from_entropic_transport_by_pot(eps: float) -> None:
    clouds = clouds_of_line(x := spectra(4, 9))

    def objective(first: np.ndarray, second: np.ndarray) -> float:
        cost = ot.dist(first, second)
        uniform = np.full(9, 1 / 9)
        plan = ot.sinkhorn(uniform, uniform, cost, eps, stopThr=1e-8, numItermax=20000)
        return float((plan * cost).sum() + eps * (plan * np.log(np.maximum(plan * 81, 1e-300))).sum())

    itself = [objective(cloud, cloud) for cloud in clouds]
    pairs = [objective(clouds[i], clouds[i + 1]) - (itself[i] + itself[i + 1]) / 2 for i in range(3)]
    found = neighborhood_transport_score(x, line(), eps=eps)
    np.testing.assert_allclose(found.numpy(), scores_of_line(pairs, eps), rtol=5e-3)


def test_score_tends_to_that_from_exact_transport() -> None:
    clouds = clouds_of_line(x := spectra(4, 9))
    uniform = np.full(9, 1 / 9)
    pairs = [ot.emd2(uniform, uniform, ot.dist(clouds[i], clouds[i + 1])) for i in range(3)]
    found = neighborhood_transport_score(x, line(), eps=0.05)
    np.testing.assert_allclose(found.numpy(), scores_of_line(pairs, 0.05), rtol=0.02)


def test_planted_anomaly_scores_highest() -> None:
    x = spectra()
    x[7, 10:18] += 3.0
    edges = knn_graph(x, 6)
    for kwargs in ({}, {"error": torch.full_like(x, 0.1)}, {"mask": torch.rand(x.shape) < 2}):
        scores = neighborhood_transport_score(x, edges, **kwargs)
        assert int(scores.argmax()) == 7
        assert float(scores[7]) > 3 * float(scores.median())
        assert 0.5 < float(scores.median()) < 2


def test_displaced_feature_counts_less_than_a_missing_one() -> None:
    x = spectra(12, 64, seed=1)
    x -= x.mean(dim=1, keepdim=True)
    displaced, missing = x.clone(), x.clone()
    displaced[0] = x[0].roll(2)
    missing[0, 25:39] = x[0, :14]
    found = [float(neighborhood_transport_score(each, ring(12))[0]) for each in (x, displaced, missing)]
    assert found[1] < found[2] / 2


def test_permuting_the_nodes_permutes_the_scores() -> None:
    x, edges = spectra(), ring(24)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    place = order.argsort()
    found = neighborhood_transport_score(x, edges)
    torch.testing.assert_close(neighborhood_transport_score(x[order], place[edges]), found[order], rtol=5e-3, atol=0.0)


def test_chunks_do_not_change_the_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    x, edges = spectra(12), ring(12)
    found = neighborhood_transport_score(x, edges)
    monkeypatch.setattr(transport, "CHUNK_ENTRIES", 5 * 32**2)
    torch.testing.assert_close(neighborhood_transport_score(x, edges), found, rtol=5e-3, atol=0.0)


def test_shift_and_scale_of_all_series_and_positions_change_nothing() -> None:
    x, edges = spectra(12), ring(12)
    found = neighborhood_transport_score(x, edges)
    position = torch.linspace(3600.0, 9824.0, 64, dtype=torch.float64)
    torch.testing.assert_close(neighborhood_transport_score(1e-17 * (x + 5.0), edges, position=position), found)
    uneven = neighborhood_transport_score(x, edges, position=position.square())
    assert not torch.allclose(uneven, found, rtol=1e-4)


def test_types_agree() -> None:
    x, edges = spectra(12), ring(12)
    found = neighborhood_transport_score(x.float(), edges)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), neighborhood_transport_score(x, edges), rtol=5e-3, atol=0.0)


def test_masked_points_have_no_influence() -> None:
    x, edges = spectra(12), ring(12)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[3, 20:40] = False
    found = neighborhood_transport_score(x, edges, mask=mask)
    other = torch.where(mask, x, torch.full_like(x, 1e9))
    torch.testing.assert_close(neighborhood_transport_score(other, edges, mask=mask), found)
    unknown = torch.where(mask, x, math.nan)
    torch.testing.assert_close(neighborhood_transport_score(unknown, edges), found)
    no_error = torch.where(mask, 1.0, math.inf).double()
    with_error = neighborhood_transport_score(x, edges, error=no_error)
    torch.testing.assert_close(neighborhood_transport_score(other, edges, error=no_error), with_error)
    assert float(found[3]) < 3  # lacking a part makes no anomaly


def test_noise_that_the_errors_tell_of_is_no_anomaly() -> None:
    x, edges = spectra(24, 64), ring(24)
    x = x - x.mean(dim=1, keepdim=True)
    error = torch.full_like(x, 0.1)
    error[5] = 1.0
    x[5] += torch.randn(64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    silent = neighborhood_transport_score(x, edges, num_points=64)
    told = neighborhood_transport_score(x, edges, error=error, num_points=64)
    assert int(silent.argmax()) == 5
    assert float(told[5]) < float(silent[5]) / 5


def test_nodes_without_data_or_neighbours_are_nan_and_change_no_other() -> None:
    x, edges = spectra(12), ring(12)
    found = neighborhood_transport_score(x, edges)
    gaps = torch.cat([x, torch.full((1, 64), math.nan, dtype=x.dtype), x[:1]])
    into_empty = torch.tensor([[0, 12, 12, 13], [12, 0, 12, 13]])  # and edges from nodes to themselves
    scores = neighborhood_transport_score(gaps, torch.cat([edges, into_empty], dim=1))
    assert scores[12:].isnan().all()
    torch.testing.assert_close(scores[:12], found, rtol=5e-3, atol=0.0)


def test_two_nodes_are_as_far_from_each_other() -> None:
    x = spectra(2)
    assert neighborhood_transport_score(x, torch.tensor([[0, 1], [1, 0]])).tolist() == [1.0, 1.0]
    one_way = neighborhood_transport_score(x, torch.tensor([[0], [1]]))
    assert one_way[0].isnan()
    assert float(one_way[1]) == 1.0


def test_equal_series_score_one_and_a_different_one_stands_out() -> None:
    x = torch.ones(8, 10)
    assert torch.equal(neighborhood_transport_score(x, ring(8)), torch.ones(8))
    x[2, 4] = 1.5
    scores = neighborhood_transport_score(x, ring(8))
    assert int(scores.argmax()) == 2
    assert scores.isfinite().all()


def test_empty_graphs() -> None:
    none = torch.empty(2, 0, dtype=torch.int64)
    assert neighborhood_transport_score(spectra(3), none).isnan().all()
    assert neighborhood_transport_score(torch.empty(0, 5), none).shape == (0,)
    assert neighborhood_transport_score(torch.full((2, 5), math.nan), torch.tensor([[0, 1], [1, 0]])).isnan().all()


def test_bad_input() -> None:
    x, edges = spectra(3), torch.tensor([[0], [1]])
    with pytest.raises(InputError, match="x has shape"):
        neighborhood_transport_score(x[0], edges)
    with pytest.raises(InputTypeError, match="x is of type"):
        neighborhood_transport_score(x.long(), edges)
    with pytest.raises(InputTypeError, match="mask"):
        neighborhood_transport_score(x, edges, mask=x)
    for name in ("mask", "error", "position"):
        value = torch.ones(3, 5, dtype=torch.bool if name == "mask" else x.dtype)
        with pytest.raises(InputError, match=name):
            neighborhood_transport_score(x, edges, **{name: value})
    with pytest.raises(InputError, match="edge_index has shape"):
        neighborhood_transport_score(x, edges[0])
    with pytest.raises(InputError, match="edge_index has nodes"):
        neighborhood_transport_score(x, edges + 2)
    with pytest.raises(InputTypeError, match="edge_index"):
        neighborhood_transport_score(x, edges.double())
    with pytest.raises(InputError, match="num_points"):
        neighborhood_transport_score(x, edges, num_points=0)
    with pytest.raises(InputError, match="eps"):
        neighborhood_transport_score(x, edges, eps=0.0)
