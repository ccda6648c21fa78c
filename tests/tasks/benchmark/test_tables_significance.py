from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stgraph.errors import InputError
from stgraph.tasks.benchmark.rows import parts
from stgraph.tasks.benchmark.significance import compare_with_best, forecast_losses
from tests.tasks.benchmark.small_results import STEPS, WINDOWS, done, targets, with_forecasts


def compared(results, horizons=None):
    (part,) = parts(results)
    return compare_with_best(part, horizons)


def test_models_are_compared_with_the_best_over_the_seeds_together(tmp_path):
    results = [
        with_forecasts(tmp_path, m, s, size)
        for m, size in (("stid", 1.0), ("lstm", 2.0), ("dcrnn", 1.0))
        for s in (1, 2)
    ]
    found = compared(results, ["average"])
    assert found.notes == ()
    lstm = next(c for c in found.comparisons if c.model == "lstm")
    mean = {
        m: np.mean([r.scores["strict"]["average"]["mae"] for r in results if r.model == m])
        for m in ("stid", "lstm", "dcrnn")
    }
    assert lstm.best == min(mean, key=mean.get)
    assert lstm.difference == pytest.approx(mean["lstm"] - mean[lstm.best])
    assert lstm.low > 0.9
    assert lstm.p_holm == pytest.approx(2 * lstm.p_value)
    assert lstm.p_diebold_mariano < 0.001
    assert not lstm.tied
    assert found.tied("average") == {"stid", "dcrnn"} - {lstm.best}


@pytest.mark.parametrize(("protocol", "steps"), [("strict", slice(2, 3)), ("libcity", slice(0, 3))])
def test_a_horizon_is_the_steps_that_the_protocol_says(tmp_path, protocol, steps):
    cells = [with_forecasts(tmp_path, m, 1, size) for m, size in (("stid", 1.0), ("lstm", 2.0))]
    scores = [{protocol: cell.scores["strict"]} for cell in cells]
    cells = [dataclasses.replace(c, protocol=protocol, scores=s) for c, s in zip(cells, scores, strict=True)]
    (found,) = compared(cells, ["3"]).comparisons
    errors = []
    for cell in cells:
        with np.load(cell.predictions) as arrays:
            errors.append(np.nanmean(np.abs(arrays["y_pred"] - arrays["y_true"])[:, :, steps]))
    assert found.difference == pytest.approx(errors[1] - errors[0])


def test_windows_in_any_order_are_sorted_by_time(tmp_path):
    cells = [with_forecasts(tmp_path, m, 1, size) for m, size in (("stid", 1.0), ("lstm", 1.02))]
    before = compared(cells, ["average"]).comparisons
    order = np.random.default_rng(0).permutation(WINDOWS)
    for cell in cells:
        with np.load(cell.predictions) as arrays:
            shuffled = {name: arrays[name][order] for name in arrays}
        np.savez(cell.predictions, **shuffled)
    (after,) = compared(cells, ["average"]).comparisons
    np.testing.assert_allclose((after.low, after.high), (before[0].low, before[0].high))


def test_quantiles_are_compared_by_their_median(tmp_path):
    cell = with_forecasts(tmp_path, "stid", 1, 1.0)
    point = forecast_losses(cell.predictions)
    with np.load(cell.predictions) as arrays:
        pred = arrays["y_pred"]
    levels = np.stack([pred - 1, pred, pred + 1], -1)
    middle = with_forecasts(tmp_path, "a", 1, 1.0, y_pred=levels)
    named = with_forecasts(tmp_path, "b", 1, 1.0, y_pred=levels[..., [1, 2]], quantiles=np.array([0.5, 0.9]))
    unnamed = with_forecasts(tmp_path, "c", 1, 1.0, y_pred=levels[..., :2])
    for other in (middle, named):
        np.testing.assert_array_equal(forecast_losses(other.predictions).sums, point.sums)
    with pytest.raises(InputError, match="2 quantiles without a median"):
        forecast_losses(unnamed.predictions)


def test_what_cannot_be_compared_is_said_and_the_rest_is_compared(tmp_path):
    cells = [with_forecasts(tmp_path, m, 1, size) for m, size in (("stid", 1.0), ("lstm", 2.0))]
    y = targets()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    pickled = tmp_path / "pickled.npz"
    np.savez(pickled, y_pred=np.array([{}], dtype=object))
    nan = with_forecasts(tmp_path, "nan", 1, 1.0, y_pred=np.full(y.shape, np.nan))
    others = [
        done("no_file"),
        done("gone", predictions=tmp_path / "gone.npz"),
        done("broken", predictions=broken),
        done("pickled", predictions=pickled),
        with_forecasts(tmp_path, "shifted", 1, 1.0, start=np.arange(WINDOWS)),
        nan,
    ]
    found = compared([*cells, *others], ["average"])
    assert [c.model for c in found.comparisons] == ["lstm"]
    assert [note.split(",")[0] for note in found.notes] == [cell.model for cell in others]


def test_too_few_windows_are_said(tmp_path):
    few = {"y_true": targets()[:3], "y_mask": ~np.isnan(targets()[:3]), "start": np.arange(3)}
    cells = [
        with_forecasts(tmp_path, m, 1, 1.0, y_pred=np.full((3, 2, STEPS, 1), v), **few)
        for m, v in (("a", 1.0), ("b", 2.0))
    ]
    found = compared(cells, ["average"])
    assert found.comparisons == ()
    assert "not compared at average: there are 3 windows" in found.notes[0]


def test_nothing_to_compare_with(tmp_path):
    assert compared([with_forecasts(tmp_path, "stid", 1, 1.0)]).comparisons == ()
