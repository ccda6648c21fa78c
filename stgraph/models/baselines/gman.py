"""GMAN: attention over nodes and over time in gated blocks, and from the past to the future."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, pad, scaled_dot_product_attention
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline
from stgraph.models.baselines.supports import GraphCache, edge_weights
from stgraph.ops.graph_fourier import laplacian_modes

__all__ = ["GMAN", "AttentionBlock", "HeadAttention", "Projection"]

_WEEKDAYS = 7


class Projection(nn.Module):
    """A linear map of the last dimension, normalised over all others, and a rectifier where asked for.

    Args:
        in_channels: Number of input channels F.
        out_channels: Number of output channels F'.
        rectified: Whether negative values become 0.

    Examples:
        >>> Projection(3, 5)(torch.ones(2, 4, 3)).shape
        torch.Size([2, 4, 5])
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True, rectified: bool = True) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=bias)
        self.norm = nn.BatchNorm1d(out_channels)
        self.rectified = rectified
        nn.init.xavier_uniform_(self.linear.weight)
        if bias:
            nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mapped features."""
        mapped = self.linear(x)
        mapped = self.norm(mapped.flatten(0, -2)).view_as(mapped)
        return torch.relu(mapped) if self.rectified else mapped


class HeadAttention(nn.Module):
    """Attention of several heads among the places of the second last dimension.

    Args:
        query_channels: Number of channels that ask.
        key_channels: Number of channels that answer.
        value_channels: Number of channels that are passed on.
        hidden_channels: Number of channels D of all heads together.
        heads: Number of heads; divides D.

    Shapes:
        - **query:** ``[..., L, F_q]``, **key:** ``[..., M, F_k]``, **value:** ``[..., M, F_v]``
        - **output:** ``[..., L, D]``

    Examples:
        >>> attention = HeadAttention(3, 3, 2, 8, heads=4)
        >>> attention(torch.ones(5, 6, 3), torch.ones(5, 7, 3), torch.ones(5, 7, 2)).shape
        torch.Size([5, 6, 8])
    """

    def __init__(
        self, query_channels: int, key_channels: int, value_channels: int, hidden_channels: int, heads: int
    ) -> None:
        super().__init__()
        self.heads = heads
        self.query = Projection(query_channels, hidden_channels)
        self.key = Projection(key_channels, hidden_channels)
        self.value = Projection(value_channels, hidden_channels)
        self.out = Projection(hidden_channels, hidden_channels)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False, groups: _Groups | None = None
    ) -> Tensor:
        """Return what each place collects from all, with ``causal`` from no later one, or from its group alone."""
        parts = self.query(query), self.key(key), self.value(value)
        mask = None
        if groups is not None:
            parts = parts[0][..., groups.members, :], parts[1][..., groups.members, :], parts[2][..., groups.members, :]
            windows = parts[0].shape[:-3].numel()
            mask = groups.real.repeat(windows, 1).unsqueeze(1).unsqueeze(1)  # an empty place answers nobody
        query, key, value = (part.flatten(0, -3).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in parts)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        attended = attended.transpose(1, 2).flatten(2).view(parts[0].shape)
        if groups is not None:
            attended = attended.flatten(-3, -2)[..., groups.place, :]
        collected: Tensor = self.out(attended)
        return collected


class AttentionBlock(nn.Module):
    """Attention over nodes and over time, mixed by a gate, with a shortcut.

    Args:
        hidden_channels: Number of channels D.
        heads: Number of heads; divides D.
        grouped: Whether nodes attend within groups, and the groups to each other.

    Shapes:
        - **x:** ``[B, N, T, D]``; **embedding:** ``[B, N, T, D]``
        - **output:** ``[B, N, T, D]``; step t depends on no later one

    Examples:
        >>> AttentionBlock(8, heads=2)(torch.ones(2, 3, 4, 8), torch.ones(2, 3, 4, 8)).shape
        torch.Size([2, 3, 4, 8])
    """

    def __init__(self, hidden_channels: int, heads: int, *, grouped: bool = False) -> None:
        super().__init__()
        both = (2 * hidden_channels,) * 3
        self.over_nodes = HeadAttention(*both, hidden_channels, heads)
        self.over_time = HeadAttention(*both, hidden_channels, heads)
        self.over_groups = HeadAttention(*(hidden_channels,) * 4, heads) if grouped else None
        self.gate_nodes = Projection(hidden_channels, hidden_channels, bias=False, rectified=False)
        self.gate_time = Projection(hidden_channels, hidden_channels, rectified=False)
        self.fuse = _two_maps(hidden_channels, hidden_channels)

    def forward(self, x: Tensor, embedding: Tensor, groups: _Groups | None = None) -> Tensor:
        """Return the features after one block."""
        features = torch.cat([x, embedding], dim=-1)
        steps_first = features.transpose(1, 2)
        spatial = self.over_nodes(steps_first, steps_first, steps_first, groups=groups)
        if self.over_groups is not None and groups is not None:
            members = spatial[..., groups.members, :].masked_fill(~groups.real.unsqueeze(-1), -torch.inf)
            pooled = members.amax(dim=-2)
            spatial = spatial + self.over_groups(pooled, pooled, pooled)[..., groups.group, :]
        spatial = spatial.transpose(1, 2)
        temporal = self.over_time(features, features, features, causal=True)
        gate = torch.sigmoid(self.gate_nodes(spatial) + self.gate_time(temporal))
        fused: Tensor = x + self.fuse(gate * spatial + (1 - gate) * temporal)
        return fused


class GMAN(NeuralBaseline):
    r"""A graph multi-attention network: an encoder and a decoder of attention blocks over nodes and time.

    Every node and step has an embedding: the sum of one of the node's place in the graph and one of the time of day and
    weekday, also of the steps to come. In each block nodes attend to all nodes of the same step, steps to no later step
    of the same node, and a gate mixes both. Between encoder and decoder, the embeddings of the Q steps ask those of the
    P steps what to take from the encoder.

    A node's place in the graph is described by the smoothest modes of the graph's Laplacian (see
    :func:`stgraph.ops.laplacian_modes`), where the paper has node2vec vectors; two linear maps follow in both. With
    ``groups`` above 1 the nodes are parted at random once; a node attends within its group, and the maximum over each
    group to those of the other groups, which takes :math:`N^2 / G + G^2` instead of :math:`N^2` pairs.

    From Zheng et al., "GMAN: a graph multi-attention network for traffic prediction", AAAI 2020.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N; needed for groups alone.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        num_blocks: Number of blocks of the encoder, and of the decoder.
        heads: Number of attention heads.
        head_channels: Number of channels of each head.
        groups: Number of groups of nodes; 1 for attention among all nodes.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``edge_index`` :math:`(2, E)`, optionally ``edge_weight``,
          ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range or the batch has no graph.

    Examples:
        >>> model = GMAN(1, 12, 3, num_blocks=1, heads=2, head_channels=4, steps_per_cycle=288)
        >>> model.predict(torch.ones(2, 4, 12, 1), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]])).shape
        torch.Size([2, 4, 3, 1])
    """

    group_members: Tensor
    group_real: Tensor
    group_place: Tensor

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
        num_blocks: int = 5,
        heads: int = 8,
        head_channels: int = 8,
        groups: int = 1,
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
        at_least(1, num_blocks=num_blocks, heads=heads, head_channels=head_channels, groups=groups)
        hidden, grouped = heads * head_channels, groups > 1
        self.hidden_channels, self.grouped, self.cache = hidden, grouped, GraphCache()
        if grouped:
            self._part(groups)
        self.start = _two_maps(in_channels, hidden)
        self.embed_node = _two_maps(hidden, hidden)
        self.embed_time = _two_maps(_WEEKDAYS + steps_per_cycle, hidden)
        self.encoder = nn.ModuleList(AttentionBlock(hidden, heads, grouped=grouped) for _ in range(num_blocks))
        self.transform = HeadAttention(hidden, hidden, hidden, hidden, heads)
        self.decoder = nn.ModuleList(AttentionBlock(hidden, heads, grouped=grouped) for _ in range(num_blocks))
        self.end = nn.Sequential(Projection(hidden, hidden), nn.Linear(hidden, self.out_channels))

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        embedding = self.embedding(batch)
        past, future = embedding.split([self.input_steps, self.horizon], dim=2)
        groups = _Groups.of(self.group_members, self.group_real, self.group_place) if self.grouped else None
        hidden = self.start(x)
        for block in self.encoder:
            hidden = block(hidden, past, groups)
        hidden = self.transform(future, past, hidden)
        for block in self.decoder:
            hidden = block(hidden, future, groups)
        forecast: Tensor = self.end(hidden)
        return forecast

    def embedding(self, batch: Data) -> Tensor:
        """Return the embedding of every node and step, those of the input and the horizon, ``[B, N, P + Q, D]``."""
        slot, weekday = (
            torch.cat(both, dim=1) for both in zip(self.calendar(batch), self.calendar(batch, future=True), strict=True)
        )
        time = torch.cat([one_hot(weekday, _WEEKDAYS), one_hot(slot, self.steps_per_cycle)], dim=-1)
        (modes,) = self.cache(batch, self._modes)
        embedded: Tensor = self.embed_node(modes).unsqueeze(1) + self.embed_time(time.to(modes.dtype)).unsqueeze(1)
        return embedded

    def _modes(self, batch: Data) -> list[Tensor]:
        """The smoothest modes of the graph with a mean square of 1, ``[N, D]``; zeros where it has fewer than D."""
        edge_index, weight = edge_weights(batch)
        nodes = batch.x.shape[1]
        modes = laplacian_modes(edge_index, nodes, self.hidden_channels, weight)[1].to(batch.x) * nodes**0.5
        return [pad(modes, (0, self.hidden_channels - modes.shape[1]))]

    def _part(self, groups: int) -> None:
        """Part the nodes at random into groups whose sizes differ by at most one."""
        if self.num_nodes is None or groups > self.num_nodes:
            raise InputError(f"groups is {groups}; expected at most num_nodes = {self.num_nodes}")
        places = -(-self.num_nodes // groups)
        order = pad(torch.randperm(self.num_nodes), (0, places * groups - self.num_nodes), value=-1)
        members = order.view(places, groups).T.contiguous()  # so that no group is left without a node
        real = members >= 0
        self.register_buffer("group_members", members.clamp(min=0))
        self.register_buffer("group_real", real)
        self.register_buffer("group_place", real.flatten().nonzero()[members[real].argsort(), 0])


class _Groups(NamedTuple):
    """Groups of nodes: members ``[G, M]``, which of these are real, the place of each node in them, and its group."""

    members: Tensor
    real: Tensor
    place: Tensor
    group: Tensor

    @classmethod
    def of(cls, members: Tensor, real: Tensor, place: Tensor) -> _Groups:
        return cls(members, real, place, place // members.shape[1])


def _two_maps(in_channels: int, hidden_channels: int) -> nn.Sequential:
    return nn.Sequential(
        Projection(in_channels, hidden_channels), Projection(hidden_channels, hidden_channels, rectified=False)
    )
