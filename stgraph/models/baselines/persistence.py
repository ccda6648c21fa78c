"""The last observed value, carried forward."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.models.baselines.base import Baseline
from stgraph.ops.missing import last_observed

__all__ = ["Persistence"]


class Persistence(Baseline):
    """Forecast the last observed value of the window at each node, for all steps.

    Where a window holds no observation of a node, its training mean is the forecast.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.

    Shapes:
        - **batch.x**, **batch.x_mask:** ``[B, N, P, C]``
        - **output:** ``[B, N, Q, C]``

    Examples:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> series = torch.tensor([[[1.0], [2.0], [3.0]]])
        >>> model = Persistence(in_channels=1, input_steps=3, horizon=2, num_nodes=1).fit(Data(x=series))
        >>> mask = torch.tensor([True, True, False]).view(1, 1, 3, 1)
        >>> model(Data(x=series.unsqueeze(0), x_mask=mask)).flatten().tolist()
        [2.0, 2.0]
    """

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            last = x[:, :, -1:]
        else:
            known = mask.any(dim=2, keepdim=True)
            last = torch.where(known, last_observed(x, mask).unsqueeze(2), self.node_mean.unsqueeze(1).to(x.dtype))
        return last.expand(-1, -1, self.horizon, -1)
