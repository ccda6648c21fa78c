"""Convolutional U-Net of spectra."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.sequences import check_padding, check_widths, make_activation, zero_padding

__all__ = ["UNetAutoencoder"]

_HEAD_CHANNELS = 32


class UNetAutoencoder(Autoencoder):
    r"""One-dimensional U-Net of spectra or series of any length.

    A convolution of 7 points, then one level for every width :math:`d_i`: two convolutions of 3 points to
    :math:`d_{i+1}` (the last level keeps its width), kept as skip, and a maximum over pairs of points. Two
    convolutions follow at the coarsest level, and on the way up, for every level, a transposed convolution of 4
    points with stride 2, the skip's channels appended, and two convolutions to :math:`d_i` of the level above. Every
    convolution is followed by a layer norm over the channels and the activation. The defaults are the documented
    configuration of LC-Gen with 7 566 113 parameters.

    A level of odd length L has :math:`\lceil L / 2 \rceil` points below it, and on the way up the surplus point is
    cut; padding counts as the zeros beyond the end. So any length is accepted, and real points do not depend on the
    amount of padding.

    Args:
        input_length: Length of the spectra in the documented configuration. It sets nothing, since any length is
            accepted; it is there so that the configuration of every autoencoder can name it.
        encoder_dims: Widths :math:`d_i`.
        activation: ``"relu"``, ``"gelu"``, ``"silu"``, ``"tanh"`` or ``"leakyrelu"``.
        in_channels: Number of input channels.
        out_channels: Number of output channels.

    Shapes:
        - **x:** :math:`(B, L, C_{in})` or :math:`(B, C_{in}, L)`; the former if both fit. key_padding_mask
          :math:`(B, L)`, True at padding; the times are not used
        - **output:** ``reconstructed`` :math:`(B, L)`, or :math:`(B, L, C_{out})` if there are several output
          channels, 0 at padding; ``encoded`` :math:`(B, d)`, the mean of the coarsest level over its real points;
          ``skip_connections``, a list of :math:`(B, d_{i+1}, \lceil L / 2^i \rceil)`

    Raises:
        InputError: If a size is below 1, the activation is unknown, or the input does not fit.

    Examples:
        >>> model = UNetAutoencoder(encoder_dims=(4, 8))
        >>> output = model(torch.zeros(3, 10, 2))
        >>> output["reconstructed"].shape, output["encoded"].shape
        (torch.Size([3, 10]), torch.Size([3, 8]))
        >>> [tuple(skip.shape) for skip in output["skip_connections"]]
        [(3, 8, 10), (3, 8, 5)]
    """

    def __init__(
        self,
        input_length: int = 1024,
        encoder_dims: Sequence[int] = (64, 128, 256, 512),
        activation: str = "gelu",
        *,
        in_channels: int = 2,
        out_channels: int = 1,
    ) -> None:
        dims = tuple(encoder_dims)
        check_widths("encoder_dims", dims)
        super().__init__(in_channels, out_channels, dims[-1])
        if input_length < 1:
            raise InputError(f"input_length is {input_length}; expected at least 1")
        self.input_length, self.encoder_dims, self.activation = input_length, dims, activation
        skips = (*dims[1:], dims[-1])
        self.stem = _Convolution(in_channels, dims[0], 7, activation)
        self.encoder = nn.ModuleList(_two(a, b, activation) for a, b in itertools.pairwise((*dims, dims[-1])))
        self.bottleneck = _two(dims[-1], dims[-1], activation)
        # Widths on the way up: each level ends with the width of the level above it, the first with its own.
        ups = (*dims[-2::-1], dims[0])
        befores = (dims[-1], *ups[:-1])
        self.up = nn.ModuleList(nn.ConvTranspose1d(a, a, 4, stride=2, padding=1, bias=False) for a in befores)
        self.decoder = nn.ModuleList(
            _two(before + skip, after, activation)
            for before, skip, after in zip(befores, reversed(skips), ups, strict=True)
        )
        self.head = _Convolution(dims[0], _HEAD_CHANNELS, 3, activation)
        self.lin_out = nn.Conv1d(_HEAD_CHANNELS, out_channels, 7, padding=3)

    def forward(self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None) -> dict[str, Any]:
        """Return ``reconstructed``, ``encoded`` and ``skip_connections``."""
        x = self._channels_last(x)
        check_padding(key_padding_mask, x)
        paddings = [None if key_padding_mask is None else key_padding_mask[:, :: 2**i] for i in range(len(self.up) + 1)]
        x = self.stem(x, paddings[0])
        skips = []
        for level, padding in zip(self.encoder, paddings[:-1], strict=True):
            x = _apply(level, x, padding)
            skips.append(x)
            x = _halve(x, padding)
        x = _apply(self.bottleneck, x, paddings[-1])
        encoded = _mean(x, paddings[-1])
        for i in reversed(range(len(skips))):
            up = self.up[len(skips) - 1 - i](zero_padding(x, paddings[i + 1]).mT).mT[:, : skips[i].shape[1]]
            x = _apply(self.decoder[len(skips) - 1 - i], torch.cat([up, skips[i]], dim=-1), paddings[i])
        x = self.head(x, paddings[0])
        x = self.lin_out(zero_padding(x, paddings[0]).mT).mT
        reconstructed = zero_padding(x, paddings[0])
        return {
            "reconstructed": reconstructed.squeeze(-1) if self.out_channels == 1 else reconstructed,
            "encoded": encoded,
            "skip_connections": [skip.mT for skip in skips],
        }

    def extra_repr(self) -> str:
        """Show the sizes."""
        return (
            f"encoder_dims={list(self.encoder_dims)}, activation={self.activation!r}, "
            f"in_channels={self.in_channels}, out_channels={self.out_channels}"
        )

    def _channels_last(self, x: Tensor) -> Tensor:
        channels = self.in_channels
        if not x.is_floating_point():
            raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
        if x.dim() == 3 and x.shape[1] == channels and x.shape[-1] != channels:
            x = x.mT
        if x.dim() != 3 or x.shape[-1] != channels or x.shape[1] < 1:
            raise InputError(
                f"x has shape {tuple(x.shape)}; expected (B, L, {channels}) or (B, {channels}, L) with at least one "
                f"point, since in_channels is {channels}"
            )
        return x


class _Convolution(nn.Module):
    """Convolution that keeps the length, layer norm over the channels, activation, on ``[B, L, C]``."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, activation: str) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.LayerNorm(out_channels)
        self.activation = make_activation(activation)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        out: Tensor = self.activation(self.norm(self.conv(zero_padding(x, key_padding_mask).mT).mT))
        return out


def _two(in_channels: int, out_channels: int, activation: str) -> nn.ModuleList:
    """The two convolutions of a level."""
    return nn.ModuleList(
        [
            _Convolution(in_channels, out_channels, 3, activation),
            _Convolution(out_channels, out_channels, 3, activation),
        ]
    )


def _apply(convolutions: Any, x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    for convolution in convolutions:
        x = convolution(x, key_padding_mask)
    return x


def _halve(x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    """Take the maximum over pairs of real points, ``[B, L, C]`` to ``[B, ceil(L / 2), C]``."""
    if key_padding_mask is not None:
        x = x.masked_fill(key_padding_mask.unsqueeze(-1), -torch.inf)
    return F.max_pool1d(x.mT, 2, ceil_mode=True).mT


def _mean(x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    """Mean over the real points, 0 where there is none."""
    if key_padding_mask is None:
        return x.mean(dim=1)
    count = (~key_padding_mask).sum(dim=1, keepdim=True).clamp(min=1)
    return zero_padding(x, key_padding_mask).sum(dim=1) / count
