"""Comparison of many models over many data sets by their ranks."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from stgraph.errors import InputError

__all__ = ["Ranks", "friedman_ranks"]


class Ranks(NamedTuple):
    """Average ranks, Friedman's test of equal models, and the difference of ranks that is more than chance."""

    average: npt.NDArray[np.float64]
    statistic: float
    p_value: float
    critical_difference: float


def friedman_ranks(errors: Any, level: float = 0.95) -> Ranks:
    r"""Rank models on each data set and compare their average ranks.

    Friedman's test asks whether all models are equal; two models differ where their average ranks are further apart
    than Nemenyi's critical difference :math:`q \sqrt{k (k + 1) / (6 n)}` for k models and n data sets, with q the
    quantile of the studentised range over :math:`\sqrt{2}` (Demsar, "Statistical comparisons of classifiers over
    multiple data sets", JMLR 7, 2006).

    Args:
        errors: Error of each model on each data set; equal errors share their rank.
        level: Level of the critical difference.

    Shapes:
        - **errors:** ``[n, k]``

    Raises:
        InputError: If there are fewer than two data sets or three models, or an error is not finite.

    Example:
        >>> ranks = friedman_ranks([[1.0, 2.0, 3.0], [1.5, 2.0, 4.0]])
        >>> ranks.average.tolist(), round(ranks.statistic, 6)
        ([1.0, 2.0, 3.0], 4.0)
    """
    values = np.asarray(errors, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < 2 or values.shape[1] < 3 or not np.isfinite(values).all():
        raise InputError(f"errors has shape {values.shape}; expected finite errors (n, k), n at least 2, k at least 3")
    sets, models = values.shape
    average = stats.rankdata(values, axis=1).mean(0)
    equal = bool((values == values[:, :1]).all())  # Friedman's statistic would be 0 / 0
    test = (0.0, 1.0) if equal else stats.friedmanchisquare(*values.T)
    quantile = stats.studentized_range.ppf(level, models, math.inf) / math.sqrt(2)
    difference = float(quantile * math.sqrt(models * (models + 1) / (6 * sets)))
    return Ranks(average, float(test[0]), float(test[1]), difference)
