"""Layers: tensors in, tensors out, for use in any PyTorch Geometric model."""

from stgraph.nn.bounded_horizon import BoundedHorizonLoss
from stgraph.nn.curve_encoders import SpectralDecoder, SpectralEncoder
from stgraph.nn.got import GOT
from stgraph.nn.log_period_encoding import LogPeriodEncoding
from stgraph.nn.losses import ForecastLoss
from stgraph.nn.mgat import MGAT
from stgraph.nn.min_gru import BidirectionalRecurrence, MinGRU, MinLSTM, RecurrentBlock
from stgraph.nn.neighbor_context import NeighborContext
from stgraph.nn.reconstruction_loss import ReconstructionLoss
from stgraph.nn.residual import ResidualBlock
from stgraph.nn.scalers import LogScaler, MinMaxScaler, RobustScaler, Scaler, StandardScaler, make_scaler
from stgraph.nn.sfe import SFE
from stgraph.nn.spectral_loss import SpectralLoss
from stgraph.nn.temporal import TemporalEncoder
from stgraph.nn.tgating import TGating
from stgraph.nn.time import PeriodicTimeEmbedding
from stgraph.nn.transformer_block import SelfAttention, TransformerBlock

__all__ = [
    "GOT",
    "MGAT",
    "SFE",
    "BidirectionalRecurrence",
    "BoundedHorizonLoss",
    "ForecastLoss",
    "LogPeriodEncoding",
    "LogScaler",
    "MinGRU",
    "MinLSTM",
    "MinMaxScaler",
    "NeighborContext",
    "PeriodicTimeEmbedding",
    "ReconstructionLoss",
    "RecurrentBlock",
    "ResidualBlock",
    "RobustScaler",
    "Scaler",
    "SelfAttention",
    "SpectralDecoder",
    "SpectralEncoder",
    "SpectralLoss",
    "StandardScaler",
    "TGating",
    "TemporalEncoder",
    "TransformerBlock",
    "make_scaler",
]
