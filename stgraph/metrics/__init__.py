"""Metrics of forecasts, masked and accumulated exactly over batches and processes."""

from stgraph.metrics.forecast import ForecastMetrics
from stgraph.metrics.geographic import AnomalyCorrelation, LatitudeWeightedRMSE, latitude_weights
from stgraph.metrics.point import MaskedFrameR2, MaskedMAE, MaskedMAPE, MaskedR2, MaskedRMSE, MaskedSMAPE, MaskedWAPE
from stgraph.metrics.quantile import IntervalCoverage, IntervalWidth, MaskedCRPS, MaskedPinball
from stgraph.metrics.scaled import MaskedMASE, seasonal_naive_scale

__all__ = [
    "AnomalyCorrelation",
    "ForecastMetrics",
    "IntervalCoverage",
    "IntervalWidth",
    "LatitudeWeightedRMSE",
    "MaskedCRPS",
    "MaskedFrameR2",
    "MaskedMAE",
    "MaskedMAPE",
    "MaskedMASE",
    "MaskedPinball",
    "MaskedR2",
    "MaskedRMSE",
    "MaskedSMAPE",
    "MaskedWAPE",
    "latitude_weights",
    "seasonal_naive_scale",
]
