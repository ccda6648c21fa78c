"""DLinear: one linear map of the trend of a window and one of the rest."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["DLinear"]


class DLinear(NeuralBaseline):
    """A moving average and the remainder of each series, each mapped linearly from P to Q steps, and added.

    The moving average is centred; the ends of the window are continued by their first and last value. Every node and
    channel is forecast from its own past alone.

    From Zeng et al., "Are transformers effective for time series forecasting?", AAAI 2023.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N; needed where ``individual``.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        kernel_size: Number of steps of the moving average, odd.
        individual: Whether each node and channel has weights of its own.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> model = DLinear(in_channels=1, input_steps=96, horizon=720)
        >>> sum(p.numel() for p in model.parameters())
        139680
        >>> model.predict(torch.zeros(2, 5, 96, 1)).shape
        torch.Size([2, 5, 720, 1])
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
        kernel_size: int = 25,
        individual: bool = False,
    ) -> None:
        super().__init__(
            in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels, scaler=scaler
        )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise InputError(f"kernel_size is {kernel_size}; expected an odd number, at least 1")
        if individual and num_nodes is None:
            raise InputError("individual is True and num_nodes None; expected the number of nodes")
        self.kernel_size = kernel_size
        series = (num_nodes, self.out_channels) if individual and num_nodes is not None else ()
        self.trend = _Linear(input_steps, horizon, series)
        self.remainder = _Linear(input_steps, horizon, series)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        series = x[..., : self.out_channels].transpose(2, 3)
        trend = self.moving_average(series)
        forecast: Tensor = self.trend(trend) + self.remainder(series - trend)
        return forecast.transpose(2, 3)

    def moving_average(self, x: Tensor) -> Tensor:
        """Average series ``[..., P]`` over ``kernel_size`` steps around each step."""
        flat = x.reshape(-1, 1, x.shape[-1])
        padded = functional.pad(flat, (self.kernel_size // 2, self.kernel_size // 2), mode="replicate")
        return functional.avg_pool1d(padded, self.kernel_size, stride=1).view(x.shape)


class _Linear(nn.Module):
    """A linear map of the last dimension, the same for all series or with a weight for each."""

    def __init__(self, inputs: int, outputs: int, series: tuple[int, ...]) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(*series, outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(*series, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 2:
            return functional.linear(x, self.weight, self.bias)
        return torch.einsum("bncp,ncqp->bncq", x, self.weight) + self.bias
