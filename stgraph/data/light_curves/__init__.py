"""Light curves: brightness of stars at irregular times, from arrays or files to the graph of a series and back.

Each star is a node. The parts are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.data.light_curves.build import from_light_curves
    from stgraph.data.light_curves.hdf5_curves import write_light_curves
    from stgraph.data.light_curves.lightkurve_objects import from_lightkurve
    from stgraph.data.light_curves.reading import read_light_curves
    from stgraph.data.light_curves.selection import select_curves
    from stgraph.data.light_curves.spectra import spectra_of
    from stgraph.data.light_curves.spectra_files import read_spectra, verify_spectra, write_spectra
    from stgraph.data.light_curves.spectral_scaling import normalise_spectra, restore_spectra

_MODULES = {
    "build": ("from_light_curves",),
    "hdf5_curves": ("write_light_curves",),
    "lightkurve_objects": ("from_lightkurve",),
    "reading": ("read_light_curves",),
    "selection": ("select_curves",),
    "spectra": ("spectra_of",),
    "spectra_files": ("read_spectra", "verify_spectra", "write_spectra"),
    "spectral_scaling": ("normalise_spectra", "restore_spectra"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "from_light_curves",
    "from_lightkurve",
    "normalise_spectra",
    "read_light_curves",
    "read_spectra",
    "restore_spectra",
    "select_curves",
    "spectra_of",
    "verify_spectra",
    "write_light_curves",
    "write_spectra",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
