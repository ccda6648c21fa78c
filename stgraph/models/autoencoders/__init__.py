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
    from stgraph.models.autoencoders.transformer import HierarchicalTransformer
    from stgraph.models.autoencoders.unet import UNetAutoencoder

__all__ = [
    "AUTOENCODERS",
    "Autoencoder",
    "BidirectionalMinGRU",
    "HierarchicalMinGRU",
    "HierarchicalTransformer",
    "MLPAutoencoder",
    "MultimodalAutoencoder",
    "SeriesReconstructor",
    "UNetAutoencoder",
    "get_autoencoder",
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

_CLASSES = {path.split(":")[1]: path for path in AUTOENCODERS.values()}
_CLASSES["Autoencoder"] = "stgraph.models.autoencoders.base:Autoencoder"
_CLASSES["SeriesReconstructor"] = "stgraph.models.autoencoders.reconstructor:SeriesReconstructor"


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
    if name in _CLASSES:
        return load_class(_CLASSES[name])
    raise AttributeError(f"module 'stgraph.models.autoencoders' has no attribute {name!r}")
