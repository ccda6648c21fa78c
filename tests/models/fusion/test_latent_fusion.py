"""The whole method: its steps, put together by hand, on a scene whose truth is known."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.models.fusion import (
    FusionEstimate,
    LatentEstimationFusion,
    LatentEstimationNetwork,
    coarse_prior,
    enlarge,
    fit_network,
    flat_schedule,
    held_out_blocks,
    make_endmembers,
    one_cycle_schedule,
    predict_pixels,
    tile_batches,
)
from stgraph.ops.fusion import (
    add_noise,
    apply_response,
    back_project,
    denoise_image,
    image_noise,
    observe,
    psf_kernel,
)

BANDS, RATIO = 12, 4
PSF = psf_kernel("gaussian", 1.5, 3)
CENTRES = {1: [5.5], 2: [3.0, 8.0], 3: [2.0, 6.0, 10.0]}
ALL = (slice(None), slice(None))
SMALL: dict[str, Any] = {"count": 3, "hidden": 8, "epochs": 5}


def response(bands: int) -> Tensor:
    centres = torch.tensor(CENTRES[bands])
    return torch.softmax(-((torch.arange(BANDS) - centres[:, None]) ** 2) / 8, dim=1)


@cache
def truth(height: int = 24, width: int = 20) -> Tensor:
    """Mixtures of four smooth spectra in patches with a little texture, in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    lines = torch.linspace(0, 3, BANDS) * torch.rand(4, 1, generator=generator) + torch.arange(4)[:, None]
    patches = torch.randint(4, (height // 6 + 2, width // 6 + 2), generator=generator)
    shares = torch.nn.functional.one_hot(patches, 4).permute(2, 0, 1).float()
    shares = shares.repeat_interleave(6, 1).repeat_interleave(6, 2)[:, 2 : height + 2, 3 : width + 3]
    shares = 0.8 * shares + 0.1 * torch.rand(4, height, width, generator=generator)
    return torch.einsum("kc,khw->chw", 0.5 + 0.4 * lines.sin(), shares)


@cache
def images(bands: int = 3, height: int = 24, width: int = 20, dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    """What a method is given of the scene."""
    generator, srf = torch.Generator().manual_seed(1), response(bands)
    hr_msi = add_noise(apply_response(truth(height, width), srf), 40.0, generator)
    lr_hsi = add_noise(observe(truth(height, width), PSF, RATIO), 35.0, generator)
    return lr_hsi.to(dtype), hr_msi.to(dtype), srf, PSF, RATIO


def estimate(bands: int = 3, **options: Any) -> FusionEstimate:
    return LatentEstimationFusion(**{**SMALL, **options}).estimate(*images(bands))


def mixtures(found: FusionEstimate) -> Tensor:
    return torch.einsum("kc,khw->chw", found.endmembers, found.latent)


def rmse(image: Tensor, other: Tensor) -> float:
    return float((image - other).square().mean().sqrt())


# Parts of the result


@pytest.mark.parametrize("correction", [None, "back_projection", "guided"])
def test_pieces_are_those_of_the_image(correction: Any) -> None:
    found = estimate(correction=correction, members=2)
    image, expected = found.image(), found.uncertainty(ALL)
    assert image.shape == (BANDS, 24, 20) == (found.bands, *found.size)
    assert bool(((image >= 0) & (image <= 1)).all())
    for rows, columns in itertools.product((slice(0, 7), slice(7, 24)), (slice(0, 1), slice(1, 13), slice(-7, None))):
        torch.testing.assert_close(found.spectra((rows, columns)), image[:, rows, columns], atol=1e-6, rtol=0)
        torch.testing.assert_close(found.uncertainty((rows, columns)), expected[rows, columns], atol=1e-6, rtol=0)
    whole = LatentEstimationFusion(**SMALL, correction=correction, members=2).fuse(*images())
    assert torch.equal(whole, image)


def test_values_are_clipped() -> None:
    found = estimate()
    found.members *= 100
    image = found.image()
    assert float(image.max()) == 1
    assert float(image.min()) == 0


def test_reading_a_part_changes_nothing() -> None:
    found = estimate(members=2)
    before = found.image()
    found.spectra(ALL).zero_()
    found.uncertainty(ALL).zero_()
    one = estimate()
    one.uncertainty(ALL).zero_()
    assert bool(one.expected_error.any())
    assert torch.equal(found.image(), before)


# Steps


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_published_is_its_steps_by_hand(dtype: torch.dtype) -> None:
    lr_hsi, hr_msi, srf, psf, ratio = images(dtype=dtype)
    calls: list[tuple[int, int, float]] = []
    method = LatentEstimationFusion.published(count=4, hidden=16, epochs=12, seed=7)
    found = method.estimate(lr_hsi, hr_msi, srf, psf, ratio, lambda *call: calls.append(call))
    spectra = lr_hsi.flatten(1).T
    endmembers = make_endmembers(spectra, 4, "nmf", 7)
    network = LatentEstimationNetwork(3, endmembers, 16)
    network.reset_parameters(torch.Generator().manual_seed(7))
    record = fit_network(
        network,
        apply_response(lr_hsi, srf).flatten(1).T.contiguous(),
        spectra.contiguous(),
        epochs=12,
        schedule=one_cycle_schedule(12),
        seed=7,
    )
    image, latent = predict_pixels(network, hr_msi.flatten(1).T)
    assert torch.equal(found.endmembers, endmembers)
    assert torch.equal(
        found.latent.flatten(1).T, predict_pixels(network.double(), hr_msi.flatten(1).T.double())[1].to(dtype)
    )
    torch.testing.assert_close(found.latent.flatten(1).T, latent, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.image().flatten(1).T, image, atol=1e-6, rtol=0)
    assert found.records[0].losses == record.losses
    assert calls == [(0, epoch, loss) for epoch, loss in enumerate(record.losses)]
    assert found.correction is None
    assert not found.correction_record.applied
    assert found.correction_record.reason == "not corrected: the correction is None"
    assert not found.noise_msi.any()
    assert found.records[0].held_out_losses == []


def test_published_defaults_are_those_of_the_paper() -> None:
    method = LatentEstimationFusion.published()
    assert (method.count, method.endmembers, method.members) == (7, "nmf", 1)
    assert (method.prior, method.denoise, method.correction, method.boundary) == (False, False, None, "zero")
    training = method.training
    assert (training.hidden, training.constraint, training.epochs, training.held_out) == (1024, None, 2500, 0)
    rates = training.learning_rates()
    assert (rates(749), rates(2499)) == (1e-2, 1e-6)
    assert LatentEstimationFusion.published(prior=True, epochs=3).prior is True


@pytest.mark.parametrize(
    ("options", "batches"),
    [({"batch_size": 10}, 10), ({"tile": 2}, tile_batches(6, 5, 2)), ({"schedule": "flat", "max_lr": 2e-3}, None)],
)
def test_the_whole_method_trains_as_the_options_say(options: dict[str, Any], batches: Any) -> None:
    lr_hsi, hr_msi, srf, _, _ = images()
    found = estimate(**options, constraint="simplex", endmembers="atgp")
    network = LatentEstimationNetwork(3, make_endmembers(lr_hsi.flatten(1).T, 3, "atgp", 42), 8, "simplex")
    network.reset_parameters(torch.Generator().manual_seed(42))
    record = fit_network(
        network,
        apply_response(lr_hsi, srf).flatten(1).T.contiguous(),
        lr_hsi.flatten(1).T.contiguous(),
        epochs=5,
        schedule=flat_schedule(2e-3) if "schedule" in options else one_cycle_schedule(5),
        batches=batches,
        held_out=held_out_blocks(6, 5, 0.1, seed=42),
    )
    assert found.records[0].losses == record.losses
    assert found.records[0].held_out_losses == record.held_out_losses
    clean = denoise_image(hr_msi, image_noise(hr_msi))
    latent = predict_pixels(network, clean.flatten(1).T)[1]
    torch.testing.assert_close(found.latent.flatten(1).T, latent, atol=1e-6, rtol=0)
    assert torch.equal(found.noise_msi, image_noise(hr_msi))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_the_prior_is_beside_the_bands(mode: str) -> None:
    lr_hsi, hr_msi, srf, psf, ratio = images(1)
    options: dict[str, Any] = {"count": 2, "hidden": 8, "epochs": 6, "prior": True, "prior_upsample": mode}
    found = LatentEstimationFusion.published(**options, prior_factor=2, inference_batch_size=50).estimate(
        lr_hsi, hr_msi, srf, psf, ratio
    )
    network = LatentEstimationNetwork(1 + BANDS, found.endmembers, 8)
    network.reset_parameters(torch.Generator().manual_seed(42))
    inputs = torch.cat([apply_response(lr_hsi, srf), coarse_prior(lr_hsi, 2, mode)]).flatten(1).T.contiguous()
    record = fit_network(network, inputs, lr_hsi.flatten(1).T.contiguous(), epochs=6, schedule=one_cycle_schedule(6))
    assert found.records[0].losses == record.losses
    pixels = torch.cat([hr_msi, enlarge(lr_hsi, (24, 20), mode)]).flatten(1).T
    latent = predict_pixels(network, pixels, None)[1]
    torch.testing.assert_close(found.latent.flatten(1).T, latent, atol=1e-5, rtol=0)


def test_few_bands_have_the_prior_by_themselves() -> None:
    sizes = {bands: (bands + BANDS + 1) * 8 + 9 * 3 for bands in (1, 2)} | {3: 4 * 8 + 9 * 3}
    for bands, parameters in sizes.items():
        found = estimate(bands, spatial=None)
        assert found.parameters == parameters
        # With the prior training goes back to where the held-out loss was lowest.
        losses = found.records[0].held_out_losses
        assert found.records[0].best_epoch == (losses.index(min(losses)) + 1 if bands < 3 else 5)
    assert estimate(1, spatial=None, prior=False).parameters == 2 * 8 + 9 * 3
    assert estimate(3, spatial=None, prior=True).parameters == (3 + BANDS + 1) * 8 + 9 * 3


def test_few_bands_have_their_neighbours_by_themselves() -> None:
    def latent(bands: int, **options: Any) -> Tensor:
        return estimate(bands, endmembers="atgp", epochs=1, correction=None, denoise=False, **options).latent

    for bands in (1, 2):
        assert torch.equal(latent(bands), latent(bands, spatial="mgat"))
    assert torch.equal(latent(3), latent(3, spatial=None))
    # What is of networks of single pixels asks for one.
    for option in ({"prior": True}, {"prior": False}, {"batch_size": 9}, {"tile": 3}):
        assert torch.equal(latent(1, **option), latent(1, **option, spatial=None))


def test_patience_and_all_epochs() -> None:
    found = estimate(1, prior=True, epochs=200, max_lr=0.5, schedule="flat", patience=3)
    losses = found.records[0].held_out_losses
    assert len(losses) == losses.index(min(losses)) + 4 < 200
    assert estimate(1, prior=True, held_out=0.0).records[0].best_epoch == 5


# Corrections


def test_the_correction_explains_the_coarse_image_and_helps() -> None:
    lr_hsi, _, _, _, _ = images()
    plain, back, guided = (
        estimate(correction=name, count=4, hidden=64, epochs=60) for name in (None, "back_projection", "guided")
    )
    assert torch.equal(plain.latent, guided.latent)
    assert back.correction_record.applied
    assert guided.correction_record.applied
    assert guided.correction_record.reason.startswith("corrected: the images differ by")
    misfit = [rmse(observe(found.image(), PSF, RATIO), lr_hsi) for found in (plain, back, guided)]
    assert misfit[2] < 0.8 * misfit[0]
    assert misfit[1] < misfit[0]
    error = [rmse(found.image(), truth()) for found in (plain, back, guided)]
    assert error[2] < 0.9 * error[0]
    assert error[2] < error[1]


@pytest.mark.parametrize("boundary", ["reflect", "zero"])
def test_back_projection_is_one_step_of_it(boundary: Any) -> None:
    lr_hsi, hr_msi, srf, psf, ratio = images()
    if boundary == "zero":
        lr_hsi = add_noise(observe(truth(), psf, ratio, boundary), 35.0, torch.Generator().manual_seed(2))
    method = LatentEstimationFusion(**SMALL, correction="back_projection", boundary=boundary)
    found = method.estimate(lr_hsi, hr_msi, srf, psf, ratio)
    assert found.correction_record.applied
    assert found.correction is not None
    expected = back_project(mixtures(found), lr_hsi, psf, ratio, upsample="adjoint", boundary=boundary)
    torch.testing.assert_close(mixtures(found) + found.correction.maps, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.image(), expected.clamp(0, 1), atol=1e-6, rtol=0)


def test_the_guided_correction_lies_in_the_principal_components() -> None:
    lr_hsi = images()[0]
    correction = estimate().correction
    assert correction is not None
    assert correction.components is not None
    spectra = lr_hsi.flatten(1).T.double()
    axes = torch.linalg.eigh((spectra - spectra.mean(dim=0)).T.cov())[1].T.flip(0)
    cosines = (correction.components.double() @ axes.T).abs()
    torch.testing.assert_close(cosines, torch.eye(BANDS).double(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("correction", ["guided", "back_projection"])
def test_a_wrong_kernel_is_refused(correction: Any) -> None:
    lr_hsi, hr_msi, srf, _, ratio = images()
    method = LatentEstimationFusion(**SMALL, correction=correction)
    found = method.estimate(lr_hsi, hr_msi, srf, psf_kernel("delta", half_size=3), ratio)
    record = found.correction_record
    assert not record.applied
    assert record.residual > 3 * record.noise
    assert record.reason.startswith("not corrected: the images differ by")
    assert found.correction is None
    assert torch.equal(found.image(), estimate(correction=None).image())


def test_without_a_kernel_it_is_estimated() -> None:
    lr_hsi, hr_msi, srf, _, ratio = images()
    found = LatentEstimationFusion(**SMALL).estimate(lr_hsi, hr_msi, srf, None, ratio)
    assert found.psf_estimate is not None
    assert found.psf_estimate.sigma1 == pytest.approx(1.5, rel=0.1)
    assert found.psf_estimate.sigma2 == pytest.approx(1.5, rel=0.1)
    torch.testing.assert_close(found.psf, found.psf_estimate.kernel.float())
    assert found.correction_record.applied
    assert estimate().psf_estimate is None
    torch.testing.assert_close(estimate().psf, PSF.float())


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
