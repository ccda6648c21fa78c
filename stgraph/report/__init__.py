"""Figures and the HTML report of a run, and those of a benchmark."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.report.anomaly import plot_combined_spectra, plot_reconstruction_error_distribution, plot_spectra
    from stgraph.report.anomaly_series import flagged_share_map, score_overview, series_anomalies
    from stgraph.report.benchmark import write_benchmark_report
    from stgraph.report.figures import (
        error_map,
        forecasts_at_nodes,
        horizon_errors,
        node_errors,
        save_figure,
        training_curves,
    )
    from stgraph.report.fusion import draw_endmembers, draw_fusion_training, draw_latent, save_fusion_figure
    from stgraph.report.fusion_maps import draw_errors, draw_fusion, draw_uncertainty
    from stgraph.report.html import write_report
    from stgraph.report.image_errors import image_error_map
    from stgraph.report.latents import latent_picture
    from stgraph.report.reconstruction import error_boxes, reconstruction_grid
    from stgraph.report.sky_images import SkyImages, sky_image

__all__ = [
    "SkyImages",
    "draw_endmembers",
    "draw_errors",
    "draw_fusion",
    "draw_fusion_training",
    "draw_latent",
    "draw_uncertainty",
    "error_boxes",
    "error_map",
    "flagged_share_map",
    "forecasts_at_nodes",
    "horizon_errors",
    "image_error_map",
    "latent_picture",
    "node_errors",
    "plot_combined_spectra",
    "plot_reconstruction_error_distribution",
    "plot_spectra",
    "reconstruction_grid",
    "save_figure",
    "save_fusion_figure",
    "score_overview",
    "series_anomalies",
    "sky_image",
    "training_curves",
    "write_benchmark_report",
    "write_report",
]

_MODULES = dict.fromkeys(__all__, "figures") | {
    "SkyImages": "sky_images",
    "draw_endmembers": "fusion",
    "draw_errors": "fusion_maps",
    "draw_fusion": "fusion_maps",
    "draw_fusion_training": "fusion",
    "draw_latent": "fusion",
    "draw_uncertainty": "fusion_maps",
    "error_boxes": "reconstruction",
    "flagged_share_map": "anomaly_series",
    "image_error_map": "image_errors",
    "latent_picture": "latents",
    "plot_combined_spectra": "anomaly",
    "plot_reconstruction_error_distribution": "anomaly",
    "plot_spectra": "anomaly",
    "reconstruction_grid": "reconstruction",
    "save_fusion_figure": "fusion",
    "score_overview": "anomaly_series",
    "series_anomalies": "anomaly_series",
    "sky_image": "sky_images",
    "write_benchmark_report": "benchmark",
    "write_report": "html",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that matplotlib is loaded only when something is drawn.
    if name in _MODULES:
        return getattr(importlib.import_module(f"stgraph.report.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stgraph.report' has no attribute {name!r}")
