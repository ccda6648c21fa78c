"""Pairs of images for fusion, made from one hyperspectral cube by Wald's protocol."""

from __future__ import annotations

from stgraph.data.simulation.fusion.pair import FusionPair, simulate_pair

__all__ = ["FusionPair", "simulate_pair"]
