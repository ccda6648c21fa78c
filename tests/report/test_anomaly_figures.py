from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Circle
from PIL import Image
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.report import anomaly
from stgraph.report.anomaly import plot_combined_spectra, plot_reconstruction_error_distribution, plot_spectra
from stgraph.report.sky_images import SkyImages
from tests.report.figure_parts import L, N, flagged_spectra, lines, spans

WAVELENGTH = np.linspace(4000.0, 4390.0, L)  # steps of 10


@pytest.fixture
def spectra():
    return flagged_spectra()


@pytest.fixture
def catalogue():
    names = 39627794000000000 + np.arange(N)
    return pd.DataFrame({"targetid": names, "mean_fiber_ra": 10.0 + np.arange(N), "mean_fiber_dec": -np.arange(N) / 2})


@pytest.fixture
def drawn(monkeypatch):
    """The figures, which are not written at their full size; the names under which they would be."""
    figures = []

    def save(figure, path, dpi):
        assert dpi == 300
        figure.canvas.draw()
        figures.append(figure)
        path.write_bytes(b"figure")
        return path

    monkeypatch.setattr(anomaly, "save_figure", save)
    return figures


def files(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def rows(figure):
    return [figure.axes[i : i + 3] for i in range(0, len(figure.axes), 3)]


def is_red(color):
    red, green, blue = to_rgb(color)
    return red > 0.7 and green < 0.3 and blue < 0.3


def test_flagged_spectra_alone(spectra, catalogue, drawn, tmp_path):
    asked = []

    def provider(ra, dec):
        asked.append((ra, dec))
        return np.zeros((100, 120, 3)) if ra < 12 else None

    result = plot_combined_spectra(
        *spectra, catalogue, WAVELENGTH, tmp_path, seed=5, only_anomalous=True, image_provider=provider
    )
    assert result == ([1, 4], [1, 4], 5)
    assert files(tmp_path) == ["anomalous_spectra_1.png"]
    (figure,) = drawn
    assert len(figure.axes) == 2 * 3
    (axes, below, sky), (other, other_below, no_sky) = rows(figure)
    for part in (axes, below):
        np.testing.assert_allclose(spans(part), [(4045.0, 4095.0), (4195.0, 4205.0)])
    np.testing.assert_allclose(spans(other), [(4295.0, 4395.0)])
    x = spectra[0]
    np.testing.assert_array_equal(lines(axes)["Original"].get_ydata(), x[1])
    np.testing.assert_array_equal(lines(axes)["Original"].get_xdata(), WAVELENGTH)
    np.testing.assert_array_equal(lines(other)["Reconstruction"].get_ydata(), x[4] - 0.25)
    np.testing.assert_allclose(lines(other_below)["Residual"].get_ydata(), 0.25)
    assert lines(axes)["Reconstruction"].get_alpha() == 0.7
    assert is_red(lines(axes)["Reconstruction"].get_color())
    assert to_rgb(lines(axes)["Original"].get_color())[2] > 0.6
    assert axes.get_title(loc="left") == "Target 39627794000000001 – Anomalous"
    assert is_red(axes._left_title.get_color())
    assert to_rgb(axes.get_facecolor())[2] < 0.95 < to_rgb(axes.get_facecolor())[0]
    assert asked == [(11.0, -0.5), (14.0, -2.0)]
    (circle,) = [patch for patch in sky.patches if isinstance(patch, Circle)]
    assert (circle.get_radius(), circle.center, to_hex(circle.get_edgecolor())) == (30, (59.5, 49.5), "#ffffff")
    assert sky.get_title() == "RA 11.00000°, Dec -0.50000°"
    assert not sky.texts
    assert [text.get_text() for text in no_sky.texts] == ["Image Not Found"]
    assert other_below.get_xlabel() == "Wavelength (Å)"


def test_the_residual_is_attached_below(spectra, catalogue, drawn, tmp_path):
    plot_combined_spectra(*spectra, catalogue, WAVELENGTH, tmp_path, seed=0)
    for axes, below, sky in rows(drawn[0]):
        top, bottom, right = (part.get_position(original=True) for part in (axes, below, sky))
        assert below.get_shared_x_axes().joined(axes, below)
        np.testing.assert_allclose(bottom.y1, top.y0)
        np.testing.assert_allclose(bottom.height, top.height / 4)
        np.testing.assert_allclose(top.width, 3 * right.width)
        assert right.x0 > top.x1


def test_some_of_all_spectra_are_drawn_by_the_seed(spectra, catalogue, drawn, tmp_path):
    results = [plot_spectra(*spectra, catalogue, None, tmp_path, max_samples=3, seed=seed) for seed in (1, 1, 2)]
    assert files(tmp_path) == [f"spectra_reconstruction_{i}.png" for i in (1, 2, 3)]
    assert results[0] == results[1] != results[2]
    for candidates, chosen, _ in results:
        assert candidates == list(range(N))
        assert len(set(chosen)) == 3
    for figure, (_, chosen, _) in zip(drawn, results, strict=True):
        titles = [axes.get_title(loc="left") for axes, _, _ in rows(figure)]
        assert titles == [f"Target {39627794000000000 + i}{' – Anomalous' if i in (1, 4) else ''}" for i in chosen]
        for axes, _, _ in rows(figure):
            plain = "Anomalous" not in axes.get_title(loc="left")
            assert (to_hex(axes.get_facecolor()) == "#ffffff") == plain
        assert rows(figure)[-1][1].get_xlabel() == "Number of the point"


def test_a_seed_is_drawn_where_none_is_given(spectra, drawn, tmp_path):
    first = plot_combined_spectra(*spectra, save_directory=tmp_path, max_samples=2)
    assert 0 <= first[2] <= 10_000
    assert plot_combined_spectra(*spectra, save_directory=tmp_path, max_samples=2, seed=first[2]) == first
    assert rows(drawn[0])[0][0].get_title(loc="left").startswith(f"Spectrum {first[1][0]}")


def test_nothing_to_plot(spectra, drawn, tmp_path):
    nothing = np.zeros(N, dtype=bool)
    result = plot_combined_spectra(*spectra[:3], nothing, save_directory=tmp_path / "new", only_anomalous=True)
    assert result == ([], [], None)
    assert not (tmp_path / "new").exists()
    assert not drawn


def test_bad_points_are_gaps_and_do_not_stretch_the_axes(spectra, drawn, tmp_path):
    x, expected, regions, flagged = (array.copy() for array in spectra)
    mask = np.ones((N, L, 1), dtype=bool)
    mask[1, 7:12], mask[1, 35:], mask[2] = False, False, False
    mask[1, 33] = False  # so that point 34 has no neighbour
    x[1, 8], x[1, 36], x[1, 15] = 1e9, -1e9, np.nan
    wavelength = np.where(np.arange(L) < 35, WAVELENGTH, 0.0)  # padding
    regions[1, 30:] = True
    plot_combined_spectra(x, expected, regions, flagged, None, wavelength, tmp_path, mask=mask, seed=0)
    axes, below, _ = rows(drawn[0])[1]
    gaps = np.flatnonzero(np.isnan(lines(axes)["Original"].get_ydata())).tolist()
    assert gaps == [7, 8, 9, 10, 11, 15, 33, 35, 36, 37, 38, 39]
    assert np.flatnonzero(np.isnan(lines(below)["Residual"].get_ydata())).tolist() == gaps
    alone = [line for line in axes.get_lines() if line.get_marker() == "."]
    assert [line.get_xdata().tolist() for line in alone] == [[4340.0], [4340.0]]
    assert max(np.abs(axes.get_ylim())) < 10
    low, high = axes.get_xlim()
    assert 3990 < low < 4000 < 4340 < high < 4350
    np.testing.assert_allclose(spans(axes), [(4045.0, 4095.0), (4195.0, 4205.0), (4295.0, 4345.0)])
    empty = rows(drawn[0])[2][0]
    assert [text.get_text() for text in empty.texts] == ["No good points"]


def test_tensors_lists_and_a_graph_will_do(spectra, drawn, tmp_path):
    x, expected, regions, flagged = spectra
    sky = torch.stack([torch.arange(6.0), -torch.arange(6.0)], dim=1)
    data = Data(x=torch.zeros(N, L, 1), node_names=[f"g{i}" for i in range(N)], sky=sky)
    result = plot_combined_spectra(
        torch.from_numpy(x).unsqueeze(-1), expected, list(regions), torch.from_numpy(flagged), zpix_cat=data,
        wavelengths=torch.from_numpy(WAVELENGTH).expand(N, L), save_directory=tmp_path, only_anomalous=True,
    )  # fmt: skip
    assert result[:2] == ([1, 4], [1, 4])
    (axes, _, sky_axes), _ = rows(drawn[0])
    assert axes.get_title(loc="left") == "Target g1 – Anomalous"
    assert sky_axes.get_title() == "RA 1.00000°, Dec -1.00000°"
    np.testing.assert_array_equal(lines(axes)["Original"].get_ydata(), x[1])


def test_positions_are_pairs_of_columns_as_where_spectra_are_read(spectra, catalogue, drawn, tmp_path):
    catalogue["RA"], catalogue["DEC"] = 200.0, 45.0
    plot_combined_spectra(*spectra, catalogue, save_directory=tmp_path, seed=0)
    assert rows(drawn[0])[0][2].get_title() == "RA 10.00000°, Dec +0.00000°"
    del catalogue["mean_fiber_dec"]
    plot_combined_spectra(*spectra, catalogue, save_directory=tmp_path, seed=0)
    assert rows(drawn[1])[0][2].get_title() == "RA 200.00000°, Dec +45.00000°"


def test_the_axis_tells_rest_wavelengths(spectra, drawn, tmp_path):
    data = Data(x=torch.zeros(N, L, 1), node_names=[str(i) for i in range(N)], frame="rest")
    plot_combined_spectra(*spectra, data, WAVELENGTH, tmp_path, seed=0)
    plot_reconstruction_error_distribution(np.ones((N, L)), WAVELENGTH, tmp_path, at_rest=True)
    assert rows(drawn[0])[-1][1].get_xlabel() == "Rest wavelength (Å)"
    assert drawn[1].axes[0].get_xlabel() == "Rest wavelength (Å)"


def test_one_warning_for_a_figure_without_images(spectra, catalogue, drawn, tmp_path, caplog):
    def broken(ra, dec):
        raise OSError("offline")

    images = SkyImages(broken)
    for _ in range(2):
        plot_combined_spectra(*spectra, catalogue, None, tmp_path, image_provider=images)
    assert [text.get_text() for _, _, sky in rows(drawn[0]) for text in sky.texts] == ["Image Not Found"] * N
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


def test_what_is_written_is_an_image_of_300_dots_per_inch(spectra, catalogue, tmp_path):
    plot_combined_spectra(*spectra, catalogue, WAVELENGTH, tmp_path, max_samples=1, seed=0)
    assert files(tmp_path) == ["spectra_reconstruction_1.png"]
    with Image.open(tmp_path / "spectra_reconstruction_1.png") as image:
        assert image.size[0] == 3600
        np.testing.assert_allclose(image.info["dpi"], 300, rtol=1e-3)


def test_a_figure_that_fails_leaves_no_file(spectra, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(anomaly, "save_figure", fail)
    with pytest.raises(OSError, match="disk full"):
        plot_combined_spectra(*spectra, save_directory=tmp_path)
    assert files(tmp_path) == []


def test_wrong_input_of_spectra_is_named(spectra, catalogue, tmp_path):
    x, expected, regions, flagged = spectra
    for arguments, options, message in [
        ((x[0], expected, regions, flagged), {}, r"original_fluxes has shape \(40,\)"),
        ((x, expected[:, :5], regions, flagged), {}, r"reconstructed_fluxes has shape \(6, 5\)"),
        ((x, expected, regions[:2], flagged), {}, r"anomalous_regions has shape \(2, 40\)"),
        ((x, expected, [[True], [True, False]], flagged), {}, "anomalous_regions is not an array"),
        ((x, expected, regions, flagged[:2]), {}, r"spectrum_anomalies has shape \(2,\)"),
        (spectra, {"catalogue": catalogue[:3]}, r"catalogue has (3 rows|shape \(3,\))"),
        (spectra, {"catalogue": [1, 2]}, "catalogue has 2 rows"),
        (spectra, {"catalogue": catalogue, "zpix_cat": catalogue}, "catalogue is given twice"),
        (spectra, {"wavelengths": WAVELENGTH[:3]}, r"wavelengths has shape \(3,\)"),
        (spectra, {"mask": flagged}, r"mask has shape \(6,\)"),
        (spectra, {"max_samples": 0}, "max_samples is 0"),
        (spectra, {"max_samples": 61}, "max_samples is 61"),
        (spectra, {"image_provider": "nasa"}, "provider is 'nasa'"),
    ]:
        with pytest.raises(InputError, match=message):
            plot_combined_spectra(*arguments, save_directory=tmp_path, **options)
    assert files(tmp_path) == []


def test_the_mean_error_is_drawn_twice(drawn, tmp_path):
    errors = np.array([[1.0, 4.0, 2.0, 0.0], [3.0, np.nan, 6.0, 0.0]])
    mask = np.array([[True, True, False, True], [True, True, True, True]])
    paths = plot_reconstruction_error_distribution(errors, [1.0, 2.0, 4.0, 8.0], tmp_path, mask=mask)
    assert [path.name for path in paths] == [
        "mean_reconstruction_error_linear_1.png",
        "mean_reconstruction_error_log_1.png",
    ]
    assert files(tmp_path) == sorted(path.name for path in paths)
    linear, log = (figure.axes[0] for figure in drawn)
    assert (linear.get_yscale(), log.get_yscale()) == ("linear", "log")
    np.testing.assert_array_equal(linear.get_lines()[0].get_xdata(), [1, 2, 4, 8])
    np.testing.assert_array_equal(linear.get_lines()[0].get_ydata(), [2, 4, 6, 0])
    np.testing.assert_array_equal(log.get_lines()[0].get_ydata(), [2, 4, 6, np.nan])  # no 0 on this axis
    filled = linear.collections[0].get_paths()[0].vertices
    assert (filled[:, 1].min(), filled[:, 1].max()) == (0.0, 6.0)
    assert log.get_ylim()[0] == 1.0
    assert linear.get_xlabel() == "Wavelength (Å)"


def test_errors_without_anything_to_draw(drawn, tmp_path):
    plot_reconstruction_error_distribution(np.zeros((2, 3)), save_directory=tmp_path)
    plot_reconstruction_error_distribution(np.full((2, 3), np.nan), save_directory=tmp_path)
    texts = [[text.get_text() for text in figure.axes[0].texts] for figure in drawn]
    assert texts == [[], ["Nothing to draw"], ["Nothing to draw"], ["Nothing to draw"]]


@pytest.mark.parametrize(
    ("errors", "wavelengths", "message"),
    [
        (np.ones((2, 3)), [1.0, 2.0], r"wavelengths has shape \(2,\); expected \(3,\)"),
        (np.ones(3), None, r"errors has shape \(3,\)"),
        (np.ones((0, 3)), None, r"errors has shape \(0, 3\)"),
        (-np.ones((2, 3)), None, "errors holds negative numbers"),
        ([["a"]], None, "errors does not hold numbers"),
    ],
)
def test_wrong_input_of_errors_is_named(tmp_path, errors, wavelengths, message):
    with pytest.raises(InputError, match=message):
        plot_reconstruction_error_distribution(errors, wavelengths, tmp_path)
    assert files(tmp_path) == []
