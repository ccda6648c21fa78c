"""The regressors and classifiers that are fitted to latent vectors, and how their predictions are scored."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, r2_score, recall_score
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stgraph.errors import InputError

__all__ = ["KINDS", "TASKS", "classification_scores", "fit", "make_pipeline_for", "regression_scores"]

Array = npt.NDArray[Any]

TASKS = ("regression", "classification")

#: Widths of the network that LC-Gen fits to rotation periods.
_WIDTHS = (128, 64, 32)
_EPOCHS = 300
_TREES = 200

#: What can be fitted, by its name and task.
KINDS: dict[str, dict[str, Callable[[int], BaseEstimator]]] = {
    "ridge": {
        "regression": lambda seed: Ridge(),
        "classification": lambda seed: LogisticRegression(max_iter=1000, random_state=seed),
    },
    "mlp": {
        # The target is scaled, so that the learning rate suits any unit.
        "regression": lambda seed: TransformedTargetRegressor(
            MLPRegressor(hidden_layer_sizes=_WIDTHS, max_iter=_EPOCHS, random_state=seed), transformer=StandardScaler()
        ),
        "classification": lambda seed: MLPClassifier(hidden_layer_sizes=_WIDTHS, max_iter=_EPOCHS, random_state=seed),
    },
    "forest": {
        "regression": lambda seed: RandomForestRegressor(_TREES, random_state=seed),
        "classification": lambda seed: RandomForestClassifier(_TREES, random_state=seed),
    },
}


def make_pipeline_for(kind: str, task: str, components: int | None, seed: int) -> Any:
    """Return an unfitted pipeline: standardised latents, their principal components if wanted, and the estimator.

    Raises:
        InputError: If the kind or the task is unknown.
    """
    if task not in TASKS:
        raise InputError(f"task is {task!r}; expected one of {list(TASKS)}")
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}; expected one of {sorted(KINDS)}")
    steps: list[Any] = [StandardScaler()]
    if components is not None:
        steps.append(PCA(components, random_state=seed))
    return make_pipeline(*steps, KINDS[kind][task](seed))


def fit(pipeline: Any, x: Array, y: Array) -> Any:
    """Fit a pipeline and return it."""
    with warnings.catch_warnings():
        # A fixed number of epochs is meant.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(x, y)


def regression_scores(target: Array, prediction: Array) -> dict[str, float]:
    """Return scores of a regression; those that need a spread are nan where there is none.

    ``scatter`` is the standard deviation of the residuals, ``correlation`` Pearson's.

    >>> scores = regression_scores(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    >>> scores["mae"], scores["scatter"], scores["r2"]
    (1.0, 0.0, -0.5)
    """
    residual = prediction - target
    spread = len(target) > 1 and np.ptp(target) > 0
    both = spread and np.ptp(prediction) > 0
    return {
        "r2": float(r2_score(target, prediction)) if spread else float("nan"),
        "mae": float(np.abs(residual).mean()),
        "median_absolute_error": float(np.median(np.abs(residual))),
        "scatter": float(residual.std()),
        "correlation": float(np.corrcoef(target, prediction)[0, 1]) if both else float("nan"),
    }


def classification_scores(target: Array, prediction: Array) -> dict[str, float]:
    """Return scores of a classification; ``f1`` is the mean over classes, weighted alike.

    >>> classification_scores(np.array(["a", "a", "b"]), np.array(["a", "b", "b"]))["balanced_accuracy"]
    0.75
    """
    present = np.unique(target)
    return {
        "accuracy": float(accuracy_score(target, prediction)),
        # The mean recall of the classes that occur; scikit-learn's own function warns where others are predicted.
        "balanced_accuracy": float(recall_score(target, prediction, labels=present, average="macro", zero_division=0)),
        "f1": float(f1_score(target, prediction, average="macro", zero_division=0)),
    }
