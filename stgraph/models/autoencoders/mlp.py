"""Autoencoder of spectra made of dense layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.sequences import (
    check_dropout,
    check_padding,
    check_widths,
    make_activation,
    zero_padding,
)

__all__ = ["MLPAutoencoder"]


class MLPAutoencoder(Autoencoder):
    r"""Dense autoencoder of spectra, or of any series of one length.

    The channels of the input stand one after another, :math:`[v_1 \ldots v_L, m_1 \ldots m_L]`. Blocks of a linear
    layer, a layer norm, the activation and dropout narrow them; a linear layer makes the latent vector; the same in
    reverse makes the reconstruction. The defaults are the documented configuration of LC-Gen with 1 923 392
    parameters.

    Args:
        input_length: Number of points L of each series.
        encoder_hidden_dims: Widths of the blocks of the encoder.
        latent_dim: Size of the latent vector.
        decoder_hidden_dims: Widths of the blocks of the decoder; those of the encoder in reverse by default.
        activation: ``"relu"``, ``"gelu"``, ``"silu"``, ``"tanh"`` or ``"leakyrelu"``.
        dropout: Probability of dropout after every block.
        in_channels: Number of input channels.
        out_channels: Number of output channels.

    Shapes:
        - **x:** :math:`(B, L, C_{in})` or flattened :math:`(B, C_{in} L)`, key_padding_mask :math:`(B, L)`, True at
          padding, where the input counts as 0; the times are not used
        - **output:** ``reconstructed`` :math:`(B, L)`, or :math:`(B, L, C_{out})` if there are several output
          channels; ``encoded`` (B, latent_dim)

    Raises:
        InputError: If a size is below 1, the activation is unknown, or the input has another length.

    Examples:
        >>> import torch
        >>> model = MLPAutoencoder(input_length=16, encoder_hidden_dims=(8,), latent_dim=3)
        >>> output = model(torch.zeros(5, 16, 2))
        >>> output["reconstructed"].shape, output["encoded"].shape
        (torch.Size([5, 16]), torch.Size([5, 3]))
    """

    def __init__(
        self,
        input_length: int = 1024,
        encoder_hidden_dims: Sequence[int] = (512, 256, 128),
        latent_dim: int = 64,
        decoder_hidden_dims: Sequence[int] | None = None,
        activation: str = "gelu",
        dropout: float = 0.0,
        *,
        in_channels: int = 2,
        out_channels: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, latent_dim)
        if input_length < 1:
            raise InputError(f"input_length is {input_length}; expected at least 1")
        down = tuple(encoder_hidden_dims)
        up = down[::-1] if decoder_hidden_dims is None else tuple(decoder_hidden_dims)
        check_widths("encoder_hidden_dims", down)
        check_widths("decoder_hidden_dims", up)
        check_dropout(dropout)
        self.input_length, self.activation, self.dropout = input_length, activation, dropout
        self.encoder = _dense((in_channels * input_length, *down), latent_dim, activation, dropout)
        self.decoder = _dense((latent_dim, *up), out_channels * input_length, activation, dropout)

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``reconstructed`` and ``encoded``."""
        encoded = self.encoder(self._flat(x, key_padding_mask))
        reconstructed: Tensor = self.decoder(encoded)
        if self.out_channels > 1:
            reconstructed = reconstructed.unflatten(1, (self.out_channels, self.input_length)).mT
        return {"reconstructed": reconstructed, "encoded": encoded}

    def extra_repr(self) -> str:
        """Show the sizes."""
        return (
            f"input_length={self.input_length}, latent_dim={self.latent_channels}, "
            f"in_channels={self.in_channels}, out_channels={self.out_channels}"
        )

    def _flat(self, x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Bring the input to ``[B, C_in L]``."""
        if not x.is_floating_point():
            raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
        length, channels = self.input_length, self.in_channels
        if x.dim() not in (2, 3) or x.shape[1:] not in ((length, channels), (length * channels,)):
            raise InputError(
                f"x has shape {tuple(x.shape)}; expected (B, {length}, {channels}) or (B, {length * channels}), "
                f"since input_length is {length} and in_channels {channels}"
            )
        if x.dim() == 2:
            x = x.unflatten(1, (channels, length)).mT
        check_padding(key_padding_mask, x)
        return zero_padding(x, key_padding_mask).mT.flatten(1)


def _dense(widths: Sequence[int], last: int, activation: str, dropout: float) -> nn.Sequential:
    """Blocks through ``widths``, then a linear layer to ``last``."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), make_activation(activation), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], last))
