"""Layers: tensors in, tensors out, for use in any PyTorch Geometric model."""

from stgraph.nn.got import GOT
from stgraph.nn.losses import ForecastLoss
from stgraph.nn.mgat import MGAT
from stgraph.nn.residual import ResidualBlock
from stgraph.nn.scalers import LogScaler, MinMaxScaler, RobustScaler, Scaler, StandardScaler, make_scaler
from stgraph.nn.sfe import SFE
from stgraph.nn.temporal import TemporalEncoder
from stgraph.nn.tgating import TGating
from stgraph.nn.time import PeriodicTimeEmbedding

__all__ = [
    "GOT",
    "MGAT",
    "SFE",
    "ForecastLoss",
    "LogScaler",
    "MinMaxScaler",
    "PeriodicTimeEmbedding",
    "ResidualBlock",
    "RobustScaler",
    "Scaler",
    "StandardScaler",
    "TGating",
    "TemporalEncoder",
    "make_scaler",
]
