"""Mixing of images in the wavelet domain."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.spectral.base import MixingLayer, learned_properties
from stgraph.nn.spectral.functional_dtype import apply_in_dtype
from stgraph.nn.spectral.tokens import check_tokens, over_grid
from stgraph.nn.spectral.transforms.wavelet import DWT2D
from stgraph.nn.spectral.wavelet_levels import Alignment, attend, encode
from stgraph.ops.transforms.precision import full_precision
from stgraph.ops.transforms.wavelets_2d import Details

__all__ = ["WaveletMixing2D"]

_MODES = ("subband", "cross", "attention")
_BANDS = ("hl", "lh", "hh")


class WaveletMixing2D(MixingLayer):
    r"""Mix the pixels of images, or the nodes of a grid, by their wavelet coefficients.

    With the separable wavelet transform :math:`\mathcal{W}` (Stéphane Mallat, A theory for multiresolution signal
    decomposition, IEEE Transactions on Pattern Analysis and Machine Intelligence, 1989),
    :math:`y = x + \mathcal{W}^{-1} \, \mathrm{mix}(\mathcal{W} x)`, where the mixing is one of

    - ``"subband"``: in each band a 3 x 3 convolution of each channel by itself, in LL also batch normalisation and
      ReLU;
    - ``"cross"``: attention across the 3J + 1 bands, between the coefficients that belong to the same place;
    - ``"attention"``: a transformer encoder of two layers on the same tokens.

    Args:
        channels: Number of channels C.
        wavelet: One of :data:`~stgraph.ops.transforms.wavelets.KNOWN_WAVELETS`.
        levels: Number J of levels.
        mixing_mode: ``"subband"``, ``"cross"`` or ``"attention"``.
        dropout: Dropout of the result, of the attention weights and in the encoder.
        residual: Add the input.

    Shapes:
        - **input:** images :math:`(..., C, H, W)`, or with ``grid`` nodes :math:`(..., N, C)`
        - **output:** as the input

    Raises:
        InputError: If an option is unknown or out of range, or in :meth:`forward` if the channels or the grid do not
            fit.

    Examples:
        >>> layer = WaveletMixing2D(4, wavelet="db2", levels=1)
        >>> layer(torch.randn(2, 4, 9, 12)).shape
        torch.Size([2, 4, 9, 12])
        >>> layer(torch.randn(2, 108, 4), grid=(9, 12)).shape
        torch.Size([2, 108, 4])
    """

    def __init__(
        self,
        channels: int,
        wavelet: str = "db4",
        levels: int = 2,
        mixing_mode: str = "subband",
        dropout: float = 0.0,
        residual: bool = True,
    ) -> None:
        if channels < 1:
            raise InputError(f"channels is {channels}; expected at least 1")
        super().__init__(channels, dropout)
        if mixing_mode not in _MODES:
            raise InputError(f"mixing_mode is {mixing_mode!r}; expected one of {_MODES}")
        self.channels, self.wavelet, self.levels = channels, wavelet, levels
        self.mixing_mode, self.residual = mixing_mode, residual
        self.dwt = DWT2D(wavelet, levels)
        if mixing_mode == "subband":
            self.ll_mixer = nn.Sequential(_depthwise(channels), nn.BatchNorm2d(channels), nn.ReLU())
            self.detail_mixers = nn.ModuleList(
                nn.ModuleDict({name: _depthwise(channels) for name in _BANDS}) for _ in range(levels)
            )
        elif mixing_mode == "cross":
            self.cross_mixer = nn.MultiheadAttention(channels, 1, dropout=dropout, batch_first=True)
        else:
            layer = nn.TransformerEncoderLayer(channels, 1, 4 * channels, dropout, batch_first=True)
            self.subband_attention = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()
            elif isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.Linear | nn.LayerNorm):
                module.reset_parameters()
        for module in self.modules():
            if isinstance(module, nn.MultiheadAttention):
                nn.init.zeros_(module.out_proj.bias)

    def forward(self, x: Tensor, grid: Any = None) -> Tensor:
        """Mix images ``[..., C, H, W]``, or with ``grid`` node features ``[..., N, C]``.

        Args:
            x: Images or node features.
            grid: ``(H, W)``, a list of such for a mini-batch of grids, or the PyG graph whose ``grid`` says it. Nodes
                are in row-major order.
        """
        if grid is not None:
            check_tokens(x, self.channels, "channels")
            nodes: Tensor = over_grid(self._mix, x, grid, "WaveletMixing2D")
            return nodes
        if not x.is_floating_point():
            raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
        if x.dim() < 3 or x.shape[-3] != self.channels:
            raise InputError(
                f"x has shape {tuple(x.shape)}; expected images (..., {self.channels}, H, W) since channels is "
                f"{self.channels}, or node features with grid=(H, W)"
            )
        if x.shape[-2] == 0 or x.shape[-1] == 0:
            raise InputError(f"x has shape {tuple(x.shape)}; expected at least one pixel")
        return self._mix(x)

    def _mix(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.dropout(_filtered(x, self))
        return x + mixed if self.residual else mixed

    def mix_coefficients(self, approximation: Tensor, details: list[Details]) -> tuple[Tensor, list[Details]]:
        """Mix coefficients ``[B, C, h, w]`` of all bands."""
        if self.mixing_mode == "subband":
            return self._each_band(approximation, details)
        bands = [approximation, *(band for level in details for band in level)]
        alignment = Alignment([band.shape[-2:] for band in bands], approximation.device)
        joined = torch.cat([band.flatten(-2) for band in bands], dim=-1).mT
        if self.mixing_mode == "cross":
            mixed = attend(self.cross_mixer, joined, alignment)
        else:
            mixed = encode(self.subband_attention, joined, alignment)
        parts = mixed.mT.split([band.shape[-2] * band.shape[-1] for band in bands], dim=-1)
        ll, *rest = (part.reshape(band.shape) for part, band in zip(parts, bands, strict=True))
        return ll, list(zip(rest[::3], rest[1::3], rest[2::3], strict=True))

    def _each_band(self, approximation: Tensor, details: list[Details]) -> tuple[Tensor, list[Details]]:
        mixed: list[Details] = []
        for j, level in enumerate(details):
            mixers: Any = self.detail_mixers[j]
            hl, lh, hh = (apply_in_dtype(mixers[name], band) for name, band in zip(_BANDS, level, strict=True))
            mixed.append((hl, lh, hh))
        return self._mix_approximation(approximation), mixed

    def _mix_approximation(self, x: Tensor) -> Tensor:
        norm: Any = self.ll_mixer[1]
        x = apply_in_dtype(self.ll_mixer[0], x)
        if norm.training and x.numel() == x.shape[1]:  # one value has no spread: normalise as in evaluation
            state = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            mean, variance, weight, bias = (tensor.to(x.dtype) for tensor in state)
            x = F.batch_norm(x, mean, variance, weight, bias, eps=norm.eps)
        else:
            x = apply_in_dtype(norm, x)
        return F.relu(x)

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return the properties of the layer and its options."""
        return learned_properties(
            multi_resolution=True, levels=self.levels, wavelet=self.wavelet, mixing_mode=self.mixing_mode
        )

    def extra_repr(self) -> str:
        """Show the options."""
        return f"{self.channels}, mixing_mode={self.mixing_mode!r}, residual={self.residual}"


def _depthwise(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, padding=1, groups=channels)


@full_precision
def _filtered(x: Tensor, layer: WaveletMixing2D) -> Tensor:
    """Transform, mix, transform back."""
    images = x.reshape(math.prod(x.shape[:-3]), *x.shape[-3:])
    coefficients = layer.dwt.decompose(images, check_levels=False)
    size = (x.shape[-2], x.shape[-1])
    return layer.dwt.reconstruct(layer.mix_coefficients(*coefficients), output_size=size).reshape(x.shape)
