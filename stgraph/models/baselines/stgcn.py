"""STGCN: blocks of gated convolutions over time with a graph convolution between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least, check_calendar_channels
from stgraph.models.baselines.neural import NeuralBaseline
from stgraph.models.baselines.supports import GraphCache, edge_weights, laplacian, propagate

__all__ = ["STGCN", "ChebyshevConv", "GatedTemporalConv", "STConvBlock", "chebyshev_polynomials"]

_BLOCKS = 2


class GatedTemporalConv(nn.Module):
    r"""A convolution over time without padding and a gate, :math:`(P + \mathrm{align}(x)) \odot \sigma(Q)`.

    Step t of the result sees the steps t to t + kernel - 1 of the input; what is added is the last of them.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        kernel_size: Number of steps that the kernel spans.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.align = _Align(in_channels, out_channels)
        self.conv = nn.Conv2d(in_channels, 2 * out_channels, (kernel_size, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, T, N]`` to ``[B, C', T - kernel + 1, N]``."""
        value, gate = self.conv(x).chunk(2, dim=1)
        gated: Tensor = (value + self.align(x[:, :, self.kernel_size - 1 :])) * torch.sigmoid(gate)
        return gated


class ChebyshevConv(nn.Module):
    r"""Chebyshev polynomials of the scaled Laplacian, :math:`z + \sum_k T_k(\tilde L) \, z \, \Theta_k`.

    :math:`z` is the input with its channels reduced to those of the output.

    Args:
        in_channels: Number of input channels.
        out_channels: Number of output channels.
        terms: Number of polynomials K, from power 0 on.
    """

    def __init__(self, in_channels: int, out_channels: int, terms: int) -> None:
        super().__init__()
        self.terms = terms
        self.align = _Align(in_channels, out_channels)
        self.conv = nn.Conv2d(terms * out_channels, out_channels, 1)

    def forward(self, x: Tensor, polynomials: list[Tensor]) -> Tensor:
        """Map ``[B, C, T, N]`` to ``[B, C', T, N]``; ``polynomials`` is from :func:`chebyshev_polynomials`."""
        x = self.align(x)
        mixed: Tensor = self.conv(torch.cat([x, *self._products(x, polynomials[0])], dim=1))
        return x + mixed

    def _products(self, x: Tensor, matrix: Tensor) -> list[Tensor]:
        if self.terms == 1:
            return []
        if matrix.layout == torch.strided:
            return list((x @ matrix).unflatten(-1, (self.terms - 1, -1)).unbind(-2))
        columns = [x.transpose(-1, -2)]
        columns.append(propagate(matrix, columns[0]))
        while len(columns) < self.terms:
            columns.append(2 * propagate(matrix, columns[-1]) - columns[-2])
        return [column.transpose(-1, -2) for column in columns[1:]]


def chebyshev_polynomials(batch: Data, terms: int) -> list[Tensor]:
    """Return what :class:`ChebyshevConv` needs of a batch's graph.

    Returns:
        list: For a small graph one tensor ``[N, (K - 1) * N]``, the polynomials from power 1 on side by side (they are
        symmetric); for a large graph the sparse Laplacian, because its polynomials have many more entries.
    """
    edge_index, weight = edge_weights(batch)
    matrix = laplacian(edge_index, weight, batch.x.shape[1])
    if matrix.layout != torch.strided:
        return [matrix]
    found = [torch.eye(matrix.shape[0], dtype=matrix.dtype, device=matrix.device), matrix]
    with torch.autocast(matrix.device.type, enabled=False):  # what is kept must not depend on the precision of now
        while len(found) < terms:
            found.append(2 * matrix @ found[-1] - found[-2])
    return [torch.cat(found[1:], dim=1)]


class STGCN(NeuralBaseline):
    r"""Spatio-temporal graph convolutional network: convolutions alone, no recurrence.

    Two blocks, each a gated convolution over time, a Chebyshev graph convolution in fewer channels, another gated
    convolution, a normalisation over nodes and channels and dropout. The output layer convolves what steps are left
    into one; two linear maps give all Q steps at once, where the paper gives one.

    From Yu et al., "Spatio-temporal graph convolutional networks: a deep learning framework for traffic forecasting",
    IJCAI 2018.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        hidden_channels: Number of channels after each gated convolution.
        graph_channels: Number of channels of the graph convolutions.
        output_channels: Number of channels of the output layer.
        temporal_kernel: Number of steps that each convolution over time spans.
        chebyshev_terms: Number of Chebyshev polynomials, from power 0 on.
        dropout: Probability with which a hidden value is dropped in training.
        calendar_channels: Number of calendar channels beside the input: 0, 1 for the time of day, 2 for the weekday
            also.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``edge_index`` :math:`(2, E)`, optionally ``edge_weight``,
          ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, the window is too short for the convolutions, or the batch has no graph
            or another number of nodes.

    Examples:
        >>> model = STGCN(in_channels=1, input_steps=12, horizon=3, num_nodes=3, hidden_channels=8)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> model.predict(torch.zeros(2, 3, 12, 1), edge_index=edge_index).shape
        torch.Size([2, 3, 3, 1])
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
        hidden_channels: int = 64,
        graph_channels: int = 16,
        output_channels: int = 128,
        temporal_kernel: int = 3,
        chebyshev_terms: int = 3,
        dropout: float = 0.5,
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
        at_least(1, num_nodes=num_nodes, hidden_channels=hidden_channels, graph_channels=graph_channels)
        at_least(1, output_channels=output_channels, temporal_kernel=temporal_kernel, chebyshev_terms=chebyshev_terms)
        check_calendar_channels(calendar_channels)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected at least 0 and less than 1")
        lost = 2 * _BLOCKS * (temporal_kernel - 1)
        if input_steps <= lost:
            raise InputError(f"input_steps is {input_steps}; expected more than the {lost} steps that the blocks take")
        self.chebyshev_terms, self.calendar_channels = chebyshev_terms, calendar_channels
        channels = (hidden_channels, graph_channels, hidden_channels)
        first = [in_channels + calendar_channels, hidden_channels]
        self.blocks = nn.ModuleList(
            STConvBlock(size, channels, num_nodes, temporal_kernel, chebyshev_terms, dropout) for size in first
        )
        self.conv_out = GatedTemporalConv(hidden_channels, output_channels, input_steps - lost)
        self.norm_out = nn.LayerNorm([num_nodes, output_channels])
        self.mlp = nn.Sequential(
            nn.Linear(output_channels, output_channels),
            nn.ReLU(),
            nn.Linear(output_channels, horizon * self.out_channels),
        )
        self._graph = GraphCache()

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        polynomials = self._graph(batch, lambda graph: chebyshev_polynomials(graph, self.chebyshev_terms))
        if self.calendar_channels:
            x = self.with_calendar(x, batch, weekday=self.calendar_channels == 2)
        hidden = x.permute(0, 3, 2, 1)  # nodes last: one product with a polynomial serves all windows and steps
        for block in self.blocks:
            hidden = block(hidden, polynomials)
        last = self.norm_out(self.conv_out(hidden).squeeze(2).transpose(1, 2))
        ahead: Tensor = self.mlp(last).unflatten(-1, (self.horizon, self.out_channels))
        return ahead


class STConvBlock(nn.Module):
    """Gated convolution over time, graph convolution, gated convolution, normalisation and dropout.

    Args:
        in_channels: Number of input channels.
        channels: Number of channels after each of the three convolutions.
        num_nodes: Number of nodes N.
        temporal_kernel: Number of steps that each convolution over time spans.
        chebyshev_terms: Number of Chebyshev polynomials.
        dropout: Probability with which a hidden value is dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int],
        num_nodes: int,
        temporal_kernel: int,
        chebyshev_terms: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.conv_in = GatedTemporalConv(in_channels, channels[0], temporal_kernel)
        self.graph_conv = ChebyshevConv(channels[0], channels[1], chebyshev_terms)
        self.conv_out = GatedTemporalConv(channels[1], channels[2], temporal_kernel)
        self.norm = nn.LayerNorm([num_nodes, channels[2]])
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, polynomials: list[Tensor]) -> Tensor:
        """Map ``[B, C, T, N]`` to ``[B, C', T - 2 (kernel - 1), N]``."""
        x = torch.relu(self.graph_conv(self.conv_in(x), polynomials))
        normal: Tensor = self.dropout(self.norm(self.conv_out(x).permute(0, 2, 3, 1)))
        return normal.permute(0, 3, 1, 2)


class _Align(nn.Module):
    """Bring a residual path to another number of channels: zeros append channels, a learned map removes them."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.missing = max(0, out_channels - in_channels)
        self.reduce = nn.Conv2d(in_channels, out_channels, 1) if in_channels > out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(self.reduce(x), (0, 0, 0, 0, 0, self.missing))
