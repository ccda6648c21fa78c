"""Convolutional autoencoder of spectra with additive skip connections."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.sequences import check_padding, check_sequence, check_widths, zero_padding

__all__ = ["SPECTRAL_CNN_PRESETS", "OutputKind", "SkipKind", "SpectralCNNAutoencoder"]

SkipKind = Literal["add", "none"]
OutputKind = Literal["sigmoid", "linear"]

#: Options of the network by the name of a preset: the two published forms, for spectra scaled to 0 to 1 and for
#: robustly scaled ones, and one whose only way from input to output is a short latent vector.
SPECTRAL_CNN_PRESETS: dict[str, dict[str, Any]] = {
    "documented": {"skip": "add", "output": "sigmoid"},
    "later": {"skip": "add", "output": "linear"},
    "bottleneck": {"skip": "none", "output": "linear", "latent_dim": 16},
}


class SpectralCNNAutoencoder(Autoencoder):
    r"""Small convolutional autoencoder of galaxy spectra, whose residuals show what is unusual about a spectrum.

    One convolution of 3 points with stride 2 and a ReLU for every width, then the same number of transposed
    convolutions of 3 points in reverse. All of these but the last are followed by a ReLU, cut to the length of the
    layer on the way down, and, with ``skip="add"``, have its output added. The defaults are the documented
    configuration with 15 953 parameters and PyTorch's own initialisation.

    Since the features at half the resolution reach the last layer through the skip connection, the documented network
    can copy what it should not know: residuals inside of injected anomalies were measured to be only 2.5 times those
    of clean spectra. ``skip="none"`` with a small ``latent_dim`` leaves no such way.

    The layers need an odd length: a spectrum of even length gets one more point, which is 0, and its reconstruction
    is cut again. Real points do not depend on the amount of padding.

    Args:
        widths: Numbers of channels on the way down, one for every layer.
        skip: ``"add"`` adds the features of the way down to those of the way up, ``"none"`` does not.
        output: ``"sigmoid"`` for values between 0 and 1, or ``"linear"``.
        latent_dim: Size of a latent vector, made of the features of the last layer on the way down by a linear layer;
            none by default.
        input_length: Number of points L; only needed with ``latent_dim``, and then the only length that is accepted.
        mask_channel: Whether the input has a channel that is 1 where the value is not given, after that of the values.
        in_channels: Number of input channels; 1 by default, 2 with ``mask_channel``.
        out_channels: Number of output channels.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, key_padding_mask :math:`(B, L)`, True at padding, where the input counts as
          0; the times are not used
        - **output:** ``reconstructed`` :math:`(B, L, C_{out})`, 0 at padding; ``encoded``
          :math:`(B, \lceil (2 \lfloor L / 2 \rfloor + 1) / 2^n \rceil, d)` for n widths of which d is the last, or
          (B, latent_dim)

    Raises:
        InputError: If an option is unknown or a size below 1, ``latent_dim`` comes without ``input_length``, or the
            input does not fit.

    Examples:
        >>> import torch
        >>> model = SpectralCNNAutoencoder()
        >>> sum(parameter.numel() for parameter in model.parameters())
        15953
        >>> output = model(torch.zeros(2, 101, 1))
        >>> output["reconstructed"].shape, output["encoded"].shape
        (torch.Size([2, 101, 1]), torch.Size([2, 13, 16]))
        >>> bottleneck = SpectralCNNAutoencoder.from_preset("bottleneck", input_length=100, latent_dim=5)
        >>> bottleneck(torch.zeros(2, 100, 1))["encoded"].shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        widths: Sequence[int] = (64, 32, 16),
        skip: SkipKind = "add",
        output: OutputKind = "sigmoid",
        latent_dim: int | None = None,
        input_length: int | None = None,
        *,
        mask_channel: bool = False,
        in_channels: int | None = None,
        out_channels: int = 1,
    ) -> None:
        widths = tuple(widths)
        check_widths("widths", widths)
        for name, value, known in (("skip", skip, get_args(SkipKind)), ("output", output, get_args(OutputKind))):
            if value not in known:
                raise InputError(f"{name} is {value!r}; expected one of {', '.join(known)}")
        for name, size in (("latent_dim", latent_dim), ("input_length", input_length)):
            if size is not None and size < 1:
                raise InputError(f"{name} is {size}; expected at least 1")
        if latent_dim is not None and input_length is None:
            raise InputError(f"latent_dim is {latent_dim} and input_length None; a latent vector needs the length")
        if in_channels is None:
            in_channels = 2 if mask_channel else 1
        elif mask_channel and in_channels < 2:
            raise InputError(f"in_channels is {in_channels}; expected at least 2 with mask_channel")
        super().__init__(in_channels, out_channels, latent_dim or widths[-1])
        self.widths, self.skip, self.output = widths, skip, output
        self.latent_dim, self.input_length, self.mask_channel = latent_dim, input_length, mask_channel
        self.encoder = nn.ModuleList(
            nn.Conv1d(before, after, 3, stride=2, padding=1)
            for before, after in itertools.pairwise((in_channels, *widths))
        )
        self.to_latent: nn.Linear | None = None
        self.from_latent: nn.Linear | None = None
        if latent_dim is not None and input_length is not None:
            features = widths[-1] * -(-_odd(input_length) // 2 ** len(widths))
            self.to_latent = nn.Linear(features, latent_dim)
            self.from_latent = nn.Linear(latent_dim, features)
        ups = (*widths[::-1], out_channels)
        self.decoder = nn.ModuleList(
            nn.ConvTranspose1d(before, after, 3, stride=2, padding=1, output_padding=int(i + 1 < len(widths)))
            for i, (before, after) in enumerate(itertools.pairwise(ups))
        )

    @classmethod
    def from_preset(cls, name: str, **changes: Any) -> SpectralCNNAutoencoder:
        """Make the network of a preset, with other values for some of its options.

        Args:
            name: A key of :data:`SPECTRAL_CNN_PRESETS`.
            **changes: Options of the constructor.

        Raises:
            InputError: If there is no such preset.

        Examples:
            >>> SpectralCNNAutoencoder.from_preset("later").output
            'linear'
        """
        if name not in SPECTRAL_CNN_PRESETS:
            raise InputError(f"name is {name!r}; expected one of {', '.join(SPECTRAL_CNN_PRESETS)}")
        return cls(**{**SPECTRAL_CNN_PRESETS[name], **changes})

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return ``reconstructed`` and ``encoded``."""
        self._check(x)
        check_padding(key_padding_mask, x)
        length = x.shape[1]
        paddings = self._paddings(key_padding_mask)
        features = F.pad(zero_padding(x, key_padding_mask).mT, (0, _odd(length) - length))
        skips = []
        for layer, padding in zip(self.encoder, paddings, strict=True):
            features = _zero(layer(features).relu(), padding)
            skips.append(features)
        encoded = features.mT
        if self.to_latent is not None and self.from_latent is not None:
            encoded = self.to_latent(features.flatten(1))
            features = _zero(self.from_latent(encoded).relu().view_as(features), paddings[-1])
        for layer, down, padding in zip(self.decoder[:-1], skips[-2::-1], paddings[-2::-1], strict=True):
            features = layer(features).relu()[..., : down.shape[-1]]
            features = _zero(features + down if self.skip == "add" else features, padding)
        reconstructed = self.decoder[-1](features)[..., :length].mT
        if self.output == "sigmoid":
            reconstructed = reconstructed.sigmoid()
        return {"reconstructed": zero_padding(reconstructed, key_padding_mask), "encoded": encoded}

    def latent_mask(self, key_padding_mask: Tensor | None, encoded: Tensor) -> Tensor | None:
        """Return where the positions of the latent sequence are padding, ``[B, L']``; ``None`` where none is."""
        if key_padding_mask is None or encoded.dim() == 2:
            return None
        return self._paddings(key_padding_mask)[-1]

    def extra_repr(self) -> str:
        """Show the options."""
        return (
            f"widths={list(self.widths)}, skip={self.skip!r}, output={self.output!r}, latent_dim={self.latent_dim}, "
            f"in_channels={self.in_channels}, out_channels={self.out_channels}"
        )

    def _paddings(self, key_padding_mask: Tensor | None) -> Sequence[Tensor | None]:
        """Return the padding ``[B, L']`` of every layer on the way down."""
        if key_padding_mask is None:
            return (None,) * len(self.widths)
        length = key_padding_mask.shape[1]
        padding = F.pad(key_padding_mask, (0, _odd(length) - length), value=True)
        # A position of the first layer is padding if its point is and the point before: the point that makes an even
        # length odd is one of the spectrum, as it is where the spectrum comes alone.
        first = padding[:, ::2] & F.pad(padding[:, 1::2], (1, 0), value=True)
        return [first[:, :: 2**level] for level in range(len(self.widths))]

    def _check(self, x: Tensor) -> None:
        channels, length = self.in_channels, self.input_length
        if x.dim() == 3 and x.shape[1] == channels and x.shape[-1] > channels:
            raise InputError(
                f"x has shape {tuple(x.shape)}, which looks like (B, {channels}, L); expected (B, L, {channels}), "
                "that is x.mT"
            )
        check_sequence(x, channels)
        if self.latent_dim is not None and x.shape[1] != length:
            raise InputError(
                f"x has shape {tuple(x.shape)}; expected (B, {length}, {channels}), since input_length is {length}"
            )


def _odd(length: int) -> int:
    """Return the length itself, or one more if it is even."""
    return length + 1 - length % 2


def _zero(features: Tensor, padding: Tensor | None) -> Tensor:
    """Set features ``[B, C, L]`` to 0 at padding ``[B, L]``."""
    return features if padding is None else features.masked_fill(padding.unsqueeze(1), 0)
