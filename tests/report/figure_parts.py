"""Spectra for figures of anomalies, and what these show, for the tests of them."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from stgraph.report.anomaly_panels import FLAGGED

N, L = 6, 40


def flagged_spectra():
    """Spectra, what was expected of them, flagged points and flagged spectra."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, L))
    regions = np.zeros((N, L), dtype=bool)
    regions[1, 5:10], regions[1, 20:21], regions[4, 30:40] = True, True, True
    return x, x - 0.25, regions, regions.any(axis=1)


def spans(axes):
    shaded = [p for p in axes.patches if isinstance(p, Rectangle) and to_hex(p.get_facecolor()) == FLAGGED.lower()]
    return [(p.get_x(), p.get_x() + p.get_width()) for p in shaded]


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}
