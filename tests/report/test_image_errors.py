from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.report.image_errors import image_error_map
from stgraph.report.style import save_figure

H, W, C = 6, 9, 4


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    truth = rng.random((H, W, C)) + 0.1
    return truth + 0.1 * rng.normal(size=truth.shape), truth


def maps(figure):
    left, right = (axes.images[0].get_array() for axes in figure.subfigs[-2].axes if axes.images)
    return left, right


def test_maps_and_curves_show_the_errors(images):
    estimate, truth = images
    at = np.array([700.0, 450.0, 550.0, 650.0])
    figure = image_error_map(estimate, truth, wavelength=at)
    error, angle = maps(figure)
    np.testing.assert_allclose(error, np.abs(estimate - truth).mean(-1))
    cosine = (estimate * truth).sum(-1) / np.linalg.norm(estimate, axis=-1) / np.linalg.norm(truth, axis=-1)
    np.testing.assert_allclose(angle, np.rad2deg(np.arccos(cosine)))
    curves = [axes.lines[0].get_xydata() for axes in figure.subfigs[-1].axes]
    rmse = np.sqrt(((estimate - truth) ** 2).mean((0, 1)))
    order = [1, 2, 3, 0]
    np.testing.assert_allclose(curves[0], np.stack([at, rmse], -1)[order])
    np.testing.assert_allclose(curves[1], np.stack([at, -20 * np.log10(rmse)], -1)[order])
    assert [axes.get_ylabel() for axes in figure.subfigs[-1].axes] == ["RMSE", "PSNR (dB)"]


def test_previews_are_drawn_beside_each_other_and_written(images, tmp_path):
    previews = {"Low": np.zeros((2, 3, 3), dtype=np.uint8), "Truth": np.full((H, W, 3), 255, dtype=np.uint8)}
    figure = image_error_map(*images, previews=previews, title="Scene")
    assert [axes.get_title() for axes in figure.subfigs[0].axes] == ["Low", "Truth"]
    assert [axes.images[0].get_array().shape for axes in figure.subfigs[0].axes] == [(2, 3, 3), (H, W, 3)]
    assert [axes.get_xlabel() for axes in figure.subfigs[-1].axes] == ["Band", "Band"]
    assert save_figure(figure, tmp_path / "errors.png", dpi=40).stat().st_size > 0


def test_masked_pixels_are_grey_and_exact_bands_left_out(images):
    _, truth = images
    estimate = truth.copy()
    estimate[..., 1] += 0.5
    mask = torch.ones(H, W, dtype=torch.bool)
    mask[0] = False
    figure = image_error_map(estimate, truth, mask=mask)
    for values in maps(figure):
        assert np.isnan(np.ma.filled(values, np.nan)).sum() == W
    psnr = figure.subfigs[-1].axes[1].lines[0].get_ydata()
    assert np.isnan(psnr).tolist() == [True, False, True, True]


def test_identical_images_can_be_drawn(images):
    figure = image_error_map(images[1], images[1])
    figure.canvas.draw()
    assert figure.subfigs[-2].axes[0].images[0].get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"estimate": np.ones((H, W, 2))}, InputError, "expected the same"),
        ({"wavelength": [1.0, 2.0]}, InputError, r"wavelength has shape \(2,\); expected \(4,\)"),
        ({"wavelength": [1.0, 2.0, np.nan, 4.0]}, InputError, "not finite at band 2"),
        ({"previews": {"A": np.ones((2, 2, 3))}}, InputTypeError, r"previews\['A'\] is of type float64"),
        ({"previews": {"A": np.ones((2, 2), dtype=np.uint8)}}, InputError, r"previews\['A'\] has shape \(2, 2\)"),
    ],
)
def test_bad_input(images, change, error, message):
    with pytest.raises(error, match=message):
        image_error_map(**({"estimate": images[0], "truth": images[1]} | change))
