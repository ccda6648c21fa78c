"""Figures of sensors and their scores, and of where on a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.report.anomaly_series import flagged_share_map, score_overview, series_anomalies
from tests.report.figure_parts import flagged_spectra, lines, spans


def test_series_of_sensors():
    spectra = flagged_spectra()
    x, _, regions, _ = spectra
    expected, z = np.zeros_like(x), x / 0.5
    mask = np.ones_like(regions)
    mask[1, 3] = False
    figure = series_anomalies(
        x, expected, z, torch.from_numpy(regions), mask=mask, nodes=[1, 2], node_names=list("abcdef"), threshold=5.0,
        channel_name="Speed", unit="km/h",
    )  # fmt: skip
    figure.canvas.draw()
    axes, below, other, other_below = figure.axes
    assert spans(axes) == spans(below) == [(4.5, 9.5), (19.5, 20.5)]
    assert spans(other) == spans(other_below) == []
    assert axes.get_title(loc="left") == "b: 15 % flagged"
    assert other.get_title(loc="left") == "c: nothing flagged"
    np.testing.assert_array_equal(lines(below)["z"].get_ydata(), np.where(mask[1], z[1], np.nan))
    assert np.isnan(lines(axes)["Observed"].get_ydata()[3])
    band = axes.collections[0].get_paths()[0].vertices
    np.testing.assert_allclose((band[:, 1].min(), band[:, 1].max()), (-1.0, 1.0))  # 2 standard deviations of 0.5
    levels = [line.get_ydata()[0] for line in below.get_lines() if line.get_linestyle() == "--"]
    assert levels == [-5.0, 5.0]
    assert figure.get_supylabel() == "Speed (km/h)"
    assert other_below.get_xlabel() == "Step"


def test_the_nodes_with_the_most_flagged_steps_are_drawn():
    regions = np.zeros((20, 10), dtype=bool)
    regions[3, :5], regions[17, :2] = True, True
    z = np.zeros((20, 10))
    z[[5, 7, 9, 11, 13, 15], 0] = 4.0
    figure = series_anomalies(z, z, z, regions)
    titles = [axes.get_title(loc="left") for axes in figure.axes[::2]]
    assert titles == [f"Node {i}: {'50 % flagged' if i == 3 else '20 % flagged' if i == 17 else 'nothing flagged'}"
                      for i in (3, 5, 7, 9, 11, 13, 15, 17)]  # fmt: skip
    with pytest.raises(InputError, match="nodes has 9 entries"):
        series_anomalies(z, z, z, regions, nodes=range(9))


def test_series_with_a_calendar():
    day = 86_400_000_000_000
    time = torch.arange(10) * day
    x = np.arange(20.0).reshape(2, 10)
    regions = np.zeros((2, 10), dtype=bool)
    regions[0, 2:4] = True
    figure = series_anomalies(x, x, x, regions, time=time, nodes=[0])
    figure.canvas.draw()
    np.testing.assert_allclose(spans(figure.axes[0]), [(1.5, 3.5)])  # days since 1970
    assert figure.axes[1].get_xlabel() == "Time"


def test_wrong_input_of_series_is_named():
    x = np.zeros((2, 5))
    regions = x > 0
    for call, message in [
        (lambda: series_anomalies(x[0], x, x, regions), r"observed has shape \(5,\)"),
        (lambda: series_anomalies(x, x[:1], x, regions), r"expected has shape \(1, 5\)"),
        (lambda: series_anomalies(x, x, x, regions, time=[1, 2]), r"time has shape \(2,\)"),
        (lambda: series_anomalies(x, x, x, regions, nodes=[]), "nodes has 0 entries"),
        (lambda: series_anomalies(x, x, x, regions, nodes=[2]), "node"),
    ]:
        with pytest.raises(InputError, match=message):
            call()


def test_scores_from_high_to_low():
    score = np.array([1.0, 9.0, np.nan, 2.0, 5.0])
    figure = score_overview(score, 4.5, names=["a", "b", "c", "d", "e"])
    figure.canvas.draw()
    (axes,) = figure.axes
    drawn = lines(axes)
    np.testing.assert_array_equal(drawn["Flagged (2)"].get_xdata(), [1, 2])
    np.testing.assert_array_equal(drawn["Flagged (2)"].get_ydata(), [9, 5])
    np.testing.assert_array_equal(drawn["Not flagged (2)"].get_ydata(), [2, 1])
    assert drawn["Threshold 4.5"].get_ydata()[0] == 4.5
    assert [text.get_text() for text in axes.texts] == ["b", "e", "d"]
    assert axes.get_title() == "Scores of 4 objects (1 without data)"
    named = score_overview(score, anomalous=[True, False, False, False, False])
    np.testing.assert_array_equal(lines(named.axes[0])["Flagged (1)"].get_ydata(), [1.0])
    close = score_overview([5.0, 5.001, 1.0], names=["a", "b", "c"])
    assert [text.get_text() for text in close.axes[0].texts] == ["b", "c"]  # a would lie on b
    for wrong, message in [
        ((np.full(3, np.nan),), "no finite entry"),
        ((score, None), "names has 1 entries"),
    ]:
        with pytest.raises(InputError, match=message):
            score_overview(*wrong, names=["a"])


def test_where_on_a_grid():
    regions = np.zeros((6, 4), dtype=bool)
    regions[0, :2], regions[5] = True, True
    mask = np.ones((6, 4), dtype=bool)
    mask[0, 2:], mask[1] = False, False
    figure = flagged_share_map(regions, (2, 3), mask=mask)
    (image,) = figure.axes[0].get_images()
    np.testing.assert_array_equal(image.get_array().filled(np.nan), [[100, np.nan, 0], [0, 0, 100]])
    assert figure.axes[1].get_ylabel() == "Flagged steps (%)"
    with pytest.raises(InputError, match="grid is"):
        flagged_share_map(regions, (2, 2))
