"""How well latent vectors tell a property of a star, by cross-validation that never splits a star."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from stgraph.errors import InputError, InputTypeError
from stgraph.tasks.latent_regressors import classification_scores, fit, make_pipeline_for, regression_scores

__all__ = ["AGGREGATIONS", "CrossValidation", "cross_validate_latents"]

Array = npt.NDArray[Any]

#: Every way to treat several rows of one star.
AGGREGATIONS = ("none", "prediction_mean", "latent_mean", "latent_median", "latent_max", "latent_mean_std")


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """Predictions for samples that the fit had not seen, and their scores.

    A sample is a row of the table, or a star where rows are aggregated.

    Args:
        groups: Star of each sample.
        fold: In which fold each sample was held out.
        target: Target of each sample, in the units in which it was given.
        prediction: Prediction of each sample, in the same units.
        scores: Scores over all samples; on the logarithm to base 10 (in dex) where it was fitted, except those whose
            name ends in ``_in_units``.
        fold_scores: Scores of each fold.
        num_missing: Number of rows left out for want of a target.
    """

    groups: Array
    fold: Array
    target: Array
    prediction: Array
    scores: dict[str, float]
    fold_scores: list[dict[str, float]]
    num_missing: int


def cross_validate_latents(
    latents: Any,
    target: Any,
    groups: Any,
    *,
    folds: int = 10,
    kind: str = "ridge",
    task: str = "regression",
    log10: bool = False,
    components: int | None = None,
    aggregation: str = "none",
    seed: int = 42,
) -> CrossValidation:
    r"""Predict a property of stars from latent vectors by k-fold cross-validation.

    All rows of a star are in one fold, since a split by sector would let the fit see the stars it is tested on; in a
    classification the folds have about the same shares of the classes. Everything fitted, the scaling and the
    principal components too, is fitted anew for each fold without its samples. Rows without a target are left out.

    ``kind`` is ``"ridge"`` (ridge regression, or logistic regression with the same penalty), ``"mlp"`` (a network of
    widths 128, 64, 32, as LC-Gen fits to :math:`\log_{10}` of rotation periods) or ``"forest"`` (200 trees).

    ``aggregation`` says what becomes of a star with several rows: ``"none"`` (each row is a sample),
    ``"prediction_mean"`` (fitted by rows; predictions, or probabilities of the classes, are averaged over the star),
    or its latent vectors are replaced by their ``"latent_mean"``, ``"latent_median"``, ``"latent_max"`` or mean and
    standard deviation, ``"latent_mean_std"``. With an aggregation all rows of a star must have the same target.

    Args:
        latents: Latent vectors.
        target: Numbers, or classes (numbers or text); nan, ``None`` or empty text where it is missing.
        groups: Star of each row, by any label.
        folds: Number of folds.
        kind: What is fitted.
        task: ``"regression"`` or ``"classification"``.
        log10: Fit the logarithm to base 10 of the target; for regression alone.
        components: Number of principal components to fit instead of the latents.
        aggregation: What becomes of several rows of a star.
        seed: Seed of the folds and of the fits.

    Shapes:
        - **latents:** :math:`(N, d)`, **target**, **groups:** :math:`(N)`

    Raises:
        InputError: If an argument cannot be used: shapes that do not fit, latents that are not finite, fewer stars
            than folds, fewer stars of a class than folds, a constant target, too many components.
        InputTypeError: If the latents or the target of a regression are not numbers.

    Examples:
        >>> stars = np.arange(40) // 2
        >>> latents = np.stack([stars, stars**2], axis=1)
        >>> result = cross_validate_latents(latents, 3.0 * stars, stars, folds=5)
        >>> result.scores["r2"] > 0.99, len(set(zip(stars, result.fold)))
        (True, 20)
    """
    if aggregation not in AGGREGATIONS:
        raise InputError(f"aggregation is {aggregation!r}; expected one of {list(AGGREGATIONS)}")
    if log10 and task != "regression":
        raise InputError(f"log10 is for a regression; task is {task!r}")
    pipeline = make_pipeline_for(kind, task, components, seed)
    x, stars = _check_table(latents, groups)
    y, known = _check_target(target, len(x), task)
    x, y, stars = x[known], _transformed(y[known], task, log10), stars[known]
    names, first = np.unique(stars, return_index=True)
    if aggregation != "none":
        _check_one_target(y, stars, first)
    if aggregation.startswith("latent_"):
        x, y, stars = _aggregate(x, stars, aggregation), y[first], names
    fold = _split(y, stars, folds, task, seed)
    _check_components(components, x.shape[1], fold)
    classes, code = np.unique(y, return_inverse=True)
    raw = _predict(pipeline, x, y if task == "regression" else code, fold, task)
    if aggregation == "prediction_mean":
        raw, y, fold, stars = _aggregate(raw, stars, "latent_mean"), y[first], fold[first], names
    prediction = raw[:, 0] if task == "regression" else classes[raw.argmax(1)]
    return CrossValidation(
        groups=stars,
        fold=fold,
        target=10.0**y if log10 else y,
        prediction=10.0**prediction if log10 else prediction,
        scores=_scores(y, prediction, task, log10),
        fold_scores=[_scores(y[fold == k], prediction[fold == k], task, log10) for k in range(folds)],
        num_missing=int((~known).sum()),
    )


def _check_table(latents: Any, groups: Any) -> tuple[Array, Array]:
    x = np.asarray(latents.detach().cpu() if hasattr(latents, "detach") else latents)
    if x.dtype.kind not in "biuf":
        raise InputTypeError(f"latents is of {x.dtype}; expected numbers")
    if x.ndim != 2 or x.size == 0:
        raise InputError(f"latents has shape {x.shape}; expected (N, d) with at least one row and column")
    x = x.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(x).all(1))
    if len(bad):
        raise InputError(f"latents has {len(bad)} rows that are not finite, the first is row {bad[0]}")
    stars = np.asarray(groups)
    if stars.shape != (len(x),):
        raise InputError(f"groups has shape {stars.shape}; expected {(len(x),)}, a star for each row of latents")
    if _missing(stars).any():
        raise InputError(f"groups names no star for {int(_missing(stars).sum())} rows; expected one for each row")
    return x, stars.astype(np.str_) if stars.dtype.kind == "O" else stars


def _missing(values: Array) -> npt.NDArray[np.bool_]:
    """Where an array holds nan, ``None`` or empty text."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind == "O":
        return np.array([v is None or v == "" or v != v for v in values], dtype=np.bool_)
    return values == "" if values.dtype.kind == "U" else np.zeros(values.shape, dtype=np.bool_)


def _check_target(target: Any, rows: int, task: str) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The target as an array, and where it is known."""
    y = np.asarray(target.detach().cpu() if hasattr(target, "detach") else target)
    if y.shape != (rows,):
        raise InputError(f"target has shape {y.shape}; expected {(rows,)}, a value for each row of latents")
    if task == "regression":
        try:
            y = y.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"target is of {y.dtype}; expected numbers for a regression") from error
        if np.isinf(y).any():
            raise InputError(
                f"target is infinite in {int(np.isinf(y).sum())} rows; expected numbers, nan where missing"
            )
    known = ~_missing(y)
    if not known.any():
        raise InputError(f"target is missing in all {rows} rows")
    return y, known


def _transformed(y: Array, task: str, log10: bool) -> Array:
    """Check known targets and return what is fitted."""
    if task == "classification":
        y = y.astype(np.str_) if y.dtype.kind == "O" else y
    if log10:
        if (y <= 0).any():
            raise InputError(f"target is not positive in {int((y <= 0).sum())} rows; log10 expects positive numbers")
        y = np.log10(y)
    if (y == y[0]).all():
        raise InputError(f"target is the same, {y[0]}, in all rows that have one; there is nothing to predict")
    return y


def _check_one_target(y: Array, stars: Array, first: Array) -> None:
    """Require that all rows of a star have the target of its first row."""
    _, inverse = np.unique(stars, return_inverse=True)
    same = np.isclose(y, y[first][inverse], rtol=1e-6, atol=0.0) if y.dtype.kind == "f" else y == y[first][inverse]
    if not same.all():
        star = stars[~same][0]
        raise InputError(f"target differs among the rows of star '{star}'; an aggregation expects one for each star")


def _aggregate(values: Array, stars: Array, aggregation: str) -> Array:
    """One row for each star, in the order of their sorted labels."""
    rows = pd.DataFrame(values).groupby(np.unique(stars, return_inverse=True)[1])
    if aggregation == "latent_mean_std":
        return np.concatenate([rows.mean().to_numpy(), rows.std(ddof=0).to_numpy()], axis=1)
    return np.asarray(rows.agg(aggregation.removeprefix("latent_")))


def _split(y: Array, stars: Array, folds: int, task: str, seed: int) -> npt.NDArray[np.int64]:
    """In which fold each row is held out."""
    names, code = np.unique(stars, return_inverse=True)
    if folds < 2 or folds > len(names):
        raise InputError(f"folds is {folds}; expected a number from 2 to that of the stars with a target, {len(names)}")
    if task == "classification":
        for label in np.unique(y):
            number = len(np.unique(code[y == label]))
            if number < folds:
                raise InputError(f"class '{label}' has {number} stars; expected at least one for each of {folds} folds")
        splits = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(stars, y, code)
    else:
        # Stars are dealt out in the order of their labels, which need not be a random one.
        code = np.random.default_rng(seed).permutation(len(names))[code]
        splits = GroupKFold(folds).split(stars, y, code)
    fold = np.empty(len(y), dtype=np.int64)
    for number, (_, held_out) in enumerate(splits):
        if len(held_out) == 0:
            raise InputError(
                f"folds is {folds}; the stars of {len(y)} rows cannot be dealt out so, expected fewer folds"
            )
        fold[held_out] = number
    return fold


def _check_components(components: int | None, channels: int, fold: Array) -> None:
    largest = min(channels, len(fold) - int(np.bincount(fold).max()))
    if components is not None and not 1 <= components <= largest:
        raise InputError(
            f"components is {components}; expected a number from 1 to {largest}, the smaller of the number of latent "
            "channels and that of the rows of a fit"
        )


def _predict(pipeline: Any, x: Array, y: Array, fold: Array, task: str) -> Array:
    """Predictions ``[n, 1]``, or probabilities of the classes ``[n, classes]``, by fits that have not seen the row."""
    out = np.zeros((len(y), 1 if task == "regression" else int(y.max()) + 1))
    for number in np.unique(fold):
        held_out = fold == number
        fitted = fit(clone(pipeline), x[~held_out], y[~held_out])
        if task == "regression":
            out[held_out, 0] = fitted.predict(x[held_out])
        else:
            out[np.ix_(held_out, fitted.classes_)] = fitted.predict_proba(x[held_out])
    return out


def _scores(y: Array, prediction: Array, task: str, log10: bool) -> dict[str, float]:
    if task == "classification":
        return classification_scores(y, prediction)
    scores = regression_scores(y, prediction)
    if log10:
        in_units = regression_scores(10.0**y, 10.0**prediction)
        scores |= {f"{name}_in_units": in_units[name] for name in ("mae", "median_absolute_error")}
    return scores
