"""What all autoencoders of series and spectra have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["Autoencoder"]


class Autoencoder(nn.Module):
    r"""Base class of networks that reconstruct a series from its visible part.

    The input has a channel for every value and one for every mask, ``[values..., masks...]``; a mask is 1 where its
    value is not given (hidden on purpose or never observed; the value is 0 there). The output has one channel for
    every value, or more where a head needs more numbers, such as a mean and a variance.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the reconstruction.
        latent_channels: Number of channels of the latent features.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, **time:** :math:`(B, L)`, **key_padding_mask:** :math:`(B, L)`, True at
          padding
        - **output:** a dictionary with ``reconstructed`` :math:`(B, L, C_{out})`, which networks with a single output
          channel may return as :math:`(B, L)`, and ``encoded``, :math:`(B, L', d)` or :math:`(B, d)`
    """

    #: Whether the first half of the latent channels is of a forward, the second of a backward recurrence.
    bidirectional: ClassVar[bool] = False
    #: Whether the output has the logarithm of a variance of its own, ``log_variance``.
    predicts_variance: ClassVar[bool] = False

    def __init__(self, in_channels: int, out_channels: int, latent_channels: int) -> None:
        super().__init__()
        for name, value in (
            ("in_channels", in_channels),
            ("out_channels", out_channels),
            ("latent_channels", latent_channels),
        ):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.latent_channels = latent_channels

    def reset_parameters(self) -> None:
        """Draw new parameters, those of children before those of their parents, which may set them otherwise."""
        for module in dict.fromkeys(_children_first(self)):
            reset = getattr(module, "reset_parameters", None)
            if module is not self and callable(reset):
                reset()

    def forward(
        self, x: Tensor, time: Tensor | None = None, key_padding_mask: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the reconstruction and the latent features."""
        raise NotImplementedError

    def latent_mask(self, key_padding_mask: Tensor | None, encoded: Tensor) -> Tensor | None:
        """Return where the positions of a latent sequence are padding, ``[B, L']``; ``None`` where none is.

        A position of the latent sequence is padding if its first input position is.
        """
        if key_padding_mask is None or encoded.dim() == 2:
            return None
        steps = key_padding_mask.shape[1]
        first = torch.arange(encoded.shape[1], device=encoded.device) * steps // encoded.shape[1]
        return key_padding_mask[:, first]


def _children_first(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        yield from _children_first(child)
    yield module
