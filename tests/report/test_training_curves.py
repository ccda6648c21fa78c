from __future__ import annotations

import numpy as np
import pytest

from stgraph.errors import InputError
from stgraph.report import training_curves

LOG = """step,epoch,train_loss_step,learning_rate,train_loss,val_rmse,val_mae
10,0,0.9,,,,
20,0,0.8,0.1,0.85,3.0,2.0
30,1,0.7,,,,
40,1,0.6,0.1,0.65,2.5,1.9
60,2,0.5,0.1,0.55,2.75,1.8
"""


def write(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    return path


def test_curves_are_the_rows_of_the_log(tmp_path):
    figure = training_curves(write(tmp_path, LOG), unit="K")
    figure.canvas.draw()
    left, right = figure.axes
    train = {line.get_label(): line.get_xydata() for line in left.get_lines()}
    np.testing.assert_allclose(train["mean of the epoch"], [[1, 0.85], [2, 0.65], [3, 0.55]])
    np.testing.assert_allclose(train["of one step"], [[0.5, 0.9], [1, 0.8], [1.5, 0.7], [2, 0.6], [3, 0.5]])
    validation = {line.get_label(): line.get_xydata() for line in right.get_lines()}
    np.testing.assert_allclose(validation["RMSE"], [[1, 3], [2, 2.5], [3, 2.75]])
    np.testing.assert_allclose(validation["best RMSE: 2.5"], [[2, 2.5]])
    assert list(validation) == ["RMSE", "best RMSE: 2.5", "MAE"]
    assert right.get_ylabel() == "Error (K)"


def test_log_without_validation_has_one_panel(tmp_path):
    figure = training_curves(write(tmp_path, "epoch,train_loss\n0,1.0\n1,0.5\n"))
    figure.canvas.draw()
    assert len(figure.axes) == 1


def test_log_before_the_first_validation(tmp_path):
    figure = training_curves(write(tmp_path, "step,epoch,train_loss_step,val_rmse\n10,0,1.0,\n"))
    figure.canvas.draw()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("epoch,train_loss\n", "has no rows"),
        ("epoch,train_loss\n0,abc\n", "not a number"),
        ("epoch,lr\n0,1\n", "expected 'epoch' and some of"),
        ("train_loss\n1\n", "expected 'epoch'"),
    ],
)
def test_bad_logs_are_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        training_curves(write(tmp_path, text))


def test_missing_log_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"metrics.csv is not there"):
        training_curves(tmp_path / "metrics.csv")
