from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics import ImageFusionMetrics, fusion_metrics

EXACT = ("rmse", "psnr", "mpsnr", "ergas", "sam", "zero_spectra")


@pytest.fixture
def images():
    rng = np.random.default_rng(2)
    truth = rng.random((24, 30, 4)).astype(np.float32)
    truth[3, 5] = 0
    return (truth + 0.05 * rng.normal(size=truth.shape)).astype(np.float32), truth


def cut(rows, columns):
    return [np.s_[i:j, k:m] for i, j in pairwise(rows) for k, m in pairwise(columns)]


def test_tiles_equal_one_piece(images):
    estimate, truth = images
    mask = np.ones(truth.shape[:2], dtype=bool)
    mask[10:14, 2:9] = False
    expected = fusion_metrics(estimate, truth, 8, mask=mask)
    metrics = ImageFusionMetrics(bands=4, ratio=8, windows=False)
    for tile in cut([0, 1, 10, 24], [0, 3, 4, 30]):
        metrics.update(estimate[tile], truth[tile], mask[tile])
    result = metrics.compute()
    assert set(result) == set(EXACT)
    for name in EXACT:
        assert float(result[name]) == pytest.approx(expected[name], rel=1e-12), name


def test_similarities_are_means_over_the_windows_of_all_tiles(images):
    estimate, truth = images
    metrics = ImageFusionMetrics(bands=4, ratio=8)
    parts = []
    for tile in cut([0, 9, 24], [0, 30]):
        metrics.update(estimate[tile], truth[tile])
        parts.append(fusion_metrics(estimate[tile], truth[tile], 8))
    result = metrics.compute()
    assert float(result["ssim"]) == pytest.approx((9 * parts[0]["ssim"] + 15 * parts[1]["ssim"]) / 24, rel=1e-12)
    assert float(result["uiqi"]) == pytest.approx((2 * parts[0]["uiqi"] + 8 * parts[1]["uiqi"]) / 10, rel=1e-12)


def test_one_piece_equals_the_function(images):
    metrics = ImageFusionMetrics(bands=4, ratio=4)
    metrics.update(*images)
    assert {name: float(value) for name, value in metrics.compute().items()} == fusion_metrics(*images, 4)
    metrics.reset()
    metrics.update(images[1], images[1])
    assert float(metrics.compute()["rmse"]) == 0


def test_a_refused_image_leaves_no_trace(images):
    metrics = ImageFusionMetrics(bands=4, ratio=4)
    metrics.update(*images)
    before = {name: float(value) for name, value in metrics.compute().items()}
    with pytest.raises(InputError, match="SSIM has a window"):
        metrics.update(torch.ones(4, 4, 4), torch.zeros(4, 4, 4))
    assert {name: float(value) for name, value in metrics.compute().items()} == before


def test_bad_arguments():
    with pytest.raises(InputError, match="bands is 0"):
        ImageFusionMetrics(bands=0, ratio=4)
    with pytest.raises(InputTypeError, match=r"ratio is 4\.0"):
        ImageFusionMetrics(bands=1, ratio=4.0)
    with pytest.raises(InputError, match="estimate has 3 bands; expected 2"):
        ImageFusionMetrics(bands=2, ratio=4).update(torch.ones(8, 8, 3), torch.ones(8, 8, 3))
