"""Fourier sums at non-uniform times and non-uniform frequencies."""

from __future__ import annotations

from stgraph.ops.nufft.transform import nufft

__all__ = ["nufft"]
