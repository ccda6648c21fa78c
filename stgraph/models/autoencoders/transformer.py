"""Hierarchical transformer with the skips of a U-Net, for irregular series."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.models.autoencoders.pyramid import PyramidAutoencoder, PyramidDecoder, PyramidEncoder, TimeAwareEmbedding
from stgraph.models.autoencoders.sequences import check_dropout, check_sequence
from stgraph.nn.log_period_encoding import LogPeriodEncoding
from stgraph.nn.spectral.sequence import SEQUENCE_LAYERS, sequence_layer
from stgraph.nn.transformer_block import TransformerBlock

__all__ = ["HierarchicalTransformer"]

_ENCODINGS = ("add", "concat", "relative")


class HierarchicalTransformer(PyramidAutoencoder):
    r"""Transformer on a pyramid of resolutions for irregular series of any length.

    The channels of each point are embedded together with its time. Level i has transformer blocks at width
    :math:`d_i` and length :math:`L / 2^i`; a convolution with stride 2 leads to the next one, and blocks at the
    coarsest length make the latent sequence. On the way up a transposed convolution doubles the length, the features
    of the same level are joined, and blocks follow. The defaults are the documented configuration of LC-Gen with
    26 812 289 parameters.

    Lengths are halved upwards (a level of L points has :math:`\lceil L / 2 \rceil` below it) and padding counts as
    the zeros beyond the end in every convolution and is left out of every attention; so any length is accepted, and
    real points do not depend on the amount of padding. A coarse point is padding if the input point at its centre,
    every :math:`2^i`-th, is.

    With a ``mixer`` the same holds for layers that work point by point or by attention. Layers that transform whole
    sequences see padding as zeros, so the padded length matters to them, as it does to any Fourier transform.

    Args:
        input_length: Length of the series that a mixer is made for, ``input_length / 2^i`` at level i; ``"afno"``
            refuses longer ones. It has no influence on attention.
        encoder_dims: Widths :math:`d_i`, even.
        nhead: Number of heads of every attention, a divisor of every width.
        num_transformer_blocks: Number of blocks per level.
        dropout: Probability of dropout in the blocks.
        min_period: Shortest period of the time encoding in days.
        max_period: Longest period of the time encoding in days.
        encoding: How the times enter: ``"add"`` adds their encoding to the embedding, ``"concat"`` appends it and
            brings the width back by a linear layer, ``"relative"`` turns queries and keys of every attention instead,
            so that only differences of times count.
        learned_scale: Learn a factor of the time encoding (not with ``"relative"``).
        mixer: A name in :data:`stgraph.nn.spectral.SEQUENCE_LAYERS`: this layer in place of every attention.
        in_channels: Number of input channels.
        out_channels: Number of output channels.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, time :math:`(B, L)` or :math:`(L)` in days, best in float64; positions
          :math:`0 \ldots L - 1` without. key_padding_mask :math:`(B, L)`, True at padding
        - **output:** ``reconstructed`` :math:`(B, L, C_{out})` and ``encoded``
          :math:`(B, \lceil L / 2^n \rceil, d)` for n levels, both 0 at padding

    Raises:
        InputError: If a size is below 1, a width is odd or not divisible by ``nhead``, an option has no such value, or
            the input does not fit.

    Examples:
        >>> import torch
        >>> model = HierarchicalTransformer(encoder_dims=(8, 16), nhead=2, num_transformer_blocks=1)
        >>> time = 2454833 + torch.arange(10, dtype=torch.float64).expand(3, 10)
        >>> output = model(torch.zeros(3, 10, 2), time)
        >>> output["reconstructed"].shape, output["encoded"].shape
        (torch.Size([3, 10, 1]), torch.Size([3, 3, 16]))
    """

    def __init__(
        self,
        input_length: int = 512,
        encoder_dims: Sequence[int] = (64, 128, 256, 512),
        nhead: int = 4,
        num_transformer_blocks: int = 2,
        dropout: float = 0.0,
        min_period: float = 0.00278,
        max_period: float = 1640.0,
        *,
        encoding: str = "add",
        learned_scale: bool = False,
        mixer: str | None = None,
        in_channels: int = 2,
        out_channels: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, encoder_dims)
        dims = self.encoder_dims
        check_dropout(dropout)
        _check_sizes(input_length, dims, nhead, num_transformer_blocks)
        _check_options(encoding, learned_scale, mixer)
        if encoding == "relative" and any(width // nhead % 2 for width in dims):
            raise InputError(f"nhead is {nhead}; expected heads of an even width, as encoding is 'relative'")
        self.input_length, self.nhead = input_length, nhead
        self.num_transformer_blocks, self.dropout = num_transformer_blocks, dropout
        self.encoding, self.mixer = encoding, mixer

        embedding: LogPeriodEncoding | None = None
        self.rotations: nn.ModuleList | None = None
        if encoding == "relative":
            self.rotations = nn.ModuleList(
                LogPeriodEncoding(width // nhead, min_period, max_period) for width in (*dims, dims[-1])
            )
        else:
            embedding = LogPeriodEncoding(dims[0], min_period, max_period, learned_scale=learned_scale)
        self.encoder = PyramidEncoder(
            TimeAwareEmbedding(in_channels, dims[0], embedding, concat=encoding == "concat"),
            dims,
            num_transformer_blocks,
            self._make_block,
        )
        self.decoder = PyramidDecoder(dims, out_channels, num_transformer_blocks, self._make_block)
        self._is_bounded = any(hasattr(module, "max_sequence_length") for module in self.modules())

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``reconstructed`` and ``encoded``."""
        check_sequence(x, self.in_channels)
        if self._is_bounded and x.shape[1] > self.input_length:
            raise InputError(
                f"x has {x.shape[1]} points; expected at most input_length = {self.input_length}, for which the mixer "
                f"{self.mixer!r} is made"
            )
        return super().forward(x, time, key_padding_mask)

    def extra_repr(self) -> str:
        """Show the sizes and options."""
        mixer = "" if self.mixer is None else f", mixer={self.mixer!r}"
        return (
            f"encoder_dims={list(self.encoder_dims)}, nhead={self.nhead}, "
            f"num_transformer_blocks={self.num_transformer_blocks}, encoding={self.encoding!r}{mixer}, "
            f"in_channels={self.in_channels}, out_channels={self.out_channels}"
        )

    def _make_block(self, channels: int, level: int) -> TransformerBlock:
        mixer = None
        if self.mixer is not None:
            steps = -(-self.input_length // 2**level)
            mixer = sequence_layer(self.mixer, channels, steps)
        return TransformerBlock(channels, self.nhead, self.dropout, mixer=mixer)

    def _rotation(self, level: int, time: Tensor, key_padding_mask: Tensor | None) -> Tensor | None:
        return None if self.rotations is None else self.rotations[level](time, key_padding_mask)


def _check_sizes(input_length: int, dims: tuple[int, ...], nhead: int, num_transformer_blocks: int) -> None:
    for name, value in (
        ("input_length", input_length),
        ("nhead", nhead),
        ("num_transformer_blocks", num_transformer_blocks),
    ):
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if any(width % 2 for width in dims):
        raise InputError(f"encoder_dims is {list(dims)}; expected even widths, for the time encoding")
    if any(width % nhead for width in dims):
        raise InputError(f"nhead is {nhead}; expected a divisor of every width of encoder_dims {list(dims)}")


def _check_options(encoding: str, learned_scale: bool, mixer: str | None) -> None:
    if encoding not in _ENCODINGS:
        raise InputError(f"encoding is {encoding!r}; expected one of {list(_ENCODINGS)}")
    if mixer is not None and mixer not in SEQUENCE_LAYERS:
        raise InputError(f"mixer is {mixer!r}; expected one of {sorted(SEQUENCE_LAYERS)}")
    if encoding == "relative" and learned_scale:
        raise InputError("learned_scale is True and encoding 'relative', which is not scaled; expected one of them")
    if encoding == "relative" and mixer is not None:
        raise InputError(f"mixer is {mixer!r} and encoding 'relative', which needs attention; expected one of them")
