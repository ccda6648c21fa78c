"""Data sets by name: four that come with the package, and METR-LA's week from a folder of one's own.

Each function returns the graph of a series without edges (but METR-LA's), to be made by a transform such as
:class:`stgraph.data.KNNGraph`. What they are, whose they are and how to cite them is said in each docstring.
"""

from __future__ import annotations

from stgraph.data.datasets.embedded import (
    colorado_climate,
    germany_pm10,
    ireland_wind,
    north_america_temperature,
)
from stgraph.data.datasets.locate import locate
from stgraph.data.datasets.metr_la import metr_la_week

__all__ = [
    "colorado_climate",
    "germany_pm10",
    "ireland_wind",
    "locate",
    "metr_la_week",
    "north_america_temperature",
]
