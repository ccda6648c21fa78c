"""Multi-scale anisotropic graph attention."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax

from stgraph.errors import InputError
from stgraph.nn.same import same_inputs
from stgraph.ops.sampled import EdgeStructure, edge_softmax, edge_structure, neighbor_sum, sampled_dot

__all__ = ["MGAT", "EdgeGeometry"]

#: Radius, base width, slope of the width with distance, and bonus of the centre, for each scale.
SCALES = ((1.5, 0.25, 0.20, 0.70), (2.5, 0.35, 0.20, 0.50), (4.0, 0.55, 0.25, 0.30))
_GATE_CHANNELS = 16
_CUT = -1e4
_DISTANCE_SLOPE = 0.25


class EdgeGeometry(NamedTuple):
    """What :class:`MGAT` needs of a graph and can compute once (see :meth:`MGAT.prepare`).

    ``features`` holds constants of each edge, ``[E, 3 M + 1]``: for each scale the M products of relative position
    components over its variance, then the prior. ``cut`` ``[E, 3]`` is 1 where an edge is longer than a scale's radius
    and is ``None`` if none is; ``cut_relative`` is the same, but 0 at nodes all of whose edges are longer.
    """

    structure: EdgeStructure
    distance: Tensor
    features: Tensor
    cut: Tensor | None
    cut_relative: Tensor | None


class MGAT(MessagePassing):
    r"""Attention over the edges of a geometric graph whose reach, scale and direction each node chooses.

    With queries :math:`q`, keys :math:`k`, the relative position :math:`r_{ij}` and the length :math:`\ell_{ij}` of
    each edge :math:`j \to i`, and the rows :math:`S` of a transport plan (:class:`GOT`), the logit at scale :math:`s`
    is

    .. math::
        \frac{q_i \cdot k_j}{\sqrt d} - \frac{r_{ij}^\top A_i r_{ij}}{\sigma_s(\ell_{ij})^2} - \tfrac14 \ell_{ij}
        + S_i \cdot S_j + b_s e^{-\ell_{ij}^2 / R_0^2}

    and :math:`-10^4` beyond the radius of the scale. The node's own features give the metric
    :math:`A_i = L_i L_i^\top` and the gate :math:`g_i` that mixes three scales. A softmax over the neighbours weights
    the values, and a residual connection with LayerNorm follows.

    Everything that depends on the graph alone is computed once per graph and kept. The scales are mixed per node before
    they meet the edges, so that one softmax suffices, and the products over edges are sampled dense-dense and
    sparse-dense ones: memory is O(N d + E), not O(E d). Edges may be of any number per node.

    Args:
        channels: Number of features d.
        pos_dim: Dimension D of the positions.
        heads: Number of attention heads; the anisotropy and the gate are shared.
        radius: Length :math:`R_0` of the prior, in the units of the edge length.
        dropout: Dropout of the attention's output, applied twice as in the original formulation.
        path: ``"sampled"`` for the products along edges, ``"gather"`` for PyG's message passing, which is faster on
            graphs with very few edges, ``"auto"`` to choose by size. All give the same result.

    Shapes:
        - **input:** features :math:`(..., N, d)`; edges :math:`(2, E)`; edge attributes :math:`(E, D + 1)`, the
          relative position of target to source (scaled to about [-1, 1]) and the length; plan rows :math:`(..., N, K)`
        - **output:** features :math:`(..., N, d)`

    Examples:
        >>> import torch
        >>> edge_index = torch.tensor([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]])
        >>> pos = torch.rand(3, 2)
        >>> rel = pos[edge_index[1]] - pos[edge_index[0]]
        >>> edge_attr = torch.cat([rel, rel.norm(dim=-1, keepdim=True)], dim=-1)
        >>> layer = MGAT(8)
        >>> layer(torch.randn(4, 3, 8), edge_index, edge_attr).shape  # 4 windows on one static graph
        torch.Size([4, 3, 8])
    """

    def __init__(
        self,
        channels: int,
        pos_dim: int = 2,
        heads: int = 1,
        *,
        radius: float = 1.5,
        dropout: float = 0.1,
        path: str = "auto",
    ) -> None:
        super().__init__(aggr="add", node_dim=-2)
        if heads < 1 or channels % heads:
            raise InputError(f"channels = {channels} is not divisible by heads = {heads}")
        if pos_dim < 1:
            raise InputError(f"pos_dim is {pos_dim}; expected at least 1")
        if not radius > 0:
            raise InputError(f"radius is {radius}; expected a positive number")
        if path not in ("auto", "sampled", "gather"):
            raise InputError(f"path is {path!r}; expected 'auto', 'sampled' or 'gather'")
        self.channels, self.pos_dim, self.heads, self.radius, self.path = channels, pos_dim, heads, radius, path
        num_metric = pos_dim * (pos_dim + 1) // 2
        self.lin_query = nn.Linear(channels, channels)
        self.lin_key = nn.Linear(channels, channels)
        self.lin_value = nn.Linear(channels, channels)
        self.lin_out = nn.Linear(channels, channels)
        self.plan_summary = nn.Sequential(
            nn.Linear(2, _GATE_CHANNELS), nn.GELU(), nn.Linear(_GATE_CHANNELS, _GATE_CHANNELS), nn.GELU()
        )
        self.node_summary = nn.Sequential(nn.Linear(channels, _GATE_CHANNELS), nn.GELU())
        self.lin_metric = nn.Linear(2 * _GATE_CHANNELS, num_metric)
        self.lin_gate = nn.Linear(2 * _GATE_CHANNELS, len(SCALES))
        # The original drops out twice in a row, after the projection and on the residual branch; this is the same law.
        self.dropout = nn.Dropout(1 - (1 - dropout) ** 2)
        self.norm = nn.LayerNorm(channels)
        self._prepared: tuple[Tensor, Tensor, EdgeGeometry] | None = None

    def reset_parameters(self) -> None:
        """Draw new parameters and forget the prepared graph."""
        super().reset_parameters()
        self._prepared = None
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | EdgeGeometry,
        edge_attr: Tensor | None = None,
        plan: Tensor | None = None,
    ) -> Tensor:
        """Attend over the edges.

        Args:
            x: Node features ``[..., N, d]``.
            edge_index: Edges ``[2, E]``, j to i, or what :meth:`prepare` made of them.
            edge_attr: Relative position and length ``[E, D + 1]``; not needed with a prepared graph.
            plan: Plan rows ``[..., N, K]``; without them the terms that use the plan are 0.

        Raises:
            InputError: If a shape does not fit.
        """
        metric, gate = self.anisotropy(x, plan)
        heads = (self.heads, self.channels // self.heads)
        query, key, value = (
            layer(x).unflatten(-1, heads).transpose(-3, -2) for layer in (self.lin_query, self.lin_key, self.lin_value)
        )
        if not isinstance(edge_index, EdgeGeometry) and self._gathers(x, edge_index):
            attended = self._gather_path(query, key, value, metric, gate, edge_index, edge_attr, plan)
        else:
            geometry = edge_index if isinstance(edge_index, EdgeGeometry) else self._geometry(x, edge_index, edge_attr)
            logits = sampled_dot(query, key, geometry.structure) * heads[1] ** -0.5
            logits = self._add_geometry(logits, geometry, metric, gate, plan)
            attended = neighbor_sum(edge_softmax(logits, geometry.structure), value, geometry.structure)
        attended = attended.transpose(-3, -2).flatten(-2)
        out: Tensor = self.norm(x + self.dropout(self.lin_out(attended)))
        return out

    def anisotropy(self, x: Tensor, plan: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the lower triangular factor of each node's metric and its gate over the scales.

        Returns:
            tuple[Tensor, Tensor]: The entries of L row by row ``[..., N, D (D + 1) / 2]`` and the gate ``[..., N, 3]``.
        """
        if plan is None:
            moments = x.new_zeros(*x.shape[:-1], 2)
        else:
            moments = torch.stack([plan.mean(dim=-1), plan.square().mean(dim=-1)], dim=-1)
        summary = torch.cat([self.plan_summary(moments), self.node_summary(x)], dim=-1)
        raw = self.lin_metric(summary)
        diagonal = raw.new_tensor([row == col for row, col in self._triangle()], dtype=torch.bool)
        return torch.where(diagonal, raw.exp(), raw), self.lin_gate(summary).softmax(dim=-1)

    def metric(self, x: Tensor, plan: Tensor | None = None) -> Tensor:
        """Return the metric A of each node, ``[..., N, D, D]``."""
        lower = x.new_zeros(*x.shape[:-1], self.pos_dim, self.pos_dim)
        rows, cols = zip(*self._triangle(), strict=True)
        lower[..., list(rows), list(cols)] = self.anisotropy(x, plan)[0]
        return lower @ lower.mT

    def prepare(self, edge_index: Tensor, edge_attr: Tensor, num_nodes: int) -> EdgeGeometry:
        """Compute once what depends on the graph alone.

        Args:
            edge_index: Edges ``[2, E]``, j to i.
            edge_attr: Relative position and length ``[E, D + 1]``.
            num_nodes: Number of nodes N.
        """
        structure = edge_structure(edge_index, num_nodes)
        edge_attr = edge_attr[structure.order]
        distance, features, cut = self._edge_features(edge_attr)
        if not bool(cut.any()):
            return EdgeGeometry(structure, distance, features, None, None)
        # A cut shared by all edges of a node shifts all of its logits alike, which the softmax ignores; taking it out
        # keeps the other terms from drowning in the rounding of a large number.
        index = structure.row.unsqueeze(-1).expand_as(cut)
        everywhere = cut.new_ones(num_nodes, cut.shape[-1]).scatter_reduce(0, index, cut, "amin")
        return EdgeGeometry(structure, distance, features, cut, cut - everywhere[structure.row])

    def _triangle(self) -> list[tuple[int, int]]:
        return [(row, col) for row in range(self.pos_dim) for col in range(row + 1)]

    def _gathers(self, x: Tensor, edge_index: Tensor) -> bool:
        if self.path == "auto":
            # Below this size the set-up of the sparse products costs more than copies of keys and values.
            return x.numel() // max(x.shape[-2], 1) * edge_index.shape[1] < 2**17
        return self.path == "gather"

    def _geometry(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor | None) -> EdgeGeometry:
        edge_attr = self._check_edge_attr(edge_index, edge_attr)
        if torch.compiler.is_compiling():
            return self.prepare(edge_index, edge_attr, x.shape[-2])
        kept = self._prepared
        if (
            kept is None
            or kept[2].structure.num_nodes != x.shape[-2]
            or not same_inputs(kept[:2], (edge_index, edge_attr))
        ):
            geometry = self.prepare(edge_index, edge_attr, x.shape[-2])
            self._prepared = (edge_index.clone(), edge_attr.clone(), geometry)
            return geometry
        return kept[2]

    def _check_edge_attr(self, edge_index: Tensor, edge_attr: Tensor | None) -> Tensor:
        expected = (edge_index.shape[1], self.pos_dim + 1)
        if edge_attr is None or edge_attr.shape != expected:
            came = None if edge_attr is None else tuple(edge_attr.shape)
            raise InputError(f"edge_attr has shape {came}; expected {expected}: relative position and length")
        return edge_attr

    def _edge_features(self, edge_attr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Constants of each edge: its length, the features of the anisotropic logit, and where each scale cuts."""
        rel, distance = edge_attr[..., :-1], edge_attr[..., -1]
        radius, base, slope, _ = torch.tensor(SCALES, dtype=rel.dtype, device=rel.device).unbind(dim=-1)
        precision = 1 / (base + slope * distance.unsqueeze(-1)).square().clamp(min=1e-6)
        products = torch.stack([rel[..., a] * rel[..., b] * (1 if a == b else 2) for a, b in self._triangle()], dim=-1)
        scaled = (precision.unsqueeze(-1) * products.unsqueeze(-2)).flatten(-2)
        prior = torch.exp(-((distance / self.radius) ** 2)).unsqueeze(-1)
        return distance, torch.cat([scaled, prior], dim=-1), (distance.unsqueeze(-1) > radius).to(rel.dtype)

    def _node_coefficients(self, metric: Tensor, gate: Tensor) -> Tensor:
        """Factors ``[..., N, 3 M + 1]`` that turn the features of an edge into its geometric logit."""
        # Entry (a, b) of L L^T is the product of the rows a and b of L.
        rows: list[list[int]] = [[] for _ in range(self.pos_dim)]
        for place, (row, _) in enumerate(self._triangle()):
            rows[row].append(place)
        entries = torch.stack(
            [(metric[..., rows[a][: b + 1]] * metric[..., rows[b]]).sum(dim=-1) for a, b in self._triangle()], dim=-1
        )
        quadratic = -(gate.unsqueeze(-1) * entries.unsqueeze(-2)).flatten(-2)
        bonus = gate.new_tensor([scale[3] for scale in SCALES])
        return torch.cat([quadratic, (gate @ bonus).unsqueeze(-1)], dim=-1)

    def _add_geometry(
        self, logits: Tensor, geometry: EdgeGeometry, metric: Tensor, gate: Tensor, plan: Tensor | None
    ) -> Tensor:
        """Add what the heads share; ``logits`` is ``[..., heads, E]``."""
        structure = geometry.structure
        cut, relative = geometry.cut, geometry.cut_relative
        coefficients = self._node_coefficients(metric, gate)
        shared = -_DISTANCE_SLOPE * geometry.distance.to(logits.dtype)
        if plan is not None:
            shared = shared + sampled_dot(plan, plan, structure)
        if cut is None or relative is None:
            shared = shared + _per_edge(coefficients, geometry.features, structure)
            return logits + shared.unsqueeze(-2)
        # A scale that cuts an edge replaces its whole logit, so the mixture keeps only the share of the other scales.
        keep = 1 - _per_edge(gate, cut, structure)
        reach = 1 - cut
        width = len(SCALES) * (self.pos_dim * (self.pos_dim + 1) // 2)
        quadratic = geometry.features[..., :width].unflatten(-1, (len(SCALES), -1)) * reach.unsqueeze(-1)
        bonus = gate * gate.new_tensor([scale[3] for scale in SCALES])
        shared = (
            shared * keep
            + _per_edge(coefficients[..., :width], quadratic.flatten(-2), structure)
            + _per_edge(bonus, reach * geometry.features[..., width:], structure)
            + _CUT * _per_edge(gate, relative, structure)
        )
        return logits * keep.unsqueeze(-2) + shared.unsqueeze(-2)

    def _gather_path(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        metric: Tensor,
        gate: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None,
        plan: Tensor | None,
    ) -> Tensor:
        """PyG's message passing: keys, values and plan rows are gathered for every edge."""
        edge_attr = self._check_edge_attr(edge_index, edge_attr).to(query.dtype)
        nodes = query.shape[-2]
        metric, gate = metric.unsqueeze(-3), gate.unsqueeze(-3)
        plan = plan if plan is None else plan.unsqueeze(-3)
        attended: Tensor = self.propagate(
            edge_index, query=query, key=key, value=value, plan=plan, coefficients=metric, gate=gate,
            edge_attr=edge_attr, size=(nodes, nodes),
        )  # fmt: skip
        return attended

    def message(
        self,
        query_i: Tensor,
        key_j: Tensor,
        value_j: Tensor,
        plan_i: Tensor | None,
        plan_j: Tensor | None,
        coefficients_i: Tensor,
        gate_i: Tensor,
        edge_attr: Tensor,
        index: Tensor,
        size_i: int | None,
    ) -> Tensor:
        """Weight the values ``[..., heads, E, d / heads]`` by attention."""
        distance, features, cut = self._edge_features(edge_attr)
        content = (query_i * key_j).sum(dim=-1) * query_i.shape[-1] ** -0.5 - _DISTANCE_SLOPE * distance
        if plan_i is not None and plan_j is not None:
            content = content + (plan_i * plan_j).sum(dim=-1)
        width = features.shape[-1] - 1
        parts = self._node_coefficients(coefficients_i, torch.ones_like(gate_i))[..., :width] * features[..., :width]
        quadratic = parts.unflatten(-1, (len(SCALES), -1)).sum(dim=-1)
        bonus = gate_i.new_tensor([scale[3] for scale in SCALES])
        scales = content.unsqueeze(-1) + quadratic + bonus * features[..., width:]
        logits = (gate_i * torch.where(cut.bool(), _CUT, scales)).sum(dim=-1)
        weight: Tensor = softmax(logits, index, num_nodes=size_i, dim=-1)
        return weight.unsqueeze(-1) * value_j

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"{self.channels}, pos_dim={self.pos_dim}, heads={self.heads}, radius={self.radius}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _per_edge(node: Tensor, edge: Tensor, structure: EdgeStructure) -> Tensor:
    """Inner product of the target's values ``[..., N, F]`` and constants ``[E, F]`` at each edge, ``[..., E]``."""
    edge = edge.to(node.dtype)
    if structure.degree is None:
        return torch.sum(node.index_select(-2, structure.row) * edge, dim=-1)
    blocks = edge.unflatten(0, (structure.num_nodes, structure.degree))
    lead = node.shape[:-2]
    batched = node.reshape(-1, *node.shape[-2:]).transpose(0, 1) @ blocks.mT
    return torch.reshape(batched.transpose(0, 1), (*lead, structure.num_edges))
