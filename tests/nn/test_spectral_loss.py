"""Losses of spectra: every kind against NumPy, denominators, bad points, the floor, the weight of the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral_loss import SpectralLoss

KINDS = ("gradient", "chi2", "gaussian_nll", "huber", "mse")


def batch(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    shape = (3, 8, 2)
    reconstructed, target = (2 * torch.randn(shape, generator=random, dtype=dtype) for _ in range(2))
    mask = torch.rand(shape, generator=random) < 0.7
    error = 0.5 + torch.rand(shape, generator=random, dtype=dtype)
    return {"reconstructed": reconstructed, "target": target, "mask": mask, "error": error}


def by_numpy(kind: str, given: dict[str, Tensor], denominator: str) -> float:
    """One point after another."""
    reconstructed, target, mask, error = (given[name].numpy() for name in ("reconstructed", "target", "mask", "error"))
    total, good, points = 0.0, 0, 0
    for row, j, channel in np.ndindex(*target.shape):
        if kind == "gradient" and j == 0:
            continue
        points += 1
        if not mask[row, j, channel]:
            continue
        good += 1
        difference = reconstructed[row, j, channel] - target[row, j, channel]
        if kind == "gradient":
            step = abs(target[row, j, channel] - target[row, j - 1, channel]) if mask[row, j - 1, channel] else 0.0
            total += difference**2 * (1 + 10 * step)
        elif kind == "chi2":
            total += (difference / (error[row, j, channel] + 1e-5)) ** 2
        elif kind == "gaussian_nll":
            total -= norm.logpdf(difference, scale=np.sqrt(error[row, j, channel] ** 2 + 0.01))
        elif kind == "huber":
            total += difference**2 / 2 if abs(difference) <= 1 else abs(difference) - 0.5
        else:
            total += difference**2
    return total / (good if denominator == "good" else points)


@pytest.mark.parametrize("denominator", ["good", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_against_numpy(kind, denominator):
    given = batch()
    loss = SpectralLoss(kind, denominator=denominator).double()
    assert loss(**given).item() == pytest.approx(by_numpy(kind, given, denominator), rel=1e-6)


def test_the_published_forms():
    given = batch()
    x, target, error = (given[name] for name in ("reconstructed", "target", "error"))
    mask = torch.ones_like(given["mask"])
    mask[:, 5:] = False  # padding at the end, which has no gradient of its own
    documented = (x - target)[:, 1:].square() * (1 + 10 * (target[:, 1:] - target[:, :-1]).abs()) * mask[:, 1:]
    loss = SpectralLoss(denominator="all")
    torch.testing.assert_close(loss(x, target, mask), documented.mean())
    network = nn.Linear(3, 2, dtype=torch.float64)
    later = (((x - target) / (error + 1e-5)).square() * mask).mean()
    later = later + 1e-5 * sum(parameter.abs().sum() for parameter in network.parameters())
    loss = SpectralLoss("chi2", l1=1e-5, denominator="all")
    torch.testing.assert_close(loss(x, target, mask, error, network), later)
    torch.testing.assert_close(loss(x, target, mask, error, iter(network.parameters())), later)


def test_options_of_the_point_errors():
    given = batch()
    assert SpectralLoss("gradient", weight_factor=0.0)(**given) < SpectralLoss("gradient")(**given)
    half = SpectralLoss("huber", huber_delta=100.0)(**given)
    torch.testing.assert_close(half, SpectralLoss("mse")(**given) / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    given = batch()
    loss = SpectralLoss(kind).double()
    parameters = [parameter.detach().clone().requires_grad_() for parameter in loss.parameters()]

    def value(reconstructed: Tensor, *own: Tensor) -> Any:
        named = dict(zip(dict(loss.named_parameters()), own, strict=True))
        rest = tuple(given[name] for name in ("target", "mask", "error"))
        return torch.func.functional_call(loss, named, (reconstructed, *rest))

    assert torch.autograd.gradcheck(value, (given["reconstructed"].requires_grad_(), *parameters))


@pytest.mark.parametrize("junk", [1e9, torch.inf, torch.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_bad_points_do_not_matter(kind, junk):
    given, loss = batch(), SpectralLoss(kind).double()
    other = {k: v if k == "mask" else torch.where(given["mask"], v, junk) for k, v in given.items()}
    results = []
    for one in (given, other):
        loss.zero_grad()
        x = one["reconstructed"].detach().requires_grad_()
        value = loss(x, one["target"], one["mask"], one["error"])
        value.backward()
        assert x.grad is not None
        assert not x.grad[~given["mask"]].any()
        results.append([value.detach(), x.grad, *(parameter.grad for parameter in loss.parameters())])
    for own, expected in zip(*results, strict=True):
        assert torch.equal(own, expected)


@pytest.mark.parametrize("denominator", ["good", "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_without_good_points_all_is_zero(kind, denominator):
    given, loss = batch(), SpectralLoss(kind, denominator=denominator).double()
    x = given["reconstructed"].requires_grad_()
    for rows in (slice(None), slice(0)):
        value = loss(x[rows], given["target"][rows], given["mask"][rows] & False, given["error"][rows])
        value.backward()
        assert value.item() == 0
    assert x.grad is not None
    assert not x.grad.any()
    assert not any(parameter.grad.any() for parameter in loss.parameters())


def test_the_floor_learns_the_scatter_that_the_errors_leave():
    # Residuals of +-0.5 with errors of 0.3: the likelihood is largest for a floor of 0.5^2 - 0.3^2.
    x = torch.tensor([0.5, -0.5], dtype=torch.float64).repeat(20).view(1, 40, 1)
    mask = torch.ones_like(x, dtype=torch.bool)
    for error, best in ((torch.full_like(x, 0.3), 0.16), (None, 0.25)):
        loss = SpectralLoss("gaussian_nll").double()
        assert loss.log_floor is not None
        slopes = []
        for floor in (best / 1.1, best, best * 1.1):
            loss.log_floor.data.fill_(floor).log_()
            slopes += torch.autograd.grad(loss(x, torch.zeros_like(x), mask, error), loss.log_floor)
        assert slopes[0] < -1e-3
        assert slopes[1].item() == pytest.approx(0, abs=1e-12)
        assert slopes[2] > 1e-3
        loss.reset_parameters()
        assert loss.log_floor.exp().item() == pytest.approx(0.01)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_computed_in_float32(kind):
    given, loss = batch(torch.float32), SpectralLoss(kind)
    expected = loss(**given)
    came = loss(**{**given, "reconstructed": given["reconstructed"].bfloat16()})
    assert came.dtype == torch.float32
    torch.testing.assert_close(came, expected, rtol=0.05, atol=0.05)


def test_spectra_without_an_axis_of_channels_and_of_one_point():
    given = batch()
    flat = {name: value[..., 0] for name, value in given.items()}
    single = {name: value[..., :1] for name, value in given.items()}
    for kind in KINDS:
        torch.testing.assert_close(SpectralLoss(kind)(**flat), SpectralLoss(kind)(**single))
    point = {name: value[:, :1] for name, value in given.items()}
    assert SpectralLoss("gradient")(**point).item() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "l2"}, "kind is 'l2'; expected one of gradient, chi2"),
        ({"denominator": "some"}, "denominator is 'some'; expected one of good, all"),
        ({"weight_factor": -1.0}, "weight_factor is -1"),
        ({"l1": float("nan")}, "l1 is nan"),
        ({"huber_delta": 0.0}, "huber_delta is 0"),
    ],
)
def test_unusable_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        SpectralLoss(**options)


def test_unusable_inputs_are_refused():
    given = batch()
    with pytest.raises(InputError, match="error is None; the loss 'chi2' needs"):
        SpectralLoss("chi2")(**{**given, "error": None})
    with pytest.raises(InputError, match=r"target has shape \(2, 8, 2\); expected \(3, 8, 2\)"):
        SpectralLoss()(**{**given, "target": given["target"][1:]})
    with pytest.raises(InputError, match=r"error has shape \(8, 2\)"):
        SpectralLoss()(**{**given, "error": given["error"][0]})
    with pytest.raises(InputTypeError, match=r"mask has dtype torch\.float32; expected torch\.bool"):
        SpectralLoss()(**{**given, "mask": given["mask"].float()})
    with pytest.raises(InputError, match=r"reconstructed has shape \(2,\)"):
        SpectralLoss()(**{name: value[0, 0] for name, value in given.items()})
    for empty in (None, []):
        with pytest.raises(InputError, match=r"parameters is .*; l1=0\.1 needs the network"):
            SpectralLoss(l1=0.1)(**given, parameters=empty)
    with pytest.raises(InputError, match="parameters is empty"):
        SpectralLoss(l1=0.1)(**given, parameters=nn.ReLU())
