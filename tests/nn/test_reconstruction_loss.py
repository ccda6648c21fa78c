"""Losses of reconstructions: the kinds against NumPy and SciPy, weights, shares of processes, unobserved points."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor

from stgraph.errors import InputError
from stgraph.nn.reconstruction_loss import LossSums, ReconstructionLoss

KINDS = ("mse", "mae", "huber", "chi2", "gaussian_nll")


def batch(rows: int = 4, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shape = (rows, 9, 2)
    mean, target, log_variance = (2 * torch.randn(shape, generator=random) for _ in range(3))
    observed = torch.rand(shape, generator=random) < 0.8
    return {
        "mean": mean,
        "target": target,
        "observed": observed,
        "hidden": torch.rand(shape, generator=random) < 0.4,
        "error": 0.5 + torch.rand(shape, generator=random),
        "log_variance": log_variance,
    }


def rows(given: dict[str, Tensor], chosen: slice) -> dict[str, Tensor]:
    return {name: value[chosen] for name, value in given.items()}


def by_numpy(kind: str, given: dict[str, Tensor]) -> np.ndarray:
    mean, target, error, log_variance = (
        given[name].double().numpy() for name in ("mean", "target", "error", "log_variance")
    )
    difference = np.abs(mean - target)
    points: dict[str, Any] = {
        "mse": difference**2,
        "mae": difference,
        "huber": np.where(difference <= 0.7, difference**2 / 2, 0.7 * (difference - 0.35)),
        "chi2": (difference / error) ** 2,
        "gaussian_nll": -norm.logpdf(target, mean, np.exp(log_variance / 2)),
    }
    found: np.ndarray = points[kind]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_kinds(kind):
    given = batch()
    loss = ReconstructionLoss(kind, huber_delta=0.7)
    sums = loss.sums(**given)
    points, observed, hidden = by_numpy(kind, given), given["observed"].numpy(), given["hidden"].numpy()
    assert sums.hidden.item() == pytest.approx(points[observed & hidden].sum(), rel=1e-5)
    assert sums.visible.item() == pytest.approx(points[observed & ~hidden].sum(), rel=1e-5)
    assert (sums.hidden_count, sums.visible_count) == ((observed & hidden).sum(), (observed & ~hidden).sum())
    assert loss(sums).item() == pytest.approx(points[observed].mean(), rel=1e-5)
    weighted = ReconstructionLoss(kind, hidden_weight=0.8, huber_delta=0.7)
    expected = 0.8 * points[observed & hidden].mean() + 0.2 * points[observed & ~hidden].mean()
    assert weighted(weighted.sums(**given)).item() == pytest.approx(expected, rel=1e-5)


def test_stacked_sums_can_be_added():
    sums = ReconstructionLoss().sums(**batch())
    stacked = sums.stacked()
    assert stacked.dtype == torch.float64
    assert not stacked.requires_grad
    assert stacked.tolist() == [float(value) for value in sums]


@pytest.mark.parametrize("hidden_weight", [None, 0.8])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_over_processes_is_the_loss_of_the_whole(kind, hidden_weight):
    given = batch()
    loss = ReconstructionLoss(kind, hidden_weight)
    mean = given["mean"].requires_grad_()
    total = loss(loss.sums(**given))
    (gradient,) = torch.autograd.grad(total, mean)
    parts = [loss.sums(**rows(given, chosen)) for chosen in (slice(0, 3), slice(3, 4))]
    whole = sum(part.stacked() for part in parts)[2:].float()
    losses = [loss(part, whole, world_size=2) for part in parts]
    (averaged,) = torch.autograd.grad(sum(losses) / 2, mean)
    assert (sum(losses) / 2).item() == pytest.approx(total.item(), rel=1e-6)
    torch.testing.assert_close(averaged, gradient, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
@pytest.mark.parametrize("kind", KINDS)
def test_unobserved_targets_and_errors_have_no_influence(kind, wrong):
    given = batch()
    spoilt = {**given, **{n: given[n].masked_fill(~given["observed"], wrong) for n in ("target", "error")}}
    results = []
    for values in (given, spoilt):
        mean, log_variance = (values[name].clone().requires_grad_() for name in ("mean", "log_variance"))
        loss = ReconstructionLoss(kind)
        total = loss(loss.sums(**{**values, "mean": mean, "log_variance": log_variance}))
        gradients = torch.autograd.grad(total, (mean, log_variance), allow_unused=True)
        results.append([total, *(gradient for gradient in gradients if gradient is not None)])
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)
    assert not results[0][1][~given["observed"]].any()


@pytest.mark.parametrize("error", [0.0, 1e-12])
def test_tiny_measurement_errors_stay_finite(error):
    given = batch()
    loss = ReconstructionLoss("chi2")
    assert loss(loss.sums(**{**given, "error": torch.full_like(given["mean"], error)})).isfinite()


@pytest.mark.parametrize("log_variance", [-100.0, 100.0])
def test_extreme_variances_stay_finite(log_variance):
    given = batch()
    loss = ReconstructionLoss("gaussian_nll")
    sums = loss.sums(**{**given, "log_variance": torch.full_like(given["mean"], log_variance)})
    assert loss(sums).isfinite()


def test_nothing_hidden_and_nothing_observed():
    given = batch()
    given["hidden"] = torch.zeros_like(given["hidden"])
    every, weighted = ReconstructionLoss(), ReconstructionLoss(hidden_weight=0.25)
    sums = every.sums(**given)
    assert (sums.hidden, sums.hidden_count) == (0, 0)
    assert weighted(sums).item() == pytest.approx(0.75 * every(sums).item())
    given["observed"] = torch.zeros_like(given["observed"])
    given["mean"].requires_grad_()
    total = every(every.sums(**given))
    assert total == 0
    assert not torch.autograd.grad(total, given["mean"])[0].any()


def test_half_precision_is_summed_in_float32():
    given = batch()
    sums = ReconstructionLoss().sums(**{**given, "mean": given["mean"].bfloat16()})
    assert sums.hidden.dtype == torch.float32


def test_errors():
    given = batch()
    with pytest.raises(InputError, match="kind is 'rmse'"):
        ReconstructionLoss("rmse")  # type: ignore[arg-type]
    for weight in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="hidden_weight"):
            ReconstructionLoss(hidden_weight=weight)
    with pytest.raises(InputError, match="huber_delta"):
        ReconstructionLoss(huber_delta=0)
    with pytest.raises(InputError, match="needs measurement errors"):
        ReconstructionLoss("chi2").sums(**{**given, "error": None})
    with pytest.raises(InputError, match="uncertainty=True"):
        ReconstructionLoss("gaussian_nll").sums(**{**given, "log_variance": None})
    with pytest.raises(InputError, match="expected the same"):
        ReconstructionLoss().sums(**{**given, "mean": given["mean"][..., :1]})
    assert repr(ReconstructionLoss("mae", 0.5)) == "ReconstructionLoss('mae', hidden_weight=0.5)"
    assert isinstance(ReconstructionLoss().sums(**given), LossSums)
