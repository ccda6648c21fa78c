"""First-order traffic flow on a random road network: the cell transmission model, its demand and its detectors."""

from __future__ import annotations

from stgraph.data.simulation.cells import Cells, CellTransmission
from stgraph.data.simulation.simulate import TrafficSimulation, simulate_traffic

__all__ = ["CellTransmission", "Cells", "TrafficSimulation", "simulate_traffic"]
