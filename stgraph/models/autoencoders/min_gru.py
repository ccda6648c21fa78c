"""Hierarchical minimal recurrent network with the skips of a U-Net, for long irregular series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.sequences import check_padding, check_sequence, check_widths, zero_padding
from stgraph.models.autoencoders.transformer_levels import (
    LevelContext,
    TimeAwareEmbedding,
    TransformerDecoder,
    TransformerEncoder,
)
from stgraph.nn.log_period_encoding import LogPeriodEncoding
from stgraph.nn.min_gru import RecurrentBlock

__all__ = ["HierarchicalMinGRU", "sequence_times"]


class HierarchicalMinGRU(Autoencoder):
    r"""Bidirectional minimal recurrent blocks on a pyramid of resolutions, for irregular series of any length.

    The pyramid is that of :class:`HierarchicalTransformer`: level i has blocks at width :math:`d_i` and length
    :math:`L / 2^i`, a convolution with stride 2 leads to the next one, blocks at the coarsest level make the latent
    sequence, and on the way up a transposed convolution doubles the length and the features of the same level are
    joined. A block is a :class:`~stgraph.nn.min_gru.RecurrentBlock`, whose states are found by a parallel scan
    (Feng et al., "Were RNNs all we needed?", 2024), so memory grows linearly with the length. The defaults have
    13 371 905 parameters, half of the transformer's.

    Args:
        encoder_dims: Widths :math:`d_i`, even.
        num_recurrent_blocks: Number of blocks per level.
        cell: ``"gru"`` or ``"lstm"``.
        dropout: Probability of dropout in the blocks.
        min_period: Shortest period of the time encoding in days.
        max_period: Longest period of the time encoding in days.
        in_channels: Number of input channels.
        out_channels: Number of output channels.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, time :math:`(B, L)` or :math:`(L)` in days, best in float64; positions
          :math:`0 \ldots L - 1` without. key_padding_mask :math:`(B, L)`, True at padding
        - **output:** ``reconstructed`` :math:`(B, L, C_{out})` and ``encoded``
          :math:`(B, \lceil L / 2^n \rceil, d)` for n levels, both 0 at padding

    Raises:
        InputError: If a size is below 1, a width is odd, an option has no such value, or the input does not
            fit.

    Examples:
        >>> model = HierarchicalMinGRU(encoder_dims=(8, 16), num_recurrent_blocks=1)
        >>> time = 2454833 + torch.arange(10, dtype=torch.float64).expand(3, 10)
        >>> output = model(torch.zeros(3, 10, 2), time)
        >>> output["reconstructed"].shape, output["encoded"].shape
        (torch.Size([3, 10, 1]), torch.Size([3, 3, 16]))
    """

    def __init__(
        self,
        encoder_dims: Sequence[int] = (64, 128, 256, 512),
        num_recurrent_blocks: int = 2,
        cell: str = "gru",
        dropout: float = 0.0,
        min_period: float = 0.00278,
        max_period: float = 1640.0,
        *,
        in_channels: int = 2,
        out_channels: int = 1,
    ) -> None:
        dims = tuple(encoder_dims)
        check_widths("encoder_dims", dims)
        super().__init__(in_channels, out_channels, dims[-1])
        if num_recurrent_blocks < 1:
            raise InputError(f"num_recurrent_blocks is {num_recurrent_blocks}; expected at least 1")
        if any(width % 2 for width in dims):
            raise InputError(f"encoder_dims is {list(dims)}; expected even widths, half for each direction")
        self.encoder_dims, self.num_recurrent_blocks, self.cell = dims, num_recurrent_blocks, cell

        def make_block(channels: int, _level: int) -> Any:
            return _PyramidBlock(channels, cell, dropout)

        encoding = LogPeriodEncoding(dims[0], min_period, max_period)
        embedding = TimeAwareEmbedding(in_channels, dims[0], encoding, concat=False)
        self.encoder = TransformerEncoder(embedding, dims, num_recurrent_blocks, make_block)
        self.decoder = TransformerDecoder(dims, out_channels, num_recurrent_blocks, make_block)

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``reconstructed`` and ``encoded``."""
        check_sequence(x, self.in_channels)
        check_padding(key_padding_mask, x)
        # A coarse point is padding if the input point at its centre is.
        contexts = [
            LevelContext(None if key_padding_mask is None else key_padding_mask[:, :: 2**level], None)
            for level in range(len(self.encoder_dims) + 1)
        ]
        features, skips = self.encoder(x, sequence_times(time, x), contexts)
        return {
            "reconstructed": zero_padding(self.decoder(features, skips, contexts), key_padding_mask),
            "encoded": zero_padding(features, contexts[-1].key_padding_mask),
        }

    def latent_mask(self, key_padding_mask: Tensor | None, encoded: Tensor) -> Tensor | None:
        """Return where the positions of ``encoded`` are padding, ``[B, L']``; ``None`` where none is."""
        return None if key_padding_mask is None else key_padding_mask[:, :: 2 ** len(self.encoder_dims)]

    def extra_repr(self) -> str:
        """Show the sizes and options."""
        return (
            f"encoder_dims={list(self.encoder_dims)}, num_recurrent_blocks={self.num_recurrent_blocks}, "
            f"cell={self.cell!r}, in_channels={self.in_channels}, out_channels={self.out_channels}"
        )


class _PyramidBlock(RecurrentBlock):
    """A block that is called like one of attention."""

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None, _rotation: Tensor | None = None) -> Tensor:
        return super().forward(x, key_padding_mask)


def sequence_times(time: Tensor | None, x: Tensor) -> Tensor:
    """Return the times ``[B, L]`` of points ``[B, L, C]``, which are their positions where none are given.

    Raises:
        InputError: If the times have neither the shape ``[B, L]`` nor ``[L]``.
        InputTypeError: If they are complex or boolean.

    Examples:
        >>> sequence_times(None, torch.zeros(1, 3, 2)).tolist()
        [[0.0, 1.0, 2.0]]
    """
    if time is None:
        time = torch.arange(x.shape[1], dtype=torch.float64, device=x.device)
    if time.is_complex() or time.dtype == torch.bool:
        raise InputTypeError(f"time has dtype {time.dtype}; expected torch.float64")
    if time.shape not in (x.shape[:2], x.shape[1:2]):
        raise InputError(f"time has shape {tuple(time.shape)}; expected {tuple(x.shape[:2])}")
    return time.expand(x.shape[:2])
