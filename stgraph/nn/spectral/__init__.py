"""Layers in the frequency domain: mixing, attention and neural operators.

Layers over tokens take ``x`` ``[..., N, D]`` with a mask ``[..., N]`` or, where the tokens are the nodes of a mini-batch
of graphs, its ``batch`` vector. Layers over images take ``[..., C, H, W]``, or node features with the ``grid`` of a
graph.
"""

from stgraph.nn.spectral.afno import AFNOMixing
from stgraph.nn.spectral.base import (
    AttentionLayer,
    FilterMixingLayer,
    MixingLayer,
    SpectralComponent,
    UnitaryMixingLayer,
)
from stgraph.nn.spectral.fourier import FourierMixing, FourierMixing1D, RealFourierMixing, SeparableFourierMixing
from stgraph.nn.spectral.global_filter import AdaptiveGlobalFilter, GlobalFilterMixing, GlobalFilterMixing2D
from stgraph.nn.spectral.lst_attention import DCTAttention, HadamardAttention, LSTAttention
from stgraph.nn.spectral.mixed_attention import MixedSpectralAttention
from stgraph.nn.spectral.wavelet import WaveletMixing
from stgraph.nn.spectral.wavelet_2d import WaveletMixing2D

__all__ = [
    "AFNOMixing",
    "AdaptiveGlobalFilter",
    "AttentionLayer",
    "DCTAttention",
    "FilterMixingLayer",
    "FourierMixing",
    "FourierMixing1D",
    "GlobalFilterMixing",
    "GlobalFilterMixing2D",
    "HadamardAttention",
    "LSTAttention",
    "MixedSpectralAttention",
    "MixingLayer",
    "RealFourierMixing",
    "SeparableFourierMixing",
    "SpectralComponent",
    "UnitaryMixingLayer",
    "WaveletMixing",
    "WaveletMixing2D",
]
