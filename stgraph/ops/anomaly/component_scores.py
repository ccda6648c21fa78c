"""Scores of spectra in given principal components."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["component_scores"]

_ITERATIONS = 8
_HUBER = 1.345  # usual corner of Huber's function
_MAD_OF_NORMAL = 1.4826
_LEAST_ERROR = 0.1  # of the usual error: a point with an error below counts no more
_SPREAD_POINTS = 1000  # at least so many points of a spectrum, if it has them, tell its usual error and its spread
_BLOCK = 1 << 19  # values at a time: about the cache of a core


def component_scores(x: Tensor, mask: Tensor, components: Tensor, mean: Tensor, error: Tensor) -> Tensor:
    r"""Fit spectra by given components, robustly.

    Points far from the fit count less (Huber), so that a feature of a spectrum does not become part of what is
    expected of it.

    Args:
        x: Spectra.
        mask: True at good points.
        components: Principal components.
        mean: Mean spectrum.
        error: Standard errors, positive at good points; those below a tenth of the spectrum's median count as that.

    Shapes:
        - **x**, **mask**, **error:** :math:`(N, L)`, **components:** :math:`(K, L)`, **mean:** :math:`(L)`
        - **output:** :math:`(N, K)`; 0 for a spectrum without good points

    Examples:
        >>> x = torch.tensor([[2.0, 2.0, 2.0, 2.0, 2.0, 90.0]])
        >>> component = torch.full((1, 6), 6**-0.5)
        >>> scores = component_scores(x, x < 99, component, torch.zeros(6), torch.ones_like(x))
        >>> (scores @ component)[0, 0].round().item()
        2.0
    """
    rows = max(1, _BLOCK // max(x.shape[1], 1))
    parts = [
        _fit(*part, components, mean) for part in zip(x.split(rows), mask.split(rows), error.split(rows), strict=True)
    ]
    return torch.cat(parts) if parts else x.new_zeros(0, components.shape[0])


def _fit(x: Tensor, mask: Tensor, error: Tensor, components: Tensor, mean: Tensor) -> Tensor:
    rank = components.shape[0]
    precision = torch.where(mask, 1 / error, 0.0)
    thin = slice(None, None, max(1, x.shape[1] // _SPREAD_POINTS))
    usual = _median(precision[:, thin], mask[:, thin])
    least = torch.finfo(x.dtype).tiny
    usual = torch.where(usual > 0, usual, precision.amax(dim=1, keepdim=True).clamp(min=least))
    precision = (precision / usual).clamp(max=1 / _LEAST_ERROR)
    weight, target = precision.square(), (x - mean).masked_fill(~mask, 0.0)
    first, second = torch.triu_indices(rank, rank, device=x.device)
    products = (components[first] * components[second]).T
    huber = torch.ones_like(weight)
    scores = x.new_zeros(x.shape[0], rank)
    for _ in range(_ITERATIONS):
        used = weight * huber
        normal = x.new_empty(x.shape[0], rank, rank)
        normal[:, first, second] = normal[:, second, first] = used @ products
        scores = _solve(normal, (used * target) @ components.T)
        size = torch.addmm(target, scores, components, alpha=-1).abs_().mul_(precision)
        spread = _median(size[:, thin], mask[:, thin]).nan_to_num(1.0)
        corner = (_HUBER * _MAD_OF_NORMAL * spread).clamp(min=torch.finfo(x.dtype).eps)
        huber = corner / torch.maximum(size, corner)
    return scores


def _median(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, torch.nan).nanmedian(dim=1, keepdim=True).values


def _solve(normal: Tensor, right: Tensor) -> Tensor:
    """Solve normal equations in float64; directions that no good point tells of get 0."""
    size = normal.diagonal(dim1=1, dim2=2).amax(dim=1).double().clamp(min=1e-30)
    ridge = 1e-6 * size[:, None].expand(-1, normal.shape[1])
    matrix = normal.double() + torch.diag_embed(ridge)
    solution: Tensor = torch.linalg.solve(matrix, right.double()[..., None])
    return solution[..., 0].to(right.dtype)
