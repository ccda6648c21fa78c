"""Mock light curves: brightness of stars at irregular times, with known periods, noise, gaps and shared trends."""

from __future__ import annotations

from stgraph.data.simulation.light_curves.hdf import write_mock_light_curves
from stgraph.data.simulation.light_curves.simulate import simulate_light_curves

__all__ = ["simulate_light_curves", "write_mock_light_curves"]
