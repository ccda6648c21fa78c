"""Graph WaveNet: gated dilated convolutions over time and diffusion over given and learned graphs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch_geometric.data import Data

from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline
from stgraph.models.baselines.supports import GraphCache, both_random_walks, propagate

__all__ = ["GatedTemporalConvolution", "GraphDiffusion", "GraphWaveNet"]

_KERNEL = 2  # steps a temporal convolution sees


class GatedTemporalConvolution(nn.Module):
    r"""A causal convolution of two steps with a gate, :math:`\tanh(\Theta_1 * x) \odot \sigma(\Theta_2 * x)`.

    Args:
        in_channels: Number of input channels F.
        out_channels: Number of output channels F'.
        dilation: Distance d of the two steps.

    Shapes:
        - **x:** ``[N, T, B, F]``
        - **output:** ``[N, T - d, B, F']``; step t sees the inputs t and t + d of ``x``, and no later one

    Examples:
        >>> GatedTemporalConvolution(3, 5, dilation=2)(torch.ones(4, 7, 2, 3)).shape
        torch.Size([4, 5, 2, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, dilation: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, 2 * out_channels, (_KERNEL, 1), dilation=(dilation, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated features."""
        # For the convolution, [N, T, B, F] is an image of T x B pixels whose channels lie last: nothing is copied.
        mapped: Tensor = self.convolution(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        value, gate = mapped.chunk(2, dim=-1)
        return torch.tanh(value) * torch.sigmoid(gate)


class GraphDiffusion(nn.Module):
    r"""The power series of a diffusion over several graphs, :math:`x W_0 + \sum_s \sum_{k=1}^K A_s^k x W_{sk} + b`.

    Args:
        in_channels: Number of input channels F.
        out_channels: Number of output channels F'.
        num_supports: Number of matrices S.
        order: Highest power K.

    Shapes:
        - **x:** ``[N, ..., F]``
        - **supports:** S matrices ``[N, N]``, dense or sparse
        - **output:** ``[N, ..., F']``

    Examples:
        >>> layer = GraphDiffusion(3, 5, num_supports=1, order=2)
        >>> layer(torch.ones(4, 7, 2, 3), [torch.eye(4)]).shape
        torch.Size([4, 7, 2, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, num_supports: int, order: int) -> None:
        super().__init__()
        self.in_channels, self.order = in_channels, order
        self.weight = nn.Linear((1 + num_supports * order) * in_channels, out_channels)

    def forward(self, x: Tensor, supports: list[Tensor]) -> Tensor:
        """Return the sum over all graphs and powers."""
        first, *others = self.weight.weight.split(self.in_channels, dim=1)
        total = linear(x, first, self.weight.bias)
        for s, support in enumerate(supports):
            weights = others[s * self.order : (s + 1) * self.order]
            # Horner's rule: A (x W_1 + A (x W_2 + ...)) needs no power of A.
            term = linear(x, weights[-1])
            for weight in reversed(weights[:-1]):
                term = linear(x, weight) + _along_nodes(support, term)
            total = total + _along_nodes(support, term)
        return total


class GraphWaveNet(NeuralBaseline):
    r"""Graph WaveNet: a stack of gated temporal convolutions, each followed by diffusion over the graph.

    The graphs are the random walks along and against the edges and a learned one,
    :math:`\mathrm{softmax}(\mathrm{relu}(E_1 E_2^\top))`. All layers contribute to the forecast what they hold at the
    last step. The input is extended by the time of day, and with zeros on the left where it is shorter than the
    receptive field; of a longer one the last steps count.

    The graph convolution and normalisation after the last gate reach no output and are left out, as is the linear map
    that the authors' program keeps beside every graph convolution without using it.

    From Wu et al., "Graph WaveNet for deep spatial-temporal graph modeling", IJCAI 2019.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day.
        scaler: Name of the scaler.
        residual_channels: Width of the stack.
        dilation_channels: Number of channels after a gate.
        skip_channels: Number of channels in which the layers are added up.
        end_channels: Width of the last hidden layer.
        blocks: Number of times the dilations start again from 1.
        layers: Number of layers of a block; the dilation doubles from each to the next.
        order: Number of diffusion steps over each graph.
        embedding_size: Length of the node embeddings of the learned graph.
        dropout: Dropout after each graph convolution.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``edge_index`` :math:`(2, E)`, optionally ``edge_weight``, ``x_mask``,
          ``x_time``
        - **output:** :math:`(B, N, Q, C)`

    Raises:
        InputError: If a size is less than 1 or the batch has no graph.

    Examples:
        >>> model = GraphWaveNet(1, 12, 3, num_nodes=4)
        >>> model.predict(torch.ones(2, 4, 12, 1), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
        torch.Size([2, 4, 3, 1])
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
        residual_channels: int = 32,
        dilation_channels: int = 32,
        skip_channels: int = 256,
        end_channels: int = 512,
        blocks: int = 4,
        layers: int = 2,
        order: int = 2,
        embedding_size: int = 10,
        dropout: float = 0.3,
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
        channels = {
            "residual_channels": residual_channels,
            "dilation_channels": dilation_channels,
            "skip_channels": skip_channels,
            "end_channels": end_channels,
            "embedding_size": embedding_size,
        }
        at_least(1, num_nodes=num_nodes, blocks=blocks, layers=layers, order=order, **channels)
        dilations = [2**layer for layer in range(layers)] * blocks
        self.receptive_field = 1 + sum(dilations)
        self.cache = GraphCache()
        self.source = nn.Parameter(torch.randn(num_nodes, embedding_size))
        self.target = nn.Parameter(torch.randn(num_nodes, embedding_size))
        self.start = nn.Linear(in_channels + 1, residual_channels)
        self.gates = nn.ModuleList(GatedTemporalConvolution(residual_channels, dilation_channels, d) for d in dilations)
        self.skips = nn.ModuleList(nn.Linear(dilation_channels, skip_channels) for _ in dilations)
        self.diffusions = nn.ModuleList(
            GraphDiffusion(dilation_channels, residual_channels, num_supports=3, order=order) for _ in dilations[1:]
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(residual_channels) for _ in dilations[1:])
        self.dropout = nn.Dropout(dropout)
        self.end = nn.Sequential(
            nn.ReLU(),
            nn.Linear(skip_channels, end_channels),
            nn.ReLU(),
            nn.Linear(end_channels, horizon * self.out_channels),
        )

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes = x.shape[:2]
        # Nodes lie first, so that a matrix of the graph meets all windows, steps and channels in one product.
        inputs = self.with_calendar(x, batch).permute(1, 2, 0, 3)[:, -self.receptive_field :]
        missing = self.receptive_field - inputs.shape[1]
        h = self.start(torch.nn.functional.pad(inputs, (0, 0, 0, 0, missing, 0)))
        supports = [*self.cache(batch, both_random_walks), self.learned_graph()]
        skip = x.new_zeros(())
        for i, (gate, to_skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            gated = gate(h)
            skip = skip + to_skip(gated[:, -1])
            if i < len(self.diffusions):
                spread = self.dropout(self.diffusions[i](gated, supports))
                h = spread + h[:, -spread.shape[1] :]
                h = self.norms[i](h.flatten(0, 2)).view_as(h)
        forecast: Tensor = self.end(skip).view(nodes, windows, self.horizon, self.out_channels)
        return forecast.transpose(0, 1)

    def learned_graph(self) -> Tensor:
        """Return the learned transition matrix ``[N, N]``, whose rows sum to 1."""
        return torch.softmax(torch.relu(self.source @ self.target.T), dim=1)


def _along_nodes(matrix: Tensor, x: Tensor) -> Tensor:
    return propagate(matrix, x.flatten(1)).view_as(x)
