"""Typed configurations of spectral layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.transforms.wavelets import wavelet_filters

__all__ = [
    "AFNOMixingConfig",
    "FFTNorm",
    "FourierMixingConfig",
    "GlobalFilterMixingConfig",
    "WaveletMixing2DConfig",
    "WaveletMixingConfig",
    "options_of",
]

FFTNorm = Literal["forward", "backward", "ortho"]


@dataclasses.dataclass
class FourierMixingConfig:
    """Options of :class:`~stgraph.nn.spectral.FourierMixing` and its relatives.

    Examples:
        >>> from stgraph.nn.spectral import FourierMixing
        >>> FourierMixing.from_config(FourierMixingConfig(hidden_dim=8))
        FourierMixing(
          8
          (dropout): Identity()
          (fft2d): FFT2D(norm='ortho')
        )
    """

    hidden_dim: int
    dropout: float = 0.0
    norm_eps: float = 1e-5
    energy_tolerance: float = 1e-4
    fft_norm: FFTNorm = "ortho"
    keep_complex: bool = False

    def __post_init__(self) -> None:
        _check_common(self)


@dataclasses.dataclass
class GlobalFilterMixingConfig:
    """Options of :class:`~stgraph.nn.spectral.GlobalFilterMixing` and its relatives."""

    hidden_dim: int
    sequence_length: int
    dropout: float = 0.0
    learnable_filters: bool = True
    fft_norm: FFTNorm = "ortho"
    filter_init_std: float = 0.02
    activation: Literal["sigmoid", "tanh", "identity"] = "sigmoid"
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        _check_common(self)
        if self.filter_init_std < 0:
            raise InputError(f"filter_init_std is {self.filter_init_std}; expected at least 0")


@dataclasses.dataclass
class AFNOMixingConfig:
    """Options of :class:`~stgraph.nn.spectral.AFNOMixing`."""

    hidden_dim: int
    max_sequence_length: int
    dropout: float = 0.0
    modes_seq: int | None = None
    modes_hidden: int | None = None
    mlp_ratio: float = 2.0
    activation: Literal["gelu", "relu", "silu", "swish", "mish", "tanh", "sigmoid", "identity"] = "gelu"

    def __post_init__(self) -> None:
        _check_common(self)


@dataclasses.dataclass
class WaveletMixingConfig:
    """Options of :class:`~stgraph.nn.spectral.WaveletMixing`."""

    hidden_dim: int
    dropout: float = 0.0
    wavelet: str = "db4"
    levels: int = 3
    mixing_mode: Literal["pointwise", "channel", "level"] = "pointwise"

    def __post_init__(self) -> None:
        _check_common(self)


@dataclasses.dataclass
class WaveletMixing2DConfig:
    """Options of :class:`~stgraph.nn.spectral.WaveletMixing2D`."""

    channels: int
    wavelet: str = "db4"
    levels: int = 2
    mixing_mode: Literal["subband", "cross", "attention"] = "subband"

    def __post_init__(self) -> None:
        _check_common(self)


def options_of(config: Any, names: Iterable[str]) -> dict[str, Any]:
    """Read the options called ``names`` from a configuration: any object with such attributes, or a mapping.

    Those that it does not have are left to the layer's defaults.

    Examples:
        >>> options_of({"hidden_dim": 8, "other": 1}, ["hidden_dim", "dropout"])
        {'hidden_dim': 8}
    """
    if isinstance(config, Mapping):
        return {name: config[name] for name in names if name in config}
    found = {name: getattr(config, name) for name in names if hasattr(config, name)}
    if not found:
        raise InputTypeError(f"config is {type(config).__name__}; expected an object or a mapping with {list(names)}")
    return found


def _check_common(config: Any) -> None:
    """Check what the configurations have in common, by the names of their fields."""
    hints = get_type_hints(type(config))
    for name, value in vars(config).items():
        if name in _SIZES and value is not None and value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
        if name in ("norm_eps", "energy_tolerance", "mlp_ratio") and value <= 0:
            raise InputError(f"{name} is {value}; expected a positive number")
        if name == "dropout" and not 0 <= value <= 1:
            raise InputError(f"dropout is {value}; expected 0 to 1")
        if name == "levels" and not 1 <= value <= 6:
            raise InputError(f"levels is {value}; expected 1 to 6")
        if name == "wavelet":
            wavelet_filters(value)
        if get_origin(hints[name]) is Literal and value not in get_args(hints[name]):
            raise InputError(f"{name} is {value!r}; expected one of {list(get_args(hints[name]))}")


_SIZES = ("hidden_dim", "sequence_length", "max_sequence_length", "modes_seq", "modes_hidden", "channels")
