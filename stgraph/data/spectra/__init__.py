"""Spectra of objects (galaxies, stars, quasars): from arrays or files to the graph of a series and back.

Each object is a node, and its series is the flux along the wavelength. The parts are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.data.spectra.arms import join_arms
    from stgraph.data.spectra.build import from_spectra
    from stgraph.data.spectra.local import LocalSpectra, SpectraSource
    from stgraph.data.spectra.neighbors import SpectralNeighborGraph
    from stgraph.data.spectra.reading import read_object_spectra
    from stgraph.data.spectra.resampling import common_wavelengths, resample_spectra
    from stgraph.data.spectra.rest_frame import observed_range, observed_wavelengths, to_rest_frame
    from stgraph.data.spectra.selecting import select_spectra
    from stgraph.data.spectra.writing import write_object_spectra

_MODULES = {
    "arms": ("join_arms",),
    "build": ("from_spectra",),
    "local": ("LocalSpectra", "SpectraSource"),
    "neighbors": ("SpectralNeighborGraph",),
    "reading": ("read_object_spectra",),
    "resampling": ("common_wavelengths", "resample_spectra"),
    "rest_frame": ("observed_range", "observed_wavelengths", "to_rest_frame"),
    "selecting": ("select_spectra",),
    "writing": ("write_object_spectra",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "LocalSpectra",
    "SpectraSource",
    "SpectralNeighborGraph",
    "common_wavelengths",
    "from_spectra",
    "join_arms",
    "observed_range",
    "observed_wavelengths",
    "read_object_spectra",
    "resample_spectra",
    "select_spectra",
    "to_rest_frame",
    "write_object_spectra",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
