from __future__ import annotations

import math
from pathlib import Path

import pytest

from stgraph.errors import InputError
from stgraph.tasks.benchmark.expected import check_expected
from stgraph.tasks.benchmark.reading import benchmark_from_dict
from stgraph.tasks.benchmark.results import CellResult, read_result, write_result


def config(**expected):
    return benchmark_from_dict(
        {
            "name": "two",
            "datasets": {"ireland_wind": {}},
            "models": {"ridge": {}},
            "protocols": ["dcrnn", "strict"],
            "expected": {"tolerance": {"mae": 0.1, "rmse": 0.5}, "ireland_wind": {"ridge": expected}},
        }
    )


def cell(seed, mae, protocol="dcrnn", status="done", **other):
    scores = {protocol: {"3": {"mae": mae, "rmse": 2 * mae}}}
    return CellResult(
        "ireland_wind", "ridge", seed, protocol, status, scores=scores if status == "done" else {}, **other
    )


@pytest.mark.parametrize(("expected", "passed"), [(2.0, True), (2.1, True), (1.9, True), (2.11, False), (1.89, False)])
def test_the_mean_over_seeds_lies_within_the_tolerance_to_either_side(expected, passed):
    results = [cell(1, 1.5), cell(2, 2.5), cell(1, 9.0, protocol="strict")]
    (check,) = check_expected(config(**{"3": {"mae": expected}}), results)
    assert (check.dataset, check.model, check.horizon, check.metric) == ("ireland_wind", "ridge", "3", "mae")
    assert check.got == pytest.approx(2.0)
    assert (check.expected, check.tolerance, check.passed) == (expected, 0.1, passed)


def test_each_number_is_checked_with_the_tolerance_of_its_metric():
    checks = check_expected(config(**{"3": {"mae": 2.2, "rmse": 4.4}, "12": {"mae": 2.0}}), [cell(1, 2.0)])
    assert [(c.horizon, c.metric, c.passed) for c in checks] == [
        ("3", "mae", False),
        ("3", "rmse", True),
        ("12", "mae", False),
    ]
    assert checks[2].got is None


def test_a_failed_seed_is_no_reproduction_and_an_absent_set_is_not_checked():
    expected = {"3": {"mae": 2.0}}
    (check,) = check_expected(config(**expected), [cell(1, 2.0), cell(2, 0.0, status="failed")])
    assert (check.got, check.passed) == (None, False)
    (check,) = check_expected(config(**expected), [cell(1, math.nan)])
    assert not check.passed
    assert check_expected(config(**expected), [cell(1, 0.0, status="missing")]) == []


def test_results_are_read_as_they_were_written(tmp_path):
    scores = {"dcrnn": {"3": {"mae": 1.5, "mape": math.inf}}}
    predictions = tmp_path / "run" / "predictions.npz"
    result = CellResult("a", "b", 1, "strict", "done", parameters=3, scores=scores, predictions=predictions)
    write_result(tmp_path / "cell.json", result)
    assert read_result(tmp_path / "cell.json") == result
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert read_result(moved / "cell.json").predictions == moved / "run" / "predictions.npz"
    assert isinstance(read_result(moved / "cell.json").predictions, Path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scores": {}, "seed": 1}'])
def test_a_damaged_result_is_named(tmp_path, text):
    (tmp_path / "cell.json").write_text(text)
    with pytest.raises(InputError, match=r"cell\.json is not the result of a benchmark cell"):
        read_result(tmp_path / "cell.json")
