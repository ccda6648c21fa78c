"""Parts of D2STGNN: the dynamic graph, the estimation gate, and the diffusion and inherent blocks."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["DiffusionBlock", "DynamicGraph", "EstimationGate", "InherentBlock", "LocalizedConvolution", "off_diagonal"]

_ELSEWHERE = 1e-7  # weight of pairs without an edge in the dynamic graph: keeps rows without edges defined


def off_diagonal(graph: Tensor, order: int) -> Tensor:
    """Return the powers 1 to ``order`` of matrices ``[..., N, N]`` without their diagonals, ``[..., order, N, N]``.

    Examples:
        >>> off_diagonal(torch.tensor([[0.5, 0.5], [0.0, 1.0]]), 2).tolist()
        [[[0.0, 0.5], [0.0, 0.0]], [[0.0, 0.75], [0.0, 0.0]]]
    """
    powers = [graph]
    for _ in range(order - 1):
        powers.append(graph @ powers[-1])
    keep = 1 - torch.eye(graph.shape[-1], dtype=graph.dtype, device=graph.device)
    return torch.stack(powers, dim=-3) * keep


class DynamicGraph(nn.Module):
    r"""Transition matrices that change with the window: given ones, reweighted by attention between the nodes.

    What attention compares is the window of a node, the time of the last input, and an embedding of the node, one for
    each of the two directions.

    Args:
        inputs: Number of values of a window of a node.
        hidden_channels: Width of the comparison.
        embedding_size: Length of the embeddings of nodes and times.
        dropout: Dropout on the features of the window.

    Shapes:
        - **window:** ``[B, N, inputs]``
        - **time:** ``[B, 2 * embedding_size]``
        - **embeddings**, **walks:** two each, ``[N, embedding_size]`` and ``[N, N]``
        - **output:** ``[B, 2, N, N]``
    """

    def __init__(self, inputs: int, hidden_channels: int, embedding_size: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, 2 * hidden_channels)
        self.norm = nn.BatchNorm1d(2 * hidden_channels)
        self.dropout = nn.Dropout(dropout)
        self.second = nn.Linear(2 * hidden_channels, hidden_channels)
        self.query = nn.Linear(hidden_channels + 3 * embedding_size, hidden_channels, bias=False)
        self.key = nn.Linear(hidden_channels + 3 * embedding_size, hidden_channels, bias=False)

    def forward(self, window: Tensor, time: Tensor, embeddings: list[Tensor], walks: list[Tensor]) -> Tensor:
        """Return the transition matrices along and against the edges."""
        windows, nodes = window.shape[:2]
        hidden = self.norm(torch.relu(self.first(window)).flatten(0, 1)).view(windows, nodes, -1)
        seen = torch.cat([self.second(self.dropout(hidden)), time.unsqueeze(1).expand(-1, nodes, -1)], dim=-1)
        own = torch.stack(embeddings).unsqueeze(0).expand(windows, -1, -1, -1)
        features = torch.cat([seen.unsqueeze(1).expand(-1, len(embeddings), -1, -1), own], dim=-1)
        query, key = self.query(features), self.key(features)
        attention = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        weighted = (torch.stack(walks) + _ELSEWHERE) * attention
        total: Tensor = weighted / weighted.sum(-1, keepdim=True)
        return total


class EstimationGate(nn.Module):
    """The share of the signal that diffuses, in (0, 1) for each node and step, from embeddings of node and time.

    Args:
        embedding_size: Length of each of the four embeddings.
        hidden_channels: Width of the hidden layer.

    Shapes:
        - **nodes:** ``[N, 2 * embedding_size]``
        - **times:** ``[B, T, 2 * embedding_size]``
        - **output:** ``[B, N, T, 1]``
    """

    def __init__(self, embedding_size: int, *, hidden_channels: int = 64) -> None:
        super().__init__()
        self.size = 2 * embedding_size
        self.first = nn.Linear(2 * self.size, hidden_channels)
        self.second = nn.Linear(hidden_channels, 1)

    def forward(self, nodes: Tensor, times: Tensor) -> Tensor:
        """Return the share of each node and step."""
        for_times, for_nodes = self.first.weight.split(self.size, dim=1)
        # A linear map of both together is the sum of one of each, which is smaller than every pair.
        hidden = linear(nodes, for_nodes).unsqueeze(1) + linear(times, for_times, self.first.bias).unsqueeze(1)
        return torch.sigmoid(self.second(torch.relu(hidden)))


class LocalizedConvolution(nn.Module):
    r"""Spatio-temporal localised diffusion: a node takes from the last steps of its neighbours, and from its own.

    .. math:: y_t = \Big(\frac{1}{K} \sum_k h_{tk}\Big) W_0 + \sum_s A_s \sum_k h_{tk} W_s + b, \qquad
        (h_{t1}, \dots, h_{tK}) = \mathrm{relu}((x_{t-K+1}, \dots, x_t) U)

    Args:
        channels: Number of channels F.
        steps: Number K of steps.
        num_graphs: Number of matrices S.
        dropout: Dropout on the output.

    Shapes:
        - **x:** ``[B, N, T, F]``
        - **graphs:** ``[B, N, S * N]``, the matrices beside each other
        - **output:** ``[B, N, T - K + 1, F]``
    """

    def __init__(self, channels: int, *, steps: int, num_graphs: int, dropout: float) -> None:
        super().__init__()
        self.channels, self.steps = channels, steps
        self.mix = nn.Conv2d(channels, steps * channels, (1, steps), bias=False)
        self.weight = nn.Linear((1 + num_graphs) * channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, graphs: Tensor) -> Tensor:
        """Return the diffused features of each step but the first ones."""
        windows, nodes = x.shape[:2]
        # For the convolution, [B, N, T, F] is an image of N x T pixels whose channels lie last: nothing is copied.
        recent = torch.relu(self.mix(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        mixed = recent.unflatten(-1, (self.steps, self.channels)).sum(-2)
        own, *others = self.weight.weight.split(self.channels, dim=1)
        # Weighted first, all matrices are applied and added up in one product.
        sent = linear(mixed, torch.cat(others)).unflatten(-1, (len(others), -1)).permute(0, 3, 1, 2, 4)
        received = torch.bmm(graphs, sent.reshape(windows, len(others) * nodes, -1)).view(mixed.shape)
        total: Tensor = self.dropout(received + linear(mixed / self.steps, own, self.weight.bias))
        return total


class DiffusionBlock(nn.Module):
    """Split what diffuses off the signal, and forecast it.

    Args:
        channels: Number of channels F.
        forecast_channels: Number of channels of the forecast.
        steps: Number K of steps a node takes from its neighbours.
        num_graphs: Number of matrices.
        dropout: Dropout after each convolution.

    Shapes:
        - **x**, **gated:** ``[B, N, T, F]``, the signal and the share of it that diffuses
        - **output:** the rest of the signal ``[B, N, T - K + 1, F]`` and the forecast
          ``[B, N, ahead, forecast_channels]``
    """

    def __init__(self, channels: int, forecast_channels: int, *, steps: int, num_graphs: int, dropout: float) -> None:
        super().__init__()
        self.convolution = LocalizedConvolution(channels, steps=steps, num_graphs=num_graphs, dropout=dropout)
        self.forecast = nn.Linear(channels, forecast_channels)
        self.backcast = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor, gated: Tensor, graphs: Tensor, ahead: int) -> tuple[Tensor, Tensor]:
        """Return the rest of the signal and the forecast of what diffuses."""
        hidden = self.convolution(gated, graphs)
        steps = self.convolution.steps
        future, recent = [hidden[:, :, -1:]], gated
        for _ in range(ahead - 1):
            # As many hidden states as there are stand for the latest steps, the signal for those before.
            sequence = torch.cat([recent[:, :, -steps:], *future], dim=2)
            future.append(self.convolution(sequence[:, :, -steps:], graphs))
        rest = self.norm(x[:, :, -hidden.shape[2] :] - torch.relu(self.backcast(hidden)))
        return rest, self.forecast(torch.cat(future, dim=2))


class InherentBlock(nn.Module):
    """Split what a node does by itself off the signal, and forecast it: a GRU and attention over its states.

    Args:
        channels: Number of channels F.
        forecast_channels: Number of channels of the forecast.
        heads: Number of attention heads.
        dropout: Dropout after each step.
        residual: Whether the rest of the signal is asked for.

    Shapes:
        - **x:** ``[B, N, T, F]``
        - **output:** the rest of the signal ``[B, N, T, F]`` (``x`` itself without ``residual``) and the forecast
          ``[B, N, ahead, forecast_channels]``
    """

    def __init__(
        self, channels: int, forecast_channels: int, *, dropout: float, residual: bool, heads: int = 4
    ) -> None:
        super().__init__()
        self.recurrent = nn.GRU(channels, channels)
        self.attention = nn.MultiheadAttention(channels, heads, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.forecast = nn.Linear(channels, forecast_channels)
        self.backcast = nn.Linear(channels, channels) if residual else None
        self.norm = nn.LayerNorm(channels) if residual else None

    def forward(self, x: Tensor, ahead: int) -> tuple[Tensor, Tensor]:
        """Return the rest of the signal and the forecast of what a node does by itself."""
        windows, nodes, steps, channels = x.shape
        signal = x.permute(2, 0, 1, 3).reshape(steps, windows * nodes, channels)
        states, last = self.recurrent(signal)
        states = self._place(states, 0)
        hidden = self._attend(states, states)
        future = [hidden[-1:]]
        for step in range(steps, steps + ahead - 1):
            state, last = self.recurrent(future[-1], last)
            state = self._place(state, step)
            states = torch.cat([states, state])
            future.append(self._attend(state, states))
        forecast: Tensor = self.forecast(torch.cat(future)).view(ahead, windows, nodes, -1).permute(1, 2, 0, 3)
        if self.backcast is None or self.norm is None:
            return x, forecast
        explained = torch.relu(self.backcast(hidden)).view(steps, windows, nodes, channels).permute(1, 2, 0, 3)
        return self.norm(x - explained), forecast

    def _place(self, states: Tensor, first: int) -> Tensor:
        """Add to states ``[T, M, F]`` the sine code of their steps, counted from ``first``."""
        step = torch.arange(first, first + len(states), device=states.device, dtype=states.dtype)
        channel = torch.arange(states.shape[-1], device=states.device)
        rate = torch.exp((channel - channel % 2) * (-math.log(10000.0) / states.shape[-1]))
        # A cosine is a sine a quarter of a turn ahead.
        code = torch.sin(step.unsqueeze(1) * rate + (channel % 2) * (torch.pi / 2)).unsqueeze(1)
        return self.dropout(self.dropout(states) + code)  # type: ignore[no-any-return]

    def _attend(self, query: Tensor, states: Tensor) -> Tensor:
        return self.dropout(self.attention(query, states, states, need_weights=False)[0])  # type: ignore[no-any-return]
