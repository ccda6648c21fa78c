"""When two images agree through a point-spread function, and what is done when they do not."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import io
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import (
    add_noise,
    apply_response,
    back_project,
    back_project_guarded,
    estimate_psf,
    observe,
    psf_agreement,
    psf_kernel,
    sensor_response,
)
from stgraph.ops.fusion.radiometry import observation_misfit

SRF = torch.softmax(torch.linspace(-1, 1, 12, dtype=torch.float64).outer(torch.linspace(-3, 3, 6).double()), 1)[:2]
PSF = psf_kernel("gaussian", 2.0, 4)


def scene(size: int = 48) -> Tensor:
    """Smooth spectra over a rough image."""
    parts = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectra = torch.stack([torch.linspace(0.2, 1, 6), torch.linspace(1, 0.4, 6) ** 2]).double()
    return torch.einsum("phw,pc->chw", parts, spectra)


def pair(boundary: Any = "reflect") -> tuple[Tensor, Tensor, Tensor]:
    truth = scene()
    lr_hsi = add_noise(observe(truth, PSF, 3, boundary), 35.0, torch.Generator().manual_seed(0))
    return truth, lr_hsi, apply_response(truth, SRF)


def test_a_right_kernel_is_told_from_a_wrong_one() -> None:
    truth, lr_hsi, hr_msi = pair()
    estimate = truth + 0.1
    right = back_project_guarded(estimate, lr_hsi, hr_msi, SRF, 3, estimate_psf(lr_hsi, hr_msi, SRF, 3, 4))
    assert right.applied
    assert right.residual < 2 * right.noise
    torch.testing.assert_close(right.image, truth, atol=0.06, rtol=0)
    assert right.reason.startswith("back-projected")
    known = back_project_guarded(estimate, lr_hsi, hr_msi, SRF, 3, PSF, steps=2, upsample="adjoint")
    assert torch.equal(known.image, back_project(estimate, lr_hsi, PSF, 3, steps=2, upsample="adjoint"))
    wrong = back_project_guarded(estimate, lr_hsi, hr_msi, SRF, 3, psf_kernel("delta"))
    assert not wrong.applied
    assert wrong.image is estimate
    assert wrong.reason.startswith("not back-projected")
    assert wrong.residual > 3 * wrong.noise
    assert back_project_guarded(estimate, lr_hsi, hr_msi, SRF, 3, psf_kernel("delta"), tolerance=1e3).applied


def test_residual_and_noise_are_those_of_the_misfit() -> None:
    _, lr_hsi, hr_msi = pair()
    found = psf_agreement(lr_hsi, hr_msi, SRF, PSF, 3)
    misfit, noise = observation_misfit(lr_hsi, hr_msi, SRF, PSF, 3)
    assert found.residual == pytest.approx(float(misfit.square().mean()) ** 0.5, rel=1e-12)
    assert found.noise == pytest.approx(float(noise.square().mean()) ** 0.5, rel=1e-12)
    assert f"{found.residual:.3g}" in found.reason
    assert f"{found.noise:.3g}" in found.reason
    guarded = back_project_guarded(lr_hsi.new_zeros(6, 48, 48), lr_hsi, hr_msi, SRF, 3, PSF)
    assert guarded[1:] == (True, f"back-projected: {found.reason}", found.residual, found.noise)


def test_the_tolerance_is_the_limit() -> None:
    _, lr_hsi, hr_msi = pair()
    wrong = psf_kernel("gaussian", 1.0, 4)
    times = (found := psf_agreement(lr_hsi, hr_msi, SRF, wrong, 3)).residual / found.noise
    below = psf_agreement(lr_hsi, hr_msi, SRF, wrong, 3, tolerance=0.99 * times)
    assert not below.agrees
    assert "times that is allowed" in below.reason
    above = psf_agreement(lr_hsi, hr_msi, SRF, wrong, 3, tolerance=1.01 * times)
    assert above.agrees
    assert "allowed" not in above.reason


def test_the_boundary_counts() -> None:
    _, lr_hsi, hr_msi = pair("zero")
    assert psf_agreement(lr_hsi, hr_msi, SRF, PSF, 3, boundary="zero").agrees
    assert not psf_agreement(lr_hsi, hr_msi, SRF, PSF, 3, boundary="reflect").agrees


def test_an_estimated_kernel_is_used_as_its_kernel() -> None:
    _, lr_hsi, hr_msi = pair()
    found = estimate_psf(lr_hsi, hr_msi, SRF, 3, 4)
    assert psf_agreement(lr_hsi, hr_msi, SRF, found, 3) == psf_agreement(lr_hsi, hr_msi, SRF, found.kernel, 3)


def test_another_radiometry_or_place_is_refused() -> None:
    _, lr_hsi, hr_msi = pair()
    assert not psf_agreement(lr_hsi, 1.2 * hr_msi, SRF, PSF, 3).agrees
    assert not psf_agreement(lr_hsi, hr_msi.roll(3, dims=2), SRF, PSF, 3).agrees


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_images_without_noise_agree(dtype: torch.dtype) -> None:
    truth, srf = scene().to(dtype), SRF.to(dtype)
    lr_hsi, hr_msi = observe(truth, PSF, 3), apply_response(truth, srf)
    assert psf_agreement(lr_hsi, hr_msi, srf, PSF, 3).agrees
    assert back_project_guarded(truth, lr_hsi, hr_msi, srf, 3, PSF).applied
    assert not psf_agreement(lr_hsi, hr_msi, srf, psf_kernel("delta"), 3).agrees


def test_unknown_noise_is_refused() -> None:
    two, even = scene()[:2], torch.full((1, 2), 0.5)
    refused = back_project_guarded(two, observe(two, PSF, 3), apply_response(two, even), even, 3, PSF)
    assert not refused.applied
    assert np.isnan(refused.noise)


def test_bad_input() -> None:
    truth, lr_hsi, hr_msi = pair()
    for tolerance in (0, -1.0, float("nan")):
        with pytest.raises(InputError, match="tolerance must be positive"):
            back_project_guarded(truth, lr_hsi, hr_msi, SRF, 3, PSF, tolerance=tolerance)
    with pytest.raises(InputError, match="hr_msi must have 2 times"):
        psf_agreement(lr_hsi, hr_msi, SRF, PSF, 2)
    with pytest.raises(InputTypeError, match="must be of one dtype"):
        psf_agreement(lr_hsi, hr_msi.float(), SRF, PSF, 3)
    with pytest.raises(InputError, match="lr_hsi must be finite"):
        psf_agreement(lr_hsi * torch.nan, hr_msi, SRF, PSF, 3)


@cache
def samson() -> Tensor:
    values = io.loadmat(Path(os.environ["STGRAPH_DATA"]) / "hsi_samson" / "Samson.mat")["Y"]
    return torch.from_numpy(values.reshape(156, 95, 95).transpose(0, 2, 1)[:, :88, :88].copy()).float()


def quality(image: Tensor, truth: Tensor) -> float:
    return float(-10 * torch.log10((image - truth).square().mean()))


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA names no folder with data")
@pytest.mark.parametrize("name", ["gaussian", "gabor", "delta"])
def test_samson(name: str) -> None:
    truth, generator = samson(), torch.Generator().manual_seed(42)
    srf, kernel = sensor_response(4, torch.linspace(401, 889, 156)).float(), psf_kernel(name)
    hr_msi = add_noise(apply_response(truth, srf), 40.0, generator)
    lr_hsi = add_noise(observe(truth, kernel, 4), 35.0, generator)
    spectra, bands = lr_hsi.flatten(1), torch.cat([srf @ lr_hsi.flatten(1), torch.ones(1, 484)])
    seen = torch.cat([hr_msi.flatten(1), torch.ones(1, 88 * 88)])
    estimate = (torch.linalg.lstsq(bands.T, spectra.T).solution.T @ seen).view_as(truth)
    guarded = back_project_guarded(estimate, lr_hsi, hr_msi, srf, 4, estimate_psf(lr_hsi, hr_msi, srf, 4))
    best = quality(back_project(estimate, lr_hsi, kernel, 4), truth)
    assert guarded.applied
    assert quality(guarded.image, truth) > best - 0.05
    assert best > quality(estimate, truth) + 0.5
    wrong = psf_kernel("gaussian" if name == "delta" else "delta")
    assert quality(back_project(estimate, lr_hsi, wrong, 4), truth) < quality(estimate, truth) - 5
    assert not back_project_guarded(estimate, lr_hsi, hr_msi, srf, 4, wrong).applied
