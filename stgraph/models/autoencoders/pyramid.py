"""A pyramid of resolutions: the embedding, the way down, the way up, and the base class of its autoencoders."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.sequences import (
    DownSample,
    UpSample,
    check_padding,
    check_sequence,
    check_widths,
    sequence_times,
    zero_padding,
)
from stgraph.nn.log_period_encoding import LogPeriodEncoding

__all__ = ["LevelContext", "MakeBlock", "PyramidAutoencoder", "PyramidDecoder", "PyramidEncoder", "TimeAwareEmbedding"]

#: Makes a block of so many channels for a level; it is called with features, padding and rotation.
MakeBlock = Callable[[int, int], nn.Module]


class LevelContext(NamedTuple):
    """What the blocks of one level need besides the features."""

    key_padding_mask: Tensor | None
    rotation: Tensor | None


class TimeAwareEmbedding(nn.Module):
    """Embed the channels and the time of each point.

    Args:
        in_channels: Number of channels of the input.
        channels: Width of the embedding.
        encoding: The encoding of the times, ``None`` to leave them out.
        concat: Append the encoding and bring the width back by a linear layer, instead of adding it.
    """

    def __init__(self, in_channels: int, channels: int, encoding: LogPeriodEncoding | None, concat: bool) -> None:
        super().__init__()
        self.lin_in = nn.Linear(in_channels, channels)
        self.norm = nn.LayerNorm(channels)
        self.activation = nn.GELU()
        self.encoding = encoding
        self.join = nn.Linear(2 * channels, channels) if concat else None

    def forward(self, x: Tensor, time: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Embed points ``[B, L, C]`` at times ``[B, L]``; padding becomes 0."""
        x = self.activation(self.norm(self.lin_in(zero_padding(x, key_padding_mask))))
        if self.encoding is not None:
            waves = self.encoding(time, key_padding_mask).to(x.dtype)
            x = x + waves if self.join is None else self.join(torch.cat([x, waves], dim=-1))
        return zero_padding(x, key_padding_mask)


class _Blocks(nn.ModuleList):
    """The blocks of one level, one after another."""

    def forward(self, x: Tensor, context: LevelContext) -> Tensor:
        for block in self:
            x = block(x, context.key_padding_mask, context.rotation)
        return x


class _EncoderLevel(nn.Module):
    def __init__(self, blocks: _Blocks, channels: int, out_channels: int) -> None:
        super().__init__()
        self.blocks = blocks
        self.down = DownSample(channels, out_channels)

    def forward(self, x: Tensor, context: LevelContext) -> tuple[Tensor, Tensor]:
        """Return the features of this level and the input of the next."""
        x = self.blocks(x, context)
        return x, self.down(x, context.key_padding_mask)


class _DecoderLevel(nn.Module):
    def __init__(self, blocks: _Blocks, in_channels: int, channels: int) -> None:
        super().__init__()
        self.up = UpSample(in_channels, channels)
        self.blocks = blocks

    def forward(self, x: Tensor, skip: Tensor, below: LevelContext, context: LevelContext) -> Tensor:
        out: Tensor = self.blocks(self.up(x, skip, below.key_padding_mask), context)
        return out


class PyramidEncoder(nn.Module):
    """The way down: embedding, one level for every width, blocks at the coarsest length.

    Args:
        embedding: Embedding of width ``dims[0]``.
        dims: Widths of the levels.
        num_blocks: Number of blocks of each level.
        make_block: Makes a block of so many channels for a level, 0 the finest.
    """

    def __init__(
        self, embedding: TimeAwareEmbedding, dims: Sequence[int], num_blocks: int, make_block: MakeBlock
    ) -> None:
        super().__init__()
        self.embedding = embedding
        self.levels = nn.ModuleList(
            _EncoderLevel(_Blocks(make_block(width, level) for _ in range(num_blocks)), width, below)
            for level, (width, below) in enumerate(itertools.pairwise((*dims, dims[-1])))
        )
        self.bottleneck = _Blocks(make_block(dims[-1], len(dims)) for _ in range(num_blocks))

    def forward(self, x: Tensor, time: Tensor, contexts: Sequence[LevelContext]) -> tuple[Tensor, list[Tensor]]:
        """Return the features of the coarsest length and those of every level, finest first."""
        x = self.embedding(x, time, contexts[0].key_padding_mask)
        skips = []
        for level, context in zip(self.levels, contexts[:-1], strict=True):
            skip, x = level(x, context)
            skips.append(skip)
        return self.bottleneck(x, contexts[-1]), skips


class PyramidDecoder(nn.Module):
    """The way up: one level for every width, deepest first, and a linear head.

    Args:
        dims: Widths of the levels.
        out_channels: Number of channels of the output.
        num_blocks: Number of blocks of each level.
        make_block: Makes a block of so many channels for a level, 0 the finest.
    """

    def __init__(self, dims: Sequence[int], out_channels: int, num_blocks: int, make_block: MakeBlock) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            _DecoderLevel(
                _Blocks(make_block(dims[level], level) for _ in range(num_blocks)),
                dims[min(level + 1, len(dims) - 1)],
                dims[level],
            )
            for level in reversed(range(len(dims)))
        )
        self.head = nn.Linear(dims[0], out_channels)

    def forward(self, x: Tensor, skips: Sequence[Tensor], contexts: Sequence[LevelContext]) -> Tensor:
        """Return the reconstruction from the coarsest features and the skips, finest first."""
        for step, level in enumerate(self.levels):
            # Step 0 is the deepest level; its points are every 2^(levels - 1)-th of the input.
            depth = len(self.levels) - 1 - step
            x = level(x, skips[depth], contexts[depth + 1], contexts[depth])
        out: Tensor = self.head(x)
        return out


class PyramidAutoencoder(Autoencoder):
    r"""Base class of autoencoders of sequences that work on a pyramid of resolutions.

    A subclass makes ``encoder`` and ``decoder``, which differ in their blocks.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        encoder_dims: Widths of the levels.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, time :math:`(B, L)` or :math:`(L)`, key_padding_mask :math:`(B, L)`, True at
          padding
        - **output:** ``reconstructed`` :math:`(B, L, C_{out})` and ``encoded``
          :math:`(B, \lceil L / 2^n \rceil, d)` for n levels, both 0 at padding

    Raises:
        InputError: If a size is below 1, or the input does not fit.
    """

    encoder: PyramidEncoder
    decoder: PyramidDecoder

    def __init__(self, in_channels: int, out_channels: int, encoder_dims: Sequence[int]) -> None:
        dims = tuple(encoder_dims)
        check_widths("encoder_dims", dims)
        super().__init__(in_channels, out_channels, dims[-1])
        self.encoder_dims = dims

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``reconstructed`` and ``encoded``."""
        check_sequence(x, self.in_channels)
        check_padding(key_padding_mask, x)
        time = sequence_times(time, x)
        contexts = self._contexts(time, key_padding_mask)
        features, skips = self.encoder(x, time, contexts)
        return {
            "reconstructed": zero_padding(self.decoder(features, skips, contexts), key_padding_mask),
            "encoded": zero_padding(features, contexts[-1].key_padding_mask),
        }

    def latent_mask(self, key_padding_mask: Tensor | None, encoded: Tensor) -> Tensor | None:
        """Return where the positions of ``encoded`` are padding, ``[B, L']``; ``None`` where none is."""
        return None if key_padding_mask is None else key_padding_mask[:, :: 2 ** len(self.encoder_dims)]

    def _contexts(self, time: Tensor, key_padding_mask: Tensor | None) -> list[LevelContext]:
        """What the blocks of every level need, finest first, and those of the coarsest length."""
        contexts = []
        padding = key_padding_mask
        for level in range(len(self.encoder_dims) + 1):
            contexts.append(LevelContext(padding, self._rotation(level, time, padding)))
            # A coarse point is padding if the point at its centre is.
            time, padding = time[:, ::2], None if padding is None else padding[:, ::2]
        return contexts

    def _rotation(self, level: int, time: Tensor, key_padding_mask: Tensor | None) -> Tensor | None:
        """The rotation of queries and keys by the times of a level, where the blocks have such."""
        return None
