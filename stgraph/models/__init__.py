"""Whole networks, and the dictionary that lists them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stgraph.models.fno_options import FNOOptions
from stgraph.models.options import LossOptions, SpecTraNetOptions
from stgraph.models.registry import find_class, load_class

if TYPE_CHECKING:
    from stgraph.models.base import Forecaster
    from stgraph.models.baselines.agcrn import AGCRN
    from stgraph.models.baselines.climatology import Climatology
    from stgraph.models.baselines.conv_lstm import ConvLSTM
    from stgraph.models.baselines.copy_last_window import CopyLastWindow
    from stgraph.models.baselines.d2stgnn import D2STGNN
    from stgraph.models.baselines.dcrnn import DCRNN
    from stgraph.models.baselines.dlinear import DLinear
    from stgraph.models.baselines.fno import FNO
    from stgraph.models.baselines.gatv2_gru import GATv2GRU
    from stgraph.models.baselines.gman import GMAN
    from stgraph.models.baselines.graph_wavenet import GraphWaveNet
    from stgraph.models.baselines.historical_average import HistoricalAverage
    from stgraph.models.baselines.lstm import LSTM
    from stgraph.models.baselines.mtgnn import MTGNN
    from stgraph.models.baselines.persistence import Persistence
    from stgraph.models.baselines.ridge import Ridge
    from stgraph.models.baselines.seasonal_naive import SeasonalNaive
    from stgraph.models.baselines.st_resnet import STResNet
    from stgraph.models.baselines.staeformer import STAEformer
    from stgraph.models.baselines.stgcn import STGCN
    from stgraph.models.baselines.stid import STID
    from stgraph.models.baselines.tcn import TCN
    from stgraph.models.baselines.var import VAR
    from stgraph.models.spectranet import SpecTraNet

__all__ = [
    "AGCRN",
    "D2STGNN",
    "DCRNN",
    "FNO",
    "GMAN",
    "LSTM",
    "MODELS",
    "MTGNN",
    "STGCN",
    "STID",
    "TCN",
    "VAR",
    "Climatology",
    "ConvLSTM",
    "CopyLastWindow",
    "DLinear",
    "FNOOptions",
    "Forecaster",
    "GATv2GRU",
    "GraphWaveNet",
    "HistoricalAverage",
    "LossOptions",
    "Persistence",
    "Ridge",
    "STAEformer",
    "STResNet",
    "SeasonalNaive",
    "SpecTraNet",
    "SpecTraNetOptions",
    "get_model",
]

#: Every forecaster by the name that configuration files use, as ``module:class``.
MODELS: dict[str, str] = {
    "agcrn": "stgraph.models.baselines.agcrn:AGCRN",
    "climatology": "stgraph.models.baselines.climatology:Climatology",
    "conv_lstm": "stgraph.models.baselines.conv_lstm:ConvLSTM",
    "copy_last_window": "stgraph.models.baselines.copy_last_window:CopyLastWindow",
    "d2stgnn": "stgraph.models.baselines.d2stgnn:D2STGNN",
    "dcrnn": "stgraph.models.baselines.dcrnn:DCRNN",
    "dlinear": "stgraph.models.baselines.dlinear:DLinear",
    "fno": "stgraph.models.baselines.fno:FNO",
    "gatv2_gru": "stgraph.models.baselines.gatv2_gru:GATv2GRU",
    "gman": "stgraph.models.baselines.gman:GMAN",
    "graph_wavenet": "stgraph.models.baselines.graph_wavenet:GraphWaveNet",
    "historical_average": "stgraph.models.baselines.historical_average:HistoricalAverage",
    "lstm": "stgraph.models.baselines.lstm:LSTM",
    "mtgnn": "stgraph.models.baselines.mtgnn:MTGNN",
    "persistence": "stgraph.models.baselines.persistence:Persistence",
    "ridge": "stgraph.models.baselines.ridge:Ridge",
    "seasonal_naive": "stgraph.models.baselines.seasonal_naive:SeasonalNaive",
    "spectranet": "stgraph.models.spectranet:SpecTraNet",
    "st_resnet": "stgraph.models.baselines.st_resnet:STResNet",
    "staeformer": "stgraph.models.baselines.staeformer:STAEformer",
    "stgcn": "stgraph.models.baselines.stgcn:STGCN",
    "stid": "stgraph.models.baselines.stid:STID",
    "tcn": "stgraph.models.baselines.tcn:TCN",
    "var": "stgraph.models.baselines.var:VAR",
}

_CLASSES = {path.split(":")[1]: path for path in MODELS.values()}
_CLASSES["Forecaster"] = "stgraph.models.base:Forecaster"


def get_model(name: str) -> type[Forecaster]:
    """Return the class of the model called ``name``.

    >>> get_model("persistence").__name__
    'Persistence'

    Raises:
        InputError: If no model has that name.
    """
    found: type[Forecaster] = find_class("model", name, MODELS)
    return found


def __getattr__(name: str) -> Any:
    # Lazy, so that reading the options does not load torch.
    if name in _CLASSES:
        return load_class(_CLASSES[name])
    raise AttributeError(f"module 'stgraph.models' has no attribute {name!r}")
