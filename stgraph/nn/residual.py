"""A residual block that every node passes by itself."""

from __future__ import annotations

from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["ResidualBlock"]


class ResidualBlock(nn.Module):
    r"""Add to features what a network with one hidden layer makes of them, :math:`x + W_2\, \mathrm{relu}(W_1 x)`.

    Without normalisation: the size of a feature is information, such as how far a value has moved.

    Args:
        channels: Number of features d.
        expansion: Width of the hidden layer in units of d.

    Shapes:
        - **input, output:** :math:`(..., d)`

    Examples:
        >>> import torch
        >>> ResidualBlock(8)(torch.zeros(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("expansion", expansion)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.layers = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.ReLU(), nn.Linear(expansion * channels, channels)
        )

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features and their change."""
        out: Tensor = x + self.layers(x)
        return out
