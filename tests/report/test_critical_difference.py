from __future__ import annotations

import numpy as np
import pytest

from stgraph.errors import InputError
from stgraph.report.critical_difference import critical_difference, not_different, window_boxes


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_ranks_are_drawn_from_the_best_to_the_worst():
    errors = np.arange(1.0, 6.0) + np.zeros((30, 5))
    figure = critical_difference(errors[:, ::-1], list("edcba"))
    figure.canvas.draw()
    (axes,) = figure.axes
    names = [text for text in texts(axes) if "(" in text]
    assert names == ["e (5.00)", "d (4.00)", "c (3.00)", "b (2.00)", "a (1.00)"][::-1]
    assert "30 data sets" in axes.get_title()


@pytest.mark.parametrize(("sets", "bars"), [(30, 0), (3, 2)])
def test_bars_join_models_that_do_not_differ(sets, bars):
    """The critical difference of 3 models is 3.31 / sqrt(2) * sqrt(2 / n): 0.61 for 30 sets, 1.91 for 3."""
    figure = critical_difference(np.arange(1.0, 4.0) + np.zeros((sets, 3)), list("abc"))
    below = [c for c in figure.axes[0].collections if c.get_segments()[0][0][1] < 0]
    assert len(below) == bars


def test_groups_do_not_hold_one_another():
    assert not_different(np.array([1.0, 1.1, 1.2]), 1.0) == [(0, 2)]
    assert not_different(np.array([1.0, 3.0]), 1.0) == []


def test_boxes_are_those_of_the_windows():
    errors = {"a": np.arange(101.0), "b": np.array([5.0, np.nan, 7.0])}
    figure = window_boxes(errors, title="Errors", unit="km/h")
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]
    assert axes.get_xlabel() == "MAE of a window (km/h)"
    box = axes.patches[0].get_path().vertices[:, 0]
    assert (box.min(), box.max()) == (25, 75)


def test_what_cannot_be_drawn():
    with pytest.raises(InputError, match="models has 2 names"):
        critical_difference(np.ones((3, 3)), ["a", "b"])
    with pytest.raises(InputError, match=r"errors has \{'a': 0\} windows"):
        window_boxes({"a": [np.nan]}, title="")
