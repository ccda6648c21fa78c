"""The published tables' metrics, against their formulas written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from scipy.signal import convolve2d

from stgraph.metrics import fusion_metrics
from stgraph.metrics.image_compat import compat_metrics


def published(y, x):
    c = x.shape[2]
    x8, y8 = (np.floor(np.clip(255 * v, 0, 255)) for v in (x, y))
    band_mse = ((x - y) ** 2).mean((0, 1), dtype=np.float64)
    return {
        "rmse": np.sqrt(((x.astype(float) - y) ** 2).mean()),
        "psnr": 10 * np.log10(255**2 / ((x8.astype(float) - y8) ** 2).mean()),
        "ssim": np.mean([ssim(x8[..., i].astype(float), y8[..., i].astype(float)) for i in range(c)]),
        "uiqi": np.mean([uiqi(x[..., i].astype(float), y[..., i].astype(float)) for i in range(c)]),
        "ergas": 25 * np.sqrt((band_mse / x.mean((0, 1), dtype=np.float64) ** 2).mean()),
        "sam": sam(x, y),
    }


def ssim(x, y):
    def mean(v):
        return convolve2d(v, np.ones((11, 11)) / 121, mode="valid")

    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    var_x, var_y, cov = mean(x * x) - mean(x) ** 2, mean(y * y) - mean(y) ** 2, mean(x * y) - mean(x) * mean(y)
    top = (2 * mean(x) * mean(y) + c1) * (2 * cov + c2)
    return (top / ((mean(x) ** 2 + mean(y) ** 2 + c1) * (var_x + var_y + c2))).mean()


def uiqi(x, y):
    a, b, aa, bb, ab = (uniform_filter(v, 8) for v in (x, y, x * x, y * y, x * y))
    top = 4 * (64 * ab - a * b) * a * b
    bottom = (64 * (aa + bb) - (a**2 + b**2)) * (a**2 + b**2)
    return (top / bottom)[4:-4, 4:-4].mean()


def sam(x, y):
    cosine = (x * y).sum(-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1) + x.dtype.type(1e-8))
    return np.rad2deg(np.arccos(np.minimum(cosine, x.dtype.type(1 - 1e-9)))).mean(dtype=np.float64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-10), (np.float32, 1e-6)])
def test_published_formulas(dtype, tolerance):
    rng = np.random.default_rng(1)
    truth = rng.random((15, 21, 4)).astype(dtype)
    estimate = (truth + 0.1 * rng.normal(size=truth.shape)).astype(dtype)
    result = fusion_metrics(estimate, truth, 8, compat=True)
    assert result == compat_metrics(torch.from_numpy(estimate), truth)
    assert result == pytest.approx(published(estimate, truth), rel=tolerance)


def test_identical_images_have_an_angle_in_single_precision():
    truth = torch.rand(32, 32, 60, generator=torch.Generator().manual_seed(0))
    result = compat_metrics(truth, truth)
    assert {name: result[name] for name in ("rmse", "psnr", "ssim", "uiqi", "ergas")} == {
        "rmse": 0,
        "psnr": np.inf,
        "ssim": 1,
        "uiqi": 1,
        "ergas": 0,
    }
    assert 0.001 < result["sam"] < 0.02
    # In double precision the cosine is cut off at 1 - 1e-9.
    cut_off = np.rad2deg(np.arccos(1 - 1e-9))
    assert compat_metrics(truth.double(), truth.double())["sam"] == pytest.approx(cut_off, rel=1e-3)


def test_zero_spectra_count_as_right_angles():
    truth = torch.ones(12, 12, 3)
    estimate = truth.clone()
    estimate[:6] = 0
    assert compat_metrics(estimate, truth)["sam"] == pytest.approx(45, abs=0.02)


def test_constant_images_have_the_index_of_their_values_where_the_formula_is_undefined():
    zero = torch.zeros(12, 12, 1)
    assert compat_metrics(zero, zero)["uiqi"] == 1


def test_values_are_cut_off_to_integers():
    truth = torch.full((11, 11, 1), 1.5, dtype=torch.float64)
    estimate = torch.full((11, 11, 1), 0.9999, dtype=torch.float64)
    assert compat_metrics(estimate, truth)["psnr"] == pytest.approx(20 * np.log10(255))
