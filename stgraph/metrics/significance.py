"""Whether one forecast really is better than another: tests over windows, and over data sets.

Losses of neighbouring windows are correlated, as the windows overlap and as errors last; both tests over windows allow
for that. A comparison is paired: both forecasts are of the same windows.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from stgraph.errors import InputError

__all__ = [
    "Comparison",
    "DieboldMariano",
    "automatic_block_length",
    "block_bootstrap",
    "diebold_mariano",
    "holm",
    "window_losses",
]

Floats = npt.NDArray[np.float64]

_PART = 1 << 22  # numbers of one temporary array
_LEAST_BLOCKS = 4  # with fewer, a resample is nearly the sample itself


class Comparison(NamedTuple):
    """The difference of two global mean losses, its confidence interval, and the p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


class DieboldMariano(NamedTuple):
    """The statistic of Diebold and Mariano with the correction for small samples, and its p-value."""

    statistic: float
    p_value: float


def window_losses(prediction: Any, target: Any, mask: Any = None) -> tuple[Floats, Floats]:
    """Return the sums of absolute errors over the observed targets of each window and step, and their numbers.

    Args:
        prediction: Point forecasts.
        target: Targets; NaN where nothing was observed.
        mask: True where the target is observed.

    Shapes:
        - **prediction**, **target**, **mask:** ``[S, N, Q, C]``
        - **output:** ``[S, Q]``, ``[S, Q]``

    Raises:
        InputError: If the shapes differ.

    Example:
        >>> sums, counts = window_losses(np.zeros((1, 2, 1, 1)), np.array([3.0, np.nan]).reshape(1, 2, 1, 1))
        >>> sums.tolist(), counts.tolist()
        ([[3.0]], [[1.0]])
    """
    p, y = np.asarray(prediction), np.asarray(target)
    known = None if mask is None else np.asarray(mask)
    if y.ndim != 4 or p.shape != y.shape or (known is not None and known.shape != y.shape):
        shapes = [p.shape, y.shape, *([] if known is None else [known.shape])]
        raise InputError(f"prediction, target and mask have the shapes {shapes}; expected the same (S, N, Q, C)")
    sums, counts = np.zeros((len(y), y.shape[2])), np.zeros((len(y), y.shape[2]))
    size = max(1, _PART // max(y[:1].size, 1))
    # Parts, as forecasts may be much larger than what can be copied.
    for first in range(0, len(y), size):
        part = slice(first, first + size)
        observed = ~np.isnan(y[part])
        if known is not None:
            observed &= known[part].astype(bool)
        error = np.abs(p[part].astype(np.float64) - y[part])
        sums[part] = np.sum(error, axis=(1, 3), where=observed)
        counts[part] = observed.sum((1, 3))
    return sums, counts


def block_bootstrap(
    first: Any,
    second: Any,
    counts: Any,
    *,
    block_length: int | None = None,
    shortest_block: int = 1,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    r"""Compare the mean losses of two forecasts by a circular block bootstrap over windows.

    The mean of each is global, :math:`\sum_i s_i / \sum_i c_i` with the sum of losses :math:`s_i` and the number of
    targets :math:`c_i` of a window. Blocks of neighbouring windows are drawn with replacement (Politis and Romano,
    "A circular block-resampling procedure for stationary data", 1992); the difference is studentised by the deviation
    between blocks (Götze and Künsch, "Second-order correctness of the blockwise bootstrap for stationary observations",
    Ann. Statist. 24, 1996), and interval and p-value are symmetric: the interval holds 0 where the p-value is larger
    than 1 - level.

    Args:
        first: Sum of losses of the first forecast in each window, in the order of time.
        second: That of the second forecast.
        counts: Number of targets in each window.
        block_length: Windows in a block; :func:`automatic_block_length` by default.
        shortest_block: Least length that is chosen where it is not given, such as the steps that a window spans; a
            quarter of the windows at most.
        resamples: Number of resamples.
        level: Level of the interval.
        seed: Seed of the resamples.

    Shapes:
        - **first**, **second**, **counts:** ``[n]``

    Raises:
        InputError: If the lengths differ, nothing was observed, or there are too few windows for four blocks.

    Example:
        >>> block_bootstrap([2.0] * 8, [1.0] * 8, [1.0] * 8).difference
        1.0
    """
    a, b, c = (np.asarray(values, dtype=np.float64) for values in (first, second, counts))
    if a.ndim != 1 or a.shape != b.shape or a.shape != c.shape:
        raise InputError(
            f"first, second and counts have the shapes {a.shape, b.shape, c.shape}; expected the same (n,)"
        )
    if not np.isfinite(a).all() or not np.isfinite(b).all() or not c.sum() > 0:
        raise InputError("first, second and counts need finite losses and at least one target")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level is {level} and resamples {resamples}; expected 0 < level < 1 and at least 1")
    d, n = a - b, len(a)
    difference = float(d.sum() / c.sum())
    length = block_length
    if length is None:
        wanted = max(shortest_block, automatic_block_length(d - difference * c))
        length = max(1, min(wanted, n // _LEAST_BLOCKS))
    if length < 1 or n // length < _LEAST_BLOCKS:
        raise InputError(f"there are {n} windows for blocks of {length}; expected at least {_LEAST_BLOCKS} blocks")
    error, ratios = _studentised(d, c, difference, length, resamples, np.random.default_rng(seed))
    if error <= 1e-12 * abs(difference):  # every window says the same, or the forecasts are equal
        return Comparison(difference, difference, difference, 1.0 if difference == 0 else 1 / (resamples + 1))
    reached = abs(difference) / error
    half = error * float(np.quantile(ratios, level, method="higher"))
    p_value = (1 + int(np.sum(ratios >= reached))) / (resamples + 1)
    return Comparison(difference, difference - half, difference + half, p_value)


def _studentised(
    d: Floats, c: Floats, difference: float, length: int, resamples: int, random: np.random.Generator
) -> tuple[float, Floats]:
    """Return the standard error of the difference, and the studentised deviations of the resamples, ``[R]``."""
    sums = np.stack([_circular_sums(values, length) for values in (d, c)])
    residual = sums[0] - difference * sums[1]
    error = math.sqrt(len(d) / length * float(np.mean(residual**2))) / float(c.sum())
    drawn = sums[:, random.integers(len(d), size=(resamples, len(d) // length))]
    with np.errstate(divide="ignore", invalid="ignore"):
        total = drawn.sum(-1)
        means = total[0] / total[1]
        errors = np.sqrt(np.sum((drawn[0] - means[:, None] * drawn[1]) ** 2, axis=-1)) / total[1]
        ratios = np.abs(means - difference) / errors
    # A resample of one block again and again, or of windows without targets, has no deviation: it tells of no limit.
    return error, np.where(np.isnan(ratios), np.inf, ratios)


def _circular_sums(values: Floats, length: int) -> Floats:
    """Return the sum of the block that begins at each window; the first windows follow the last."""
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[: length - 1]]))])
    return np.asarray(total[length:] - total[:-length])


def automatic_block_length(series: Any) -> int:
    """Return the block length that a circular block bootstrap of the mean of a series needs.

    That of Politis and White ("Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23,
    2004) with the correction of Patton, Politis and White (Econometric Reviews 28, 2009).

    Args:
        series: The series.

    Shapes:
        - **series:** ``[n]``

    Example:
        >>> automatic_block_length([1.0, 1.0, 1.0, 1.0])
        1
    """
    x = np.asarray(series, dtype=np.float64)
    n = len(x)
    x = x - x.mean() if n else x
    if n < 4 or not np.any(np.abs(x) > 1e-12 * np.abs(np.asarray(series)).max()):
        return 1
    run = max(5, math.ceil(math.sqrt(math.log10(n))))  # so many small correlations in a row end the search
    most = math.ceil(math.sqrt(n)) + run
    covariance = _autocovariances(x, min(most + run, n - 1))
    small = np.abs(covariance[1:] / covariance[0]) < 2 * math.sqrt(math.log10(n) / n)
    quiet = np.flatnonzero(np.convolve(small, np.ones(run), "valid") == run) if len(small) >= run else np.array([])
    lags = min(2 * max(int(quiet[0]) if len(quiet) else most, 1), most, len(covariance) - 1)
    lag = np.arange(1, lags + 1)
    weight = np.clip(2 * (1 - lag / lags), 0, 1)  # the flat-top window
    slope = 2 * float(np.sum(weight * lag * covariance[1 : lags + 1]))
    spectrum = float(covariance[0] + 2 * np.sum(weight * covariance[1 : lags + 1]))
    if spectrum <= 0:
        return 1
    length = (2 * slope**2 / (4 / 3 * spectrum**2)) ** (1 / 3) * n ** (1 / 3)
    return int(max(1, min(math.ceil(length), math.ceil(min(3 * math.sqrt(n), n / 3)))))


def _autocovariances(x: Floats, lags: int) -> Floats:
    """Return the autocovariances of a series with mean 0 at lags 0 to ``lags``, each divided by n."""
    spectrum = np.fft.rfft(x, 2 * len(x))
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2, 2 * len(x))[: lags + 1] / len(x))


def diebold_mariano(first: Any, second: Any, *, steps: int = 1, lags: int | None = None) -> DieboldMariano:
    r"""Test whether two forecasts have the same expected loss.

    The statistic of Diebold and Mariano ("Comparing predictive accuracy", J. Bus. Econ. Stat. 13, 1995) with the
    long-run variance of Newey and West ("A simple, positive semi-definite, heteroskedasticity and autocorrelation
    consistent covariance matrix", Econometrica 55, 1987; Bartlett weights) and the correction of Harvey, Leybourne and
    Newbold ("Testing the equality of prediction mean squared errors", Int. J. Forecasting 13, 1997), against Student's
    t distribution with n - 1 degrees of freedom.

    Args:
        first: Losses of the first forecast, in the order of time.
        second: Losses of the second forecast.
        steps: Steps ahead; losses of windows that are fewer steps apart are correlated.
        lags: Lags of the long-run variance; by default 0 where steps is 1, else the larger of 2 (steps - 1) and
            :math:`1.3 \sqrt{n}` (Lazarus, Lewis, Stock and Watson, "HAR inference", J. Bus. Econ. Stat. 36, 2018).

    Shapes:
        - **first**, **second:** ``[n]``

    Raises:
        InputError: If the lengths differ or there are not more losses than steps and lags.

    Example:
        >>> diebold_mariano([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
        DieboldMariano(statistic=0.0, p_value=1.0)
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise InputError(f"first and second have the shapes {a.shape} and {b.shape}; expected the same (n,)")
    n = len(a)
    if lags is None:
        lags = 0 if steps == 1 else min(max(2 * (steps - 1), math.ceil(1.3 * math.sqrt(n))), max(n - 1, 0))
    if steps < 1 or lags < 0 or n <= max(steps, lags, 1):
        raise InputError(f"there are {n} losses, steps is {steps} and lags {lags}; expected more losses than those")
    d = a - b
    mean = float(d.mean())
    covariance = _autocovariances(d - mean, lags)
    variance = float(covariance[0] + 2 * np.sum((1 - np.arange(1, lags + 1) / (lags + 1)) * covariance[1:])) / n
    if variance <= (1e-12 * mean) ** 2:
        return DieboldMariano(0.0 if mean == 0 else math.copysign(math.inf, mean), float(mean == 0))
    correction = (n + 1 - 2 * steps + steps * (steps - 1) / n) / n
    statistic = mean / math.sqrt(variance) * math.sqrt(correction)
    return DieboldMariano(statistic, float(2 * stats.t.sf(abs(statistic), n - 1)))


def holm(p_values: Any) -> Floats:
    """Return p-values corrected for their number.

    By Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6, 1979.

    Args:
        p_values: The p-values.

    Shapes:
        - **p_values**, **output:** ``[m]``

    Example:
        >>> holm([0.25, 0.125, 0.5]).tolist()
        [0.5, 0.375, 0.5]
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"p_values is {p.tolist()}; expected a list of numbers from 0 to 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted
