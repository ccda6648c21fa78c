"""Networks that reconstruct the hidden part of a series or a spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stgraph.models.registry import find_class, load_class

if TYPE_CHECKING:
    from stgraph.models.autoencoders.base import Autoencoder
    from stgraph.models.autoencoders.bidirectional_min_gru import BidirectionalMinGRU
    from stgraph.models.autoencoders.min_gru import HierarchicalMinGRU
    from stgraph.models.autoencoders.mlp import MLPAutoencoder
    from stgraph.models.autoencoders.multimodal import MultimodalAutoencoder
    from stgraph.models.autoencoders.reconstructor import SeriesReconstructor
    from stgraph.models.autoencoders.reset import reset_training_state
    from stgraph.models.autoencoders.spectral_cnn import SPECTRAL_CNN_PRESETS, SpectralCNNAutoencoder
    from stgraph.models.autoencoders.transformer import HierarchicalTransformer
    from stgraph.models.autoencoders.unet import UNetAutoencoder

__all__ = [
    "AUTOENCODERS",
    "SPECTRAL_CNN_PRESETS",
    "Autoencoder",
    "BidirectionalMinGRU",
    "HierarchicalMinGRU",
    "HierarchicalTransformer",
    "MLPAutoencoder",
    "MultimodalAutoencoder",
    "SeriesReconstructor",
    "SpectralCNNAutoencoder",
    "UNetAutoencoder",
    "get_autoencoder",
    "reset_training_state",
]

#: Every autoencoder by the name that configuration files use, as ``module:class``.
AUTOENCODERS: dict[str, str] = {
    "bidirectional_mingru": "stgraph.models.autoencoders.bidirectional_min_gru:BidirectionalMinGRU",
    "mingru": "stgraph.models.autoencoders.min_gru:HierarchicalMinGRU",
    "mlp": "stgraph.models.autoencoders.mlp:MLPAutoencoder",
    "multimodal": "stgraph.models.autoencoders.multimodal:MultimodalAutoencoder",
    "transformer": "stgraph.models.autoencoders.transformer:HierarchicalTransformer",
    "unet": "stgraph.models.autoencoders.unet:UNetAutoencoder",
}

_PATHS = {path.split(":")[1]: path for path in AUTOENCODERS.values()}
_PATHS["Autoencoder"] = "stgraph.models.autoencoders.base:Autoencoder"
_PATHS["SeriesReconstructor"] = "stgraph.models.autoencoders.reconstructor:SeriesReconstructor"
# Used on its own, not in `stgraph lightcurve train`: its documented output lies between 0 and 1.
_PATHS["SpectralCNNAutoencoder"] = "stgraph.models.autoencoders.spectral_cnn:SpectralCNNAutoencoder"
_PATHS["SPECTRAL_CNN_PRESETS"] = "stgraph.models.autoencoders.spectral_cnn:SPECTRAL_CNN_PRESETS"
_PATHS["reset_training_state"] = "stgraph.models.autoencoders.reset:reset_training_state"


def get_autoencoder(name: str) -> type[Autoencoder]:
    """Return the class of the autoencoder called ``name``.

    Raises:
        InputError: If no autoencoder has that name.

    Examples:
        >>> get_autoencoder("mlp").__name__
        'MLPAutoencoder'
    """
    found: type[Autoencoder] = find_class("autoencoder", name, AUTOENCODERS)
    return found


def __getattr__(name: str) -> Any:
    if name in _PATHS:
        return load_class(_PATHS[name])
    raise AttributeError(f"module 'stgraph.models.autoencoders' has no attribute {name!r}")
