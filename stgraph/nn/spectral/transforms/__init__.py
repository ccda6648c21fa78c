"""Transforms as modules without parameters; the functions are in :mod:`stgraph.ops.transforms`."""

from stgraph.nn.spectral.transforms.cosine import DCT, DCT2D, DST
from stgraph.nn.spectral.transforms.fourier import FFT1D, FFT2D, RFFT, RFFT2D
from stgraph.nn.spectral.transforms.hadamard import HadamardTransform, HadamardTransform2D
from stgraph.nn.spectral.transforms.wavelet import DWT1D, DWT2D

__all__ = [
    "DCT",
    "DCT2D",
    "DST",
    "DWT1D",
    "DWT2D",
    "FFT1D",
    "FFT2D",
    "RFFT",
    "RFFT2D",
    "HadamardTransform",
    "HadamardTransform2D",
]
