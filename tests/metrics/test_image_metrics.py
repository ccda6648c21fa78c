"""Metrics of fused images against plain NumPy formulas and against torchmetrics."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
import torchmetrics.functional as TMF
import torchmetrics.functional.image as TM

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics import band_metrics, fusion_metrics, image
from stgraph.metrics.image_extended import extended_metrics

H, W, C = 19, 23, 5


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    truth = rng.random((H, W, C))
    return np.clip(truth + 0.1 * rng.normal(size=truth.shape), 0, 1.2), truth


def angles(estimate, truth):
    cosine = (estimate * truth).sum(-1) / (np.linalg.norm(estimate, axis=-1) * np.linalg.norm(truth, axis=-1))
    return np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))


def plain_uiqi(y, x):
    """The index of one band, window by window."""
    values = []
    for i in range(x.shape[0] - 7):
        for j in range(x.shape[1] - 7):
            a, b = x[i : i + 8, j : j + 8], y[i : i + 8, j : j + 8]
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            values.append(
                4 * covariance * a.mean() * b.mean() / ((a.var() + b.var()) * (a.mean() ** 2 + b.mean() ** 2))
            )
    return np.mean(values)


def plain_ssim(y, x):
    """The similarity of one band, window by window."""
    at = np.arange(-5, 6)
    weights = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
    weights /= weights.sum()
    x_padded, y_padded = (np.pad(band, 5, mode="reflect") for band in (x, y))
    values = []
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            a, b = x_padded[i : i + 11, j : j + 11], y_padded[i : i + 11, j : j + 11]
            mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
            var_a, var_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
            cov = (weights * (a - mean_a) * (b - mean_b)).sum()
            values.append(
                (2 * mean_a * mean_b + 1e-4)
                * (2 * cov + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (var_a + var_b + 9e-4))
            )
    return np.mean(values)


def test_default_metrics_follow_plain_formulas(images):
    estimate, truth = images
    error = estimate - truth
    band_mse = (error**2).mean((0, 1))
    expected = {
        "rmse": np.sqrt((error**2).mean()),
        "psnr": 10 * np.log10(1 / (error**2).mean()),
        "mpsnr": (10 * np.log10(1 / band_mse)).mean(),
        "ergas": 100 / 8 * np.sqrt((band_mse / truth.mean((0, 1)) ** 2).mean()),
        "sam": angles(estimate, truth).mean(),
        "zero_spectra": 0.0,
        "ssim": np.mean([plain_ssim(estimate[..., c], truth[..., c]) for c in range(C)]),
        "uiqi": np.mean([plain_uiqi(estimate[..., c], truth[..., c]) for c in range(C)]),
    }
    assert fusion_metrics(estimate, truth, 8) == pytest.approx(expected, rel=1e-10)


def test_agrees_with_torchmetrics_where_the_formula_is_the_same(images):
    y, x = (torch.from_numpy(part).permute(2, 0, 1)[None].contiguous() for part in images)
    result = fusion_metrics(*images, 4)
    theirs = {
        "rmse": TMF.mean_squared_error(y, x, squared=False),
        "psnr": TM.peak_signal_noise_ratio(y, x, data_range=1.0),
        "ergas": TM.error_relative_global_dimensionless_synthesis(y, x, ratio=4),
        "sam": TM.spectral_angle_mapper(y, x).rad2deg(),
        "ssim": TM.structural_similarity_index_measure(y, x, data_range=1.0),
    }
    for name, value in theirs.items():
        assert result[name] == pytest.approx(float(value), rel=1e-6), name


def test_functions_of_one_metric_return_the_same(images):
    result = fusion_metrics(*images, 4)
    for name in ("rmse", "psnr", "mpsnr", "sam", "ssim", "uiqi"):
        assert getattr(image, name)(*images) == result[name]
    assert image.ergas(*images, 4) == result["ergas"]
    np.testing.assert_allclose(image.angle_map(*images), angles(*images), rtol=1e-9)


def test_band_metrics_are_those_of_each_band_alone(images):
    estimate, truth = images
    bands = band_metrics(estimate, truth)
    alone = [fusion_metrics(estimate[..., [c]], truth[..., [c]], 4) for c in range(C)]
    assert set(bands) == {"rmse", "psnr", "ssim", "uiqi"}
    for name, values in bands.items():
        assert values.tolist() == pytest.approx([one[name] for one in alone], rel=1e-12)


def test_image_and_bands_at_once_are_those_alone(images):
    for mask in (None, np.arange(images[0].shape[0] * images[0].shape[1]).reshape(images[0].shape[:2]) > 40):
        whole, bands = image.image_and_band_metrics(*images, 4, mask=mask)
        assert whole == fusion_metrics(*images, 4, mask=mask)
        alone = band_metrics(*images, mask=mask)
        assert {name: values.tolist() for name, values in bands.items()} == {n: v.tolist() for n, v in alone.items()}


def test_arrays_tensors_and_types_agree(images):
    single = [part.astype(np.float32) for part in images]
    expected = fusion_metrics(*single, 4)
    assert fusion_metrics(torch.from_numpy(single[0]), single[1], 4) == expected
    assert fusion_metrics(*(part.astype(np.float64) for part in single), 4) == expected
    assert fusion_metrics(*(part.astype(">f4") for part in single), 4) == expected
    for part in single:
        part.setflags(write=False)
    assert fusion_metrics(*single, 4) == expected
    assert fusion_metrics(*images, 4) == pytest.approx(expected, rel=1e-5)


def test_identical_images():
    truth = torch.rand(12, 12, 3, generator=torch.Generator().manual_seed(0))
    result = fusion_metrics(truth, truth, 4)
    assert result["sam"] == pytest.approx(0, abs=1e-5)
    exact = {"rmse": 0, "psnr": np.inf, "mpsnr": np.inf, "ergas": 0, "ssim": 1, "uiqi": 1, "zero_spectra": 0}
    assert {name: result[name] for name in exact} == exact


def test_zero_spectra_are_left_out_of_the_angle_and_counted():
    truth, estimate = torch.ones(8, 8, 2), torch.ones(8, 8, 2)
    truth[0, :3] = 0
    estimate[0, 2:4] = 0
    estimate[1, 0] = torch.tensor([1.0, 0.0])
    result = fusion_metrics(estimate, truth, 4)
    assert result["zero_spectra"] == 4
    assert result["sam"] == pytest.approx(45 / 60, abs=1e-5)


def test_constant_bands_have_the_index_of_their_means():
    truth, estimate = torch.full((9, 9, 1), 0.3), torch.full((9, 9, 1), 0.1)
    assert image.uiqi(estimate, truth) == pytest.approx(2 * 0.03 / (0.09 + 0.01), rel=1e-6)
    assert image.uiqi(0 * truth, 0 * truth) == 1
    varying = truth + torch.arange(81.0).view(9, 9, 1) / 81
    assert image.uiqi(varying, truth) == pytest.approx(0, abs=1e-9)


def test_a_band_of_mean_zero_has_no_relative_error():
    truth = torch.zeros(8, 8, 1)
    assert image.ergas(truth + 1, truth, 4) == np.inf


def test_masked_pixels_never_count(images):
    estimate, truth = images
    estimate, truth = estimate.copy(), truth.copy()
    mask = np.ones((H, W), dtype=bool)
    mask[:, 17:] = False
    estimate[~mask], truth[0, 20] = np.nan, np.inf
    part = fusion_metrics(estimate[:, :17], truth[:, :17], 4)
    whole = fusion_metrics(estimate, truth, 4, mask=torch.from_numpy(mask))
    # Windows of SSIM are reflected at the border of the part, those of the whole are not there.
    del whole["ssim"], part["ssim"]
    assert whole == pytest.approx(part, rel=1e-12)
    assert (image.angle_map(estimate, truth, mask=mask).isnan().numpy() == ~mask).all()


def test_masked_similarity_is_the_mean_over_whole_windows(images):
    y, x = (torch.from_numpy(part).permute(2, 0, 1)[None] for part in images)
    mask = np.ones((H, W), dtype=bool)
    mask[9, 20] = False
    _, full = TM.structural_similarity_index_measure(y, x, data_range=1.0, return_full_image=True)
    whole = np.ones((H, W), dtype=bool)
    whole[4:15, 15:] = False
    assert image.ssim(*images, mask=mask) == pytest.approx(float(full[..., torch.from_numpy(whole)].mean()), rel=1e-9)


def test_bands_are_read_in_chunks(images, monkeypatch):
    whole, more = fusion_metrics(*images, 4), fusion_metrics(*images, 4, compat=True)
    monkeypatch.setattr("stgraph.metrics.image_inputs._CHUNK", 2 * H * W)
    assert fusion_metrics(*images, 4) == pytest.approx(whole, rel=1e-12)
    assert fusion_metrics(*images, 4, compat=True) == pytest.approx(more, rel=1e-12)


def test_further_metrics(images):
    estimate, truth = images
    result = fusion_metrics(estimate, truth, 4, extended=True)
    y, x = (torch.from_numpy(part).float().permute(2, 0, 1)[None] for part in images)
    assert result["scc"] == pytest.approx(float(TM.spatial_correlation_coefficient(y, x)), rel=1e-5)
    assert result["rase"] == pytest.approx(100 / truth.mean() * np.sqrt(((estimate - truth) ** 2).mean()), rel=1e-12)
    assert np.isnan([result["ms_ssim"], result["vif"]]).all()


def test_scales_need_large_images():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(176, 176, 2, generator=generator)
    estimate = truth + 0.1 * torch.randn(176, 176, 2, generator=generator)
    result = extended_metrics(estimate, truth)
    y, x = (part.permute(2, 0, 1)[None] for part in (estimate, truth))
    multiscale = TM.multiscale_structural_similarity_index_measure(y, x, data_range=1.0)
    assert result["ms_ssim"] == pytest.approx(float(multiscale), rel=1e-4)
    assert result["vif"] == pytest.approx(float(TM.visual_information_fidelity(255 * y, 255 * x)), rel=1e-4)
    same = extended_metrics(truth, truth)
    assert same == pytest.approx({"scc": 1, "rase": 0, "ms_ssim": 1, "vif": 1}, rel=1e-4)


def test_small_images_name_the_window():
    pixel = torch.ones(1, 1, 3)
    assert image.rmse(pixel, pixel) == 0
    assert image.sam(pixel, pixel) == pytest.approx(0, abs=1e-5)
    with pytest.raises(InputError, match="1 x 1 pixels; SSIM has a window of 11 x 11 and needs at least 6 x 6"):
        fusion_metrics(pixel, pixel, 4)
    with pytest.raises(InputError, match="UIQI has a window of 8 x 8"):
        image.uiqi(torch.ones(9, 7, 1), torch.ones(9, 7, 1))
    with pytest.raises(InputError, match="11 x 11 and needs at least 11 x 11"):
        fusion_metrics(torch.ones(10, 12, 1), torch.ones(10, 12, 1), 4, compat=True)
    with pytest.raises(InputError, match="SCC has a window"):
        extended_metrics(pixel, pixel)


def test_a_mask_without_a_whole_window():
    x = torch.ones(8, 8, 1)
    mask = torch.ones(8, 8, dtype=torch.bool)
    mask[3, 3] = False
    with pytest.raises(InputError, match="no whole window of 8 x 8 pixels; UIQI"):
        image.uiqi(x, x, mask=mask)


def test_bad_values_are_counted_and_found():
    truth = torch.ones(8, 9, 2)
    estimate = truth.clone()
    estimate[2, 3, 1], estimate[5, 0, 0] = torch.nan, torch.inf
    with pytest.raises(InputError, match=r"estimate holds 2 NaN .* \(row, column, band\) \(2, 3, 1\)"):
        fusion_metrics(estimate, truth, 4)
    with pytest.raises(InputError, match=r"truth holds 2 NaN"):
        fusion_metrics(truth.numpy(), estimate.numpy(), 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"estimate": torch.ones(8, 9, 2)}, InputError, r"\(8, 9, 2\), truth \(8, 8, 2\)"),
        ({"truth": torch.ones(8, 8)}, InputError, r"truth has shape \(8, 8\); expected \(H, W, C\)"),
        ({"truth": torch.ones(8, 0, 2)}, InputError, "none of them 0"),
        ({"truth": np.ones((8, 8, 2), dtype=np.uint8)}, InputTypeError, "truth is of type uint8"),
        ({"estimate": [[1.0]]}, InputTypeError, "estimate is a list"),
        ({"ratio": 0}, InputError, "ratio is 0"),
        ({"ratio": 2.5}, InputTypeError, "ratio is 2.5"),
        ({"mask": torch.ones(8, 8)}, InputTypeError, "mask is of type torch.float32"),
        ({"mask": np.ones((8, 9), dtype=bool)}, InputError, r"mask has shape \(8, 9\)"),
        ({"mask": torch.zeros(8, 8, dtype=torch.bool)}, InputError, "False at every pixel"),
        ({"mask": [True]}, InputTypeError, "mask is a list"),
        ({"mask": torch.ones(8, 8, dtype=torch.bool), "compat": True}, InputError, "mask is given with compat"),
    ],
)
def test_bad_input(change, error, message):
    arguments = {"estimate": torch.ones(8, 8, 2), "truth": torch.ones(8, 8, 2), "ratio": 4} | change
    with pytest.raises(error, match=message):
        fusion_metrics(**arguments)


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA is not set")
def test_bicubic_samson_has_the_values_of_the_specification():
    path = Path(os.environ["STGRAPH_DATA"]) / "hsi_samson" / "Samson.mat"
    cube = scipy.io.loadmat(path)["Y"].T.reshape(95, 95, 156, order="F")[:88, :88]
    low, high = np.percentile(cube, [1, 99])
    truth = torch.from_numpy((np.clip(cube, low, high) - low) / (high - low)).float()
    profile = torch.exp(-(torch.arange(-7.0, 8.0) ** 2) / (2 * 3.4**2))
    kernel = torch.outer(profile, profile) / profile.sum() ** 2
    blurred = torch.nn.functional.conv2d(truth.permute(2, 0, 1)[:, None], kernel[None, None], padding=7)
    small = torch.nn.functional.avg_pool2d(blurred, 4)
    noise = (small.square().mean((-2, -1), keepdim=True) / 10**3.5).sqrt()
    small = small + noise * torch.randn(small.shape, generator=torch.Generator().manual_seed(42))
    bicubic = torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic").clamp(0, 1)[:, 0].permute(1, 2, 0)
    published = fusion_metrics(bicubic, truth, 4, compat=True)
    assert published["psnr"] == pytest.approx(22.84, abs=0.05)
    assert published["sam"] == pytest.approx(5.73, abs=0.05)
    assert published["uiqi"] == pytest.approx(0.930, abs=0.002)
    # 0.377 without the last window of each row and column, which are darkened by the border.
    assert fusion_metrics(bicubic, truth, 4)["uiqi"] == pytest.approx(0.377, abs=0.012)
    assert 0.003 < fusion_metrics(truth, truth, 4, compat=True)["sam"] < 0.007
