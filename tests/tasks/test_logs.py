from __future__ import annotations

import csv

import pytest

from stgraph.tasks.logs import MetricsFile


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def log(tmp_path):
    return MetricsFile(tmp_path / "metrics.csv")


def test_rows_are_on_disk_at_once(log):
    log.keep(0)
    log.log_metrics({"epoch": 0, "loss": 0.1}, step=1)
    assert rows(log.path) == [{"step": "1", "epoch": "0", "loss": "0.1"}]


def test_numbers_keep_all_their_digits(log):
    log.log_metrics({"loss": 1 / 3}, step=1)
    assert float(rows(log.path)[0]["loss"]) == 1 / 3


def test_new_columns_leave_earlier_rows_empty(log):
    log.log_metrics({"epoch": 0, "loss": 0.5}, step=1)
    log.log_metrics({"epoch": 0, "val_rmse": 2.0}, step=1)
    log.log_metrics({"epoch": 1, "loss": 0.25}, step=2)
    assert rows(log.path) == [
        {"step": "1", "epoch": "0", "loss": "0.5", "val_rmse": ""},
        {"step": "1", "epoch": "0", "loss": "", "val_rmse": "2.0"},
        {"step": "2", "epoch": "1", "loss": "0.25", "val_rmse": ""},
    ]


@pytest.mark.parametrize("kept", [0, 1, 2, 5])
def test_a_new_logger_goes_on_after_the_kept_rows(log, kept):
    for step in range(3):
        log.log_metrics({"loss": float(step)}, step=step)
    again = MetricsFile(log.path)
    again.keep(kept)
    again.log_metrics({"loss": 9.0}, step=9)
    assert [row["step"] for row in rows(log.path)] == [*map(str, range(min(kept, 3))), "9"]


def test_without_a_file_there_is_nothing_to_keep(log):
    log.keep(3)
    assert log.rows == 0
    assert rows(log.path) == []


def test_hyperparameters_are_not_its_business(log):
    log.log_hyperparams({"a": 1})
    assert not log.path.exists()
    assert (log.name, log.version) == ("metrics", "")
