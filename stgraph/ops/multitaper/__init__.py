"""Spectra of irregularly sampled series by the multitaper method: power, harmonic F-test, autocorrelation, periods.

The parts are loaded when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stgraph.ops.multitaper.correlation import autocorrelation, autocorrelation_timescale
    from stgraph.ops.multitaper.periodogram import (
        LombScarglePeriod,
        lomb_scargle,
        lomb_scargle_multitaper,
        lomb_scargle_period,
    )
    from stgraph.ops.multitaper.rotation import RotationPeriod, rotation_period
    from stgraph.ops.multitaper.spectrum import MultitaperSpectrum, multitaper

_MODULES = {
    "correlation": ("autocorrelation", "autocorrelation_timescale"),
    "periodogram": ("LombScarglePeriod", "lomb_scargle", "lomb_scargle_multitaper", "lomb_scargle_period"),
    "rotation": ("RotationPeriod", "rotation_period"),
    "spectrum": ("MultitaperSpectrum", "multitaper"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "LombScarglePeriod",
    "MultitaperSpectrum",
    "RotationPeriod",
    "autocorrelation",
    "autocorrelation_timescale",
    "lomb_scargle",
    "lomb_scargle_multitaper",
    "lomb_scargle_period",
    "multitaper",
    "rotation_period",
]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"stgraph.ops.multitaper.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'stgraph.ops.multitaper' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
