"""Data sets by name: four that come with the package, published ones, and pieces in folders of one's own.

The functions return the graph of a series, the classes are PyG data sets whose only item it is; they are loaded when
first used. What they are, whose they are and how to cite them is said in each docstring and in the catalogue.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Not when first used: the function has the name of its module.
from stgraph.data.datasets.locate import locate

if TYPE_CHECKING:
    from stgraph.data.datasets.base import SeriesDataset, default_root, load_series
    from stgraph.data.datasets.beijing_air import BeijingAir
    from stgraph.data.datasets.catalog import CatalogEntry, RemoteFile, entry
    from stgraph.data.datasets.crowd_flows import BikeNYC, TaxiBJ
    from stgraph.data.datasets.embedded import (
        colorado_climate,
        germany_pm10,
        ireland_wind,
        north_america_temperature,
    )
    from stgraph.data.datasets.largest import LargeST, largest_gba, largest_gla, largest_sd
    from stgraph.data.datasets.local import beijing_air_two_years, nyc_bike_eight_weeks, uk_temperature_march_2019
    from stgraph.data.datasets.metr_la import metr_la_week
    from stgraph.data.datasets.milan_telecom import MilanTelecom
    from stgraph.data.datasets.pems import PEMS03, PEMS04, PEMS07, PEMS08
    from stgraph.data.datasets.pemsd7m import PeMSD7M
    from stgraph.data.datasets.simulated_traffic import SimulatedTraffic
    from stgraph.data.datasets.traffic_speed import METRLA, PEMSBAY
    from stgraph.data.datasets.weatherbench import WeatherBench

_MODULES = {
    "base": ("SeriesDataset", "default_root", "load_series"),
    "beijing_air": ("BeijingAir",),
    "catalog": ("CatalogEntry", "RemoteFile", "entry"),
    "crowd_flows": ("BikeNYC", "TaxiBJ"),
    "embedded": ("colorado_climate", "germany_pm10", "ireland_wind", "north_america_temperature"),
    "largest": ("LargeST", "largest_gba", "largest_gla", "largest_sd"),
    "local": ("beijing_air_two_years", "nyc_bike_eight_weeks", "uk_temperature_march_2019"),
    "metr_la": ("metr_la_week",),
    "milan_telecom": ("MilanTelecom",),
    "pems": ("PEMS03", "PEMS04", "PEMS07", "PEMS08"),
    "pemsd7m": ("PeMSD7M",),
    "simulated_traffic": ("SimulatedTraffic",),
    "traffic_speed": ("METRLA", "PEMSBAY"),
    "weatherbench": ("WeatherBench",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "METRLA",
    "PEMS03",
    "PEMS04",
    "PEMS07",
    "PEMS08",
    "PEMSBAY",
    "BeijingAir",
    "BikeNYC",
    "CatalogEntry",
    "LargeST",
    "MilanTelecom",
    "PeMSD7M",
    "RemoteFile",
    "SeriesDataset",
    "SimulatedTraffic",
    "TaxiBJ",
    "WeatherBench",
    "beijing_air_two_years",
    "colorado_climate",
    "default_root",
    "entry",
    "germany_pm10",
    "ireland_wind",
    "largest_gba",
    "largest_gla",
    "largest_sd",
    "load_series",
    "locate",
    "metr_la_week",
    "north_america_temperature",
    "nyc_bike_eight_weeks",
    "uk_temperature_march_2019",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"stgraph.data.datasets.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'stgraph.data.datasets' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
