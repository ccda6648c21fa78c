"""Forecasts that a network has to beat: closed form, no gradient descent."""

from stgraph.models.baselines.climatology import Climatology
from stgraph.models.baselines.persistence import Persistence
from stgraph.models.baselines.ridge import Ridge

__all__ = ["Climatology", "Persistence", "Ridge"]
