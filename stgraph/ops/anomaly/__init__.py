"""Anomalies: what does not fit into a set of spectra or series, as functions of tensors."""

from stgraph.ops.anomaly.calibration import (
    benjamini_hochberg,
    check_calibration_size,
    conformal_pvalues,
    robust_threshold,
)
from stgraph.ops.anomaly.graph_residual import graph_residual
from stgraph.ops.anomaly.hidden_blocks import hidden_block_masks, predict_hidden, uncertainty_deviation
from stgraph.ops.anomaly.latent import latent_score
from stgraph.ops.anomaly.reconstruction_errors import compute_dynamic_anomaly_ratio, compute_reconstruction_errors
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.rules import detect_anomalous_regions
from stgraph.ops.anomaly.transport import neighborhood_transport_score
from stgraph.ops.anomaly.window_scores import window_statistics
from stgraph.ops.anomaly.windows import regions_from_windows, window_bounds, window_sums

__all__ = [
    "AnomalousRegions",
    "benjamini_hochberg",
    "check_calibration_size",
    "compute_dynamic_anomaly_ratio",
    "compute_reconstruction_errors",
    "conformal_pvalues",
    "detect_anomalous_regions",
    "graph_residual",
    "hidden_block_masks",
    "latent_score",
    "neighborhood_transport_score",
    "predict_hidden",
    "regions_from_windows",
    "robust_threshold",
    "uncertainty_deviation",
    "window_bounds",
    "window_statistics",
    "window_sums",
]
