"""STID: a multilayer perceptron on each node's window with embeddings of the node and of the time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["STID"]

_WEEKDAYS = 7


class STID(NeuralBaseline):
    r"""Spatial and temporal identities with a multilayer perceptron, and no message passing at all.

    The window of a node, with the place in the day and the weekday as further channels, is projected to
    ``embed_channels``. Learned embeddings of the node, of the time of day and of the weekday of the last input step are
    appended. Residual layers :math:`h + W_2\,\mathrm{dropout}(\mathrm{relu}(W_1 h))` follow, and a linear
    map gives the Q steps.

    From Shao et al., "Spatial-temporal identity: a simple yet effective baseline for multivariate time series
    forecasting", CIKM 2022.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        embed_channels: Width of the projection of the window.
        node_channels: Width of the node embedding; 0 for none.
        day_channels: Width of the embedding of the time of day; 0 for none.
        week_channels: Width of the embedding of the weekday; 0 for none.
        num_layers: Number of residual layers.
        dropout: Probability with which a hidden value is dropped in training.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or a batch has another number of nodes.

    Examples:
        >>> model = STID(in_channels=1, input_steps=12, horizon=6, num_nodes=5, steps_per_cycle=288)
        >>> model.predict(torch.zeros(2, 5, 12, 1)).shape
        torch.Size([2, 5, 6, 1])
    """

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        scaler: str = "standard",
        embed_channels: int = 32,
        node_channels: int = 32,
        day_channels: int = 32,
        week_channels: int = 32,
        num_layers: int = 3,
        dropout: float = 0.15,
    ) -> None:
        super().__init__(
            in_channels,
            input_steps,
            horizon,
            num_nodes=num_nodes,
            out_channels=out_channels,
            steps_per_cycle=steps_per_cycle,
            scaler=scaler,
        )
        widths = {"node_channels": node_channels, "day_channels": day_channels, "week_channels": week_channels}
        at_least(1, num_nodes=num_nodes, embed_channels=embed_channels, num_layers=num_layers)
        at_least(0, **widths)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        hidden = embed_channels + sum(widths.values())
        self.embed = nn.Linear((in_channels + 2) * input_steps, embed_channels)
        self.node = _embedding(num_nodes, node_channels)
        self.day = _embedding(steps_per_cycle, day_channels)
        self.week = _embedding(_WEEKDAYS, week_channels)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden))
            for _ in range(num_layers)
        )
        self.head = nn.Linear(hidden, horizon * self.out_channels)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes = x.shape[:2]
        slot, weekday = (place[:, -1] for place in self.calendar(batch))
        parts = [self.embed(self.with_calendar(x, batch, weekday=True).flatten(2))]
        if self.node is not None:
            parts.append(self.node.expand(windows, -1, -1))
        for table, place in ((self.day, slot), (self.week, weekday)):
            if table is not None:
                parts.append(table[place].unsqueeze(1).expand(-1, nodes, -1))
        hidden = torch.cat(parts, dim=-1)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        forecast: Tensor = self.head(hidden).view(windows, nodes, self.horizon, self.out_channels)
        return forecast


def _embedding(count: int, width: int) -> nn.Parameter | None:
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(count, width))) if width else None
