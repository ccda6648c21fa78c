"""The sequence layers by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from stgraph.errors import InputError

__all__ = ["SEQUENCE_LAYERS", "sequence_layer"]

_MAX_HEADS = 8
_MAX_MODES = 16


def _channels(channels: int, steps: int) -> tuple[int, ...]:
    return (channels,)


def _channels_and_steps(channels: int, steps: int) -> tuple[int, ...]:
    return channels, steps


def _channels_and_heads(channels: int, steps: int) -> tuple[int, ...]:
    return channels, next(heads for heads in range(_MAX_HEADS, 0, -1) if channels % heads == 0)


def _channels_and_modes(channels: int, steps: int) -> tuple[int, ...]:
    return channels, min(_MAX_MODES, steps // 2 + 1)


def _channels_twice_and_modes(channels: int, steps: int) -> tuple[int, ...]:
    return channels, *_channels_and_modes(channels, steps)


#: Every sequence layer by name: its module and class, and its positional arguments for so many channels and steps.
SEQUENCE_LAYERS: dict[str, tuple[str, Callable[[int, int], tuple[int, ...]]]] = {
    "fourier": ("fourier:FourierMixing", _channels),
    "fourier_1d": ("fourier:FourierMixing1D", _channels),
    "real_fourier": ("fourier:RealFourierMixing", _channels),
    "separable_fourier": ("fourier:SeparableFourierMixing", _channels),
    "global_filter": ("global_filter:GlobalFilterMixing", _channels_and_steps),
    "global_filter_2d": ("global_filter:GlobalFilterMixing2D", _channels_and_steps),
    "adaptive_global_filter": ("global_filter:AdaptiveGlobalFilter", _channels_and_steps),
    "afno": ("afno:AFNOMixing", _channels_and_steps),
    "wavelet": ("wavelet:WaveletMixing", _channels),
    "spectral_attention": ("feature_attention:SpectralAttention", _channels_and_heads),
    "performer": ("feature_attention:PerformerAttention", _channels_and_heads),
    "kernel_attention": ("kernel_attention:KernelAttention", _channels_and_heads),
    "lst_attention": ("lst_attention:LSTAttention", _channels_and_heads),
    "dct_attention": ("lst_attention:DCTAttention", _channels_and_heads),
    "hadamard_attention": ("lst_attention:HadamardAttention", _channels_and_heads),
    "mixed_spectral_attention": ("mixed_attention:MixedSpectralAttention", _channels_and_heads),
    "spectral_conv": ("convolution:SpectralConv1d", _channels_twice_and_modes),
    "fno": ("fno:FourierNeuralOperator", _channels_and_modes),
    "fno_block": ("fno:FNOBlock", _channels_and_modes),
}


def sequence_layer(name: str, channels: int, steps: int) -> nn.Module:
    """Make the sequence layer called ``name`` with its default options.

    Attention has as many heads, at most 8, as divide the channels; convolutions keep at most 16 modes.

    Args:
        name: A key of :data:`SEQUENCE_LAYERS`.
        channels: Number of channels.
        steps: Number of steps of the sequences.

    Raises:
        InputError: If no layer has that name.

    Examples:
        >>> sequence_layer("fno", channels=6, steps=12)
        FourierNeuralOperator(
          6, modes=7
          (spectral_conv): SpectralConv1d(6, 6, modes=7)
          (linear): Conv1d(6, 6, kernel_size=(1,), stride=(1,))
          (activation): GELU(approximate='none')
        )
    """
    if name not in SEQUENCE_LAYERS:
        raise InputError(f"unknown sequence layer {name!r}; expected one of {sorted(SEQUENCE_LAYERS)}")
    path, arguments = SEQUENCE_LAYERS[name]
    module, attribute = path.split(":")
    made: Any = getattr(importlib.import_module(f"stgraph.nn.spectral.{module}"), attribute)
    layer: nn.Module = made(*arguments(channels, steps))
    return layer
