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
    :math:`\sin` and :math:`\cos` of :math:`2 \pi h t / \text{period}` for the harmonics :math:`h` up to
    :attr:`harmonics`, as far as time steps resolve them: :math:`2 h \le \text{period}`.

    Args:
        channels: Width of the embedding.
        periods: Periods in time steps.
        harmonics: Number of harmonics of each period.

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

    def __init__(self, channels: int, periods: Sequence[float], harmonics: int = 1) -> None:
        super().__init__()
        if harmonics < 1:
            raise InputError(f"harmonics is {harmonics}; expected at least 1")
        if not periods or any(not p > 0 for p in periods):
            raise InputError(f"periods is {list(periods)}; expected at least one positive period")
        if channels < len(periods):
            raise InputError(f"channels is {channels}; expected at least one per period ({len(periods)})")
        self.channels, self.periods = channels, tuple(float(p) for p in periods)
        self.harmonics = harmonics
        share, rest = divmod(channels, len(periods))
        widths = [share + (i < rest) for i in range(len(periods))]
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * self._resolved(period), w), nn.GELU(), nn.Linear(w, w))
            for period, w in zip(self.periods, widths, strict=True)
        )

    def _resolved(self, period: float) -> int:
        """Number of harmonics of a period that time steps can tell apart, at least one."""
        return max(min(self.harmonics, int(period // 2)), 1)

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
            angles = angle.unsqueeze(-1) * torch.arange(1, self._resolved(period) + 1, device=time.device)
            embedded.append(part(torch.cat([angles.sin(), angles.cos()], dim=-1).to(dtype)))
        return torch.cat(embedded, dim=-1)

    def extra_repr(self) -> str:
        """Show width and periods."""
        return f"{self.channels}, periods={list(self.periods)}, harmonics={self.harmonics}"
