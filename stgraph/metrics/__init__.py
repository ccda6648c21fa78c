"""Metrics of forecasts, masked and accumulated exactly over batches and processes."""

from stgraph.metrics.forecast import ForecastMetrics
from stgraph.metrics.point import MaskedFrameR2, MaskedMAE, MaskedMAPE, MaskedR2, MaskedRMSE, MaskedSMAPE
from stgraph.metrics.quantile import IntervalCoverage, IntervalWidth, MaskedCRPS, MaskedPinball

__all__ = [
    "ForecastMetrics",
    "IntervalCoverage",
    "IntervalWidth",
    "MaskedCRPS",
    "MaskedFrameR2",
    "MaskedMAE",
    "MaskedMAPE",
    "MaskedPinball",
    "MaskedR2",
    "MaskedRMSE",
    "MaskedSMAPE",
]
