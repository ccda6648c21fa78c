"""Metrics of forecasts and reconstructions, masked and accumulated exactly over batches and processes."""

from stgraph.metrics.anomaly import detection_delay, detection_scores, region_iou, scores_by_kind
from stgraph.metrics.forecast import ForecastMetrics
from stgraph.metrics.gaussian import GaussianMetrics, gaussian_scores
from stgraph.metrics.geographic import AnomalyCorrelation, LatitudeWeightedRMSE, latitude_weights
from stgraph.metrics.image import band_metrics, fusion_metrics, image_and_band_metrics
from stgraph.metrics.image_accumulated import ImageFusionMetrics
from stgraph.metrics.image_quality import quality_without_reference
from stgraph.metrics.point import MaskedFrameR2, MaskedMAE, MaskedMAPE, MaskedR2, MaskedRMSE, MaskedSMAPE, MaskedWAPE
from stgraph.metrics.quantile import IntervalCoverage, IntervalWidth, MaskedCRPS, MaskedPinball
from stgraph.metrics.ranks import Ranks, friedman_ranks
from stgraph.metrics.reconstruction import ReconstructionMetrics, reconstruction_errors
from stgraph.metrics.scaled import MaskedMASE, seasonal_naive_scale
from stgraph.metrics.significance import Comparison, block_bootstrap, diebold_mariano, holm, window_losses

__all__ = [
    "AnomalyCorrelation",
    "Comparison",
    "ForecastMetrics",
    "GaussianMetrics",
    "ImageFusionMetrics",
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
    "Ranks",
    "ReconstructionMetrics",
    "band_metrics",
    "block_bootstrap",
    "detection_delay",
    "detection_scores",
    "diebold_mariano",
    "friedman_ranks",
    "fusion_metrics",
    "gaussian_scores",
    "holm",
    "image_and_band_metrics",
    "latitude_weights",
    "quality_without_reference",
    "reconstruction_errors",
    "region_iou",
    "scores_by_kind",
    "seasonal_naive_scale",
    "window_losses",
]
