"""STAEformer: plain attention over time and over nodes on a learned embedding of every step and node."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["STAEformer", "SelfAttentionLayer"]

_WEEKDAYS = 7


class SelfAttentionLayer(nn.Module):
    """Attention among all places of the second last dimension and a feed-forward network, normalised after each.

    Args:
        channels: Number of channels D.
        feed_forward_channels: Width of the feed-forward network.
        heads: Number of heads; divides the channels.
        dropout: Probability with which a value is dropped before each residual sum in training.

    Shapes:
        - **x:** ``[..., L, D]``
        - **output:** ``[..., L, D]``

    Examples:
        >>> SelfAttentionLayer(8, 16, heads=2, dropout=0.0)(torch.ones(3, 5, 4, 8)).shape
        torch.Size([3, 5, 4, 8])
    """

    def __init__(self, channels: int, feed_forward_channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, feed_forward_channels), nn.ReLU(), nn.Linear(feed_forward_channels, channels)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mapped features."""
        flat = x.flatten(0, -3)
        query, key, value = (
            project(flat).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        attended = scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        hidden = self.norms[0](flat + self.dropout(self.out(attended)))
        mapped: Tensor = self.norms[1](hidden + self.dropout(self.feed_forward(hidden)))
        return mapped.view_as(x)


class STAEformer(NeuralBaseline):
    r"""A transformer over time and then over nodes, with an adaptive embedding of every input step and node.

    Each value, with the place in the day and the weekday as further channels, is projected to ``embed_channels``.
    Learned embeddings of the time of day, of the weekday, optionally of the node, and of the pair of node and input
    step are appended. ``num_layers`` attention layers over the steps of each node and then as many over the nodes of
    each step follow; a linear map of all steps of a node gives the forecast. Every node attends to every other: the
    edges of the graph are not used.

    From Liu et al., "Spatio-temporal adaptive embedding makes vanilla transformer SOTA for traffic forecasting",
    CIKM 2023.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        embed_channels: Width of the projection of the values.
        day_channels: Width of the embedding of the time of day; 0 for none.
        week_channels: Width of the embedding of the weekday; 0 for none.
        node_channels: Width of the embedding of the node; 0 for none.
        adaptive_channels: Width of the embedding of node and step; 0 for none.
        feed_forward_channels: Width of the feed-forward networks.
        heads: Number of attention heads; divides the sum of the widths.
        num_layers: Number of layers over time, and of layers over nodes.
        dropout: Probability with which a value is dropped in training.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or a batch has another number of nodes.

    Examples:
        >>> model = STAEformer(in_channels=1, input_steps=12, horizon=6, num_nodes=5, steps_per_cycle=288)
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
        embed_channels: int = 24,
        day_channels: int = 24,
        week_channels: int = 24,
        node_channels: int = 0,
        adaptive_channels: int = 80,
        feed_forward_channels: int = 256,
        heads: int = 4,
        num_layers: int = 3,
        dropout: float = 0.1,
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
        at_least(1, num_nodes=num_nodes, embed_channels=embed_channels, feed_forward_channels=feed_forward_channels)
        at_least(1, heads=heads, num_layers=num_layers)
        at_least(0, day_channels=day_channels, week_channels=week_channels)
        at_least(0, node_channels=node_channels, adaptive_channels=adaptive_channels)
        hidden = embed_channels + day_channels + week_channels + node_channels + adaptive_channels
        if hidden % heads:
            raise InputError(f"the widths add up to {hidden}; expected a multiple of heads = {heads}")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        self.embed = nn.Linear(in_channels + 2, embed_channels)
        self.day = nn.Parameter(torch.randn(steps_per_cycle, day_channels)) if day_channels else None
        self.week = nn.Parameter(torch.randn(_WEEKDAYS, week_channels)) if week_channels else None
        self.node = _xavier(num_nodes, 1, node_channels)
        self.adaptive = _xavier(num_nodes, input_steps, adaptive_channels)
        self.over_time, self.over_nodes = (
            nn.ModuleList(SelfAttentionLayer(hidden, feed_forward_channels, heads, dropout) for _ in range(num_layers))
            for _ in range(2)
        )
        self.head = nn.Linear(input_steps * hidden, horizon * self.out_channels)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes, steps = x.shape[:3]
        slot, weekday = self.calendar(batch)
        parts = [self.embed(self.with_calendar(x, batch, weekday=True))]
        for table, place in ((self.day, slot), (self.week, weekday)):
            if table is not None:
                parts.append(table[place].unsqueeze(1).expand(-1, nodes, -1, -1))
        for embedding in (self.node, self.adaptive):
            if embedding is not None:
                parts.append(embedding.expand(windows, -1, steps, -1))
        hidden = torch.cat(parts, dim=-1)
        for layer in self.over_time:
            hidden = layer(hidden)
        hidden = hidden.transpose(1, 2)
        for layer in self.over_nodes:
            hidden = layer(hidden)
        forecast: Tensor = self.head(hidden.transpose(1, 2).flatten(2))
        return forecast.view(windows, nodes, self.horizon, self.out_channels)


def _xavier(nodes: int, steps: int, width: int) -> nn.Parameter | None:
    # The spread is that of an array steps x nodes x width, as in the authors' program.
    if not width:
        return None
    return nn.Parameter(nn.init.xavier_uniform_(torch.empty(steps, nodes, width)).transpose(0, 1).contiguous())
