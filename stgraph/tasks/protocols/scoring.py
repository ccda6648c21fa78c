"""The errors of forecasts as each protocol counts and averages them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stgraph.errors import InputError
from stgraph.tasks.protocols.protocol import Family, Protocol, check_family, get_protocol

__all__ = ["score"]

_BATCH = 64  # windows in a batch of the harnesses that drop or pad the last one
_BLOCK = 1 << 22  # numbers of one temporary array
_EPSILON = 5e-8
_THRESHOLD = 5e-5

_Array = npt.NDArray[Any]
_Floats = npt.NDArray[np.float64]


def score(
    prediction: _Array,
    target: _Array,
    mask: _Array | None,
    protocol: str | Protocol,
    *,
    null_value: float = 0.0,
    family: Family = "speed",
    quantiles: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return MAE, RMSE and MAPE of forecasts under a protocol.

    A protocol that knows nulls by their value sees ``null_value`` wherever a target is masked out or NaN. Forecasts
    with fewer windows than a batch of 64 are scored as they are by a protocol that drops the last batch, as nothing
    would be left. All sums are in float64; a result never is a mean of means, unless the protocol asks for that.

    Args:
        prediction: Forecasts in data units; of quantiles, the median is scored.
        target: Targets in data units.
        mask: True where a target is observed; all that are not NaN by default.
        protocol: The protocol or its name.
        null_value: What stands for a missing value in the data that the protocol was made for.
        family: Family of the data set: ``"flow"`` (PEMS03, 04, 07, 08), ``"largest"`` or ``"speed"``, all others.
        quantiles: Levels of quantile forecasts; an odd number of levels is taken to have the median in the middle.

    Shapes:
        - **prediction:** ``[S, N, Q, C]`` or ``[S, N, Q, C, L]``; **target**, **mask:** ``[S, N, Q, C]``

    Returns:
        dict: ``horizons``, the errors at steps 3, 6 and 12 where there are such, and on ``average`` (``strict`` adds
        the last step); ``per_step``, lists of Q errors, what the protocol reports at each step; ``count``, the number
        of targets that count, repeated ones as often as they do. MAPE is in percent.

    Raises:
        InputError: If the shapes do not fit, or there is no median.

    Example:
        >>> target = np.array([10.0, 0.0]).reshape(2, 1, 1, 1)
        >>> result = score(target + 1, target, None, "dcrnn")
        >>> result["count"], result["horizons"]["average"]
        (1, {'mae': 1.0, 'rmse': 1.0, 'mape': 10.0})
    """
    rule, unmasked = get_protocol(protocol), check_family(family) in get_protocol(protocol).unmasked
    prediction, target = np.asarray(prediction), np.asarray(target)
    mask = None if mask is None else np.asarray(mask, dtype=bool)
    prediction = _median(_check(prediction, target, mask), target, quantiles)
    weights = _window_weights(len(target), rule.last_batch)
    targets = _Targets(target, mask, null_value, rule, unmasked, weights)
    sums = np.zeros((5, target.shape[2]))
    for part in _blocks(target):
        sums += _sums(prediction[part], *targets.counted(part), rule.mape, weights[part])
    return _report(sums, rule)


def _blocks(target: _Array) -> list[slice]:
    """Return slices of so many windows that what is computed of one fits into memory."""
    size = max(1, _BLOCK // target[:1].size)
    return [slice(first, min(first + size, len(target))) for first in range(0, len(target), size)]


def _check(prediction: _Array, target: _Array, mask: _Array | None) -> _Array:
    if target.ndim != 4 or target.size == 0:
        raise InputError(f"target has shape {target.shape}; expected (S, N, Q, C), none of them 0")
    if prediction.shape[:4] != target.shape or prediction.ndim not in (4, 5):
        raise InputError(f"prediction has shape {prediction.shape}; expected {target.shape} or {(*target.shape, 'L')}")
    if mask is not None and mask.shape != target.shape:
        raise InputError(f"mask has shape {mask.shape}; expected {target.shape}")
    return prediction


def _median(prediction: _Array, target: _Array, quantiles: Sequence[float] | None) -> _Array:
    if prediction.ndim == target.ndim:
        return prediction
    levels = prediction.shape[-1]
    if quantiles is None:
        if levels % 2 == 0:
            raise InputError(f"prediction has {levels} quantiles and none in the middle; pass their levels, quantiles")
        return prediction[..., levels // 2]
    if len(quantiles) != levels or 0.5 not in list(quantiles):
        raise InputError(f"quantiles is {list(quantiles)}; expected {levels} levels with 0.5 among them")
    return prediction[..., list(quantiles).index(0.5)]


def _window_weights(windows: int, last_batch: str) -> _Floats:
    """Return how often each window counts."""
    weights = np.ones(windows)
    over = windows % _BATCH
    if last_batch == "drop" and windows > over > 0:
        weights[-over:] = 0
    elif last_batch == "pad" and over:
        weights[-1] += _BATCH - over
    return weights


class _Targets:
    """The targets as a protocol sees them, and which of them count."""

    def __init__(
        self,
        target: _Array,
        mask: _Array | None,
        null_value: float,
        rule: Protocol,
        unmasked: bool,
        weights: _Floats,
    ) -> None:
        self.target, self.mask, self.null_value, self.rule, self.unmasked = target, mask, null_value, rule, unmasked
        self.null = null_value
        if rule.nulls == "minimum":
            counted = int(np.flatnonzero(weights)[-1]) + 1
            least = min(float(self._seen(part)[0].min()) for part in _blocks(target[:counted]))
            self.null = least if least < 1 else null_value

    def _seen(self, part: slice) -> tuple[_Floats, _Array]:
        target = self.target[part]
        observed = ~np.isnan(target)
        if self.mask is not None:
            observed &= self.mask[part]
        return np.where(observed, target, self.null_value).astype(np.float64), observed

    def counted(self, part: slice) -> tuple[_Floats, _Array]:
        """Return the targets of some windows, and whether each counts."""
        target, observed = self._seen(part)
        if self.unmasked:
            return target, np.ones_like(observed)
        if self.rule.nulls == "mask":
            return target, observed
        if np.isnan(self.null):
            return target, ~np.isnan(target)
        return target, np.abs(target - self.null) > self.rule.tolerance


def _sums(prediction: _Array, target: _Floats, counts: _Array, mape: str, weights: _Floats) -> _Floats:
    """Return count, absolute, squared and relative errors and the count of the last, summed per step, ``[5, Q]``."""
    error = np.where(counts, np.abs(prediction.astype(np.float64) - target), 0.0)
    relative_counts = counts
    if mape == "threshold":
        relative_counts = counts & (np.abs(target) >= _THRESHOLD)
        relative = error / np.where(relative_counts, np.abs(target), np.inf)
    elif mape == "epsilon":
        relative = error / np.abs(target + _EPSILON)
    else:
        with np.errstate(divide="ignore", invalid="ignore"):
            # 0 / 0 is no error, as in the harnesses; x / 0 is infinite there, too.
            relative = np.where(error == 0, 0.0, error / np.abs(target))
    return np.stack(
        [
            np.einsum("snqc,s->q", values, weights)
            for values in (counts.astype(np.float64), error, error**2, relative, relative_counts.astype(np.float64))
        ]
    )


class _Errors(NamedTuple):
    mae: Any
    rmse: Any
    mape: Any


def _errors(sums: _Floats) -> _Errors:
    """Return the errors from sums ``[5, ...]``; nan where nothing counts."""
    count, absolute, squared, relative, relative_count = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        return _Errors(absolute / count, np.sqrt(squared / count), 100 * relative / relative_count)


def _report(sums: _Floats, rule: Protocol) -> dict[str, Any]:
    per_step = _errors(sums.cumsum(axis=1) if rule.at == "first_steps" else sums)
    if rule.average == "mean_of_steps":
        average = _Errors(*(values.mean() for values in per_step))
    else:
        average = _errors(sums.sum(axis=1))
    steps = {str(step): _Errors(*(v[step - 1] for v in per_step)) for step in rule.horizons(sums.shape[1])}
    named = {**steps, "average": average}
    return {
        "horizons": {h: {n: float(v) for n, v in errors._asdict().items()} for h, errors in named.items()},
        "per_step": {name: values.tolist() for name, values in per_step._asdict().items()},
        "count": int(sums[0].sum()),
    }
