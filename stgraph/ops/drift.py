"""Whether the level of a series leaves the range that it was in before."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["share_out_of_range"]


def share_out_of_range(x: Tensor, mask: Tensor | None = None, fraction: float = 0.8) -> Tensor:
    r"""Share of the late values of each node that lie outside the range of its early values.

    For values drawn again and again from the same distribution it is about 2 in the number of early values; it is large
    where there is a trend.

    Args:
        x: Series ``[N, T, C]``.
        mask: True where observed, shape of ``x``.
        fraction: Share of the steps that count as early.

    Returns:
        Tensor: A number between 0 and 1; 0 where there is nothing to compare.

    Raises:
        InputError: If ``fraction`` is not between 0 and 1.

    Examples:
        >>> share_out_of_range(torch.arange(10.0).view(1, 10, 1)).item()
        1.0
        >>> share_out_of_range(torch.tensor([0.0, 1.0]).repeat(5).view(1, 10, 1)).item()
        0.0
    """
    if not 0 < fraction < 1:
        raise InputError(f"fraction is {fraction}; expected a number between 0 and 1")
    observed = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    early = int(fraction * x.shape[1])
    if early == 0:
        return x.new_zeros(())
    low = torch.where(observed[:, :early], x[:, :early], torch.inf).amin(dim=1, keepdim=True)
    high = torch.where(observed[:, :early], x[:, :early], -torch.inf).amax(dim=1, keepdim=True)
    late, known = x[:, early:], observed[:, early:] & (low <= high)
    outside = ((late < low) | (late > high)) & known
    return outside.sum() / known.sum().clamp(min=1)
