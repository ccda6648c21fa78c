"""A gated recurrent unit along time, then attention along the edges of the graph."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GATv2Conv

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline
from stgraph.models.baselines.supports import edge_weights

__all__ = ["GATv2GRU"]


class GATv2GRU(NeuralBaseline):
    """The plain network of standard parts: :class:`torch.nn.GRU` and :class:`torch_geometric.nn.GATv2Conv`.

    The GRU reads the window of each node, with the place in the day and the weekday of each step. Its last state passes
    through residual attention layers, which know the weight of each edge, and a linear map gives the Q steps. Time
    comes before space: this costs P times less than attention at every step, and for the networks that Gao and Ribeiro
    analyse ("On the equivalence between temporal and static equivariant graph representations", ICML 2022) it loses
    nothing in expressive power.

    The layers are from Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", EMNLP 2014, and Brody, Alon and Yahav, "How attentive are graph attention networks?", ICLR 2022.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes; the model is the same for every number of them.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        hidden_channels: Width of the state of a node, a multiple of ``heads``.
        num_layers: Number of attention layers.
        heads: Number of attention heads.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``edge_index`` :math:`(2, E)` shared by all windows, optionally
          ``edge_weight`` or ``edge_attr``, ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or a batch has no edges.

    Examples:
        >>> model = GATv2GRU(in_channels=1, input_steps=12, horizon=6, hidden_channels=8)
        >>> edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> model.predict(torch.zeros(2, 3, 12, 1), edge_index=edges).shape
        torch.Size([2, 3, 6, 1])
    """

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int | None = None,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        scaler: str = "standard",
        hidden_channels: int = 64,
        num_layers: int = 2,
        heads: int = 4,
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
        at_least(1, hidden_channels=hidden_channels, num_layers=num_layers, heads=heads)
        if hidden_channels % heads:
            raise InputError(f"hidden_channels is {hidden_channels}; expected a multiple of heads = {heads}")
        self.gru = nn.GRU(in_channels + 2, hidden_channels, batch_first=True)
        self.layers = nn.ModuleList(
            GATv2Conv(hidden_channels, hidden_channels // heads, heads, edge_dim=1) for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_channels) for _ in range(num_layers))
        self.head = nn.Linear(hidden_channels, horizon * self.out_channels)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes = x.shape[:2]
        edge_index, weight = edge_weights(batch)
        # One large graph with a copy of the edges for each window, as in a PyG batch.
        offset = nodes * torch.arange(windows, device=x.device).view(1, -1, 1)
        edges = (edge_index.unsqueeze(1) + offset).flatten(1)
        attributes = weight.repeat(windows).unsqueeze(-1)
        hidden = self.gru(self.with_calendar(x, batch, weekday=True).flatten(0, 1))[0][:, -1]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            hidden = hidden + layer(norm(hidden), edges, attributes).relu()
        forecast: Tensor = self.head(hidden).view(windows, nodes, self.horizon, self.out_channels)
        return forecast
