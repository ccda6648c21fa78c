"""Embedding of time by periods."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["PeriodicTimeEmbedding"]


class PeriodicTimeEmbedding(nn.Module):
    r"""Embed time by its phase within given periods.

    The width is divided among the periods (earlier ones take the remainder); each part is a two-layer network of
    :math:`\sin` and :math:`\cos` of :math:`2 \pi t / \text{period}`.

    Args:
        channels: Width of the embedding.
        periods: Periods in time steps.

    Shapes:
        - **input:** times in steps :math:`(...)`
        - **output:** :math:`(..., \text{channels})`

    Examples:
        >>> import torch
        >>> embedding = PeriodicTimeEmbedding(8, periods=[24, 168])
        >>> t = torch.arange(3.0)
        >>> torch.allclose(embedding(t), embedding(t + 168), atol=1e-6)
        True
    """

    def __init__(self, channels: int, periods: Sequence[float]) -> None:
        super().__init__()
        if not periods or any(not p > 0 for p in periods):
            raise InputError(f"periods is {list(periods)}; expected at least one positive period")
        if channels < len(periods):
            raise InputError(f"channels is {channels}; expected at least one per period ({len(periods)})")
        self.channels, self.periods = channels, tuple(float(p) for p in periods)
        share, rest = divmod(channels, len(periods))
        widths = [share + (i < rest) for i in range(len(periods))]
        self.parts = nn.ModuleList(nn.Sequential(nn.Linear(2, w), nn.GELU(), nn.Linear(w, w)) for w in widths)

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in self.parts.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    def forward(self, time: Tensor) -> Tensor:
        """Embed times given in steps."""
        dtype = next(self.parameters()).dtype
        embedded = []
        for period, part in zip(self.periods, self.parts, strict=True):
            # The phase is taken in float64: absolute times are large, and float32 would lose the hour of the day.
            angle = time.double().remainder(period) * (2 * math.pi / period)
            embedded.append(part(torch.stack([angle.sin(), angle.cos()], dim=-1).to(dtype)))
        return torch.cat(embedded, dim=-1)

    def extra_repr(self) -> str:
        """Show width and periods."""
        return f"{self.channels}, periods={list(self.periods)}"
