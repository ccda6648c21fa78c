"""Detectors of anomalies: they learn what is normal in spectra or series, and say what does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stgraph.models.registry import find_class, load_class

if TYPE_CHECKING:
    from stgraph.models.detectors.autoencoder import AutoencoderDetector
    from stgraph.models.detectors.base import Detector, Deviation
    from stgraph.models.detectors.graph_residual import GraphResidualDetector
    from stgraph.models.detectors.scores import LatentDetector, TransportDetector
    from stgraph.models.detectors.series import SeriesResidualDetector

__all__ = [
    "DETECTORS",
    "AutoencoderDetector",
    "Detector",
    "Deviation",
    "GraphResidualDetector",
    "LatentDetector",
    "SeriesResidualDetector",
    "TransportDetector",
    "get_detector",
]

#: Every detector by the name that configuration files use, as ``module:class``.
DETECTORS: dict[str, str] = {
    "autoencoder": "stgraph.models.detectors.autoencoder:AutoencoderDetector",
    "graph_residual": "stgraph.models.detectors.graph_residual:GraphResidualDetector",
    "latent": "stgraph.models.detectors.scores:LatentDetector",
    "series_residual": "stgraph.models.detectors.series:SeriesResidualDetector",
    "transport": "stgraph.models.detectors.scores:TransportDetector",
}

_CLASSES = {path.split(":")[1]: path for path in DETECTORS.values()}
_CLASSES |= {name: f"stgraph.models.detectors.base:{name}" for name in ("Detector", "Deviation")}


def get_detector(name: str) -> type[Detector]:
    """Return the class of the detector called ``name``.

    Raises:
        InputError: If no detector has that name.

    Examples:
        >>> get_detector("graph_residual").__name__
        'GraphResidualDetector'
    """
    found: type[Detector] = find_class("detector", name, DETECTORS)
    return found


def __getattr__(name: str) -> Any:
    if name in _CLASSES:
        return load_class(_CLASSES[name])
    raise AttributeError(f"module 'stgraph.models.detectors' has no attribute {name!r}")
