"""Scores of latent vectors."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from sklearn.covariance import ledoit_wolf as sklearn_ledoit_wolf
from sklearn.neighbors import NearestNeighbors

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly import latent
from stgraph.ops.anomaly.latent import latent_score, ledoit_wolf

METHODS = ("mahalanobis", "knn")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("count", "dimension"), [(50, 4), (10, 30), (2, 3), (20, 1)])
def test_ledoit_wolf_equals_sklearn(count: int, dimension: int) -> None:
    deviations = normal(count, dimension) * torch.arange(1, dimension + 1)
    expected, _ = sklearn_ledoit_wolf(deviations.numpy(), assume_centered=True)
    torch.testing.assert_close(ledoit_wolf(deviations), torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_mahalanobis_is_the_distance_in_standard_deviations() -> None:
    """Squared distances of normal latents follow a chi-squared distribution, whatever the covariance."""
    mixing = torch.tensor([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.0, 0.0, 4.0]], dtype=torch.float64)
    squares = latent_score(normal(3000, 3) @ mixing + 7.0).square()
    expected = torch.from_numpy(stats.chi2(3).ppf([0.1, 0.5, 0.9]))
    torch.testing.assert_close(squares.quantile(torch.tensor([0.1, 0.5, 0.9]).double()), expected, rtol=0.08, atol=0.0)


def test_mahalanobis_is_not_fooled_by_anomalies_in_the_reference() -> None:
    clean = normal(400, 3)
    dirty = clean.clone()
    dirty[:60] += torch.tensor([30.0, 0.0, 0.0])
    scores = latent_score(dirty)
    assert float(scores[:60].min()) > 15.0
    torch.testing.assert_close(scores[60:], latent_score(clean)[60:], rtol=0.35, atol=0.2)


@pytest.mark.parametrize("own", [True, False])
def test_knn_equals_sklearn(own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latent, "DISTANCE_ENTRIES", 7 * 50)  # several blocks
    latents = normal(50, 4)
    reference = None if own else normal(30, 4, seed=1)
    neighbors = NearestNeighbors(n_neighbors=5).fit((latents if own else reference).numpy())
    distances, _ = neighbors.kneighbors(None if own else latents.numpy())
    found = latent_score(latents, reference, method="knn", k=5)
    torch.testing.assert_close(found, torch.from_numpy(distances).mean(dim=-1), rtol=1e-10, atol=0.0)


def test_knn_of_few_and_of_equal_points() -> None:
    latents = torch.tensor([[0.0], [0.0], [3.0]])
    assert latent_score(latents, method="knn", k=1).tolist() == [0.0, 0.0, 3.0]
    assert latent_score(latents, method="knn", k=16).tolist() == [1.5, 1.5, 3.0]
    assert latent_score(latents, latents, method="knn", k=1).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("method", METHODS)
def test_scores_without_data_are_nan_and_change_no_other(method: str) -> None:
    latents = normal(20, 3)
    expected = latent_score(latents, method=method)
    gaps = torch.tensor([[math.nan, 0.0, 0.0], [0.0, math.inf, 0.0]], dtype=torch.float64)
    found = latent_score(torch.cat([gaps, latents]), method=method)
    assert found[:2].isnan().all()
    torch.testing.assert_close(found[2:], expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_permutation_and_type(method: str, dtype: torch.dtype) -> None:
    latents = normal(40, 3).to(dtype)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    found = latent_score(latents, method=method)
    assert found.dtype == dtype
    torch.testing.assert_close(latent_score(latents[order], method=method), found[order])
    reference = normal(60, 3, seed=2).to(dtype)
    whole = latent_score(latents, reference, method=method)
    torch.testing.assert_close(latent_score(latents[7:8], reference, method=method), whole[7:8])


def test_directions_without_spread() -> None:
    """A deviation where the reference has none counts for more than the same where it has."""
    reference = torch.cat([normal(50, 1), torch.zeros(50, 1)], dim=1)
    latents = torch.tensor([[3.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
    along, across = latent_score(latents, reference)
    assert across > 3 * along
    assert math.isfinite(across)


def test_bad_input() -> None:
    latents = normal(4, 2)
    with pytest.raises(InputError, match="method"):
        latent_score(latents, method="cosine")
    with pytest.raises(InputError, match="k is 0"):
        latent_score(latents, method="knn", k=0)
    with pytest.raises(InputError, match="reference has shape"):
        latent_score(latents, normal(4, 3))
    with pytest.raises(InputTypeError, match="latents"):
        latent_score(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="all equal"):
        latent_score(torch.ones(5, 2))
    with pytest.raises(InputError, match="all equal"):
        latent_score(torch.full((2, 2), math.nan))
    with pytest.raises(InputError, match="expected at least 2"):
        latent_score(latents[:1], method="knn")
