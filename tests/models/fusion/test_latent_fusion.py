"""The whole method: its steps, put together by hand, on a scene whose truth is known."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from stgraph.models.fusion import (
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
from tests.models.fusion.fused_scenes import (
    ALL,
    BANDS,
    PSF,
    RATIO,
    SMALL,
    estimate,
    images,
    mixtures,
    rmse,
    truth,
)

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
