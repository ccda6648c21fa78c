"""Mixing of nodes by filters over the frequencies of their graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.nn.dense_batch import DenseBatch
from stgraph.nn.same import same_inputs
from stgraph.nn.spectral.base import MixingLayer, learned_properties
from stgraph.nn.spectral.tokens import check_tokens
from stgraph.ops.graph_fourier import laplacian_modes
from stgraph.ops.transforms.precision import full_precision

__all__ = ["GraphFourierMixing", "GraphModes"]


class GraphModes(nn.Module):
    """The smoothest modes of the last graph, computed once.

    Args:
        num_modes: Number of modes K of each graph.
    """

    def __init__(self, num_modes: int) -> None:
        super().__init__()
        self.num_modes = num_modes
        self._graph: tuple[Any, ...] | None = None
        self._modes: tuple[Tensor, Tensor] | None = None

    def forward(
        self,
        edge_index: Tensor,
        num_nodes: int,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return eigenvalues ``[G, K]`` and eigenvectors ``[N, K]`` of the G graphs, zero where one has fewer modes."""
        graph = (edge_index, num_nodes, edge_weight, batch)
        if self._modes is None or self._graph is None or not same_inputs(self._graph, graph):
            self._modes = self._compute(*graph)
            self._graph = tuple(part.clone() if isinstance(part, Tensor) else part for part in graph)
        return self._modes

    def _compute(
        self, edge_index: Tensor, num_nodes: int, edge_weight: Tensor | None, batch: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if batch is None:
            batch = torch.zeros(num_nodes, dtype=torch.long, device=edge_index.device)
        counts = DenseBatch.of(batch, num_nodes).mask.sum(dim=-1).tolist()
        values = torch.zeros(len(counts), self.num_modes, device=edge_index.device)
        vectors = torch.zeros(num_nodes, self.num_modes, device=edge_index.device)
        first = 0
        for i, count in enumerate(counts):  # an eigenproblem each
            inside = (edge_index[1] >= first) & (edge_index[1] < first + count)
            weight = None if edge_weight is None else edge_weight[inside]
            own, modes = laplacian_modes(edge_index[:, inside] - first, count, self.num_modes, weight)
            values[i, : len(own)], vectors[first : first + count, : len(own)] = own, modes
            first += count
        return values, vectors


class GraphFourierMixing(MixingLayer):
    r"""Filter node features over the lowest frequencies of their graph.

    With the eigenvalues :math:`\lambda_k` and eigenvectors :math:`u_k` of the K smoothest modes of the symmetric
    normalised Laplacian, found by Lanczos iterations and kept as long as the graph is the same,

    .. math::
        Y = X + \sum_{k < K} u_k \, g(\lambda_k) \odot (u_k^\top X)

    The response g of each channel is a function of the frequency :math:`\sqrt{\lambda / 2} \in [0, 1]`, linear between
    learned values, and not a weight for each mode. So it does not depend on the sign of an eigenvector or the
    basis of a repeated eigenvalue (as long as all of its modes are among the K), the layer is permutation
    equivariant, and it carries over to other graphs. For graphs that are no grids it takes the place of the layers
    over images. After D. I. Shuman et al., "The emerging field of signal processing on graphs", IEEE Signal
    Processing Magazine 30(3), 2013.

    Args:
        hidden_dim: Number of channels D.
        num_modes: Number of modes K of each graph.
        num_knots: Number of learned values of each response.
        dropout: Probability of dropout on what is added to the input.

    Shapes:
        - **input:** features :math:`(..., N, D)`, ``edge_index`` :math:`(2, E)`, ``edge_weight`` :math:`(E)`, ``batch``
          :math:`(N)`
        - **output:** :math:`(..., N, D)`

    Raises:
        InputError: If an argument is out of range or the input has another number of channels.

    Examples:
        >>> ring = torch.stack([torch.arange(6), (torch.arange(6) + 1) % 6])
        >>> layer = GraphFourierMixing(hidden_dim=8, num_modes=3)
        >>> layer(torch.randn(2, 6, 8), ring).shape
        torch.Size([2, 6, 8])
    """

    def __init__(self, hidden_dim: int, num_modes: int = 32, num_knots: int = 16, dropout: float = 0.0) -> None:
        super().__init__(hidden_dim, dropout)
        if num_modes < 1:
            raise InputError(f"num_modes is {num_modes}; expected at least 1")
        if num_knots < 2:
            raise InputError(f"num_knots is {num_knots}; expected at least 2")
        self.num_modes, self.num_knots = num_modes, num_knots
        self.modes = GraphModes(num_modes)
        self.response = nn.Parameter(torch.empty(num_knots, hidden_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new responses, close to 1 at all frequencies."""
        nn.init.normal_(self.response, mean=1.0, std=0.02)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor | None = None,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        modes: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Filter the features.

        Args:
            x: Node features ``[..., N, D]``.
            edge_index: Edges ``[2, E]``; their direction plays no part.
            edge_weight: Positive weights ``[E]``; 1 if absent.
            batch: Graph of each node, ``[N]``, sorted.
            modes: What ``layer.modes(edge_index, num_nodes)`` returned, instead of ``edge_index``. The eigenproblem
                cannot be compiled or exported; with its solution the layer can.
        """
        check_tokens(x, self.hidden_dim)
        nodes = x.shape[-2]
        if modes is None:
            if edge_index is None:
                raise InputError("edge_index and modes are both None; expected one of them")
            modes = self.modes(edge_index, nodes, edge_weight, batch)
        values, vectors = modes
        if vectors.shape != (nodes, self.num_modes):
            raise InputError(f"modes has eigenvectors {tuple(vectors.shape)}; expected ({nodes}, {self.num_modes})")
        out: Tensor = self.dropout(_low_modes(x, vectors, self.frequency_response(values), batch))
        return x + out

    def frequency_response(self, eigenvalues: Tensor) -> Tensor:
        """Responses ``[..., D]`` at eigenvalues ``[...]`` of the normalised Laplacian."""
        place = (eigenvalues / 2).clamp(0, 1).sqrt() * (self.num_knots - 1)
        lower = place.floor().clamp(max=self.num_knots - 2)
        weight = (place - lower).to(self.response.dtype).unsqueeze(-1)
        index = lower.long()
        return self.response[index] * (1 - weight) + self.response[index + 1] * weight

    def get_spectral_properties(self) -> dict[str, Any]:
        """Return what holds for this instance."""
        return learned_properties(permutation_equivariant=True, mode_truncation=True)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.hidden_dim}, num_modes={self.num_modes}, num_knots={self.num_knots}"


@full_precision
def _low_modes(x: Tensor, vectors: Tensor, response: Tensor, batch: Tensor | None) -> Tensor:
    """Transform the features of each graph to its modes, multiply by the responses ``[G, K, D]``, transform back."""
    vectors, response = vectors.to(x.dtype), response.to(x.dtype)
    if batch is None:
        return vectors @ (response[0] * (vectors.mT @ x))
    dense = DenseBatch.of(batch, x.shape[-2])
    modes = dense.pad(vectors)
    return dense.unpad(modes @ (response * (modes.mT @ dense.pad(x))))
