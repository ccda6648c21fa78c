"""Components of incomplete spectra: against the singular value decomposition, exact recovery, and odd inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops import spectral_components as module
from stgraph.ops.spectral_components import spectral_components


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def low_rank(rows: int = 40, points: int = 60, rank: int = 3) -> Tensor:
    size = torch.arange(rank, 0, -1, dtype=torch.float64)
    return random(rows, rank) * size @ random(rank, points, seed=1) + 5 * random(points, seed=2)


def all_of(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool)


def missing(x: Tensor, share: float = 0.2) -> Tensor:
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) > share


def test_complete_spectra_have_the_components_of_the_singular_value_decomposition():
    x = low_rank() + 1e-3 * random(40, 60, seed=4)
    scores, components, mean = spectral_components(x, all_of(x), 3)
    left, size, right = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False)
    torch.testing.assert_close(mean, x.mean(dim=0), rtol=0, atol=1e-9)
    torch.testing.assert_close(scores @ components, left[:, :3] * size[:3] @ right[:3], rtol=0, atol=1e-5)
    torch.testing.assert_close(components @ components.t(), torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-10)
    assert (scores.var(dim=0).diff() < 0).all()
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()


@pytest.mark.parametrize("robust", [False, True])
def test_missing_points_are_recovered(robust):
    x = low_rank()
    mask = missing(x)
    scores, components, mean = spectral_components(x.masked_fill(~mask, 0.0), mask, 3, 100, robust=robust)
    torch.testing.assert_close(mean + scores @ components, x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
def test_masked_points_have_no_influence(wrong):
    x = low_rank()
    mask = missing(x)
    expected = spectral_components(x, mask, 3, error=x.abs())
    found = spectral_components(x.masked_fill(~mask, wrong), mask, 3, error=x.abs().masked_fill(~mask, wrong))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_feature_of_one_spectrum_hardly_changes_its_scores_when_robust():
    x = low_rank(80, 200) + 0.01 * random(80, 200, seed=4)
    changed = x.clone()
    changed[7, 50:70] += 30.0
    clean = spectral_components(x, all_of(x), 3, robust=True)
    shift = {}
    for robust in (False, True):
        scores, components, mean = spectral_components(changed, all_of(x), 3, robust=robust)
        expected = mean + scores[7] @ components
        shift[robust] = (expected - x[7]).square().mean().sqrt().item()
        others = torch.arange(80) != 7
        if robust:
            assert (scores @ components + mean - x)[others].abs().max() < 0.06
    assert shift[True] < 0.05
    assert shift[False] > 20 * shift[True]
    torch.testing.assert_close(clean.mean + clean.scores @ clean.components, x, rtol=0, atol=0.06)


def test_errors_weigh_the_points():
    x = low_rank(60, 80)
    error = torch.full_like(x, 0.01)
    error[:, ::4] = 10.0
    noisy = x + error * random(60, 80, seed=5)
    quality = {}
    for name, given in (("weighted", error), ("plain", None)):
        scores, components, mean = spectral_components(noisy, all_of(x), 3, error=given)
        quality[name] = (mean + scores @ components - x)[:, 1::4].square().mean().sqrt().item()
    assert quality["weighted"] < 0.02
    assert quality["plain"] > 10 * quality["weighted"]


def test_an_error_of_zero_has_a_finite_weight():
    x = low_rank()
    error = torch.ones_like(x)
    error[3] = 0.0
    assert all(part.isfinite().all() for part in spectral_components(x, all_of(x), 3, error=error))
    assert all(part.isfinite().all() for part in spectral_components(x, all_of(x), 3, error=0 * error))


def test_the_order_of_the_spectra_does_not_matter():
    x = low_rank() + 0.1 * random(40, 60, seed=4)
    mask, turn = missing(x), torch.randperm(40, generator=torch.Generator().manual_seed(6))
    first, second = (
        spectral_components(x, mask, 3, robust=True),
        spectral_components(x[turn], mask[turn], 3, robust=True),
    )
    torch.testing.assert_close(second.scores, first.scores[turn], rtol=0, atol=1e-8)
    torch.testing.assert_close(second.components, first.components, rtol=0, atol=1e-8)


def test_the_unit_does_not_matter():
    x = low_rank() + 0.1 * random(40, 60, seed=4)
    plain = spectral_components(x, missing(x), 3, robust=True)
    small = spectral_components(x.float() * 1e-17, missing(x), 3, robust=True)
    assert small.scores.dtype == torch.float32
    torch.testing.assert_close(small.scores.double() * 1e17, plain.scores, rtol=0, atol=1e-2)
    torch.testing.assert_close(small.components.double(), plain.components, rtol=0, atol=1e-3)


@pytest.mark.parametrize("points", [80, 83])
def test_long_spectra_are_averaged_first_and_fitted_at_full_length(points, monkeypatch):
    wave = torch.linspace(0, 6, points, dtype=torch.float64)
    x = torch.cat([random(40, 1) * 2, random(40, 1, seed=1)], 1) @ torch.stack(
        [2 * (-wave).exp(), (-(wave - 3).square()).exp()]
    )
    x = x + 0.01 * random(40, points, seed=4)
    mask = missing(x)
    whole = spectral_components(x, mask, 2)
    monkeypatch.setattr(module, "_COARSE", 20)
    found = spectral_components(x, mask, 2)
    for name, tolerance in (("scores", 0.03), ("components", 0.01), ("mean", 0.01)):
        torch.testing.assert_close(getattr(found, name), getattr(whole, name), rtol=0, atol=tolerance)


def test_spectra_and_columns_without_good_points():
    x = low_rank()
    mask = missing(x)
    mask[[0, 5]] = False
    mask[:, [2, 9]] = False
    scores, components, mean = spectral_components(x, mask, 3, 50, robust=True)
    assert not scores[[0, 5]].any()
    assert not components[:, [2, 9]].any()
    assert not mean[[2, 9]].any()
    left = torch.ones(40, dtype=torch.bool)
    left[[0, 5]] = False
    fitted = (mean + scores @ components)[left]
    assert (fitted - x[left])[mask[left]].abs().max() < 1e-4
    again = spectral_components(x[left], mask[left], 3, 50, robust=True)
    torch.testing.assert_close(again.scores, scores[left], rtol=0, atol=1e-8)


def test_nothing_good_at_all():
    x = torch.full((3, 5), torch.nan)
    found = spectral_components(x, all_of(x), 2, robust=True)
    assert not any(part.any() for part in found)
    assert [tuple(part.shape) for part in found] == [(3, 2), (2, 5), (5,)]
    assert spectral_components(x[:0], all_of(x)[:0], 2).scores.shape == (0, 2)


@pytest.mark.parametrize(("rows", "points"), [(1, 6), (2, 6), (3, 6), (8, 2), (4, 1)])
def test_fewer_spectra_or_points_than_components(rows, points):
    x = random(rows, points)
    scores, components, mean = spectral_components(x, all_of(x), 5)
    assert scores.shape == (rows, 5)
    assert not scores[:, min(rows - 1, points) :].any()
    torch.testing.assert_close(mean + scores @ components, x, rtol=0, atol=1e-5)


def test_equal_spectra_have_no_components():
    x = random(1, 20).expand(6, 20)
    scores, _, mean = spectral_components(x, all_of(x), 3, robust=True)
    torch.testing.assert_close(mean, x[0])
    assert scores.abs().max() < 1e-10


def test_a_spectrum_of_few_points_gets_no_wild_scores():
    x = low_rank(60, 80) + 0.3 * random(60, 80, seed=4)
    mask = all_of(x)
    mask[0, 2:] = False
    scores = spectral_components(x, mask, 3).scores
    assert scores[0].norm() < 2 * scores[1:].norm(dim=1).max()


def test_wrong_input_is_refused_by_name():
    x = low_rank(4, 6)
    with pytest.raises(InputError, match=r"^x has shape \(6,\)"):
        spectral_components(x[0], all_of(x)[0])
    with pytest.raises(InputError, match=r"^mask has shape \(4, 5\)"):
        spectral_components(x, all_of(x)[:, 1:])
    with pytest.raises(InputError, match=r"^error has shape \(3, 6\)"):
        spectral_components(x, all_of(x), error=x[1:])
    with pytest.raises(InputTypeError, match=r"^x has dtype"):
        spectral_components(x.long(), all_of(x))
    with pytest.raises(InputTypeError, match=r"^mask has dtype"):
        spectral_components(x, x)
    for name in ("count", "iterations"):
        with pytest.raises(InputError, match=f"^{name} is 0"):
            spectral_components(x, all_of(x), **{name: 0})
