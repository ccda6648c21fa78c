"""Fusion without a network, on scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError, InputTypeError
from stgraph.models.fusion import CNMF, FUSIONS, GSA, AffineFusion, BicubicFusion, HySure, ImageFusion, get_fusion
from stgraph.ops.fusion.blur import Boundary, blur
from stgraph.ops.fusion.downsample import area_downsample

BANDS = 12
RATIO = 4
#: No blur beside the means of blocks.
DELTA = torch.ones(1, 1, dtype=torch.float64)
#: Three smooth responses.
CENTRES = torch.tensor([2.0, 6.0, 10.0], dtype=torch.float64)
RESPONSE = torch.softmax(-((torch.arange(BANDS) - CENTRES[:, None]) ** 2) / 8, dim=1)


def gaussian_psf(half_size: int = 3, sigma: float = 1.5) -> Tensor:
    line = torch.exp(-(torch.arange(-half_size, half_size + 1, dtype=torch.float64) ** 2) / (2 * sigma**2))
    return torch.outer(line, line) / line.sum() ** 2


def scene(materials: int, size: int = 24, seed: int = 0) -> Tensor:
    """An exact mixture of so many spectra, with some pure patches and sharp edges, ``[C, size, size]``."""
    generator = torch.Generator().manual_seed(seed)
    spectra = torch.rand(BANDS, materials, generator=generator, dtype=torch.float64)
    patches = torch.randint(materials, (size // 8, size // 8), generator=generator)
    patches.view(-1)[:materials] = torch.arange(materials)
    abundances = F.one_hot(patches, materials).permute(2, 0, 1).double()
    abundances = abundances.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)
    texture = torch.rand(materials, size, size, generator=generator, dtype=torch.float64)
    abundances[:, size // 2 :] = (texture / texture.sum(dim=0))[:, size // 2 :]
    return torch.einsum("ck,khw->chw", spectra, abundances)


def observe(truth: Tensor, psf: Tensor, boundary: Boundary = "reflect") -> tuple[Tensor, Tensor]:
    blurred = blur(truth, psf, boundary)
    return area_downsample(blurred, RATIO), torch.einsum("bc,chw->bhw", RESPONSE, truth)


def rmse(estimate: Tensor, truth: Tensor) -> float:
    return float((estimate - truth).square().mean().sqrt())


@pytest.mark.parametrize("psf", [DELTA, gaussian_psf()])
def test_affine_is_exact_up_to_one_more_material_than_bands(psf: Tensor) -> None:
    # Abundances sum to 1, so four materials lie in an affine subspace of three dimensions.
    truth = scene(4)
    fused = AffineFusion().fuse(*observe(truth, psf), RESPONSE, psf, RATIO)
    assert torch.allclose(fused, truth, atol=1e-10)
    five = scene(5)
    assert rmse(AffineFusion().fuse(*observe(five, psf), RESPONSE, psf, RATIO), five) > 0.01


def test_affine_is_least_squares() -> None:
    lr_hsi, hr_msi = observe(scene(7), DELTA)
    low = lr_hsi.flatten(1).T.numpy()
    design = np.concatenate([low @ RESPONSE.T.numpy(), np.ones((len(low), 1))], axis=1)
    coefficients = np.linalg.lstsq(design, low, rcond=None)[0]
    pixels = hr_msi.flatten(1).T.numpy()
    expected = pixels @ coefficients[:-1] + coefficients[-1]
    fused = AffineFusion().fuse(lr_hsi, hr_msi, RESPONSE, DELTA, RATIO)
    np.testing.assert_allclose(fused.flatten(1).T.numpy(), expected, atol=1e-10)


def test_bicubic_is_exact_for_a_flat_image() -> None:
    truth = torch.rand(BANDS, 1, 1, dtype=torch.float64).expand(-1, 24, 24)
    fused = BicubicFusion().fuse(*observe(truth, DELTA), RESPONSE, DELTA, RATIO)
    assert torch.allclose(fused, truth, atol=1e-12)


@pytest.mark.parametrize("psf", [DELTA, gaussian_psf()])
def test_gsa_is_exact_where_all_bands_follow_one(psf: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    pattern = torch.rand(1, 24, 24, generator=generator, dtype=torch.float64)
    slope, offset = torch.rand(2, BANDS, 1, 1, generator=generator, dtype=torch.float64)
    truth = (0.1 + slope) * pattern + offset
    fused = GSA().fuse(*observe(truth, psf), RESPONSE, psf, RATIO)
    assert torch.allclose(fused, truth, atol=1e-8)


def test_gsa_takes_each_band_from_the_band_it_follows() -> None:
    generator = torch.Generator().manual_seed(0)
    patterns = torch.rand(3, 24, 24, generator=generator, dtype=torch.float64)
    # Separate responses: each third of the bands is a multiple of its own pattern.
    srf = torch.eye(3, dtype=torch.float64).repeat_interleave(4, dim=1) / 4
    truth = patterns.repeat_interleave(4, dim=0) * torch.linspace(0.5, 1.5, BANDS, dtype=torch.float64)[:, None, None]
    hr_msi = torch.einsum("bc,chw->bhw", srf, truth)
    fused = GSA().fuse(area_downsample(truth, RATIO), hr_msi, srf, DELTA, RATIO)
    assert torch.allclose(fused, truth, atol=1e-8)


def test_gsa_of_a_flat_band_is_finite() -> None:
    lr_hsi, hr_msi = observe(torch.full((BANDS, 24, 24), 0.5, dtype=torch.float64), DELTA)
    fused = GSA().fuse(lr_hsi, hr_msi, RESPONSE, DELTA, RATIO)
    assert torch.allclose(fused, torch.full_like(fused, 0.5), atol=1e-12)


@pytest.mark.parametrize("psf", [DELTA, gaussian_psf()])
def test_hysure_is_exact_where_the_bands_tell_the_materials(psf: Tensor) -> None:
    truth = scene(3)
    method = HySure(count=3, iterations=300, smoothness=0.0, penalty=1e-3)
    assert rmse(method.fuse(*observe(truth, psf), RESPONSE, psf, RATIO), truth) < 1e-3


@pytest.mark.parametrize(("boundary", "tolerance"), [("zero", 0.01), ("reflect", 0.02)])
def test_hysure_meets_both_images(boundary: Boundary, tolerance: float) -> None:
    # More materials than bands, and a kernel without symmetry: a convolution the wrong way round would not do.
    truth, psf = scene(6), gaussian_psf().cumsum(dim=1)
    psf = psf / psf.sum()
    lr_hsi, hr_msi = observe(truth, psf, boundary)
    method = HySure(count=6, iterations=300, smoothness=0.0, penalty=1e-3, boundary=boundary)
    fused = method.fuse(lr_hsi, hr_msi, RESPONSE, psf, RATIO)
    low, bands = observe(fused, psf, boundary)
    assert rmse(low, lr_hsi) < tolerance
    assert rmse(bands, hr_msi) < 1e-4
    assert rmse(fused, truth) < 0.8 * rmse(BicubicFusion().fuse(lr_hsi, hr_msi, RESPONSE, psf, RATIO), truth)


def test_total_variation_of_hysure_takes_noise_away() -> None:
    truth = scene(3)
    truth[:, 12:] = truth[:, :12]
    lr_hsi, hr_msi = observe(truth, DELTA)
    hr_msi = hr_msi + 0.05 * torch.randn(hr_msi.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = [
        rmse(HySure(3, 100, smoothness=smoothness).fuse(lr_hsi, hr_msi, RESPONSE, DELTA, RATIO), truth)
        for smoothness in (0.0, 5e-3)
    ]
    assert errors[1] < errors[0] / 1.5


@pytest.mark.parametrize("psf", [DELTA, gaussian_psf(1)])
def test_cnmf_comes_near_mixtures_with_pure_pixels(psf: Tensor) -> None:
    truth = scene(3)
    lr_hsi, hr_msi = observe(truth, psf)
    short, long = (CNMF(3, iterations=count).fuse(lr_hsi, hr_msi, RESPONSE, psf, RATIO) for count in (100, 1000))
    assert (long >= 0).all()
    assert rmse(long, truth) < 0.02
    assert rmse(long, truth) < rmse(short, truth) / 2
    assert rmse(long, truth) < rmse(BicubicFusion().fuse(lr_hsi, hr_msi, RESPONSE, psf, RATIO), truth) / 4


OPTIONS = {"cnmf": {"count": 3, "iterations": 5}, "hysure": {"count": 3, "iterations": 5}}


def method_of(name: str) -> ImageFusion:
    return get_fusion(name)(**OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", sorted(FUSIONS))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_repeat_gives_equal_bits(name: str, dtype: torch.dtype) -> None:
    lr_hsi, hr_msi = (image.to(dtype) for image in observe(scene(5), gaussian_psf()))
    first, second = (method_of(name).fuse(lr_hsi, hr_msi, RESPONSE, gaussian_psf(), RATIO) for _ in range(2))
    assert first.shape == (BANDS, 24, 24)
    assert first.dtype == dtype
    assert torch.equal(first, second)


@pytest.mark.parametrize("name", ["affine", "bicubic", "cnmf", "gsa"])
def test_sizes_that_are_no_multiples_of_the_ratio(name: str) -> None:
    truth = scene(5)[:, :23, :22]
    fused = method_of(name).fuse(*observe(truth, DELTA), RESPONSE, DELTA, RATIO)
    assert fused.shape == truth.shape
    assert fused.isfinite().all()


def test_bad_input() -> None:
    (lr_hsi, hr_msi), method = observe(scene(3), DELTA), BicubicFusion()
    with pytest.raises(InputError, match="4 times as many"):
        method.fuse(lr_hsi, hr_msi[:, :20], RESPONSE, DELTA, RATIO)
    with pytest.raises(InputError, match="ratio is 0"):
        method.fuse(lr_hsi, hr_msi, RESPONSE, None, 0)
    with pytest.raises(InputError, match=r"srf has shape \(2, 12\); expected \(3, 12\)"):
        method.fuse(lr_hsi, hr_msi, RESPONSE[:2], None, RATIO)
    with pytest.raises(InputError, match="rows of srf have sums from 2 to 2"):
        method.fuse(lr_hsi, hr_msi, 2 * RESPONSE, DELTA, RATIO)
    with pytest.raises(InputError, match=r"psf has shape \(4, 4\)"):
        method.fuse(lr_hsi, hr_msi, RESPONSE, torch.full((4, 4), 1 / 16), RATIO)
    with pytest.raises(InputError, match="psf has the sum 9"):
        method.fuse(lr_hsi, hr_msi, RESPONSE, torch.ones(3, 3), RATIO)
    with pytest.raises(InputError, match="576 values of hr_msi are not finite"):
        method.fuse(lr_hsi, hr_msi.index_fill(0, torch.tensor([0]), torch.nan), RESPONSE, DELTA, RATIO)
    with pytest.raises(InputError, match=r"lr_hsi has shape \(12, 36\)"):
        method.fuse(lr_hsi.flatten(1), hr_msi, RESPONSE, DELTA, RATIO)
    with pytest.raises(InputTypeError, match="for both"):
        method.fuse(lr_hsi.float(), hr_msi, RESPONSE, DELTA, RATIO)
    with pytest.raises(InputTypeError, match=r"srf has dtype torch\.int64"):
        method.fuse(lr_hsi, hr_msi, RESPONSE.long(), None, RATIO)


def test_bad_options() -> None:
    lr_hsi, hr_msi = observe(scene(3), DELTA)
    with pytest.raises(InputError, match="rounds is 0"):
        CNMF(rounds=0)
    with pytest.raises(InputError, match="sum_weight is -1"):
        CNMF(sum_weight=-1)
    with pytest.raises(InputError, match="count is 13"):
        CNMF(13).fuse(lr_hsi, hr_msi, RESPONSE, DELTA, RATIO)
    with pytest.raises(InputError, match="iterations is 0"):
        HySure(iterations=0)
    with pytest.raises(InputError, match=r"penalty are 0\.0005, 1\.0 and 0"):
        HySure(penalty=0)
    with pytest.raises(InputError, match="count is 13; expected at most 12"):
        HySure(13).fuse(lr_hsi, hr_msi, RESPONSE, DELTA, RATIO)
    with pytest.raises(InputError, match="multiples of the ratio 4: crop it"):
        HySure(2).fuse(lr_hsi[:, :5], hr_msi[:, :23], RESPONSE, DELTA, RATIO)
    with pytest.raises(InputError, match="unknown fusion 'afine'; did you mean 'affine'"):
        get_fusion("afine")
