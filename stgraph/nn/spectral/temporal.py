"""Sequence layers on the time axis of graph series."""

from __future__ import annotations

import inspect
import math
from typing import Any

from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.spectral.convolution import SpectralConv1d
from stgraph.nn.spectral.tokens import keep_mask, mix_tokens

__all__ = ["SpectralTemporal"]


class SpectralTemporal(nn.Module):
    """Apply a sequence layer to the series of each node by itself.

    Args:
        layer: A layer that maps sequences ``[B, T, C]`` to such, of stgraph or any other. If it returns a tuple, as
            recurrent layers do, the first entry is taken. :class:`~stgraph.nn.spectral.SpectralConv1d`, whose channels
            come before the time, is brought to this form.

    Shapes:
        - **input:** :math:`(..., N, T, C)`, mask :math:`(..., N, T)`
        - **output:** :math:`(..., N, T, C')`

    Examples:
        >>> import torch
        >>> from stgraph.nn.spectral.fno import FourierNeuralOperator
        >>> layer = SpectralTemporal(FourierNeuralOperator(hidden_dim=8, modes=4))
        >>> layer(torch.randn(2, 5, 12, 8)).shape  # 2 windows of 5 nodes and 12 steps
        torch.Size([2, 5, 12, 8])
        >>> SpectralTemporal(torch.nn.GRU(8, 6, batch_first=True))(torch.randn(2, 5, 12, 8)).shape
        torch.Size([2, 5, 12, 6])
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def reset_parameters(self) -> None:
        """Draw new parameters of the layer, if it can."""
        reset = getattr(self.layer, "reset_parameters", None)
        if reset is not None:
            reset()

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the layer over time.

        Args:
            x: Series.
            mask: Non-zero at the real steps.

        Raises:
            InputError: If there is a mask and the layer takes none.
        """
        if x.dim() < 3:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (..., N, T, C)")
        lead = x.shape[:-2]
        sequences = x.reshape(math.prod(lead), *x.shape[-2:])
        if mask is not None:
            mask = keep_mask(mask, x).expand(x.shape[:-1]).reshape(sequences.shape[:-1])
        out = self._apply_layer(sequences, mask)
        if isinstance(out, tuple):
            out = out[0]
        series: Tensor = out.reshape(*lead, *out.shape[1:])
        return series

    def _apply_layer(self, x: Tensor, mask: Tensor | None) -> Any:
        if isinstance(self.layer, SpectralConv1d):
            return mix_tokens(self.layer.convolve_tokens, x, mask)
        if mask is None:
            return self.layer(x)
        if "mask" not in inspect.signature(self.layer.forward).parameters:
            raise InputError(f"a mask is given, but {type(self.layer).__name__} takes none")
        return self.layer(x, mask=mask)
