"""A temporal convolutional network on each node's window, with weights shared by all nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["TCN"]


class TCN(NeuralBaseline):
    """Causal dilated convolutions along time, which see one node at a time.

    Level l has two convolutions of dilation 2^l with weight normalisation, ReLU and dropout, and adds its input, by way
    of a 1 x 1 convolution where widths differ. A linear map of the last step gives the Q steps. The last output sees
    ``1 + 2 (kernel_size - 1) (2^num_layers - 1)`` steps, 29 under the default settings.

    From Bai, Kolter and Koltun, "An empirical evaluation of generic convolutional and recurrent networks for sequence
    modeling", 2018.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes; the model is the same for every number of them.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        hidden_channels: Width of each level.
        num_layers: Number of levels.
        kernel_size: Number of taps of each convolution.
        dropout: Probability with which a channel's value is dropped in training.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> model = TCN(in_channels=1, input_steps=12, horizon=6)
        >>> model.predict(torch.zeros(2, 5, 12, 1)).shape
        torch.Size([2, 5, 6, 1])
    """

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int | None = None,
        out_channels: int | None = None,
        scaler: str = "standard",
        hidden_channels: int = 32,
        num_layers: int = 3,
        kernel_size: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(
            in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels, scaler=scaler
        )
        at_least(1, hidden_channels=hidden_channels, num_layers=num_layers)
        at_least(2, kernel_size=kernel_size)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        widths = [in_channels, *[hidden_channels] * num_layers]
        self.levels = nn.Sequential(
            *(_Level(widths[i], widths[i + 1], kernel_size, 2**i, dropout) for i in range(num_layers))
        )
        self.head = nn.Linear(hidden_channels, horizon * self.out_channels)

    def features(self, x: Tensor) -> Tensor:
        """Return the hidden channels ``[B, N, P, F]`` of each step; they depend on no later step."""
        windows, nodes = x.shape[:2]
        hidden: Tensor = self.levels(x.flatten(0, 1))
        return hidden.view(windows, nodes, x.shape[2], -1)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        last = self.features(x)[:, :, -1]
        forecast: Tensor = self.head(last).unflatten(-1, (self.horizon, self.out_channels))
        return forecast


class _Level(nn.Module):
    """Two causal convolutions of the same dilation and a residual connection, on ``[M, P, F]``."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.first = _CausalConvolution(inputs, outputs, kernel_size, dilation)
        self.second = _CausalConvolution(outputs, outputs, kernel_size, dilation)
        self.dropout = nn.Dropout(dropout)
        self.residual = nn.Linear(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.dropout(self.first(x).relu())
        hidden = self.dropout(self.second(hidden).relu())
        result: Tensor = (self.residual(x) + hidden).relu()
        return result


class _CausalConvolution(nn.Module):
    """A dilated convolution over the current and past steps of ``[M, P, F]``, with weight normalisation.

    It is one matrix product over all taps, which on a CPU is many times faster than a dilated :class:`torch.nn.Conv1d`.
    """

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.taps = weight_norm(nn.Linear(kernel_size * inputs, outputs))

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1]
        padded = functional.pad(x, (0, 0, (self.kernel_size - 1) * self.dilation, 0))
        shifted = [padded[:, k * self.dilation :][:, :steps] for k in range(self.kernel_size)]
        result: Tensor = self.taps(torch.cat(shifted, dim=-1))
        return result
