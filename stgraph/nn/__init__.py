"""Layers: tensors in, tensors out, for use in any PyTorch Geometric model."""

from stgraph.nn.scalers import make_scaler

__all__ = ["make_scaler"]
