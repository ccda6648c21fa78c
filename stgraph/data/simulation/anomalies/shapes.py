"""How each kind of anomaly changes the fluxes of a region."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints

__all__ = ["REGIONAL", "Regions", "draw_widths", "least_length", "reshape"]

#: The kinds that change a region of a spectrum.
REGIONAL = ("line", "bump", "noisy", "gap", "step", "dead_pixels")

_WIDTHS = (0.04, 0.12)  # shares of the length
_LEAST_WIDTH = 3
_LINE_WIDTH = 0.004  # standard deviation of a line, as a share of the length
_LINE_FLOOR = 0.01  # a line ends where it falls below this share of its height


class Regions(NamedTuple):
    """A region in each of k spectra of C channels.

    Shapes:
        - **begin**, **width:** :math:`(k)`, **inside:** :math:`(k, L, C)`, its good points
        - **deviation**, **least:** :math:`(k, 1, C)`, standard deviation and minimum of the good fluxes
    """

    begin: Ints
    width: Ints
    inside: Bools
    deviation: Floats
    least: Floats


def draw_widths(kind: str, draws: Draws, length: int) -> Ints:
    """Width of the region of each spectrum, in points."""
    if kind == "line":
        return np.full(len(draws), 2 * _line_reach(length) + 1)
    width = np.rint(draws.uniform("width", *_WIDTHS) * length).astype(np.int64)
    return np.maximum(width, _LEAST_WIDTH)


def least_length(length: int) -> int:
    """The longest region that may be drawn in a spectrum of this length."""
    return max(_LEAST_WIDTH, round(_WIDTHS[1] * length), 2 * _line_reach(length) + 1)


def reshape(kind: str, draws: Draws, flux: Floats, regions: Regions) -> Floats:
    """The fluxes :math:`(k, L, C)` with the anomaly; they may differ within the regions only."""
    length = flux.shape[1]
    # How far each point is into the region: 0 at its first point.
    place = np.arange(length)[None, :, None] - regions.begin[:, None, None]
    width, unit = regions.width[:, None, None], regions.deviation
    if kind == "line":
        reach = _line_reach(length)
        height = _column(draws.uniform("height", 2.0, 5.0)) * unit
        change = height * np.exp(-0.5 * ((place - reach) / _line_width(length)) ** 2)
    elif kind == "bump":
        height = _column(draws.uniform("height", 1.0, 3.0)) * unit
        change = height * np.sin(np.pi * (place + 1) / (width + 1)) ** 2
    elif kind == "noisy":
        level = _column(draws.uniform("height", 0.8, 2.0)) * unit
        change = level * draws.normal("noise", length * flux.shape[2]).reshape(flux.shape)
    elif kind == "gap":
        top = np.where(regions.inside, flux, -np.inf).max(axis=1, keepdims=True)
        below = _column(draws.uniform("height", 0.1, 0.5)) * unit
        change = np.broadcast_to(regions.least - below - np.where(np.isfinite(top), top, 0.0), flux.shape)
    elif kind == "step":
        height = _column(draws.uniform("height", 1.0, 3.0) * np.where(draws.uniform("sign") < 0.5, -1, 1))
        change = np.broadcast_to(height * unit, flux.shape)
    else:
        count = np.maximum(regions.inside.sum(axis=1, keepdims=True), 1)
        stuck = np.where(regions.inside, flux, 0.0).sum(axis=1, keepdims=True) / count
        zero = _column(draws.uniform("zero")) < 0.5
        return np.where(regions.inside, np.where(zero, 0.0, stuck), flux)
    return np.where(regions.inside, flux + change, flux)


def _line_width(length: int) -> float:
    return max(_LINE_WIDTH * length, 0.5)


def _line_reach(length: int) -> int:
    return math.ceil(_line_width(length) * math.sqrt(-2 * math.log(_LINE_FLOOR)))


def _column(values: Floats) -> Floats:
    return values[:, None, None]
