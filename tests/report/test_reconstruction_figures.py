from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from stgraph.errors import InputError
from stgraph.report.reconstruction import error_boxes, reconstruction_grid


@pytest.fixture
def curves():
    rng = np.random.default_rng(0)
    time = 2459000.5 + np.sort(rng.random((20, 12)), axis=1)
    observed = rng.normal(size=(20, 12))
    hidden = rng.random((20, 12)) < 0.4
    hidden[0], hidden[1] = False, False
    hidden[0, :3] = True
    return time, observed, observed + 0.1, hidden


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_what_is_drawn_is_the_data(curves):
    time, observed, reconstructed, hidden = curves
    mask = np.ones((20, 12), dtype=bool)
    mask[0, 10:] = False
    figure = reconstruction_grid(
        torch.from_numpy(time), torch.from_numpy(observed), reconstructed, torch.from_numpy(hidden), mask=mask,
        log_variance=np.full((20, 12), 2 * np.log(0.5)), block_size=range(20), names=[f"TIC {i}" for i in range(20)],
        unit="ppm",
    )  # fmt: skip
    figure.canvas.draw()
    assert len(figure.axes) == 16
    drawn = lines(figure.axes[0])
    start = time[0, 0]
    np.testing.assert_array_equal(drawn["Hidden"].get_ydata(), observed[0, :3])
    np.testing.assert_array_equal(drawn["Observed"].get_ydata(), observed[0, 3:10])
    np.testing.assert_array_equal(drawn["Reconstruction"].get_ydata(), reconstructed[0, :10])
    np.testing.assert_array_equal(drawn["Reconstruction"].get_xdata(), time[0, :10] - start)
    corners = figure.axes[0].collections[0].get_paths()[0].vertices
    np.testing.assert_allclose(corners[:, 1].max(), reconstructed[0, :10].max() + 0.5)
    np.testing.assert_allclose(corners[:, 1].min(), reconstructed[0, :10].min() - 0.5)
    assert figure.axes[0].get_title(loc="left") == "TIC 0: 30 % hidden, blocks of 0"
    assert figure.axes[1].get_title(loc="left") == "TIC 1: 0 % hidden, blocks of 1"
    assert figure.get_supxlabel() == "Time since the first point (days)"
    assert figure.get_supylabel() == "Flux (ppm)"
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["± 1 standard deviation", "Observed", "Hidden", "Reconstruction"]


@pytest.mark.parametrize("count", [1, 3, 5])
def test_fewer_examples_have_fewer_panels(curves, count):
    figure = reconstruction_grid(*(a[:count] for a in curves))
    figure.canvas.draw()
    assert len(figure.axes) == count
    assert "Hidden" in lines(figure.axes[0])
    assert not figure.axes[0].collections


def test_a_spectrum_has_a_common_logarithmic_axis(curves):
    _, observed, reconstructed, hidden = curves
    frequency = np.geomspace(0.01, 10, 12)
    figure = reconstruction_grid(frequency, observed, reconstructed, hidden, axis="frequency", value_name="PSD")
    figure.canvas.draw()
    assert figure.axes[3].get_xscale() == "log"
    np.testing.assert_array_equal(lines(figure.axes[3])["Reconstruction"].get_xdata(), frequency)
    assert figure.get_supxlabel() == "Frequency (1/day)"
    assert figure.get_supylabel() == "PSD"


def test_an_example_without_real_points(curves):
    time, observed, reconstructed, hidden = (a[:1] for a in curves)
    figure = reconstruction_grid(time, observed, reconstructed, hidden, mask=np.zeros((1, 12), dtype=bool))
    figure.canvas.draw()
    assert figure.axes[0].get_title(loc="left") == "no real points"


def test_wrong_input_of_the_grid_is_named(curves):
    time, observed, reconstructed, hidden = curves
    for call, message in [
        (lambda: reconstruction_grid(time, observed[0], reconstructed, hidden), r"observed has shape \(12,\)"),
        (lambda: reconstruction_grid(time[:3], observed, reconstructed, hidden), r"at has shape \(3, 12\)"),
        (lambda: reconstruction_grid(time, observed, reconstructed[:3], hidden), r"reconstructed has shape \(3, 12\)"),
        (lambda: reconstruction_grid(time, observed, reconstructed, hidden[0]), r"hidden has shape \(12,\)"),
        (lambda: reconstruction_grid(time, observed, reconstructed, hidden, mask=hidden[0]), r"mask has shape \(12,\)"),
        (lambda: reconstruction_grid(time, observed, observed, hidden, log_variance=time[0]), "log_variance has shape"),
        (lambda: reconstruction_grid(time, observed, reconstructed, hidden, names=["a"]), "names has 1 entries"),
        (lambda: reconstruction_grid(time, observed, observed, hidden, block_size=[1]), "block_size has 1 entries"),
        (lambda: reconstruction_grid(time, observed, reconstructed, hidden, axis="x"), "axis is 'x'"),
        (lambda: reconstruction_grid(time, [["a"]], reconstructed, hidden), "observed does not hold numbers"),
    ]:
        with pytest.raises(InputError, match=message):
            call()


def test_boxes_of_each_label():
    errors = np.array([1.0, 2.0, 3.0, 10.0, np.nan, 20.0])
    by = {"class": ["drw", "drw", "drw", "qpo", "qpo", "qpo"], "sampling": ["regular"] * 3 + ["gaps"] * 3}
    figure = error_boxes(errors, by, unit="ppm²")
    figure.canvas.draw()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["By class", "By sampling"]
    first = figure.axes[0]
    assert [tick.get_text() for tick in first.get_yticklabels()] == ["drw (3)", "qpo (2)"]
    assert [tick.get_text() for tick in figure.axes[1].get_yticklabels()] == ["gaps (2)", "regular (3)"]
    medians = [line.get_xdata()[0] for line in first.get_lines() if to_hex(line.get_color()) == "#d55e00"]
    assert medians == [2.0, 15.0]
    assert figure.axes[1].get_xscale() == "log"
    assert figure.axes[1].get_xlabel() == "MSE (ppm²)"
    assert error_boxes([0.0, 1.0], {"class": ["a", "b"]}).axes[0].get_xscale() == "linear"


def test_wrong_input_of_the_boxes_is_named():
    for call, message in [
        (lambda: error_boxes([np.nan], {"class": ["a"]}), r"shape \(1,\) and 0 finite entries"),
        (lambda: error_boxes([[1.0]], {"class": ["a"]}), r"shape \(1, 1\)"),
        (lambda: error_boxes([1.0], {}), "by has {} entries"),
        (lambda: error_boxes([1.0], {"class": ["a", "b"]}), "by has {'class': 2} entries"),
    ]:
        with pytest.raises(InputError, match=message):
            call()
