"""MTGNN: a learned sparse graph, mix-hop propagation over it, and convolutions of several widths over time."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, pad
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["MTGNN", "DilatedInception", "GraphLearner", "MixHop"]

_KERNELS = (2, 3, 6, 7)
_WIDEST = max(_KERNELS)


class MTGNN(NeuralBaseline):
    r"""MTGNN: temporal convolutions of several widths and mix-hop propagation over a learned directed graph.

    The network needs no graph; it learns one from two embeddings of each node (:class:`GraphLearner`). Each layer is a
    gated :class:`DilatedInception` over time and a :class:`MixHop` along and one against the learned edges, with a
    residual connection and a normalisation over nodes, steps and channels that has its own scale for each node and
    step. The forecast is read from the sum of all layers. The input is extended by the time of day, and with zeros on
    the left where it is shorter than the receptive field.

    The graph is learned for all nodes at once. The linear map that the authors' program keeps beside each pair of
    propagations without using it is left out.

    From Wu et al., "Connecting the dots: multivariate time series forecasting with graph neural networks", KDD 2020.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day.
        scaler: Name of the scaler.
        layers: Number of layers.
        conv_channels: Number of channels after a gate, divisible by 4.
        residual_channels: Width of the stack.
        skip_channels: Number of channels in which the layers are added up.
        end_channels: Width of the last hidden layer.
        dilation_base: Factor by which the dilation grows from each layer to the next.
        depth: Number of propagation steps.
        keep: Share of a layer's input that each propagation step keeps, the paper's beta.
        subgraph_size: Number of neighbours of a node in the learned graph.
        embedding_size: Length of the node embeddings.
        saturation: Slope of the tanh in the graph learner, the paper's alpha.
        dropout: Dropout on the input of the skip connection and after each gate.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_mask``, ``x_time``
        - **output:** :math:`(B, N, Q, C)`

    Raises:
        InputError: If a size is less than 1 or ``conv_channels`` is not divisible by 4.

    Examples:
        >>> model = MTGNN(1, 12, 3, num_nodes=4)
        >>> model.predict(torch.ones(2, 4, 12, 1)).shape
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
        layers: int = 3,
        conv_channels: int = 32,
        residual_channels: int = 32,
        skip_channels: int = 64,
        end_channels: int = 128,
        dilation_base: int = 1,
        depth: int = 2,
        keep: float = 0.05,
        subgraph_size: int = 20,
        embedding_size: int = 40,
        saturation: float = 3.0,
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
        sizes = {"num_nodes": num_nodes, "layers": layers, "dilation_base": dilation_base, "depth": depth}
        widths = {"residual_channels": residual_channels, "skip_channels": skip_channels, "end_channels": end_channels}
        learner = {"subgraph_size": subgraph_size, "embedding_size": embedding_size}
        at_least(1, **sizes, **widths, **learner)
        if conv_channels < 1 or conv_channels % len(_KERNELS):
            raise InputError(f"conv_channels is {conv_channels}; expected a multiple of {len(_KERNELS)}")
        shrinks = [(_WIDEST - 1) * dilation_base**layer for layer in range(layers)]
        self.steps = max(input_steps, 1 + sum(shrinks))
        self.graph = GraphLearner(num_nodes, embedding_size, neighbours=subgraph_size, saturation=saturation)
        self.start = nn.Linear(in_channels + 1, residual_channels)
        self.first_skip = nn.Linear(self.steps * (in_channels + 1), skip_channels)
        self.layers = nn.ModuleList()
        steps = self.steps
        for shrink in shrinks:
            steps -= shrink
            gate = DilatedInception(residual_channels, conv_channels, dilation=shrink // (_WIDEST - 1))
            mixes = [MixHop(conv_channels, residual_channels, depth=depth, keep=keep) for _ in range(2)]
            norm = _NodeNorm(num_nodes, steps, residual_channels)
            self.layers.append(_Layer(gate, mixes, norm, nn.Linear(steps * conv_channels, skip_channels), dropout))
        self.last_skip = nn.Linear(steps * residual_channels, skip_channels)
        self.dropout = nn.Dropout(dropout)
        self.end = nn.Sequential(
            nn.ReLU(),
            nn.Linear(skip_channels, end_channels),
            nn.ReLU(),
            nn.Linear(end_channels, horizon * self.out_channels),
        )

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes, steps = x.shape[:3]
        # Nodes lie first, so that a matrix of the graph meets all windows, steps and channels in one product.
        inputs = self.with_calendar(x, batch).permute(1, 2, 0, 3)
        inputs = pad(inputs, (0, 0, 0, 0, self.steps - steps, 0))
        adjacency = self.graph()
        transitions = [_with_loops(adjacency), _with_loops(adjacency.T)]
        skip = self.first_skip(_flatten_steps(self.dropout(inputs)))
        h = self.start(inputs)
        for layer in self.layers:
            h, part = layer(h, transitions)
            skip = skip + part
        skip = skip + self.last_skip(_flatten_steps(h))
        forecast: Tensor = self.end(skip).view(nodes, windows, self.horizon, self.out_channels)
        return forecast.transpose(0, 1)


class GraphLearner(nn.Module):
    r"""A directed graph from node embeddings: :math:`\mathrm{relu}(\tanh(\alpha (M_1 M_2^\top - M_2 M_1^\top)))`.

    :math:`M_i = \tanh(\alpha E_i \Theta_i)`; of each row the largest k entries are kept. At most one of the two
    directions between a pair of nodes has a weight.

    Args:
        num_nodes: Number of nodes N.
        embedding_size: Length of the embeddings.
        neighbours: Number k of entries kept in each row.
        saturation: The slope :math:`\alpha`.

    Examples:
        >>> GraphLearner(5, 8, neighbours=2, saturation=3.0)().shape
        torch.Size([5, 5])
    """

    def __init__(self, num_nodes: int, embedding_size: int, *, neighbours: int, saturation: float) -> None:
        super().__init__()
        self.neighbours, self.saturation = min(neighbours, num_nodes), saturation
        self.source = nn.Parameter(torch.randn(num_nodes, embedding_size))
        self.target = nn.Parameter(torch.randn(num_nodes, embedding_size))
        self.source_map = nn.Linear(embedding_size, embedding_size)
        self.target_map = nn.Linear(embedding_size, embedding_size)

    def forward(self) -> Tensor:
        """Return the adjacency matrix ``[N, N]``; an entry (i, j) lets node i take from node j."""
        source = torch.tanh(self.saturation * self.source_map(self.source))
        target = torch.tanh(self.saturation * self.target_map(self.target))
        product = source @ target.T
        adjacency = torch.relu(torch.tanh(self.saturation * (product - product.T)))
        values, columns = adjacency.topk(self.neighbours, dim=1)
        return torch.zeros_like(adjacency).scatter(1, columns, values)


class DilatedInception(nn.Module):
    """Gated causal convolutions over 2, 3, 6 and 7 steps beside each other, each giving a quarter of the channels.

    Args:
        in_channels: Number of input channels F.
        out_channels: Number of output channels F', divisible by 4.
        dilation: Distance d of neighbouring steps of a kernel.

    Shapes:
        - **x:** ``[N, T, B, F]``
        - **output:** ``[N, T - 6 d, B, F']``; step t sees the inputs up to t + 6 d of ``x``

    Examples:
        >>> DilatedInception(3, 8, dilation=1)(torch.ones(4, 9, 2, 3)).shape
        torch.Size([4, 3, 2, 8])
    """

    def __init__(self, in_channels: int, out_channels: int, *, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        quarter = out_channels // len(_KERNELS)
        self.convolutions = nn.ModuleList(nn.Conv2d(in_channels, 2 * quarter, (kernel, 1)) for kernel in _KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return the gated features."""
        weights = [convolution.get_parameter("weight") for convolution in self.convolutions]
        # All kernels in one: a narrower one sees the last steps of the widest, and has zeros before them.
        weight = torch.cat([pad(w, (0, 0, _WIDEST - w.shape[2], 0)) for w in weights])
        bias = torch.cat([convolution.get_parameter("bias") for convolution in self.convolutions])
        # For the convolution, [N, T, B, F] is an image of T x B pixels whose channels lie last: nothing is copied.
        mapped = conv2d(x.permute(0, 3, 1, 2), weight, bias, dilation=(self.dilation, 1)).permute(0, 2, 3, 1)
        value, gate = mapped.unflatten(-1, (len(_KERNELS), 2, -1)).unbind(-2)
        return (torch.tanh(value) * torch.sigmoid(gate)).flatten(-2)


class MixHop(nn.Module):
    r"""Propagation that returns to its input, :math:`H_k = \beta x + (1 - \beta) A H_{k-1}`, all hops weighted.

    The output is :math:`\sum_{k=0}^K H_k W_k + b` with :math:`H_0 = x`.

    Args:
        in_channels: Number of input channels F.
        out_channels: Number of output channels F'.
        depth: Number of hops K.
        keep: Share :math:`\beta` of the input.

    Shapes:
        - **x:** ``[N, ..., F]``
        - **transition:** ``[N, N]``
        - **output:** ``[N, ..., F']``

    Examples:
        >>> MixHop(3, 5, depth=2, keep=0.05)(torch.ones(4, 7, 2, 3), torch.eye(4)).shape
        torch.Size([4, 7, 2, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, depth: int, keep: float) -> None:
        super().__init__()
        self.in_channels, self.keep = in_channels, keep
        self.weight = nn.Linear((depth + 1) * in_channels, out_channels)

    def forward(self, x: Tensor, transition: Tensor) -> Tensor:
        """Return the weighted sum of all hops."""
        first, *others = self.weight.weight.split(self.in_channels, dim=1)
        total, hop = linear(x, first, self.weight.bias), x
        for weight in others:
            moved = (transition @ hop.flatten(1)).view_as(x)
            hop = torch.lerp(moved, x, self.keep)
            total = total + linear(hop, weight)
        return total


class _Layer(nn.Module):
    def __init__(
        self, gate: DilatedInception, mixes: list[MixHop], norm: _NodeNorm, skip: nn.Linear, dropout: float
    ) -> None:
        super().__init__()
        self.gate, self.propagations, self.norm, self.skip = gate, nn.ModuleList(mixes), norm, skip
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, transitions: list[Tensor]) -> tuple[Tensor, Tensor]:
        gated = self.dropout(self.gate(h))
        along, against = (mix(gated, a) for mix, a in zip(self.propagations, transitions, strict=True))
        return self.norm(along + against + h[:, -gated.shape[1] :]), self.skip(_flatten_steps(gated))


class _NodeNorm(nn.Module):
    """Normalise each window of ``[N, T, B, F]`` as a whole, with a scale and shift of each node, step and channel."""

    def __init__(self, num_nodes: int, steps: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_nodes, steps, 1, channels))
        self.bias = nn.Parameter(torch.zeros(num_nodes, steps, 1, channels))

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(0, 1, 3), correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + 1e-5) * self.weight + self.bias


def _with_loops(adjacency: Tensor) -> Tensor:
    """Return the transition matrix of the graph with a loop of weight 1 at each node."""
    looped = adjacency + torch.eye(len(adjacency), dtype=adjacency.dtype, device=adjacency.device)
    return looped / looped.sum(1, keepdim=True)


def _flatten_steps(x: Tensor) -> Tensor:
    """Turn ``[N, T, B, F]`` into ``[N, B, T * F]``."""
    return x.transpose(1, 2).flatten(2)
