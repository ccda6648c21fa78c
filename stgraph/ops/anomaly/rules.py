"""Rules that decide which windows of a spectrum, and which spectra, are anomalous."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.flux_arrays import as_matrix, check_finite
from stgraph.ops.anomaly.records import region_records
from stgraph.ops.anomaly.residual_fit import graph_residual_regions
from stgraph.ops.anomaly.residual_windows import ResidualWindows, chunks, residual_windows
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.windows import regions_from_windows

__all__ = ["Coverage", "Rule", "detect_anomalous_regions"]

Rule: TypeAlias = Literal["graph_residual", "percentile", "fixed"]
Coverage: TypeAlias = Literal["unique", "double"]


def detect_anomalous_regions(
    original_fluxes: np.ndarray | Tensor,
    reconstructed_fluxes: np.ndarray | Tensor | None = None,
    window_size: int = 50,
    percentile_threshold: float | None = None,
    abs_residual_threshold: float | None = None,
    rel_residual_threshold: float | None = None,
    range_mismatch_factor: float = 1.5,
    overall_anomaly_threshold: float = 0.3,
    *,
    mask: np.ndarray | Tensor | None = None,
    error: np.ndarray | Tensor | None = None,
    rule: Rule | None = None,
    coverage: Coverage = "unique",
    cover_tail: bool = True,
) -> AnomalousRegions:
    r"""Find windows in which spectra differ from what is expected, and the spectra with too many of them.

    Without any threshold the spectra are judged by
    :func:`~stgraph.ops.anomaly.residual_fit.graph_residual_regions` against what the spectra most like them make
    expect, or against ``reconstructed_fluxes`` where given. That rule sets its threshold itself; it has none of the
    thresholds below, nor ``coverage`` and ``cover_tail``, and refuses other values than their defaults.

    The rules ``"percentile"`` and ``"fixed"`` judge residuals of a reconstruction :math:`\hat{x}`, with windows of
    :math:`w` points that start every :math:`\lfloor w/2 \rfloor` points. Of each window they take :math:`a`, the mean
    of :math:`|x - \hat{x}|`, :math:`b`, the mean of :math:`|(x - \hat{x}) / (x + 10^{-5})|`, and the ranges (largest
    less smallest value) :math:`p` of :math:`x` and :math:`q` of :math:`\hat{x}`, all over good points. A window is
    flagged if

    .. math:: a > t_a \quad\text{or}\quad b > t_b \quad\text{or}\quad q > f p.

    Its reason is the first of these that holds: ``high_absolute_residual`` with the value :math:`a`,
    ``high_relative_residual`` with :math:`b` or ``range_mismatch`` with :math:`q / (p + 10^{-5})`. A spectrum is
    anomalous if its flagged windows cover more than ``overall_anomaly_threshold`` of it. Both rules are those of
    SpectralCNNAutoencoder; with ``coverage="double"`` and ``cover_tail=False`` the flags are the same.

    Thresholds that are percentiles of the residuals they judge flag about as many windows in clean spectra as in
    others. The score of a window is :math:`a / t_a` (:math:`a` where :math:`t_a` is 0), that of a spectrum the largest
    of its windows. It leaves out :math:`b`, which is largest where the flux is near 0 whether or not anything is wrong,
    so a spectrum flagged for :math:`b` or its range alone may have a low score.

    Args:
        original_fluxes: Spectra, a NumPy array or a tensor.
        reconstructed_fluxes: What is expected in their place; needed by ``"percentile"`` and ``"fixed"``.
        window_size: Points :math:`w` of a window.
        percentile_threshold: :math:`t_a` and :math:`t_b` are this percentile, in percent, of all windows of all
            spectra. (default: 95 if ``rule`` is ``"percentile"``)
        abs_residual_threshold: :math:`t_a`, in units of the flux. (default: 0.1 if the rule is ``"fixed"``)
        rel_residual_threshold: :math:`t_b`. (default: 0.1 if the rule is ``"fixed"``)
        range_mismatch_factor: :math:`f`.
        overall_anomaly_threshold: Share of a spectrum, 0 to 2, above which it is anomalous.
        mask: True at good points. (default: all)
        error: Standard deviations of the fluxes, for ``"graph_residual"`` only.
        rule: ``"graph_residual"``, ``"percentile"`` or ``"fixed"``. (default: that of the thresholds given)
        coverage: ``"unique"`` is the share of the good points that lie in a flagged window; ``"double"`` is the number
            of flagged windows times :math:`w/L`, in which overlaps count twice.
        cover_tail: Add a last window that ends with the spectrum where the others leave points out.

    Returns:
        A named result that also unpacks as the tuple (regions, anomalous spectra, metadata, :math:`t_a`, :math:`t_b`,
        :math:`f`). A window without good points has the score NaN and is never flagged, nor is a spectrum without.

    Shapes:
        - **original_fluxes**, **reconstructed_fluxes**, **mask**, **error:** :math:`(N, L)`

    Raises:
        InputError: If a shape does not fit, a value is out of its range or not finite at a good point, thresholds of
            two rules are given, or an argument that the rule does not have.
        InputTypeError: If an argument is of another type.

    Examples:
        >>> import numpy as np
        >>> flux = np.zeros((2, 8))
        >>> flux[1, 2:4] = 1.0
        >>> found = detect_anomalous_regions(
        ...     flux, np.zeros((2, 8)), window_size=4, abs_residual_threshold=0.25, rel_residual_threshold=9.0
        ... )
        >>> found.anomalous
        tensor([False,  True])
        >>> found.metadata[1][0]
        {'range_start': 0, 'range_end': 4, 'reason_type': 'high_absolute_residual', 'trigger_value': 0.5}
        >>> regions, anomalous, metadata, absolute, relative, factor = found
        >>> regions[1].tolist()
        [True, True, True, True, True, True, False, False]
    """
    rule = _rule(rule, percentile_threshold, abs_residual_threshold, rel_residual_threshold)
    if coverage not in ("unique", "double"):
        raise InputError(f"coverage is {coverage!r}; expected 'unique' or 'double'")
    factor = _number("range_mismatch_factor", range_mismatch_factor, math.ulp(0.0), math.inf, "above 0")
    overall = _number("overall_anomaly_threshold", overall_anomaly_threshold, 0.0, 2.0, "from 0 to 2")
    thresholds = _thresholds(rule, percentile_threshold, abs_residual_threshold, rel_residual_threshold)
    if rule == "graph_residual":
        given = {"range_mismatch_factor": factor != 1.5, "overall_anomaly_threshold": overall != 0.3}
        _refuse(rule, given | {"coverage": coverage != "unique", "cover_tail": not cover_tail})
    else:
        _refuse(rule, {"error": error is not None})
    original = as_matrix("original_fluxes", original_fluxes)
    width = _width(window_size, original.shape[1])
    good = None if mask is None else as_matrix("mask", mask, original, boolean=True)
    expected = None
    if reconstructed_fluxes is not None:
        expected = as_matrix("reconstructed_fluxes", reconstructed_fluxes, original)
        check_finite("reconstructed_fluxes", expected, good)
    sigma = None if error is None else as_matrix("error", error, original)
    check_finite("original_fluxes", original, good)
    if rule == "graph_residual":
        return graph_residual_regions(original, expected, mask=good, error=sigma, window_size=width)
    if expected is None:
        raise InputError(f"reconstructed_fluxes is None; expected spectra, of which the rule {rule!r} needs residuals")
    good = torch.ones_like(original, dtype=torch.bool) if good is None else good
    windows = residual_windows(original, expected, good, width, cover_tail=cover_tail)
    if rule == "percentile":
        t_a, t_b = _percentile(windows.absolute, thresholds[0]), _percentile(windows.relative, thresholds[0])
    else:
        t_a, t_b = thresholds
    flagged = (windows.absolute > t_a) | (windows.relative > t_b)
    flagged |= windows.reconstructed_range > windows.original_range * factor
    return _result(rule, windows, flagged, good, width, coverage, (t_a, t_b, factor, overall))


def _refuse(rule: str, given: dict[str, bool]) -> None:
    """Refuse arguments that were given and that the rule does not have."""
    unused = [name for name, is_given in given.items() if is_given]
    if unused:
        raise InputError(f"{unused[0]} is given, which the rule {rule!r} does not have; leave it out, or name a rule")


def _result(
    rule: str,
    windows: ResidualWindows,
    flagged: Tensor,
    good: Tensor,
    width: int,
    coverage: str,
    limits: tuple[float, float, float, float],
) -> AnomalousRegions:
    """The named result of flagged windows."""
    t_a, t_b, factor, overall = limits
    regions = torch.empty_like(good)
    for rows in chunks(*good.shape):
        regions[rows] = regions_from_windows(flagged[rows], windows.start, windows.end, good.shape[1])
    good_points = good.sum(dim=1)
    if coverage == "unique":
        covered = (regions & good).sum(dim=1).double() / good_points.clamp(min=1)
    else:
        covered = (flagged.sum(dim=1) * width).double() / good.shape[1]
    no_data = good_points == 0
    window_score = windows.absolute / t_a if t_a > 0 else windows.absolute
    score = window_score.nan_to_num(nan=-math.inf).amax(dim=1)
    return AnomalousRegions(
        regions=regions,
        anomalous=covered > overall,
        metadata=region_records(flagged, windows, t_a, t_b),
        score=score.masked_fill(score == -math.inf, math.nan),
        no_data=no_data,
        rule=rule,
        window_size=width,
        window_start=windows.start,
        window_end=windows.end,
        window_score=window_score,
        abs_residual_threshold=t_a,
        rel_residual_threshold=t_b,
        range_mismatch_factor=factor,
        overall_anomaly_threshold=overall,
    )


def _percentile(values: Tensor, percentile: float) -> float:
    """Percentile, with linear interpolation, of the windows with good points; NaN if there are none."""
    known = values[~values.isnan()].cpu().numpy()
    return float(np.percentile(known, percentile)) if known.size else math.nan


def _rule(rule: Rule | None, percentile: float | None, absolute: float | None, relative: float | None) -> Rule:
    """The rule that was asked for, by name or by its thresholds."""
    fixed = absolute is not None or relative is not None
    if percentile is not None and fixed:
        raise InputError(
            "percentile_threshold and abs_residual_threshold or rel_residual_threshold are given; expected the "
            "thresholds of one rule"
        )
    implied: Rule = "percentile" if percentile is not None else "fixed" if fixed else "graph_residual"
    if rule is None:
        return implied
    if rule not in ("graph_residual", "percentile", "fixed"):
        raise InputError(f"rule is {rule!r}; expected 'graph_residual', 'percentile' or 'fixed'")
    if implied not in ("graph_residual", rule):
        raise InputError(f"rule is {rule!r}, but thresholds of the rule {implied!r} are given; expected one rule")
    return rule


def _thresholds(
    rule: Rule, percentile: float | None, absolute: float | None, relative: float | None
) -> tuple[float, float]:
    """The percentile, twice, or the two constants; the documented ones where none are given."""
    if rule == "percentile":
        value = 95.0 if percentile is None else percentile
        return (_number("percentile_threshold", value, 0.0, 100.0, "from 0 to 100"),) * 2
    given = {"abs_residual_threshold": absolute, "rel_residual_threshold": relative}
    constants = (
        _number(name, 0.1 if value is None else value, 0.0, math.inf, "of at least 0") for name, value in given.items()
    )
    return next(constants), next(constants)


def _number(name: str, value: Any, low: float, high: float, expected: str) -> float:
    """The value as a finite number between two bounds."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputTypeError(f"{name} is {value!r}, a {type(value).__name__}; expected a number {expected}")
    number = float(value)
    if not low <= number <= high or math.isinf(number):
        raise InputError(f"{name} is {value}; expected a finite number {expected}")
    return number


def _width(window_size: Any, length: int) -> int:
    """The points of a window that fits into a spectrum."""
    try:
        width = operator.index(window_size)
    except TypeError:
        raise InputTypeError(f"window_size is {window_size!r}; expected a whole number of points") from None
    if not 2 <= width <= length:
        raise InputError(f"window_size is {width}; expected 2 to {length}, the points of a spectrum")
    return width
