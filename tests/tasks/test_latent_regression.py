from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError, InputTypeError
from stgraph.tasks import latent_regressors
from stgraph.tasks.latent_regression import AGGREGATIONS, cross_validate_latents
from stgraph.tasks.latent_regressors import classification_scores, regression_scores

ROWS = 3


@pytest.fixture
def table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three sectors of each of 30 stars: noisy latents, a period that they tell, and the star."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(30, 2))
    stars = np.repeat([f"star {i}" for i in range(30)], ROWS)
    latents = np.repeat(truth, ROWS, axis=0) @ rng.normal(size=(2, 5)) + 0.05 * rng.normal(size=(90, 5))
    period = np.repeat(10.0 ** (1.0 + 0.4 * truth[:, 0]), ROWS)
    order = rng.permutation(90)
    return latents[order], period[order], stars[order]


def folds_of_stars(result) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for star, fold in zip(result.groups, result.fold, strict=True):
        found.setdefault(str(star), set()).add(int(fold))
    return found


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_no_star_is_split(table, task: str) -> None:
    latents, period, stars = table
    target = period if task == "regression" else np.where(period > 10, "slow", "fast")
    result = cross_validate_latents(latents, target, stars, folds=5, task=task)
    folds = folds_of_stars(result)
    assert len(folds) == 30
    assert all(len(of_star) == 1 for of_star in folds.values())
    assert set(result.fold) == set(range(5))
    assert np.bincount(result.fold).tolist() == [18] * 5 or task == "classification"
    assert result.groups.tolist() == stars.tolist()
    assert result.target.tolist() == target.tolist()


def test_a_property_that_only_the_star_itself_tells_is_not_predicted(monkeypatch) -> None:
    monkeypatch.setattr(latent_regressors, "_TREES", 20)
    rng = np.random.default_rng(1)
    stars = np.repeat(np.arange(60), 4)
    latents = np.repeat(rng.normal(size=(60, 8)), 4, axis=0) + 1e-3 * rng.normal(size=(240, 8))
    target = np.repeat(rng.normal(size=60), 4)  # unrelated to the latents
    honest = cross_validate_latents(latents, target, stars, folds=5, kind="forest")
    leaky = cross_validate_latents(latents, target, np.arange(240), folds=5, kind="forest")
    assert honest.scores["r2"] < 0.1
    assert leaky.scores["r2"] > 0.9


def test_everything_is_fitted_without_the_held_out_rows(table, monkeypatch) -> None:
    latents, period, stars = table
    seen = []
    fit = latent_regressors.fit

    def spy(pipeline, x, y):
        seen.append((x.copy(), y.copy()))
        return fit(pipeline, x, y)

    monkeypatch.setattr("stgraph.tasks.latent_regression.fit", spy)
    result = cross_validate_latents(latents, period, stars, folds=3, components=2)
    for number, (x, y) in enumerate(seen):
        np.testing.assert_array_equal(x, latents[result.fold != number])
        np.testing.assert_array_equal(y, period[result.fold != number])


def test_ridge_out_of_fold_predictions_by_hand(table) -> None:
    latents, period, stars = table
    result = cross_validate_latents(latents, period, stars, folds=4, log10=True)
    for number in range(4):
        held_out = result.fold == number
        mean, std = latents[~held_out].mean(0), latents[~held_out].std(0)
        x, y = (latents - mean) / std, np.log10(period)
        centre = y[~held_out].mean()
        weight = np.linalg.solve(x[~held_out].T @ x[~held_out] + np.eye(5), x[~held_out].T @ (y[~held_out] - centre))
        np.testing.assert_allclose(np.log10(result.prediction[held_out]), x[held_out] @ weight + centre, rtol=1e-9)
    np.testing.assert_allclose(result.target, period)


def test_scores_are_those_of_the_predictions_in_dex_and_in_days(table) -> None:
    latents, period, stars = table
    result = cross_validate_latents(latents, period, stars, folds=4, log10=True)
    residual = np.log10(result.prediction) - np.log10(period)
    expected = {
        "r2": 1 - (residual**2).sum() / ((np.log10(period) - np.log10(period).mean()) ** 2).sum(),
        "mae": np.abs(residual).mean(),
        "median_absolute_error": np.median(np.abs(residual)),
        "scatter": residual.std(),
        "correlation": np.corrcoef(np.log10(result.prediction), np.log10(period))[0, 1],
        "mae_in_units": np.abs(result.prediction - period).mean(),
        "median_absolute_error_in_units": np.median(np.abs(result.prediction - period)),
    }
    assert result.scores == pytest.approx(expected, rel=1e-9)
    assert result.scores["r2"] > 0.95
    assert len(result.fold_scores) == 4
    part = result.fold == 2
    assert result.fold_scores[2]["mae"] == pytest.approx(np.abs(residual[part]).mean())


@pytest.mark.parametrize("kind", ["ridge", "mlp", "forest"])
def test_every_kind_predicts_periods_and_classes_and_repeats_itself(table, monkeypatch, kind: str) -> None:
    monkeypatch.setattr(latent_regressors, "_EPOCHS", 40)
    monkeypatch.setattr(latent_regressors, "_TREES", 20)
    latents, period, stars = table
    arguments = {"folds": 3, "kind": kind, "components": 3}
    result = cross_validate_latents(latents, period, stars, log10=True, **arguments)
    assert result.scores["correlation"] > 0.7
    again = cross_validate_latents(torch.from_numpy(latents), period, stars, log10=True, **arguments)
    np.testing.assert_array_equal(again.prediction, result.prediction)
    classes = np.where(period > 10, "slow", "fast")
    found = cross_validate_latents(latents, classes, stars, task="classification", **arguments)
    assert set(found.prediction) == {"slow", "fast"}
    assert found.scores["balanced_accuracy"] > 0.7


def test_the_network_of_rotation_periods_has_the_published_widths() -> None:
    pipeline = latent_regressors.make_pipeline_for("mlp", "regression", None, 0)
    assert pipeline[-1].regressor.hidden_layer_sizes == (128, 64, 32)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_aggregations(table, aggregation: str, task: str) -> None:
    latents, period, stars = table
    target = period if task == "regression" else np.where(period > 10, 1, 0)
    result = cross_validate_latents(latents, target, stars, folds=5, task=task, aggregation=aggregation)
    assert len(result.prediction) == len(result.fold) == (90 if aggregation == "none" else 30)
    if aggregation != "none":
        names = np.unique(stars)
        assert result.groups.tolist() == names.tolist()
        np.testing.assert_array_equal(result.target, [target[stars == name][0] for name in names])
    assert result.scores["r2" if task == "regression" else "accuracy"] > 0.6


def test_predictions_are_averaged_over_a_star(table) -> None:
    latents, period, stars = table
    rows = cross_validate_latents(latents, period, stars, folds=5)
    result = cross_validate_latents(latents, period, stars, folds=5, aggregation="prediction_mean")
    for star, prediction, fold in zip(result.groups, result.prediction, result.fold, strict=True):
        assert prediction == pytest.approx(rows.prediction[rows.groups == star].mean())
        assert set(rows.fold[rows.groups == star]) == {fold}


@pytest.mark.parametrize(
    ("aggregation", "function"),
    [
        ("latent_mean", lambda h: h.mean(0)),
        ("latent_median", lambda h: np.median(h, axis=0)),
        ("latent_max", lambda h: h.max(0)),
        ("latent_mean_std", lambda h: np.concatenate([h.mean(0), h.std(0)])),
    ],
)
def test_latents_are_aggregated_before_the_fit(table, aggregation: str, function) -> None:
    latents, period, stars = table
    names = np.unique(stars)
    pooled = np.stack([function(latents[stars == name]) for name in names])
    targets = np.array([period[stars == name][0] for name in names])
    expected = cross_validate_latents(pooled, targets, names, folds=5)
    result = cross_validate_latents(latents, period, stars, folds=5, aggregation=aggregation)
    np.testing.assert_allclose(result.prediction, expected.prediction, rtol=1e-9)


def test_missing_targets_are_left_out_and_counted(table) -> None:
    latents, period, stars = table
    some = period.copy()
    some[[0, 5]] = np.nan
    result = cross_validate_latents(latents, some, stars, folds=3)
    assert result.num_missing == 2
    assert len(result.prediction) == 88
    np.testing.assert_array_equal(result.target, np.delete(period, [0, 5]))
    classes = np.where(period > 10, "slow", "fast").astype(object)
    classes[:3] = [None, "", float("nan")]
    found = cross_validate_latents(latents, classes, stars, folds=3, task="classification")
    assert found.num_missing == 3
    assert len(found.prediction) == 87


def test_scores_without_a_spread_are_nan() -> None:
    scores = regression_scores(np.array([2.0]), np.array([3.0]))
    assert (scores["mae"], scores["scatter"]) == (1.0, 0.0)
    assert np.isnan(scores["r2"])
    assert np.isnan(scores["correlation"])
    constant = regression_scores(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert constant["r2"] == 0.0
    assert np.isnan(constant["correlation"])


def test_scores_of_a_classification() -> None:
    scores = classification_scores(np.array(["a", "a", "a", "b"]), np.array(["a", "a", "c", "b"]))
    assert scores == pytest.approx({"accuracy": 0.75, "balanced_accuracy": (2 / 3 + 1) / 2, "f1": (0.8 + 1 + 0) / 3})


def test_wrong_input_is_named(table) -> None:
    latents, period, stars = table
    bad = latents.copy()
    bad[[4, 7], 0] = [np.nan, np.inf]
    rare = np.where(stars == "star 3", "rare", "common")
    differing = period.copy()
    differing[np.flatnonzero(stars == "star 4")[0]] += 1
    for arguments, options, message in [
        ((bad, period, stars), {}, "latents has 2 rows that are not finite, the first is row 4"),
        ((latents[0], period, stars), {}, r"latents has shape \(5,\)"),
        ((latents, period[:3], stars), {}, r"target has shape \(3,\); expected \(90,\)"),
        ((latents, period, stars[:3]), {}, r"groups has shape \(3,\); expected \(90,\)"),
        ((latents, period, np.where(stars == "star 1", "", stars)), {}, "groups names no star for 3 rows"),
        ((latents, period, stars), {"folds": 31}, "folds is 31; expected a number from 2 to .* 30"),
        ((latents, period, stars), {"folds": 1}, "folds is 1"),
        ((latents, 0 * period + 2, stars), {}, r"target is the same, 2\.0"),
        ((latents, np.nan * period, stars), {}, "target is missing in all 90 rows"),
        ((latents, np.where(stars == "star 1", np.inf, period), stars), {}, "target is infinite in 3 rows"),
        ((latents, period - period.min(), stars), {"log10": True}, "target is not positive in 3 rows"),
        ((latents, period, stars), {"kind": "tree"}, "kind is 'tree'"),
        ((latents, period, stars), {"task": "ranking"}, "task is 'ranking'"),
        ((latents, period, stars), {"aggregation": "sum"}, "aggregation is 'sum'"),
        ((latents, period, stars), {"components": 6}, "components is 6; expected a number from 1 to 5"),
        ((latents, differing, stars), {"aggregation": "latent_mean"}, "target differs among the rows of star 'star 4'"),
        ((latents, rare, stars), {"task": "classification"}, "class 'rare' has 1 stars"),
        ((latents, rare, stars), {"task": "classification", "log10": True}, "log10 is for a regression"),
    ]:
        with pytest.raises(InputError, match=message):
            cross_validate_latents(*arguments, **options)
    with pytest.raises(InputTypeError, match="expected numbers for a regression"):
        cross_validate_latents(latents, rare, stars)
    with pytest.raises(InputTypeError, match="latents is of <U"):
        cross_validate_latents(latents.astype(str), period, stars)
