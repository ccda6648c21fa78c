"""What a detector found."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeAlias

from torch import Tensor

__all__ = ["AnomalousRegions", "RegionRecord"]

#: One flagged window: ``range_start``, ``range_end`` (exclusive), ``reason_type`` and ``trigger_value``.
RegionRecord: TypeAlias = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class AnomalousRegions:
    r"""Flagged regions, flagged spectra, and why.

    It unpacks as the documented tuple ``(regions, anomalous, metadata, abs_residual_threshold, rel_residual_threshold,
    range_mismatch_factor)`` with NumPy arrays.

    Args:
        regions: Points that lie in a flagged window.
        anomalous: Flagged spectra.
        metadata: For each spectrum its flagged windows.
        score: The higher, the more anomalous; NaN for spectra without data.
        no_data: Spectra without a good point; they are never flagged.
        rule: Name of the rule.
        window_size: Points of a (narrowest) window.
        window_start: First point of each window.
        window_end: End of each window, exclusive.
        window_score: Score of each window, on the scale of ``threshold`` where the rule has one, else in units of
            ``abs_residual_threshold``; NaN where it has no good points.
        threshold: Score above which a spectrum is flagged, where the rule has one.
        abs_residual_threshold: Threshold of the mean absolute residual of a window, where the rule has one (else NaN).
        rel_residual_threshold: That of the mean relative residual (else NaN).
        range_mismatch_factor: That of the ratio of ranges (else NaN).
        overall_anomaly_threshold: Share of flagged points above which a spectrum is flagged, where the rule has one.
        expected: What was expected in place of the spectrum, in its units.
        deviation: Standardised deviation from what was expected, 0 at bad points.
        p_value: Conformal p-value of the score, where the detector was calibrated; approximate for spectra that it was
            fitted to.

    Shapes:
        - **regions**, **expected**, **deviation:** :math:`(N, L)`; **anomalous**, **score**, **no_data**,
          **p_value:** :math:`(N)`; **window_start**, **window_end:** :math:`(W)`; **window_score:** :math:`(N, W)`
    """

    regions: Tensor
    anomalous: Tensor
    metadata: list[list[RegionRecord]]
    score: Tensor
    no_data: Tensor
    rule: str
    window_size: int
    window_start: Tensor
    window_end: Tensor
    window_score: Tensor
    threshold: float = float("nan")
    abs_residual_threshold: float = float("nan")
    rel_residual_threshold: float = float("nan")
    range_mismatch_factor: float = float("nan")
    overall_anomaly_threshold: float = float("nan")
    expected: Tensor | None = None
    deviation: Tensor | None = None
    p_value: Tensor | None = None

    def __iter__(self) -> Iterator[Any]:
        """Yield the entries of the documented tuple."""
        yield list(self.regions.cpu().numpy())
        yield self.anomalous.cpu().numpy()
        yield self.metadata
        yield self.abs_residual_threshold
        yield self.rel_residual_threshold
        yield self.range_mismatch_factor
