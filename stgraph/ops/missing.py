"""Filling of unobserved steps."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fill_with_nearest_observed", "last_observed"]


def fill_with_nearest_observed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Replace unobserved entries by the last observed one before them, or else by the first after them.

    Whatever unobserved entries hold has no influence; a series without any observation becomes 0.

    Args:
        x: Series ``[..., T, C]``.
        mask: True where observed, shape of ``x``; ``None`` when everything is.

    Examples:
        >>> import torch
        >>> x = torch.tensor([[7.0], [2.0], [7.0], [4.0]])
        >>> fill_with_nearest_observed(x, torch.tensor([[False], [True], [False], [True]])).flatten().tolist()
        [2.0, 2.0, 2.0, 4.0]
    """
    if mask is None or x.shape[-2] == 0:
        return x
    step = torch.arange(x.shape[-2], device=x.device).unsqueeze(-1)
    before = torch.where(mask, step, -1).cummax(dim=-2).values
    first = mask.long().argmax(dim=-2, keepdim=True)
    source = torch.where(before < 0, first, before)
    return torch.where(mask.any(dim=-2, keepdim=True), x.gather(-2, source), 0.0)


def last_observed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return the last observed value ``[..., C]`` of a series ``[..., T, C]``; 0 where there is none.

    >>> import torch
    >>> last_observed(torch.tensor([[5.0], [9.0]]), torch.tensor([[True], [False]]))
    tensor([5.])
    """
    return fill_with_nearest_observed(x, mask)[..., -1, :]
