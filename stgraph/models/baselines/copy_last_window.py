"""The last steps of the window, once more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.base import Baseline
from stgraph.ops.missing import fill_with_nearest_observed

__all__ = ["CopyLastWindow"]


class CopyLastWindow(Baseline):
    """Forecast the next Q steps by the last Q: a constant lag of Q steps, hence about the same error at all of them.

    A missing value is replaced by the nearest observed one of its node in the window (the last before it, or else the
    first after it); where a window holds none, the training mean of the node is the forecast.

    From Cui, Xie and Zheng, "Historical inertia: a neglected but powerful baseline for long sequence time-series
    forecasting", CIKM 2021; called HI in traffic tables.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P, at least Q.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.

    Shapes:
        - **batch.x**, **batch.x_mask:** ``[B, N, P, C]``
        - **output:** ``[B, N, Q, C]``

    Raises:
        InputError: If the horizon is longer than the window.

    Examples:
        >>> series = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> model = CopyLastWindow(in_channels=1, input_steps=3, horizon=2, num_nodes=1).fit(Data(x=series))
        >>> model(Data(x=series.unsqueeze(0))).flatten().tolist()
        [2.0, 3.0]
    """

    def __init__(
        self, in_channels: int, input_steps: int, horizon: int, *, num_nodes: int, out_channels: int | None = None
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels)
        if horizon > input_steps:
            raise InputError(f"horizon is {horizon}; expected at most input_steps = {input_steps}, which are copied")

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        last = fill_with_nearest_observed(x, mask)[:, :, -self.horizon :]
        if mask is None:
            return last
        return torch.where(mask.any(dim=2, keepdim=True), last, self.node_mean.unsqueeze(1).to(x.dtype))
