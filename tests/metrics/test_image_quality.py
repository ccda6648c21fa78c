from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics import image_quality, quality_without_reference


def index(x, y, stride):
    """The mean universal image quality index, window by window."""
    values = []
    for i in range(0, x.shape[0] - 7, stride):
        for j in range(0, x.shape[1] - 7, stride):
            a, b = x[i : i + 8, j : j + 8], y[i : i + 8, j : j + 8]
            covariance = ((a - a.mean()) * (b - b.mean())).mean()
            values.append(
                4 * covariance * a.mean() * b.mean() / ((a.var() + b.var()) * (a.mean() ** 2 + b.mean() ** 2))
            )
    return np.mean(values)


@pytest.fixture
def images():
    rng = np.random.default_rng(3)
    return rng.random((20, 24, 4)), rng.random((10, 12, 4)), rng.random((20, 24, 2))


def test_plain_formula(images, monkeypatch):
    fused, low, detail = images
    coarse = detail.reshape(10, 2, 12, 2, 2).mean((1, 3))
    spectral = np.mean(
        [
            abs(index(fused[..., c], fused[..., d], 2) - index(low[..., c], low[..., d], 1))
            for c in range(4)
            for d in range(4)
            if c != d
        ]
    )
    spatial = np.mean(
        [
            abs(index(fused[..., c], detail[..., b], 2) - index(low[..., c], coarse[..., b], 1))
            for c in range(4)
            for b in range(2)
        ]
    )
    expected = {
        "spectral_distortion": spectral,
        "spatial_distortion": spatial,
        "qnr": (1 - spectral) * (1 - spatial),
    }
    assert quality_without_reference(*images, 2) == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(image_quality, "_CHUNK", 1)
    assert quality_without_reference(*images, 2) == pytest.approx(expected, rel=1e-10)
    assert quality_without_reference(*(torch.from_numpy(i) for i in images), 2) == pytest.approx(expected, rel=1e-10)


def test_one_band_has_no_spectral_distortion(images):
    fused, low, detail = images
    assert quality_without_reference(fused[..., :1], low[..., :1], detail, 2)["spectral_distortion"] == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ratio": 4}, InputError, "fused has 20 x 24 pixels; expected 40 x 48, 4 times those of lr_hsi"),
        ({"hr_msi": np.ones((20, 20, 2))}, InputError, "hr_msi has 20 x 20 pixels"),
        ({"fused": np.ones((20, 24, 3))}, InputError, "fused has 3 bands, lr_hsi 4"),
        ({"hr_msi": np.full((20, 24, 2), np.nan)}, InputError, "hr_msi holds 960 NaN"),
        ({"lr_hsi": np.ones((10, 12, 4), dtype=int)}, InputTypeError, "lr_hsi is of type int64"),
    ],
)
def test_bad_input(images, change, error, message):
    arguments = dict(zip(("fused", "lr_hsi", "hr_msi"), images, strict=True)) | {"ratio": 2} | change
    with pytest.raises(error, match=message):
        quality_without_reference(**arguments)


def test_small_images_name_the_window():
    with pytest.raises(InputError, match="7 x 9 pixels; the quality index of lr_hsi has a window of 8 x 8"):
        quality_without_reference(torch.ones(14, 18, 1), torch.ones(7, 9, 1), torch.ones(14, 18, 1), 2)
