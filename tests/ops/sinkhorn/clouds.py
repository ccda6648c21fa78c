"""Random point clouds and their costs."""

from __future__ import annotations

import torch
from torch import Tensor

COSTS = ("sqeuclidean", "euclidean")


def rand(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def weights(*shape: int, seed: int = 0) -> Tensor:
    value = rand(*shape, seed=seed) + 0.1
    return value / value.sum(dim=-1, keepdim=True)


def full_cost(x: Tensor, y: Tensor, cost: str) -> Tensor:
    distances = (x.unsqueeze(-2) - y.unsqueeze(-3)).norm(dim=-1)
    return distances.square() if cost == "sqeuclidean" else distances
