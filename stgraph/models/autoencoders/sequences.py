"""What the autoencoders share: checked inputs, padding, and the steps between the levels of a pyramid."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from stgraph.errors import InputError, InputTypeError

__all__ = [
    "ACTIVATIONS",
    "DownSample",
    "UpSample",
    "check_dropout",
    "check_padding",
    "check_sequence",
    "check_widths",
    "make_activation",
    "sequence_times",
    "zero_padding",
]

#: The activations of the MLP and the U-Net by name.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "leakyrelu": nn.LeakyReLU,
}


def make_activation(name: str) -> nn.Module:
    """Make the activation called ``name``.

    Raises:
        InputError: If there is none.

    Examples:
        >>> make_activation("silu")
        SiLU()
    """
    if name not in ACTIVATIONS:
        raise InputError(f"activation is {name!r}; expected one of {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def check_widths(name: str, widths: tuple[int, ...]) -> None:
    """Require at least one width, all positive."""
    if not widths or min(widths) < 1:
        raise InputError(f"{name} is {list(widths)}; expected at least one positive width")


def check_dropout(dropout: float) -> None:
    """Require a probability below 1."""
    if not 0 <= dropout < 1:
        raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")


def check_sequence(x: Tensor, in_channels: int) -> None:
    """Require floating sequences ``[B, L, in_channels]`` of at least one point."""
    if not x.is_floating_point():
        raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
    if x.dim() != 3 or x.shape[-1] != in_channels or x.shape[1] < 1:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (B, L, {in_channels}) with at least one point")


def check_padding(key_padding_mask: Tensor | None, x: Tensor) -> None:
    """Require a mask ``[B, L]`` of dtype bool for sequences ``[B, L, C]``."""
    if key_padding_mask is None:
        return
    if key_padding_mask.dtype != torch.bool:
        raise InputTypeError(f"key_padding_mask has dtype {key_padding_mask.dtype}; expected torch.bool")
    if key_padding_mask.shape != x.shape[:2]:
        raise InputError(f"key_padding_mask has shape {tuple(key_padding_mask.shape)}; expected {tuple(x.shape[:2])}")


def zero_padding(x: Tensor, key_padding_mask: Tensor | None) -> Tensor:
    """Set sequences ``[B, L, C]`` to 0 where ``key_padding_mask`` ``[B, L]`` is True.

    Examples:
        >>> zero_padding(torch.ones(1, 2, 1), torch.tensor([[False, True]])).flatten().tolist()
        [1.0, 0.0]
    """
    return x if key_padding_mask is None else x.masked_fill(key_padding_mask.unsqueeze(-1), 0)


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


class DownSample(nn.Module):
    r"""Halve the length of sequences: convolution of 3 points with stride 2, then a norm over the channels.

    Output j is centred at input 2 j, so L points become :math:`\lceil L / 2 \rceil` and the padding of the output is
    every second entry of that of the input.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the output.

    Shapes:
        - **input:** :math:`(B, L, C)`, key_padding_mask :math:`(B, L)`
        - **output:** :math:`(B, \lceil L / 2 \rceil, C')`

    Examples:
        >>> DownSample(2, 4)(torch.zeros(1, 5, 2)).shape
        torch.Size([1, 3, 4])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size=3, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_channels)

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """Halve the length; padding counts as the zeros beyond the end."""
        out: Tensor = self.norm(self.conv(zero_padding(x, key_padding_mask).mT).mT)
        return out


class UpSample(nn.Module):
    r"""Double the length of sequences and join them with those of the same length on the way down.

    Transposed convolution of 4 points with stride 2, cut to the length of the skip, and a norm; then the skip's
    channels are appended and a linear layer, a norm and GELU bring the sum back to ``out_channels``. As an odd length
    is cut and not interpolated, the real points do not depend on the amount of padding.

    Args:
        in_channels: Number of channels of the input.
        out_channels: Number of channels of the skip and of the output.

    Shapes:
        - **input:** :math:`(B, \lceil L / 2 \rceil, C)`, skip :math:`(B, L, C')`, key_padding_mask of the input
          :math:`(B, \lceil L / 2 \rceil)`
        - **output:** :math:`(B, L, C')`

    Examples:
        >>> UpSample(4, 2)(torch.zeros(1, 3, 4), skip=torch.zeros(1, 5, 2)).shape
        torch.Size([1, 5, 2])
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose1d(in_channels, out_channels, kernel_size=4, stride=2, padding=1)
        self.norm = nn.LayerNorm(out_channels)
        self.fuse = nn.Sequential(nn.Linear(2 * out_channels, out_channels), nn.LayerNorm(out_channels), nn.GELU())

    def forward(self, x: Tensor, skip: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """Double the length and join the skip."""
        up = self.conv(zero_padding(x, key_padding_mask).mT).mT[:, : skip.shape[1]]
        out: Tensor = self.fuse(torch.cat([self.norm(up), skip], dim=-1))
        return out
