"""What kinds of curves are drawn, and the checks of these settings."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stgraph.errors import InputError, InputTypeError

__all__ = ["CLASSES", "SAMPLINGS", "Recipe", "check_count", "check_number"]

#: Share of each class of curves where none is asked for. "rotation" is drawn only when it is asked for.
CLASSES = {"sinusoid": 0.30, "multiperiodic": 0.25, "drw": 0.25, "qpo": 0.20, "rotation": 0.0}
#: Share of each way of sampling.
SAMPLINGS = {"regular": 0.40, "random_gaps": 0.20, "variable_cadence": 0.20, "astronomical": 0.20}

_MAX_DURATION = 3000.0  # days; e^(duration / shortest tau) must stay within float64
_MIN_POINTS = 10
_MAX_POINTS = 1_000_000


@dataclass(frozen=True)
class Recipe:
    """The settings that :func:`~stgraph.data.simulation.light_curves.simulate_light_curves` describes."""

    seed: int = 42
    classes: Mapping[str, float] | None = None
    samplings: Mapping[str, float] | None = None
    duration: tuple[float, float] = (50.0, 500.0)
    points: tuple[int, int] = (200, 999)
    snr: tuple[float, float] = (5.0, 30.0)
    flare_rate: float = 0.0
    transit_fraction: float = 0.0

    def __post_init__(self) -> None:
        check_count("seed", self.seed, 0, 2**63 - 1)
        _check_shares("classes", self.classes, CLASSES)
        _check_shares("samplings", self.samplings, SAMPLINGS)
        for value in _check_range("duration", self.duration):
            check_number("duration", value, 0.0, _MAX_DURATION)
        for value in _check_range("points", self.points):
            check_count("points", value, _MIN_POINTS, _MAX_POINTS)
        for value in _check_range("snr", self.snr):
            check_number("snr", value, 0.0, math.inf)
        if self.duration[0] == 0 or self.snr[0] == 0 or self.snr[0] < self.snr[1] == math.inf:
            raise InputError(
                f"duration is {self.duration} and snr {self.snr}; expected more than 0, and an infinite snr only for "
                "both ends, (inf, inf)"
            )
        check_number("flare_rate", self.flare_rate, 0.0, 1000.0)
        check_number("transit_fraction", self.transit_fraction, 0.0, 1.0)

    @property
    def class_shares(self) -> dict[str, float]:
        """Probability of every class."""
        return _check_shares("classes", self.classes, CLASSES)

    @property
    def sampling_shares(self) -> dict[str, float]:
        """Probability of every way of sampling."""
        return _check_shares("samplings", self.samplings, SAMPLINGS)


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raise an error that names a number out of its range (both ends included)."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise InputTypeError(f"{name} is {value!r}; expected a number")
    if not low <= float(value) <= high:  # False for NaN
        raise InputError(f"{name} is {value}; expected a number from {low:g} to {high:g}")


def check_count(name: str, value: Any, low: int, high: int) -> None:
    """Raise an error that names a whole number out of its range (both ends included)."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InputTypeError(f"{name} is {value!r}; expected a whole number") from error
    if isinstance(value, bool):
        raise InputTypeError(f"{name} is {value}; expected a whole number")
    if not low <= number <= high:
        raise InputError(f"{name} is {value}; expected a whole number from {low} to {high}")


def _check_range(name: str, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputTypeError(f"{name} is {value!r}; expected a pair (lowest, highest)")
    if value[0] > value[1]:
        raise InputError(f"{name} is {value}; expected a pair (lowest, highest) with lowest <= highest")
    return value[0], value[1]


def _check_shares(name: str, shares: Any, default: dict[str, float]) -> dict[str, float]:
    """All the shares, in the order of the default, which does not depend on how the mapping was written."""
    if shares is None:
        return default
    if not isinstance(shares, Mapping):
        raise InputTypeError(f"{name} is a {type(shares).__name__}; expected a mapping from names to probabilities")
    unknown = [key for key in shares if key not in default]
    if unknown:
        raise InputError(f"{name} has {', '.join(map(repr, unknown))}; there are {', '.join(default)}")
    for key, share in shares.items():
        check_number(f"{name}[{key!r}]", share, 0.0, 1.0)
    total = math.fsum(shares.values())
    if abs(total - 1) > 1e-6:
        raise InputError(f"{name} has probabilities with the sum {total:g}; expected 1")
    return {key: float(shares.get(key, 0.0)) for key in default}
