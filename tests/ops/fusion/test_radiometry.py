from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import apply_response, psf_kernel
from stgraph.ops.fusion.observation import observe
from stgraph.ops.fusion.radiometry import band_noise, match_radiometry, observation_misfit

PSF = psf_kernel("gaussian", 1.5, 3)
SRF = torch.tensor([[0.5, 0.5, 0.0, 0.0], [0.0, 0.2, 0.3, 0.5]], dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pair() -> tuple[Tensor, Tensor]:
    truth = random(4, 24, 16)
    return observe(truth, PSF, 4), apply_response(truth, SRF)


def test_gain_and_offset_are_found_and_taken_back() -> None:
    lr_hsi, hr_msi = pair()
    gain, offset = torch.tensor([2.0, 0.5]).double(), torch.tensor([-0.1, 0.3]).double()
    other = (hr_msi - offset[:, None, None]) / gain[:, None, None]
    match = match_radiometry(lr_hsi, other, SRF, PSF, 4)
    torch.testing.assert_close(match.gain, gain)
    torch.testing.assert_close(match.offset, offset)
    torch.testing.assert_close(match.hr_msi, hr_msi)
    torch.testing.assert_close(match.correlation, torch.ones(2, dtype=torch.float64))


def test_gain_and_offset_are_those_of_least_squares() -> None:
    lr_hsi, _ = pair()
    hr_msi = random(2, 24, 16, seed=3)
    match = match_radiometry(lr_hsi, hr_msi, SRF, PSF, 4)
    seen, wanted = observe(hr_msi, PSF, 4).flatten(1), apply_response(lr_hsi, SRF).flatten(1)
    for band in range(2):
        design = torch.stack([seen[band], torch.ones_like(seen[band])], dim=1)
        expected = torch.linalg.lstsq(design, wanted[band]).solution
        torch.testing.assert_close(torch.stack([match.gain[band], match.offset[band]]), expected)
        expected = torch.corrcoef(torch.stack([seen[band], wanted[band]]))[0, 1]
        torch.testing.assert_close(match.correlation[band], expected)


def test_a_low_correlation_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    lr_hsi, hr_msi = pair()
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        match_radiometry(lr_hsi, hr_msi, SRF, PSF, 4)
        assert caplog.text == ""
        mixed = torch.stack([hr_msi[0], random(24, 16, seed=3)])
        match_radiometry(lr_hsi, mixed, SRF, PSF, 4)
    assert "1 of 2 bands" in caplog.text
    assert "band 1" in caplog.text
    assert "band 0" not in caplog.text


def test_a_constant_band_is_only_moved() -> None:
    lr_hsi, hr_msi = pair()
    constant = torch.stack([hr_msi[0], torch.full((24, 16), 0.1, dtype=torch.float64)])
    match = match_radiometry(lr_hsi, constant, SRF, PSF, 4)
    assert (float(match.gain[1]), float(match.correlation[1])) == (1.0, 0.0)
    torch.testing.assert_close(match.hr_msi[1].mean(), apply_response(lr_hsi, SRF)[1].mean())


def test_noise_of_smooth_spectra_is_measured() -> None:
    wavelengths = torch.linspace(0, 1, 40, dtype=torch.float64)
    pixels = random(2, 30, 30)
    image = pixels[0] * torch.sin(2 * wavelengths + 1)[:, None, None] + pixels[1] * wavelengths[:, None, None]
    assert float(band_noise(image).max()) < 1e-3
    level = 0.01 + 0.02 * wavelengths
    noise = torch.randn(40, 30, 30, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    estimate = band_noise(image + level[:, None, None] * noise)
    assert float((estimate / level).median()) == pytest.approx(1, abs=0.05)
    assert float((estimate / level - 1)[1:-1].abs().max()) < 0.2
    assert float((estimate / level - 1).abs().max()) < 0.4  # the ends have both neighbours on one side


def test_noise_is_unknown_for_few_bands_or_pixels() -> None:
    assert bool(band_noise(random(2, 5, 5)).isnan().all())
    assert bool(band_noise(random(6, 2, 2)).isnan().all())
    assert bool(band_noise(torch.zeros(5, 4, 4)).eq(0).all())


def test_misfit_of_the_right_blur_is_the_noise_and_of_a_wrong_one_more() -> None:
    wavelengths = torch.linspace(0, 1, 30, dtype=torch.float64)
    truth = random(2, 48, 48)[:1] * (1 + wavelengths)[:, None, None]
    srf = torch.softmax(random(2, 30, seed=2), dim=1)
    noise = 0.01 * torch.randn(30, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    lr_hsi, hr_msi = observe(truth, PSF, 4) + noise, apply_response(truth, srf)
    misfit, expected = observation_misfit(lr_hsi, hr_msi, srf, PSF, 4)
    assert bool(((misfit / expected - 1).abs() < 0.25).all())
    assert bool((observation_misfit(lr_hsi, hr_msi, srf, psf_kernel("delta"), 4)[0] > 5 * expected).all())


def test_bad_input() -> None:
    lr_hsi, hr_msi = pair()
    with pytest.raises(InputError, match="srf must have the shape"):
        match_radiometry(lr_hsi, hr_msi, SRF[:, :3], PSF, 4)
    with pytest.raises(InputError, match="odd size"):
        match_radiometry(lr_hsi, hr_msi, SRF, torch.ones(2, 2), 4)
    with pytest.raises(InputTypeError, match="one dtype"):
        observation_misfit(lr_hsi.float(), hr_msi, SRF, PSF, 4)
