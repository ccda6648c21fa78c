"""AGCRN: a recurrent network whose graph and whose weights per node come from a learned node embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.models.baselines.checks import at_least, check_calendar_channels
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["AGCRN", "NodeAdaptiveGRU"]


class NodeAdaptiveGRU(nn.Module):
    r"""A recurrent layer of graph convolutions with own weights of each node

    .. math::
        (X')_n = \sum_k (T_k(A) X)_n \, \big(\sum_d E_{nd} \, \Theta_{dk}\big) + \sum_d E_{nd} \, b_d

    in place of the matrix products of a gated recurrent unit, with Chebyshev polynomials :math:`T_k` of the learned
    adjacency :math:`A` and the embedding :math:`E` of the nodes.

    Args:
        in_channels: Number of input channels.
        hidden_channels: Number of channels of the state.
        embed_channels: Width of the node embedding.
        chebyshev_terms: Number of polynomials, from power 0 on.
    """

    def __init__(self, in_channels: int, hidden_channels: int, embed_channels: int, chebyshev_terms: int) -> None:
        super().__init__()
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        rows = (embed_channels, chebyshev_terms, in_channels + hidden_channels)
        self.gate_weight = nn.Parameter(torch.empty(*rows, 2 * hidden_channels))
        self.candidate_weight = nn.Parameter(torch.empty(*rows, hidden_channels))
        self.gate_bias = nn.Parameter(torch.empty(embed_channels, 2 * hidden_channels))
        self.candidate_bias = nn.Parameter(torch.empty(embed_channels, hidden_channels))
        for parameter in self.parameters():
            nn.init.xavier_uniform_(parameter)

    def forward(self, x: Tensor, embedding: Tensor, polynomials: Tensor) -> Tensor:
        """Return the states after each step.

        Args:
            x: Inputs ``[N, P, B, C]``.
            embedding: Node embedding ``[N, D]``.
            polynomials: Chebyshev polynomials of the adjacency from power 1 on, ``[(K - 1) * N, N]``.

        Returns:
            Tensor: ``[N, P, B, H]``.
        """
        for_input, for_gates, for_candidate = self._node_weights(embedding)
        bias = embedding @ torch.cat([self.gate_bias, self.candidate_bias], dim=1)
        projected = torch.baddbmm(bias.unsqueeze(1), _spread(x.flatten(1, 2), polynomials), for_input)
        hidden = self.hidden_channels
        gate_inputs, candidate_inputs = projected.unflatten(1, x.shape[1:3]).split([2 * hidden, hidden], dim=-1)
        state = x.new_zeros(x.shape[0], x.shape[2], hidden)
        states = []
        for gate_input, candidate_input in zip(gate_inputs.unbind(1), candidate_inputs.unbind(1), strict=True):
            gates = torch.sigmoid(torch.baddbmm(gate_input, _spread(state, polynomials), for_gates))
            reset, update = gates.chunk(2, dim=-1)
            candidate = _spread(reset * state, polynomials)
            candidate = torch.tanh(torch.baddbmm(candidate_input, candidate, for_candidate))
            state = candidate + update * (state - candidate)
            states.append(state)
        return torch.stack(states, dim=1)

    def _node_weights(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The weights of each node for the input, and for the state in the gates and in the candidate."""
        parts = [self.in_channels, self.hidden_channels]
        pools = self.gate_weight.split(parts, dim=2), self.candidate_weight.split(parts, dim=2)
        for_input = torch.cat([pools[0][0], pools[1][0]], dim=-1)
        weights = [torch.tensordot(embedding, pool, 1).flatten(1, 2) for pool in (for_input, pools[0][1], pools[1][1])]
        return weights[0], weights[1], weights[2]


class AGCRN(NeuralBaseline):
    r"""Adaptive graph convolutional recurrent network; it reads no graph, it learns one.

    The adjacency is :math:`\mathrm{softmax}(\mathrm{relu}(E E^\top))` of the node embedding :math:`E`, which also gives
    every node its own weights (see :class:`NodeAdaptiveGRU`). A linear map of the last state gives all steps at once.

    From Bai et al., "Adaptive graph convolutional recurrent network for traffic forecasting", NeurIPS 2020.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        embed_channels: Width of the node embedding.
        hidden_channels: Number of channels of each state.
        num_layers: Number of recurrent layers.
        chebyshev_terms: Number of Chebyshev polynomials of the adjacency, from power 0 on.
        calendar_channels: Number of calendar channels beside the input: 0, 1 for the time of day, 2 for the weekday
            also.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or a batch has another number of nodes.

    Examples:
        >>> model = AGCRN(in_channels=1, input_steps=12, horizon=3, num_nodes=5, hidden_channels=8)
        >>> model.predict(torch.zeros(2, 5, 12, 1)).shape
        torch.Size([2, 5, 3, 1])
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
        embed_channels: int = 10,
        hidden_channels: int = 64,
        num_layers: int = 2,
        chebyshev_terms: int = 2,
        calendar_channels: int = 0,
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
        at_least(1, num_nodes=num_nodes, embed_channels=embed_channels)
        at_least(1, hidden_channels=hidden_channels, num_layers=num_layers)
        at_least(2, chebyshev_terms=chebyshev_terms)
        check_calendar_channels(calendar_channels)
        self.chebyshev_terms, self.calendar_channels = chebyshev_terms, calendar_channels
        self.node_embedding = nn.Parameter(torch.empty(num_nodes, embed_channels))
        nn.init.xavier_uniform_(self.node_embedding)
        inputs = [in_channels + calendar_channels, *[hidden_channels] * (num_layers - 1)]
        self.layers = nn.ModuleList(
            NodeAdaptiveGRU(size, hidden_channels, embed_channels, chebyshev_terms) for size in inputs
        )
        self.lin_out = nn.Linear(hidden_channels, horizon * self.out_channels)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        if self.calendar_channels:
            x = self.with_calendar(x, batch, weekday=self.calendar_channels == 2)
        polynomials = self.polynomials()
        states = x.permute(1, 2, 0, 3)
        for layer in self.layers:
            states = layer(states, self.node_embedding, polynomials)
        ahead: Tensor = self.lin_out(states[:, -1]).unflatten(-1, (self.horizon, self.out_channels))
        return ahead.transpose(0, 1)

    def polynomials(self) -> Tensor:
        """Return the Chebyshev polynomials of the learned adjacency from power 1 on, ``[(K - 1) * N, N]``."""
        adjacency = torch.softmax(torch.relu(self.node_embedding @ self.node_embedding.T), dim=1)
        terms = [torch.eye(adjacency.shape[0], dtype=adjacency.dtype, device=adjacency.device), adjacency]
        while len(terms) < self.chebyshev_terms:
            terms.append(2 * adjacency @ terms[-1] - terms[-2])
        return torch.cat(terms[1:])


def _spread(x: Tensor, polynomials: Tensor) -> Tensor:
    """Features ``[N, B, F]`` beside their products with all polynomials, ``[N, B, K * F]``."""
    products = (polynomials @ x.flatten(1)).view(-1, *x.shape).movedim(0, -2)
    return torch.cat([x.unsqueeze(-2), products], dim=-2).flatten(-2)
