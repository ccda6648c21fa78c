"""Mock galaxy spectra, and anomalies whose place and kind are known, injected into spectra and series."""

from __future__ import annotations

from stgraph.data.simulation.anomalies.analytic import analytic_galaxies
from stgraph.data.simulation.anomalies.combinations import eigenspectrum_galaxies
from stgraph.data.simulation.anomalies.inject import SPECTRUM_ANOMALIES, inject
from stgraph.data.simulation.anomalies.inject_series import SERIES_ANOMALIES, inject_series

__all__ = [
    "SERIES_ANOMALIES",
    "SPECTRUM_ANOMALIES",
    "analytic_galaxies",
    "eigenspectrum_galaxies",
    "inject",
    "inject_series",
]
