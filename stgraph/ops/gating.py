"""A score of how much a series changes at each step."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["change_score"]

_LAGS = (1, 2, 4, 6)
_SMOOTHING = 0.6
_SHARPNESS = 1.5
_NORMAL_CONSISTENCY = 1.4826  # turns a median absolute deviation into a standard deviation


@torch.no_grad()
def change_score(x: Tensor, per_node: bool = False) -> Tensor:
    r"""Score the steps of a window by how much the series changes there, between 0 and 1.

    The deviation from a short moving average is differenced at lags 1, 2, 4 and 6; each lag's mean magnitude is turned
    into a robust z-score over the window, passed through softplus, averaged over lags, smoothed exponentially and
    centred before a sigmoid. No gradient flows through the score.

    Args:
        x: Series in data units, ``[..., N, T, C]``.
        per_node: Score each node by its own changes instead of by the mean over nodes.

    Returns:
        Tensor: ``[..., T]``, or ``[..., N, T]`` with ``per_node``.

    Examples:
        >>> import torch
        >>> change_score(torch.tensor([[[0.0], [0.0], [0.0], [5.0]]])).argmax().item()
        3
    """
    steps = x.shape[-2]
    if steps == 0:
        return x.new_zeros(*(x.shape[:-2] if per_node else x.shape[:-3]), 0)
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    magnitude = _lagged_changes(x, per_node)
    median = magnitude.median(dim=-1, keepdim=True).values
    deviation = (magnitude - median).abs().median(dim=-1, keepdim=True).values
    z = (magnitude - median) / (_NORMAL_CONSISTENCY * deviation + 1e-6)
    smooth = F.softplus(z).mean(dim=0) @ _smoothing_matrix(steps, x).T
    return torch.sigmoid(_SHARPNESS * (smooth - smooth.mean(dim=-1, keepdim=True)))


def _lagged_changes(x: Tensor, per_node: bool) -> Tensor:
    """Mean magnitude of the change of the residual at each lag, ``[L, ..., (N,) T]``."""
    steps = x.shape[-2]
    # A dimension of size 1 is cheap to keep for windows of one or two steps, where the residual is x - x_0.
    base = x[..., :1, :].expand_as(x)
    if steps > 2:
        average = (x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]) / 3
        base = torch.cat([base[..., :2, :], average], dim=-2)
    residual = x - base
    over = (-1,) if per_node else (-3, -1)
    # The lags are four constants; each difference is reduced at once, so no lag-sized copy of x stays in memory.
    changes = []
    for lag in _LAGS:
        difference = torch.zeros_like(residual)
        if lag < steps:
            difference[..., lag:, :] = (residual[..., lag:, :] - residual[..., :-lag, :]).abs()
        changes.append(difference.mean(dim=over))
    return torch.stack(changes)


def _smoothing_matrix(steps: int, like: Tensor) -> Tensor:
    """Exponential smoothing ``e_0 = g_0, e_t = 0.6 e_{t-1} + 0.4 g_t`` as a lower triangular matrix."""
    t = torch.arange(steps, device=like.device, dtype=like.dtype)
    age = (t.unsqueeze(-1) - t).clamp(min=0)
    weight = _SMOOTHING**age
    weight[:, 1:] *= 1 - _SMOOTHING
    return weight.tril()
