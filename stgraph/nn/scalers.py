"""Scalers as modules: a model that owns one takes data units and gives data units."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import Self

from stgraph.errors import InputError

__all__ = [
    "SCALERS",
    "LogScaler",
    "MinMaxScaler",
    "RobustScaler",
    "Scaler",
    "StandardScaler",
    "make_scaler",
    "unit_where_constant",
]


class Scaler(nn.Module):
    r"""The identity, and the base class of scalers :math:`(x - \text{center}) / \text{scale}`.

    The statistics are buffers, so they are saved with the model that owns the scaler. Only observed values enter them.

    Args:
        num_channels: Number of channels C.
        num_nodes: Number of nodes N; needed for ``per="node"``.
        per: ``"channel"`` (one scale per channel) or ``"node"`` (one per node and channel).

    Shapes:
        - **fit:** values :math:`(N, T, C)`, mask :math:`(N, T, C)`
        - **transform, inverse:** :math:`(..., N, T, C')` with :math:`C' \le C`, taken as the first channels

    Examples:
        >>> import torch
        >>> scaler = StandardScaler(num_channels=1).fit(torch.tensor([[[1.0], [3.0]]]))
        >>> scaler.transform(torch.tensor([[[2.0], [4.0]]])).flatten().tolist()
        [0.0, 2.0]
    """

    center: Tensor
    scale: Tensor

    def __init__(self, num_channels: int, num_nodes: int | None = None, per: str = "channel") -> None:
        super().__init__()
        if per not in ("channel", "node"):
            raise InputError(f"per is {per!r}; expected 'channel' or 'node'")
        if per == "node" and num_nodes is None:
            raise InputError("num_nodes is None; a scaler per node needs the number of nodes")
        self.num_channels, self.num_nodes, self.per = num_channels, num_nodes, per
        rows = 1 if per == "channel" or num_nodes is None else num_nodes
        self.register_buffer("center", torch.zeros(rows, 1, num_channels))
        self.register_buffer("scale", torch.ones(rows, 1, num_channels))

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor | None = None) -> Self:
        """Take the statistics from observed training values.

        A node without any observation borrows the statistics of its channel.

        Raises:
            InputError: If the shape is wrong or a channel has no observed value.
        """
        if x.dim() != 3 or x.shape[-1] != self.num_channels:
            raise InputError(f"x has shape {tuple(x.shape)}; expected (N, T, {self.num_channels})")
        if self.per == "node" and x.shape[0] != self.num_nodes:
            raise InputError(f"x has {x.shape[0]} nodes; the scaler was made for num_nodes = {self.num_nodes}")
        values = x.double() if mask is None else x.double().masked_fill(~mask, torch.nan)
        values = self._forward_map(values)
        pooled = values.permute(2, 0, 1).reshape(self.num_channels, -1)
        if bool(pooled.isnan().all(dim=1).any()):
            empty = pooled.isnan().all(dim=1).nonzero().flatten().tolist()
            raise InputError(f"channels {empty} have no observed value in the training series; drop these channels")
        center, scale = (s.reshape(1, 1, -1) for s in self._statistics(pooled))
        if self.per == "node":
            node_center, node_scale = (s.unsqueeze(1) for s in self._statistics(values.transpose(1, 2)))
            center = torch.where(node_center.isfinite(), node_center, center)
            scale = torch.where(node_scale.isfinite(), node_scale, scale)
        self.center.copy_(center)
        self.scale.copy_(scale)
        return self

    def transform(self, x: Tensor) -> Tensor:
        """Map data units to scaled units."""
        channels = x.shape[-1]
        return (self._forward_map(x) - self.center[..., :channels]) / self.scale[..., :channels]

    def inverse(self, x: Tensor) -> Tensor:
        """Map scaled units to data units."""
        channels = x.shape[-1]
        return self._inverse_map(torch.addcmul(self.center[..., :channels], x, self.scale[..., :channels]))

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return center and scale of ``[..., M]`` values in which NaN is missing."""
        return values.new_zeros(values.shape[:-1]), values.new_ones(values.shape[:-1])

    def _forward_map(self, x: Tensor) -> Tensor:
        return x

    def _inverse_map(self, x: Tensor) -> Tensor:
        return x

    def extra_repr(self) -> str:
        """Show the sizes in the repr."""
        nodes = f", num_nodes={self.num_nodes}" if self.num_nodes is not None else ""
        return f"num_channels={self.num_channels}{nodes}, per={self.per!r}"


class MinMaxScaler(Scaler):
    """Map the observed training range to [0, 1] (see :class:`Scaler`); a constant channel keeps its unit."""

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        missing = values.isnan()
        low = values.masked_fill(missing, torch.inf).amin(dim=-1)
        width = values.masked_fill(missing, -torch.inf).amax(dim=-1) - low
        # The small constant is the original's; it is part of what a reference checkpoint has learned.
        return low, torch.where(width.abs() < 1e-6, 1.0, width) + 1e-6


class StandardScaler(Scaler):
    """Subtract the mean, divide by the standard deviation (see :class:`Scaler`); a constant channel keeps its unit."""

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        mean = values.nanmean(dim=-1)
        deviation = (values - mean.unsqueeze(-1)).square().nanmean(dim=-1).sqrt()
        return mean, unit_where_constant(deviation, mean)


class RobustScaler(Scaler):
    """Subtract the median and divide by the interquartile range (see :class:`Scaler`)."""

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor]:
        lower, median, upper = _nanquantile(values, (0.25, 0.5, 0.75)).unbind(dim=-1)
        return median, unit_where_constant(upper - lower, median)


class LogScaler(StandardScaler):
    """Standardise :math:`log(1 + x)` (see :class:`Scaler`); for non-negative, heavy-tailed data such as counts."""

    def fit(self, x: Tensor, mask: Tensor | None = None) -> Self:
        """Take the statistics; raises :class:`InputError` if an observed value is at or below -1."""
        lowest = x if mask is None else x.masked_fill(~mask, 0)
        if lowest.numel() and bool((lowest <= -1).any()):
            raise InputError(f"x has the value {float(lowest.min())}; the scaler 'log1p' needs values above -1")
        return super().fit(x, mask)

    def _forward_map(self, x: Tensor) -> Tensor:
        # Later data may lie below the training range; the clamp keeps the logarithm finite.
        return x.clamp(min=-1 + 1e-6).log1p()

    def _inverse_map(self, x: Tensor) -> Tensor:
        return x.expm1()


#: Every scaler by the name that configuration files use.
SCALERS: dict[str, type[Scaler]] = {
    "log1p": LogScaler,
    "min_max": MinMaxScaler,
    "none": Scaler,
    "robust": RobustScaler,
    "standard": StandardScaler,
}


def make_scaler(name: str, num_channels: int, num_nodes: int | None = None, per: str = "channel") -> Scaler:
    """Return a new scaler by name.

    >>> make_scaler("min_max", num_channels=2)
    MinMaxScaler(num_channels=2, per='channel')

    Raises:
        InputError: If the name is unknown.
    """
    if name not in SCALERS:
        raise InputError(f"scaler is {name!r}; expected one of {sorted(SCALERS)}")
    return SCALERS[name](num_channels, num_nodes, per)


def unit_where_constant(spread: Tensor, center: Tensor) -> Tensor:
    """Replace a spread that is 0 by 1.

    Relative to the level, so that rounding noise on a large constant does not count as variation.
    """
    return torch.where(spread <= 1e-9 * center.abs().clamp(min=1e-3), torch.ones_like(spread), spread)


def _nanquantile(values: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Quantiles over the last dimension by sorting: ``torch.nanquantile`` refuses more than 16 million values."""
    ordered = values.sort(dim=-1).values  # NaN comes last
    last = (~values.isnan()).sum(dim=-1, keepdim=True) - 1
    place = torch.tensor(levels, dtype=values.dtype, device=values.device) * last
    below = place.floor().long().clamp(min=0)
    above = (below + 1).minimum(last).clamp(min=0)
    low, high = ordered.gather(-1, below), ordered.gather(-1, above)
    return low + (high - low) * (place - below)
