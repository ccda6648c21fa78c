"""What one trains for: Lightning modules, and the folder that holds all about a run."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.tasks.anomaly import Anomaly
    from stgraph.tasks.anomaly_inference import LoadedAnomaly
    from stgraph.tasks.anomaly_options import AnomalyOptions
    from stgraph.tasks.anomaly_run import load_spectral_autoencoder, train_anomaly
    from stgraph.tasks.calibration import calibrate_quantiles
    from stgraph.tasks.checkpoints import AtomicCheckpointIO, load_forecaster
    from stgraph.tasks.forecasting import Forecasting
    from stgraph.tasks.fuse_images import FusionResult, fuse
    from stgraph.tasks.fusion import Fusion
    from stgraph.tasks.fusion_options import FusionOptions
    from stgraph.tasks.fusion_run import run_fusion
    from stgraph.tasks.inference import LoadedRun
    from stgraph.tasks.latent_regression import cross_validate_latents
    from stgraph.tasks.latents import read_latents, write_latents
    from stgraph.tasks.options import RunOptions
    from stgraph.tasks.reconstruction import Reconstruction
    from stgraph.tasks.reconstruction_inference import LoadedReconstruction
    from stgraph.tasks.reconstruction_options import ReconstructionOptions
    from stgraph.tasks.reconstruction_run import load_reconstructor, train_reconstruction
    from stgraph.tasks.run import train

__all__ = [
    "Anomaly",
    "AnomalyOptions",
    "AtomicCheckpointIO",
    "Forecasting",
    "Fusion",
    "FusionOptions",
    "FusionResult",
    "LoadedAnomaly",
    "LoadedReconstruction",
    "LoadedRun",
    "Reconstruction",
    "ReconstructionOptions",
    "RunOptions",
    "calibrate_quantiles",
    "cross_validate_latents",
    "fuse",
    "load_forecaster",
    "load_reconstructor",
    "load_spectral_autoencoder",
    "read_latents",
    "run_fusion",
    "train",
    "train_anomaly",
    "train_reconstruction",
    "write_latents",
]

_MODULES = {
    "Anomaly": "anomaly",
    "AnomalyOptions": "anomaly_options",
    "AtomicCheckpointIO": "checkpoints",
    "Forecasting": "forecasting",
    "Fusion": "fusion",
    "FusionOptions": "fusion_options",
    "FusionResult": "fuse_images",
    "LoadedAnomaly": "anomaly_inference",
    "LoadedReconstruction": "reconstruction_inference",
    "LoadedRun": "inference",
    "Reconstruction": "reconstruction",
    "ReconstructionOptions": "reconstruction_options",
    "RunOptions": "options",
    "calibrate_quantiles": "calibration",
    "cross_validate_latents": "latent_regression",
    "fuse": "fuse_images",
    "load_forecaster": "checkpoints",
    "load_reconstructor": "reconstruction_run",
    "load_spectral_autoencoder": "anomaly_run",
    "read_latents": "latents",
    "run_fusion": "fusion_run",
    "train": "run",
    "train_anomaly": "anomaly_run",
    "train_reconstruction": "reconstruction_run",
    "write_latents": "latents",
}


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the options of a run does not load torch.
    if name in _MODULES:
        return getattr(importlib.import_module(f"stgraph.tasks.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'stgraph.tasks' has no attribute {name!r}")
