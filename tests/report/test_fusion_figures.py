from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stgraph.errors import InputError
from stgraph.report import (
    draw_endmembers,
    draw_errors,
    draw_fusion,
    draw_fusion_training,
    draw_latent,
    draw_uncertainty,
    save_fusion_figure,
)


def curve(line):
    return line.get_xydata().tolist()


def test_endmembers_are_drawn_over_sorted_wavelengths_or_numbers_of_bands():
    spectra = torch.tensor([[1.0, 3.0, 2.0], [5.0, 5.0, 5.0]])
    axes = draw_endmembers(spectra, torch.tensor([700.0, 450.0, 550.0]), title="Scene").axes[0]
    assert curve(axes.lines[0]) == [[450.0, 3.0], [550.0, 2.0], [700.0, 1.0]]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("Wavelength (nm)", "Intensity", "Scene")
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["Endmember 1", "Endmember 2"]
    figure = draw_endmembers(spectra, normalise=True, size=(5, 3), legend=None)
    axes = figure.axes[0]
    assert curve(axes.lines[0]) == [[1.0, 0.0], [2.0, 1.0], [3.0, 0.5]]
    assert axes.lines[1].get_ydata().tolist() == [0.0, 0.0, 0.0]
    assert axes.get_legend() is None
    assert figure.get_size_inches().tolist() == [5.0, 3.0]


def test_many_endmembers_can_be_told_apart():
    lines = draw_endmembers(np.eye(14)).axes[0].lines
    assert len({(line.get_color(), str(line.get_linestyle())) for line in lines}) == 14


def test_latent_maps_stand_in_rows_of_five_with_one_scale_and_one_bar():
    maps = np.random.default_rng(0).normal(size=(4, 3, 7))
    figure = draw_latent(maps)
    panels, bars = figure.axes[:10], figure.axes[10:]
    assert len(bars) == 1
    assert [len(axes.images) for axes in panels] == [1] * 7 + [0] * 3
    assert not any(axes.axison for axes in panels)
    assert {axes.images[0].get_clim() for axes in panels[:7]} == {(maps.min(), maps.max())}
    np.testing.assert_array_equal(panels[6].images[0].get_array(), maps[:, :, 6])
    grid = panels[0].get_subplotspec().get_gridspec()
    assert (grid.nrows, grid.ncols) == (2, 5)


def test_images_and_maps_stand_beside_each_other():
    rng = np.random.default_rng(0)
    truth, error = rng.random((8, 12, 5)), rng.random((8, 12))
    figure = draw_fusion(
        torch.from_numpy(truth[::4, ::4]),
        truth[..., :1],
        truth,
        truth=truth,
        error=error,
        uncertainty=2 * error,
        wavelengths=[450.0, 500.0, 550.0, 600.0, 650.0],
    )
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.images[0].get_array().shape[:2] for axes in shown] == [(2, 3)] + [(8, 12)] * 5
    assert [axes.get_title() for axes in shown[3:]] == ["Truth", "Error", "Expected error"]
    assert len({axes.images[0].get_clim() for axes in shown[4:]}) == 1
    assert len(figure.axes) == len(shown) + 1


def test_a_large_image_is_thinned_for_its_preview():
    image = np.zeros((1, 1500, 3), dtype=np.float32)
    image[0, ::3] = [0.5, 0.25, 1.0]
    shown = draw_fusion(image, image, image).axes[0].images[0].get_array()
    assert shown.shape == (1, 500, 3)


def test_uncertainty_is_drawn_beside_the_error_with_one_scale():
    expected = np.array([[0.1, np.nan], [0.2, 0.3]])
    figure = draw_uncertainty(expected, error=np.full((2, 2), 0.4))
    left, right = figure.axes[:2]
    assert left.get_title() == "Expected error, mean 0.2"
    assert left.images[0].get_clim() == right.images[0].get_clim()
    assert np.isnan(np.ma.filled(left.images[0].get_array(), np.nan)[0, 1])
    assert len(draw_uncertainty(expected).axes) == 2


def test_errors_are_drawn_as_maps_and_curves():
    figure = draw_errors([[0.1, 0.3]], [[1.0, np.nan]], [0.1, 0.0], [20.0, np.inf], [650.0, 450.0])
    titles = [axes.get_title() for axes in figure.axes[:4]]
    assert titles == ["Error, mean 0.2", "Spectral angle, mean 1 degrees", "RMSE of each band", "PSNR of each band"]
    assert curve(figure.axes[2].lines[0]) == [[450.0, 0.0], [650.0, 0.1]]
    np.testing.assert_array_equal(figure.axes[3].lines[0].get_ydata(), [np.nan, 20.0])


def test_training_marks_the_lowest_held_out_loss_of_each_network():
    axes = draw_fusion_training([[0.4, 0.2, 0.1], [0.3, 0.2]], [[0.4, 0.2, 0.3], [0.3, 0.1]]).axes[0]
    marks = [curve(line)[0] for line in axes.lines if line.get_marker() == "o"]
    assert marks == [[2.0, 0.2], [2.0, 0.1]]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["trained on", "held out", "lowest: 0.2"]
    assert len(draw_fusion_training([[0.4, 0.2]]).axes[0].lines) == 1


@pytest.mark.parametrize(("kind", "mode"), [("jpg", "RGB"), ("png", "RGBA")])
def test_figures_are_written_in_both_kinds(tmp_path, kind, mode):
    path = save_fusion_figure(draw_endmembers([[1.0, 2.0]], legend=None), tmp_path / "new" / f"a.{kind}", dpi=20)
    with Image.open(path) as image:
        assert (image.mode, image.size) == (mode, (160, 90))
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: draw_endmembers([1.0, 2.0]), r"endmembers has shape \(2,\); expected \(K, C\)"),
        (lambda: draw_endmembers([[1.0, np.nan]]), "endmembers holds 1 values that are NaN or infinite"),
        (lambda: draw_endmembers([[1.0, 2.0]], [500.0]), "wavelengths must hold the wavelengths of 2 bands"),
        (lambda: draw_endmembers([[1.0, 2.0]], size=(0, 3)), "size is"),
        (lambda: draw_endmembers([["a", "b"]]), "endmembers does not hold numbers"),
        (lambda: draw_latent(np.zeros((3, 3))), r"maps has shape \(3, 3\); expected \(H, W, K\)"),
        (lambda: draw_latent(np.full((2, 2, 1), np.nan)), "maps holds 4 values"),
        (lambda: draw_uncertainty([[1.0]], error=[[1.0, 2.0]]), r"error has shape \(1, 2\)"),
        (lambda: draw_errors([[1.0]], [[1.0]], [1.0], [1.0, 2.0]), "expected the same in pairs"),
        (lambda: draw_fusion(np.zeros((2, 2)), np.zeros((2, 2, 1)), np.zeros((2, 2, 1))), "an image has the shape"),
        (lambda: draw_fusion_training([]), "losses is empty"),
        (lambda: save_fusion_figure(draw_endmembers([[1.0, 2.0]]), "a.gif"), "figures are written to .jpg and .png"),
    ],
)
def test_bad_input(draw, message):
    with pytest.raises(InputError, match=message):
        draw()
