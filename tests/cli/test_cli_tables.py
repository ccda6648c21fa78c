from __future__ import annotations

import math

from stgraph.cli.tables import chosen_steps, error_table, seed_table


def errors(mae, rmse):
    return {
        "global": {"mae": sum(mae) / len(mae), "rmse": sum(rmse) / len(rmse)},
        "per_horizon": {"mae": mae, "rmse": rmse},
    }


def test_errors_by_step():
    text = error_table(
        {
            "model": "net",
            "test": errors([1.0, 2.0], [2.0, 4.0]),
            "baselines": {"persistence": errors([2.0, 4.0], [3.0, math.nan]), "ridge": {"skipped": "no windows"}},
        }
    )
    assert text.split("\n") == [
        "              MAE  RMSE  MAE@1  MAE@2  RMSE@1  RMSE@2",
        "net           1.5     3      1      2       2       4",
        "persistence     3     -      2      4       3       -",
        "ridge left out: no windows",
    ]


def test_one_step_needs_no_columns_of_its_own():
    text = error_table({"model": "net", "test": errors([1.0], [2.0]), "baselines": {}})
    assert text.split("\n") == ["      MAE  RMSE", "net     1     2"]


def test_seeds():
    results = {
        "model": "net",
        "seeds": [1, 2, 3],
        "mean": {"mae": 1.0, "rmse": 2.0},
        "std": {"mae": 0.25, "rmse": 0.5},
        "baselines": {"ridge": errors([3.0], [4.0]), "climatology": {"skipped": "no times"}},
    }
    assert seed_table(results).split("\n") == [
        "3 seeds        MAE     RMSE",
        "net       1 ± 0.25  2 ± 0.5",
        "ridge            3        4",
    ]


def test_a_long_horizon_is_thinned_out():
    for horizon in (7, 12, 24, 100):
        steps = chosen_steps(horizon)
        assert len(steps) == 6
        assert steps[-1] == horizon - 1
        assert steps == sorted(set(steps))
