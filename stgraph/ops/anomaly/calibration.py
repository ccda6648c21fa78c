"""From scores to decisions: robust thresholds, conformal p-values and the control of false discoveries."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["benjamini_hochberg", "check_calibration_size", "conformal_pvalues", "robust_threshold"]

MAD_TO_SIGMA = 1.4826  # of a normal distribution
MEAN_DEVIATION_TO_SIGMA = math.sqrt(math.pi / 2)
# p-values that equal their bound by design, such as 1 / (n + 1), must not miss it by rounding.
ROUNDING = 1e-12


def robust_threshold(scores: Tensor, multiplier: float = 5.0) -> Tensor:
    r"""Median of the scores plus ``multiplier`` robust standard deviations.

    .. math::
        \mathrm{median}(s) + c \cdot 1.4826 \, \mathrm{median}\,|s - \mathrm{median}(s)|

    Fewer than half of the scores being anomalous cannot move it far. Where more than half of the scores are equal, the
    median deviation is 0, and :math:`\sqrt{\pi/2}` times the mean absolute deviation takes the place of 1.4826 times
    it. A score is flagged if it is *above* the threshold, so that equal scores are never flagged. Without any finite
    score the threshold is infinite.

    Args:
        scores: The higher, the more anomalous; those that are not finite do not count.
        multiplier: Number of standard deviations :math:`c`.

    Shapes:
        - **scores:** :math:`(*)`
        - **output:** a scalar of the type of ``scores``

    Raises:
        InputError: If ``multiplier`` is negative or not finite.
        InputTypeError: If ``scores`` is not a floating-point tensor.

    References:
        Iglewicz and Hoaglin, "How to Detect and Handle Outliers" (1993), also for deviations of median 0.

    Examples:
        >>> robust_threshold(torch.tensor([1.0, 2.0, 3.0, 4.0, 100.0]), multiplier=2.0)
        tensor(5.9652)
    """
    _check_floating("scores", scores)
    if not 0 <= multiplier < math.inf:
        raise InputError(f"multiplier is {multiplier}; expected a finite number of at least 0")
    values = scores[scores.isfinite()].double()
    if not values.numel():
        return scores.new_tensor(math.inf)
    center = _median(values)
    deviations = (values - center).abs()
    spread = MAD_TO_SIGMA * _median(deviations)
    if not bool(spread > 0):
        spread = MEAN_DEVIATION_TO_SIGMA * deviations.mean()
    return (center + multiplier * spread).to(scores.dtype)


def conformal_pvalues(scores: Tensor, calibration: Tensor) -> Tensor:
    r"""Split-conformal p-values: how rare a score is among calibration scores of normal data.

    .. math::
        p = \frac{1 + \#\{i : c_i \ge s\}}{n + 1}

    If the score of a normal object and the :math:`n` calibration scores are exchangeable (such as independent draws
    of one distribution, scored by a detector that saw neither), then :math:`P(p \le \alpha) \le \alpha` for every
    :math:`\alpha`, whatever the distribution and with ties. The calibration objects must not have been used to fit the
    detector. p-values that share calibration scores depend on each other; :func:`benjamini_hochberg` keeps its
    guarantee nevertheless.

    Args:
        scores: The higher, the more anomalous. A NaN (no data) gets p-value 1.
        calibration: Scores of normal data; NaN ones are left out.

    Shapes:
        - **scores:** :math:`(*)`
        - **calibration:** :math:`(n)`
        - **output:** :math:`(*)`, float64, from :math:`1/(n+1)` to 1

    Raises:
        InputError: If ``calibration`` has more than one dimension.
        InputTypeError: If an argument is not a floating-point tensor.

    References:
        Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World" (2005). Bates et al., "Testing for
        Outliers with Conformal p-values" (2023), arXiv:2104.08279.

    Examples:
        >>> conformal_pvalues(torch.tensor([0.5, 3.0, 9.0]), torch.tensor([1.0, 2.0, 3.0])).tolist()
        [1.0, 0.5, 0.25]
    """
    _check_floating("scores", scores)
    _check_floating("calibration", calibration)
    if calibration.dim() != 1:
        raise InputError(f"calibration has shape {tuple(calibration.shape)}; expected (n,)")
    dtype = torch.promote_types(scores.dtype, calibration.dtype)
    reference = calibration[~calibration.isnan()].to(dtype).sort().values
    missing = scores.isnan()
    below = torch.searchsorted(reference, scores.to(dtype).masked_fill(missing, -math.inf).contiguous())
    pvalues = (1 + len(reference) - below).double() / (len(reference) + 1)
    return pvalues.masked_fill(missing, 1.0)


def check_calibration_size(count: int, rate: float) -> None:
    r"""Check that conformal p-values can be as small as ``rate`` at all.

    With :math:`n` calibration scores no p-value is below :math:`1/(n+1)`: at a rate of false positives :math:`\alpha`
    nothing is ever flagged for :math:`n < 1/\alpha - 1`. To flag a single one of :math:`m` objects by
    :func:`benjamini_hochberg`, the rate to ask for is :math:`\alpha / m`.

    Args:
        count: Number of calibration scores :math:`n`.
        rate: Rate of false positives :math:`\alpha`.

    Raises:
        InputError: If ``rate`` is not between 0 and 1, or there are too few calibration scores.

    Examples:
        >>> check_calibration_size(99, 0.01)
    """
    _check_rate(rate)
    needed = math.ceil((1 / rate - 1) * (1 - ROUNDING))
    if count < needed:
        raise InputError(
            f"there are {count} calibration scores; expected at least {needed} for a rate of {rate:g}, as no p-value "
            f"is below 1 / (n + 1) = {1 / (count + 1):.3g}"
        )


def benjamini_hochberg(pvalues: Tensor, rate: float) -> Tensor:
    r"""Flag as many objects as possible with an expected share of false ones among the flagged of at most ``rate``.

    Of :math:`m` p-values, the :math:`k` smallest are flagged for the largest :math:`k` with
    :math:`p_{(k)} \le k \, \mathrm{rate} / m`. The guarantee holds for independent p-values and for those of
    :func:`conformal_pvalues` that share calibration scores (Bates et al.); it includes objects with p-value 1 that
    could not be judged, which make the procedure stricter.

    Args:
        pvalues: p-values of all objects that are judged together.
        rate: Bound on the expected share of false discoveries.

    Shapes:
        - **pvalues:** :math:`(*)`
        - **output:** :math:`(*)` bool

    Raises:
        InputError: If ``rate`` or a p-value is not between 0 and 1.
        InputTypeError: If ``pvalues`` is not a floating-point tensor.

    References:
        Benjamini and Hochberg, "Controlling the False Discovery Rate" (1995). Bates et al., "Testing for Outliers with
        Conformal p-values" (2023), arXiv:2104.08279.

    Examples:
        >>> benjamini_hochberg(torch.tensor([0.01, 0.9, 0.04, 0.03]), 0.1).tolist()
        [True, False, True, True]
    """
    _check_floating("pvalues", pvalues)
    _check_rate(rate)
    if not bool(((pvalues >= 0) & (pvalues <= 1)).all()):
        raise InputError("pvalues has entries that are not between 0 and 1; expected p-values")
    ordered = pvalues.flatten().double().sort().values
    rank = torch.arange(1, len(ordered) + 1, dtype=torch.float64, device=pvalues.device)
    passed = ordered * len(ordered) / rank <= rate * (1 + ROUNDING)
    limit = ordered[passed].amax() if bool(passed.any()) else ordered.new_tensor(-1.0)
    return pvalues.double() <= limit


def _median(values: Tensor) -> Tensor:
    """Median, the mean of the two middle values where there are two."""
    ordered = values.sort().values
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _check_floating(name: str, value: Tensor) -> None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        raise InputTypeError(f"{name} is {getattr(value, 'dtype', type(value))}; expected a floating-point tensor")


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise InputError(f"rate is {rate}; expected a number between 0 and 1")
