"""D2STGNN: signals split into what diffuses over a changing graph and what each node does by itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.d2stgnn_parts import (
    DiffusionBlock,
    DynamicGraph,
    EstimationGate,
    InherentBlock,
    off_diagonal,
)
from stgraph.models.baselines.neural import NeuralBaseline
from stgraph.models.baselines.supports import GraphCache, both_random_walks

__all__ = ["D2STGNN"]

_FORECAST, _HIDDEN = 256, 512  # widths of the forecasts of the layers and of the last hidden layer


class D2STGNN(NeuralBaseline):
    r"""D2STGNN: layers that each split a diffusion signal and an inherent signal off, and forecast both.

    In each layer a gate made of embeddings of node and time estimates the share of the signal that diffuses. It passes
    a localised convolution over the random walks along and against the edges, reweighted for each window by attention,
    and over a learned graph; what this explains is taken off. A GRU with attention explains the inherent signal in the
    rest, and what remains goes to the next layer. Each of the two forecasts hidden states step by step, every one of
    them for ``gap`` steps of the horizon, and all forecasts are added up.

    Each layer shortens the series by ``temporal_order - 1`` steps. The codes of the steps are added to the states of
    the GRU once, as the paper has it. Parameters of the authors' program that no output depends on are left out.

    From Shao et al., "Decoupled dynamic spatial-temporal graph neural network for traffic forecasting", VLDB 2022.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day.
        scaler: Name of the scaler.
        hidden_channels: Width of the layers, divisible by 4.
        embedding_size: Length of the embeddings of nodes and times.
        layers: Number of layers.
        spatial_order: Highest power of a transition matrix.
        temporal_order: Number of steps that a node takes from its neighbours.
        gap: Number of forecast steps read from each hidden state.
        dropout: Dropout throughout.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``edge_index`` :math:`(2, E)`, optionally ``edge_weight``, ``x_mask``,
          ``x_time``
        - **output:** :math:`(B, N, Q, C)`

    Raises:
        InputError: If a size is out of range, P is too short for the layers, or the batch has no graph.

    Examples:
        >>> model = D2STGNN(1, 12, 6, num_nodes=4)
        >>> model.predict(torch.ones(2, 4, 12, 1), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
        torch.Size([2, 4, 6, 1])
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
        hidden_channels: int = 32,
        embedding_size: int = 10,
        layers: int = 5,
        spatial_order: int = 2,
        temporal_order: int = 3,
        gap: int = 3,
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
        sizes = {"num_nodes": num_nodes, "embedding_size": embedding_size, "layers": layers, "gap": gap}
        at_least(1, **sizes, spatial_order=spatial_order, temporal_order=temporal_order)
        if hidden_channels < 1 or hidden_channels % 4:
            raise InputError(f"hidden_channels is {hidden_channels}; expected a multiple of 4")
        needed = layers * (temporal_order - 1) + 1
        if input_steps < needed:
            raise InputError(
                f"input_steps is {input_steps}; expected at least {needed} for {layers} layers that each shorten the "
                f"series by temporal_order - 1 = {temporal_order - 1} steps; lower layers or temporal_order"
            )
        self.spatial_order, self.gap = spatial_order, gap
        self.cache = GraphCache()
        embed = [nn.Parameter(torch.empty(n, embedding_size)) for n in (num_nodes, num_nodes, steps_per_cycle, 7)]
        self.source, self.target, self.of_slot, self.of_weekday = map(nn.init.xavier_uniform_, embed)
        self.start = nn.Linear(in_channels, hidden_channels)
        self.dynamic = DynamicGraph(input_steps * in_channels, hidden_channels, embedding_size, dropout=dropout)
        self.gates = nn.ModuleList(EstimationGate(embedding_size) for _ in range(layers))
        self.diffusions = nn.ModuleList(
            DiffusionBlock(
                hidden_channels, _FORECAST, steps=temporal_order, num_graphs=3 * spatial_order, dropout=dropout
            )
            for _ in range(layers)
        )
        self.inherents = nn.ModuleList(
            InherentBlock(hidden_channels, _FORECAST, dropout=dropout, residual=layer < layers - 1)
            for layer in range(layers)
        )
        self.end = nn.Sequential(
            nn.ReLU(), nn.Linear(_FORECAST, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, gap * self.out_channels)
        )

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes = x.shape[:2]
        slot, weekday = self.calendar(batch)
        times = torch.cat([self.of_slot[slot], self.of_weekday[weekday]], dim=-1)
        own = torch.cat([self.source, self.target], dim=-1)
        graphs = self._graphs(x, times[:, -1], batch)
        ahead = -(-self.horizon // self.gap)
        rest, total = self.start(x), x.new_zeros(())
        for gate, diffusion, inherent in zip(self.gates, self.diffusions, self.inherents, strict=True):
            gated = rest * gate(own, times[:, -rest.shape[2] :])
            rest, diffused = diffusion(rest, gated, graphs, ahead)
            rest, by_itself = inherent(rest, ahead)
            total = total + diffused + by_itself
        forecast: Tensor = self.end(total).view(windows, nodes, ahead * self.gap, self.out_channels)
        return forecast[:, :, : self.horizon]

    def learned_graph(self) -> Tensor:
        """Return the learned transition matrix ``[N, N]``, whose rows sum to 1."""
        return torch.softmax(torch.relu(self.source @ self.target.T), dim=1)

    def _graphs(self, x: Tensor, time: Tensor, batch: Data) -> Tensor:
        """Return the powers of the two dynamic graphs and of the learned one beside each other, ``[B, N, S * N]``."""
        walks = self.cache(batch, _dense_walks)
        dynamic = self.dynamic(x.flatten(2), time, [self.source, self.target], walks)
        learned = off_diagonal(self.learned_graph(), self.spatial_order).expand(len(x), -1, -1, -1)
        every = torch.cat([off_diagonal(dynamic, self.spatial_order).flatten(1, 2), learned], dim=1)
        return every.transpose(1, 2).flatten(2)


def _dense_walks(batch: Data) -> list[Tensor]:
    # Attention weighs every pair of nodes, however large the graph.
    return [walk.to_dense() for walk in both_random_walks(batch)]
