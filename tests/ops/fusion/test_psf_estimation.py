from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import io
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import (
    add_noise,
    apply_response,
    normalise_kernel,
    psf_kernel,
    sensor_response,
)
from stgraph.ops.fusion.observation import observe
from stgraph.ops.fusion.psf_estimation import estimate_psf

SRF = torch.softmax(torch.linspace(-1, 1, 12, dtype=torch.float64).outer(torch.linspace(-3, 3, 6).double()), 1)[:2]


def scene(size: int = 48) -> Tensor:
    """Smooth spectra over a rough image."""
    parts = torch.rand(2, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectra = torch.stack([torch.linspace(0.2, 1, 6), torch.linspace(1, 0.4, 6) ** 2]).double()
    return torch.einsum("phw,pc->chw", parts, spectra)


def gaussian(along: float, across: float, degrees: float, shift: tuple[float, float], half_size: int) -> Tensor:
    offsets = torch.arange(-half_size, half_size + 1, dtype=torch.float64)
    y, x = torch.meshgrid(offsets - shift[0], offsets - shift[1], indexing="ij")
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    major, minor = x * cosine + y * sine, y * cosine - x * sine
    return normalise_kernel(torch.exp(-((major / along) ** 2 + (minor / across) ** 2) / 2))


@pytest.mark.parametrize(
    ("along", "across", "degrees", "shift"),
    [(2.0, 1.2, 30.0, (0.0, 0.0)), (2.2, 1.0, -60.0, (1.3, -0.6)), (1.5, 1.5, 0.0, (-2.0, 2.0))],
)
@pytest.mark.parametrize("boundary", ["reflect", "zero"])
def test_axes_angle_and_shift_are_recovered(
    along: float, across: float, degrees: float, shift: tuple[float, float], boundary: str
) -> None:
    truth = scene()
    kernel = gaussian(along, across, degrees, shift, 5)
    lr_hsi = observe(truth, kernel, 3, boundary)  # type: ignore[arg-type]
    found = estimate_psf(lr_hsi, apply_response(truth, SRF), SRF, 3, 5, boundary=boundary)  # type: ignore[arg-type]
    assert found.sigma1 == pytest.approx(along, rel=0.01)
    assert found.sigma2 == pytest.approx(across, rel=0.01)
    assert found.shift == pytest.approx(shift, abs=0.02)
    if along > across:
        assert found.angle == pytest.approx(degrees, abs=1)
    torch.testing.assert_close(found.kernel, kernel, atol=2e-3, rtol=0)
    assert float(found.kernel.sum()) == pytest.approx(1)
    assert found.residual < 2e-3


def test_a_shift_is_that_of_the_coarse_image() -> None:
    truth = scene()
    moved = truth.roll((2, -1), dims=(1, 2))
    found = estimate_psf(
        observe(moved, psf_kernel("gaussian", 1.5, 5), 3), apply_response(truth, SRF), SRF, 3, half_size=5
    )
    assert found.shift == pytest.approx((2, -1), abs=0.05)


def test_no_blur_is_found() -> None:
    truth = scene()
    found = estimate_psf(observe(truth, psf_kernel("delta"), 3), apply_response(truth, SRF), SRF, 3, half_size=4)
    torch.testing.assert_close(found.kernel, psf_kernel("delta", half_size=4), atol=0.01, rtol=0)


def test_gain_offset_and_changed_pixels_do_not_matter() -> None:
    truth = scene(60)
    lr_hsi = observe(truth, psf_kernel("gaussian", 1.8, 5), 3)
    lr_hsi[:, 5:8, 9:12] += 3  # a cloud
    hr_msi = 1.7 * apply_response(truth, SRF) - 0.2
    found = estimate_psf(lr_hsi, hr_msi, SRF, 3, half_size=5)
    assert (found.sigma1, found.sigma2) == pytest.approx((1.8, 1.8), rel=0.05)
    assert found.shift == pytest.approx((0, 0), abs=0.1)


def test_sizes_that_are_no_multiples_and_repeat() -> None:
    truth = scene(50)[:, :, :43]
    lr_hsi, hr_msi = observe(truth, psf_kernel("gaussian", 1.8, 4), 4), apply_response(truth, SRF)
    first, second = (estimate_psf(lr_hsi, hr_msi, SRF, 4, half_size=4) for _ in range(2))
    assert (first.sigma1, first.sigma2) == pytest.approx((1.8, 1.8), rel=0.01)
    assert torch.equal(first.kernel, second.kernel)


def test_bad_input() -> None:
    truth = scene(12)
    lr_hsi, hr_msi = observe(truth, psf_kernel("delta", half_size=1), 3), apply_response(truth, SRF)
    with pytest.raises(InputError, match="half_size must be 1 or more"):
        estimate_psf(lr_hsi, hr_msi, SRF, 3, half_size=0)
    with pytest.raises(InputTypeError, match="half_size must be a whole number"):
        estimate_psf(lr_hsi, hr_msi, SRF, 3, half_size=2.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="hr_msi must not be constant"):
        estimate_psf(lr_hsi, torch.ones_like(hr_msi), SRF, 3)
    with pytest.raises(InputError, match="lr_hsi must not be constant"):
        estimate_psf(torch.ones_like(lr_hsi), hr_msi, SRF, 3)
    with pytest.raises(InputError, match="lr_hsi must have 9 pixels or more, got 4"):
        estimate_psf(lr_hsi[:, :2, :2], hr_msi[:, :6, :6], SRF, 3)
    with pytest.raises(InputError, match="boundary must be one of"):
        estimate_psf(lr_hsi, hr_msi, SRF, 3, boundary="wrap")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="hr_msi must have 2 times"):
        estimate_psf(lr_hsi, hr_msi, SRF, 2)


@cache
def samson() -> Tensor:
    values = io.loadmat(Path(os.environ["STGRAPH_DATA"]) / "hsi_samson" / "Samson.mat")["Y"]
    return torch.from_numpy(values.reshape(156, 95, 95).transpose(0, 2, 1)[:, :88, :88].copy()).float()


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA names no folder with data")
@pytest.mark.parametrize(("name", "along"), [("gaussian", 3.4), ("gabor", 6.8)])
def test_samson(name: str, along: float) -> None:
    truth, generator = samson(), torch.Generator().manual_seed(42)
    srf = sensor_response(4, torch.linspace(401, 889, 156)).float()
    hr_msi = add_noise(apply_response(truth, srf), 40.0, generator)
    lr_hsi = add_noise(observe(truth, psf_kernel(name), 4), 35.0, generator)
    found = estimate_psf(lr_hsi, hr_msi, srf, 4)
    assert (found.sigma1, found.sigma2) == pytest.approx((along, 3.4), rel=0.02)
    if name == "gabor":
        assert abs(found.angle) == pytest.approx(90, abs=1)
