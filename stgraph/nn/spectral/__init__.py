"""Layers in the frequency domain: mixing, attention and neural operators.

Layers over tokens take ``x`` ``[..., N, D]`` with a mask ``[..., N]`` or, where the tokens are the nodes of a
mini-batch of graphs, its ``batch`` vector. Layers over images take ``[..., C, H, W]``, or node features with the
``grid`` of a graph.
"""

from stgraph.nn.spectral.afno import AFNOMixing
from stgraph.nn.spectral.base import (
    AttentionLayer,
    FilterMixingLayer,
    MixingLayer,
    SpectralComponent,
    UnitaryMixingLayer,
)
from stgraph.nn.spectral.convolution import SpectralConv1d, SpectralConv2d
from stgraph.nn.spectral.feature_attention import PerformerAttention, SpectralAttention
from stgraph.nn.spectral.fno import FNOBlock, FourierNeuralOperator
from stgraph.nn.spectral.fourier import FourierMixing, FourierMixing1D, RealFourierMixing, SeparableFourierMixing
from stgraph.nn.spectral.global_filter import AdaptiveGlobalFilter, GlobalFilterMixing, GlobalFilterMixing2D
from stgraph.nn.spectral.graph_fourier import GraphFourierMixing
from stgraph.nn.spectral.kernel_attention import KernelAttention
from stgraph.nn.spectral.lst_attention import DCTAttention, HadamardAttention, LSTAttention
from stgraph.nn.spectral.mixed_attention import MixedSpectralAttention
from stgraph.nn.spectral.sequence import SEQUENCE_LAYERS, sequence_layer
from stgraph.nn.spectral.temporal import SpectralTemporal
from stgraph.nn.spectral.wavelet import WaveletMixing
from stgraph.nn.spectral.wavelet_2d import WaveletMixing2D

__all__ = [
    "SEQUENCE_LAYERS",
    "AFNOMixing",
    "AdaptiveGlobalFilter",
    "AttentionLayer",
    "DCTAttention",
    "FNOBlock",
    "FilterMixingLayer",
    "FourierMixing",
    "FourierMixing1D",
    "FourierNeuralOperator",
    "GlobalFilterMixing",
    "GlobalFilterMixing2D",
    "GraphFourierMixing",
    "HadamardAttention",
    "KernelAttention",
    "LSTAttention",
    "MixedSpectralAttention",
    "MixingLayer",
    "PerformerAttention",
    "RealFourierMixing",
    "SeparableFourierMixing",
    "SpectralAttention",
    "SpectralComponent",
    "SpectralConv1d",
    "SpectralConv2d",
    "SpectralTemporal",
    "UnitaryMixingLayer",
    "WaveletMixing",
    "WaveletMixing2D",
    "sequence_layer",
]
