"""Ridge regression of many series at once, each on its neighbours, with residuals from folds that were left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["CrossFittedRidge", "NeighborTable", "cross_fitted_ridge", "neighbor_table", "shift_steps", "time_folds"]

_JITTER = 1e-6  # on the intercept, in units of observations: keeps a series without observations solvable


class NeighborTable(NamedTuple):
    r"""Neighbours of each node, as many columns as the largest number.

    Args:
        source: Number of each neighbour, 0 where there is none.
        exists: True where there is one.

    Shapes:
        - **source**, **exists:** :math:`(N, k)`
    """

    source: Tensor
    exists: Tensor


class CrossFittedRidge(NamedTuple):
    r"""Weights of a ridge regression, and what weights from the other folds expected of each fold.

    Args:
        weight: Weights from all observations.
        fitted: For each step what the weights without its fold expect.
        alpha: The penalty that was chosen.

    Shapes:
        - **weight:** :math:`(M, F)`, **fitted:** :math:`(M, T)`, **alpha:** :math:`(M)`
    """

    weight: Tensor
    fitted: Tensor
    alpha: Tensor


def neighbor_table(edge_index: Tensor, num_nodes: int, limit: int, relevance: Tensor | None = None) -> NeighborTable:
    r"""Table of the neighbours of each node from edges; loops are left out.

    Args:
        edge_index: Row 0 the neighbour, row 1 the node.
        num_nodes: Number of nodes N.
        limit: Largest number of neighbours of a node.
        relevance: Which neighbours to keep, those of the largest relevance. (default: the first)

    Shapes:
        - **edge_index:** :math:`(2, E)`, **relevance:** :math:`(E)`, **output:** :math:`(N, k)`

    Examples:
        >>> neighbor_table(torch.tensor([[1, 2, 0], [0, 0, 1]]), num_nodes=3, limit=2).source
        tensor([[1, 2],
                [0, 0],
                [0, 0]])
    """
    if limit < 1:
        raise InputError(f"limit is {limit}; expected at least 1")
    if relevance is not None:
        edge_index = edge_index[:, relevance.argsort(descending=True, stable=True)]
    source, target = edge_index[:, edge_index[0] != edge_index[1]]
    order = target.argsort(stable=True)
    source, target = source[order], target[order]
    rank = _rank_in_run(target, num_nodes)
    kept = rank < limit
    width = int(rank[kept].max()) + 1 if bool(kept.any()) else 0
    index = source.new_zeros(num_nodes, width)
    exists = torch.zeros(num_nodes, width, dtype=torch.bool, device=source.device)
    index[target[kept], rank[kept]] = source[kept]
    exists[target[kept], rank[kept]] = True
    return NeighborTable(index, exists)


def _rank_in_run(sorted_index: Tensor, size: int) -> Tensor:
    """Place of each entry among those of the same number."""
    count = torch.bincount(sorted_index, minlength=size)
    first = count.cumsum(0) - count
    return torch.arange(len(sorted_index), device=sorted_index.device) - first[sorted_index]


def shift_steps(values: Tensor, steps: int, fill: float | None = None) -> Tensor:
    r"""Values some steps earlier (positive) or later (negative); at the ends the outermost value, or ``fill``.

    Shapes:
        - **values**, **output:** :math:`(*, T)`

    Examples:
        >>> shift_steps(torch.tensor([1, 2, 3]), 1), shift_steps(torch.tensor([1, 2, 3]), -1, fill=0)
        (tensor([1, 1, 2]), tensor([2, 3, 0]))
    """
    if steps == 0:
        return values
    length = values.shape[-1]
    index = torch.arange(length, device=values.device) - steps
    shifted = values[..., index.clamp(0, length - 1)]
    return shifted if fill is None else shifted.masked_fill((index < 0) | (index >= length), fill)


def time_folds(num_steps: int, folds: int) -> Tensor:
    r"""Number of the fold of each step: stretches of equal length, one after another.

    Shapes:
        - **output:** :math:`(T)`, int64

    Examples:
        >>> time_folds(5, 2)
        tensor([0, 0, 0, 1, 1])
    """
    return torch.arange(num_steps) * folds // max(1, num_steps)


def cross_fitted_ridge(
    features: Tensor,
    target: Tensor,
    weight: Tensor,
    fold: Tensor,
    alphas: Sequence[float] = (1.0, 10.0, 100.0, 1000.0),
) -> CrossFittedRidge:
    r"""Ridge regression of each row in closed form, with the penalty of least squared error on folds left out.

    What a regression expects of observations it was fitted to is too good. Here each step is expected from the other
    folds: their normal equations are those of all minus those of the fold.

    Args:
        features: Features, the first of them the constant 1, which is not penalised.
        target: What is to be expected.
        weight: Weight of each observation, 0 where the target is missing.
        fold: Fold of each step.
        alphas: Penalties to choose from for each row, in units of observations.

    Shapes:
        - **features:** :math:`(M, T, F)` or :math:`(1, T, F)`, **target**, **weight:** :math:`(M, T)`, **fold:**
          :math:`(T)`

    Examples:
        >>> features = torch.stack([torch.ones(8), torch.arange(8.0)], dim=-1)[None]
        >>> target = 2 + 3 * torch.arange(8.0)[None]
        >>> fit = cross_fitted_ridge(features, target, torch.ones(1, 8), time_folds(8, 2), alphas=[1e-9])
        >>> fit.weight.round(decimals=3)
        tensor([[2., 3.]])
    """
    rows, size = len(target), features.shape[-1]
    folds = [(fold == number).nonzero().squeeze(-1) for number in range(int(fold.max()) + 1)]
    gram, moment = [], []
    for steps in folds:
        part, weighted = features[:, steps], weight[:, steps, None]
        gram.append((part.mT @ (part * weighted)).double())
        moment.append((part.mT @ (target[:, steps, None] * weighted)).double())
    grams, moments = torch.stack(gram), torch.stack(moment)
    grams, moments = torch.cat([grams.sum(0, True) - grams, grams.sum(0, True)]), _and_total(moments)
    best = target.new_full((rows,), float("inf"))
    result = CrossFittedRidge(target.new_zeros(rows, size), torch.zeros_like(target), target.new_zeros(rows))
    # The largest first, as the first of equals is chosen: without evidence, shrink.
    for alpha in sorted(alphas, reverse=True):
        penalty = grams.new_full((size,), alpha)
        penalty[0] = _JITTER
        solved = torch.linalg.solve(grams + penalty.diag(), moments).to(features.dtype)
        fitted = torch.empty_like(target)
        for number, steps in enumerate(folds):
            fitted[:, steps] = (features[:, steps] @ solved[number]).squeeze(-1)
        error = ((target - fitted).square() * weight).sum(-1)
        better = error < best
        best = torch.where(better, error, best)
        result = CrossFittedRidge(
            torch.where(better[:, None], solved[-1].squeeze(-1), result.weight),
            torch.where(better[:, None], fitted, result.fitted),
            torch.where(better, alpha, result.alpha),
        )
    return result


def _and_total(moments: Tensor) -> Tensor:
    """The sums without each fold, and last the sum of all."""
    total = moments.sum(0, keepdim=True)
    return torch.cat([total - moments, total])
