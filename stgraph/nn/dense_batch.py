"""Graphs of different sizes side by side in one padded tensor, with any number of leading dimensions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["DenseBatch"]


class DenseBatch(NamedTuple):
    """Where the nodes of a PyG mini-batch stand among G graphs padded to M nodes.

    Args:
        mask: True where a graph has a node, ``[G, M]``.
        place: Place ``[N]`` of each node in the flattened ``[G * M]``.
    """

    mask: Tensor
    place: Tensor

    @classmethod
    def of(cls, batch: Tensor, num_nodes: int) -> DenseBatch:
        """Read the ``batch`` vector ``[N]`` of a mini-batch.

        Raises:
            InputError: If it has a wrong shape or is not sorted.

        Examples:
            >>> import torch
            >>> DenseBatch.of(torch.tensor([0, 0, 1]), 3).mask
            tensor([[ True,  True],
                    [ True, False]])
        """
        if batch.shape != (num_nodes,):
            raise InputError(f"batch has shape {tuple(batch.shape)}; expected ({num_nodes},)")
        if bool((batch.diff() < 0).any()):
            raise InputError(
                "batch is not sorted; expected the nodes of each graph next to each other, as PyG has them"
            )
        _, graph, counts = torch.unique_consecutive(batch, return_inverse=True, return_counts=True)
        size = int(counts.max()) if counts.numel() else 0
        first = counts.cumsum(0) - counts
        place = torch.arange(num_nodes, device=batch.device) - first[graph]
        return cls(torch.arange(size, device=batch.device) < counts.unsqueeze(-1), graph * size + place)

    def pad(self, x: Tensor) -> Tensor:
        """Bring node features ``[..., N, F]`` to ``[..., G, M, F]``, zero where there is no node."""
        dense: Tensor = x.new_zeros(*x.shape[:-2], self.mask.numel(), x.shape[-1]).index_copy(-2, self.place, x)
        graphs: Tensor = dense.unflatten(-2, tuple(self.mask.shape))
        return graphs

    def unpad(self, dense: Tensor) -> Tensor:
        """Bring ``[..., G, M, F]`` back to ``[..., N, F]``."""
        return dense.flatten(-3, -2).index_select(-2, self.place)
