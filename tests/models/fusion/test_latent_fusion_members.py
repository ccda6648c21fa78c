"""Ensembles, expected errors, invariances and options of the whole method."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.models.fusion import (
    LatentEstimationFusion,
    make_endmembers,
)
from stgraph.ops.fusion import (
    apply_response,
    observe,
)
from tests.models.fusion.fused_scenes import (
    ALL,
    BANDS,
    PSF,
    SMALL,
    estimate,
    images,
    mixtures,
)

# Ensembles and uncertainty


def test_members_are_networks_of_the_next_seeds() -> None:
    calls: list[tuple[int, int]] = []
    method = LatentEstimationFusion(**SMALL, members=3, endmembers="atgp", correction=None)
    found = method.estimate(*images(), on_epoch=lambda member, epoch, _: calls.append((member, epoch)))
    assert calls == list(itertools.product(range(3), range(5)))
    assert len(found.records) == 3
    for member in range(3):
        one = estimate(endmembers="atgp", correction=None, seed=42 + member)
        assert torch.equal(found.members[member], one.latent)
        assert found.records[member].losses == one.records[0].losses
    assert torch.equal(found.latent, found.members.mean(dim=0))
    torch.testing.assert_close(found.image(), mixtures(found).clamp(0, 1), atol=1e-6, rtol=0)


def test_uncertainty_is_spread_and_expected_error() -> None:
    found = estimate(members=3)
    expected = found.uncertainty(ALL)
    members = torch.einsum("kc,mkhw->mchw", found.endmembers, found.members)
    variance = members.var(dim=0).mean(dim=0)
    torch.testing.assert_close(expected, (variance + found.expected_error.square()).sqrt(), atol=1e-5, rtol=1e-4)
    assert bool((expected >= found.expected_error).all())
    assert bool((found.expected_error >= 0).all())
    wider = found.latent + 2 * (found.members - found.latent)
    found.members = wider
    assert bool((found.uncertainty(ALL) >= expected).all())
    assert float(found.uncertainty(ALL).mean()) > float(expected.mean())
    one = estimate()
    assert torch.equal(one.uncertainty(ALL), one.expected_error)


def test_the_misfit_is_where_the_mixtures_are_wrong() -> None:
    lr_hsi, hr_msi, srf, psf, ratio = images()
    spoilt = lr_hsi.clone()
    spoilt[::2, 1, 1] += 0.5
    found = LatentEstimationFusion(**SMALL).estimate(spoilt, hr_msi, srf, psf, ratio)
    row, column = divmod(int(found.expected_error.argmax()), 20)
    assert 4 <= row < 8
    assert 4 <= column < 8


# Costs


def test_parameters_and_multiply_adds() -> None:
    generator = torch.Generator().manual_seed(0)
    shares, endmembers = torch.rand(9, 12, 12, generator=generator) / 9, torch.rand(9, 20, generator=generator)
    truth = torch.einsum("kc,khw->chw", endmembers, shares)
    srf = torch.softmax(torch.randn(4, 20, generator=generator), dim=1)
    method = LatentEstimationFusion.published(epochs=1, endmembers=endmembers)
    found = method.estimate(observe(truth, PSF, 4), apply_response(truth, srf), srf, PSF, 4)
    assert found.parameters == 14_345
    assert found.multiply_adds == 144 * (4 * 1024 + 1024 * 9 + 9 * 20)
    assert torch.equal(found.endmembers, endmembers)


# Invariances


@pytest.mark.parametrize(("bands", "options"), [(1, {"epochs": 1}), (1, {"prior": True}), (3, {})])
def test_any_batch_of_inference_gives_the_same(bands: int, options: dict[str, Any]) -> None:
    whole, *others = (estimate(bands, inference_batch_size=size, **options).image() for size in (None, 7, 1000))
    for image in others:
        torch.testing.assert_close(image, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{}, {"batch_size": 7}, {"spatial": "mgat", "epochs": 1}])
def test_a_repeat_gives_equal_bits_and_another_seed_other_ones(options: dict[str, Any]) -> None:
    state = torch.get_rng_state()
    first = estimate(**options).image()
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(estimate(**options).image(), first)
    assert not torch.equal(estimate(**options, seed=43).image(), first)


def test_pixels_in_another_order_give_the_same() -> None:
    lr_hsi, hr_msi, srf, _, _ = images()
    method = LatentEstimationFusion.published(**SMALL, inference_batch_size=None)
    at_once = lr_hsi.flatten(1)[:, :, None], hr_msi[:, :24, :20].flatten(1)[:, :120, None]
    # At a ratio of 1 and without blur each pixel is for itself.
    arguments = srf, torch.ones(1, 1), 1
    low, high = at_once[0], at_once[1][:, :30]
    expected = method.fuse(low, high, *arguments)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(method.fuse(low, high[:, order], *arguments), expected[:, order], atol=1e-6, rtol=0)


def test_double_precision() -> None:
    found = LatentEstimationFusion(**SMALL).estimate(*images(dtype=torch.float64))
    assert found.correction_record.applied
    assert {part.dtype for part in (found.image(), found.members, found.uncertainty(ALL))} == {torch.float64}


def test_sizes_that_are_no_multiples_and_layouts() -> None:
    arguments = images(height=23, width=19)
    found = LatentEstimationFusion(**SMALL).fuse(*arguments)
    assert found.shape == (BANDS, 23, 19)
    turned = [image.mT.contiguous().mT for image in arguments[:2]]
    assert not turned[0].is_contiguous()
    again = LatentEstimationFusion(**SMALL).fuse(*turned, *arguments[2:])
    torch.testing.assert_close(again, found, atol=1e-5, rtol=0)


def test_inputs_stay_as_they_are() -> None:
    arguments = images()
    before = [value.clone() for value in arguments[:4]]
    LatentEstimationFusion(**SMALL, correction="back_projection").fuse(*arguments).zero_()
    LatentEstimationFusion(**SMALL).fuse(*arguments)
    for value, old in zip(arguments, before, strict=False):
        assert torch.equal(value, old)


@pytest.mark.parametrize("options", [{}, {"spatial": "mgat", "epochs": 1}])
def test_it_trains_with_or_without_gradients_around_it(options: dict[str, Any]) -> None:
    expected = estimate(**options).image()
    lr_hsi, hr_msi, srf, psf, ratio = images()
    needing = (value.clone().requires_grad_() for value in (lr_hsi, hr_msi, srf, psf))
    found = LatentEstimationFusion(**{**SMALL, **options}).fuse(*needing, ratio)
    assert not found.requires_grad
    assert torch.equal(found, expected)
    with torch.no_grad():
        assert torch.equal(estimate(**options).image(), expected)
    with torch.inference_mode():
        assert torch.equal(estimate(**options).image(), expected)


def test_neighbours_can_be_read() -> None:
    found = estimate(1, spatial="mgat", epochs=3)
    assert found.image().shape == (BANDS, 24, 20)
    assert found.correction_record.applied
    assert found.parameters > estimate(1, spatial=None).parameters
    assert len(found.records[0].held_out_losses) == 3
    options: dict[str, Any] = {"spatial": "mgat", "epochs": 2, "endmembers": "atgp", "correction": None}
    first, second = estimate(1, **options, members=2).members
    assert torch.equal(second, estimate(1, **options, seed=43).latent)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("method", ["vca", "nfindr", "atgp", "pca"])
def test_endmembers_of_every_kind(method: str) -> None:
    expected = make_endmembers(images()[0].flatten(1).T, 3, method, 42)
    assert torch.equal(estimate(endmembers=method).endmembers, expected)


# Errors

BAD: list[tuple[dict[str, Any], str]] = [
    ({"count": 0}, "count is 0; expected at least 1"),
    ({"hidden": 0}, "hidden is 0"),
    ({"epochs": 0}, "epochs is 0"),
    ({"members": 0}, "members is 0"),
    ({"prior_factor": 0}, "prior_factor is 0"),
    ({"batch_size": 0}, "batch_size is 0"),
    ({"tile": 0}, "tile is 0"),
    ({"patience": 0}, "patience is 0"),
    ({"inference_batch_size": 0}, "inference_batch_size is 0"),
    ({"endmembers": "k-means"}, "endmembers is 'k-means'; expected one of"),
    ({"constraint": "sum"}, "constraint is 'sum'; expected one of"),
    ({"schedule": "cosine"}, "schedule is 'cosine'; expected one of"),
    ({"spatial": "gat"}, "spatial is 'gat'; expected one of"),
    ({"correction": "plain"}, "correction is 'plain'; expected one of"),
    ({"prior_upsample": "area"}, "prior_upsample is 'area'; expected one of"),
    ({"boundary": "wrap"}, "boundary must be one of"),
    ({"max_lr": -1.0}, "max_lr is -1.0"),
    ({"schedule": "flat", "max_lr": float("inf")}, "learning_rate is inf"),
    ({"batch_size": 4, "tile": 4}, "batch_size is 4 and tile 4; expected one of them"),
    ({"held_out": 1.0}, "held_out is 1.0; expected a share from 0 to below 1"),
    ({"patience": 3, "held_out": 0.0}, "patience is 3 and held_out 0"),
    ({"spatial": "mgat", "prior": False}, "spatial is given with prior=False"),
    ({"spatial": "mgat", "tile": 2}, "spatial is given with prior=False, batch_size or tile"),
]


@pytest.mark.parametrize(("options", "text"), BAD)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        LatentEstimationFusion(**options)


@pytest.mark.parametrize("value", [2.5, True, "3"])
def test_counts_are_whole_numbers(value: Any) -> None:
    for name in ("count", "epochs", "inference_batch_size"):
        with pytest.raises(InputTypeError, match=f"{name} is .*; expected a whole number"):
            LatentEstimationFusion(**{name: value})


def test_bad_images(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_work(*_: Any, **__: Any) -> Any:
        raise AssertionError("work has begun")

    for name in ("train_member", "denoise_image", "estimate_psf"):
        monkeypatch.setattr(f"stgraph.models.fusion.latent_fusion.{name}", no_work)
    lr_hsi, hr_msi, srf, psf, ratio = images()
    method = LatentEstimationFusion(**SMALL)
    with pytest.raises(InputError, match="not finite"):
        method.fuse(lr_hsi * torch.nan, hr_msi, srf, psf, ratio)
    with pytest.raises(InputError, match="expected 3 times as many, the ratio"):
        method.fuse(lr_hsi, hr_msi, srf, psf, 3)
    with pytest.raises(InputTypeError, match="lr_hsi and hr_msi have dtypes"):
        method.fuse(lr_hsi.double(), hr_msi, srf, psf, ratio)
    with pytest.raises(InputError, match="psf has the sum 2"):
        method.fuse(lr_hsi, hr_msi, srf, 2 * psf, ratio)
    with pytest.raises(InputError, match=rf"endmembers have shape \(3, 5\); expected \(endmembers, {BANDS}\)"):
        LatentEstimationFusion(endmembers=torch.ones(3, 5)).fuse(lr_hsi, hr_msi, srf, psf, ratio)
    with pytest.raises(InputError, match="count"):
        LatentEstimationFusion(count=BANDS + 1).fuse(lr_hsi, hr_msi, srf, psf, ratio)
