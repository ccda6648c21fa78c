"""Kernels of attention, exact and by random features."""

from __future__ import annotations

from stgraph.nn.spectral.kernels.attention_kernel import RFFAttentionKernel
from stgraph.nn.spectral.kernels.base import KernelFunction, RandomFeatureMap, ShiftInvariantKernel
from stgraph.nn.spectral.kernels.learnable import LearnableSpectralKernel
from stgraph.nn.spectral.kernels.polynomial import PolynomialKernel, PolynomialSpectralKernel
from stgraph.nn.spectral.kernels.random_fourier import GaussianRFFKernel, LaplacianRFFKernel, OrthogonalRandomFeatures

__all__ = [
    "GaussianRFFKernel",
    "KernelFunction",
    "LaplacianRFFKernel",
    "LearnableSpectralKernel",
    "OrthogonalRandomFeatures",
    "PolynomialKernel",
    "PolynomialSpectralKernel",
    "RFFAttentionKernel",
    "RandomFeatureMap",
    "ShiftInvariantKernel",
]
