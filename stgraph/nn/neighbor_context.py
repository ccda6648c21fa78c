"""What the neighbours of a series say about its hidden points, at the same steps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError
from stgraph.ops.interpolation import distance_to_visible, linear_interpolation

__all__ = ["NeighborContext"]

_MAX_LOGIT = 8.0
_TINY = 1e-6
# Correlation of values, correlation of differences, share of common steps.
_RELATIONS = 3


class NeighborContext(nn.Module):
    r"""What the neighbours' visible values say about a series: weighted means, and the regression on these means.

    A neighbour's gaps are filled by a line between its visible values; such a value counts less by
    :math:`e^{-d / \tau}`, d steps from the nearest visible one, with a learned :math:`\tau`. (Without it, a mean over
    those neighbours that happen to be visible would jump by their own signals.) A small network makes the logits of H
    weightings of the neighbours from the edge's attributes, the correlations of the two series and of their
    differences from step to step, and the share of steps that both show. Each weighting gives a mean over the
    neighbours at every step, and the weight behind it.

    Last comes a fit :math:`\sum_h \beta_h m_{ht}` of the series by its H means :math:`m_h`: the :math:`\beta` are those
    of a ridge regression of the differences of the series on the differences of the means, in closed form. Differences,
    since slow signals of a star's own resemble those of any other over a short stretch. The regression is drawn to the
    mean of the means with a learned strength, so that a series with few visible points gets about that.

    Sums over edges are taken of the channels alone, so nothing of the size of hidden features is gathered. Hidden
    values have no influence, and a series without neighbours gets zeros.

    Args:
        channels: Number of channels C of the series.
        heads: Number of weightings H.
        edge_channels: Number of edge attributes D.
        hidden_channels: Width of the small network.

    Shapes:
        - **x, visible:** :math:`(R, L, C)`; **edge_index:** :math:`(2, E)`, from rows to the first ``num_targets`` rows
        - **edge_attr:** :math:`(E, D)`, **time:** :math:`(R, L)`, increasing; numbers of steps by default
        - **output:** :math:`(B, L, 2 C H + C)`: means :math:`(C, H)`, weights :math:`(C, H)`, then the fit

    Raises:
        InputError: If a size is out of range, or ``x`` or ``edge_attr`` has another shape.

    Examples:
        >>> layer = NeighborContext(channels=1, heads=2)
        >>> x = torch.ones(3, 5, 1)
        >>> layer(x, torch.ones_like(x, dtype=torch.bool), torch.tensor([[1, 2], [0, 0]]), num_targets=1).shape
        torch.Size([1, 5, 5])
    """

    def __init__(self, channels: int, heads: int = 4, edge_channels: int = 0, hidden_channels: int = 16) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("heads", heads), ("hidden_channels", hidden_channels)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if edge_channels < 0:
            raise InputError(f"edge_channels is {edge_channels}; expected 0 or more")
        self.channels, self.heads, self.edge_channels = channels, heads, edge_channels
        self.score = nn.Sequential(
            nn.Linear(edge_channels + _RELATIONS, hidden_channels), nn.GELU(), nn.Linear(hidden_channels, heads)
        )
        self.decay = nn.Parameter(torch.empty(channels))
        self.ridge = nn.Parameter(torch.empty(channels))
        self.register_buffer("edge_mean", torch.zeros(edge_channels))
        self.register_buffer("edge_scale", torch.ones(edge_channels))
        self.edge_mean: Tensor
        self.edge_scale: Tensor
        self.reset_parameters()

    @property
    def out_channels(self) -> int:
        """Number of channels of the output."""
        return 2 * self.channels * self.heads + self.channels

    def reset_parameters(self) -> None:
        """Draw new parameters; the decay starts at 4 steps, the ridge at the weight of about 3 steps."""
        for layer in self.score:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        nn.init.constant_(self.decay, math.log(4.0))
        nn.init.constant_(self.ridge, 3.0)

    def fit(self, edge_attr: Tensor) -> NeighborContext:
        """Take mean and spread of the edge attributes, which may have any unit, from those of a graph.

        Raises:
            InputError: If they have another number of channels.
        """
        self._check(edge_attr, edge_attr.shape[0])
        if edge_attr.shape[0]:
            self.edge_mean.copy_(edge_attr.mean(dim=0))
            spread = edge_attr.std(dim=0, correction=0)
            self.edge_scale.copy_(torch.where(spread > 0, spread, 1.0))
        return self

    def forward(
        self,
        x: Tensor,
        visible: Tensor,
        edge_index: Tensor,
        edge_attr: Tensor | None = None,
        time: Tensor | None = None,
        *,
        num_targets: int,
    ) -> Tensor:
        """Return what the neighbours say about the first ``num_targets`` series."""
        if x.dim() != 3 or x.shape[2] != self.channels or visible.shape != x.shape:
            raise InputError(
                f"x has shape {tuple(x.shape)} and visible {tuple(visible.shape)}; expected (R, L, {self.channels})"
            )
        source, target = edge_index
        steps = torch.arange(x.shape[1], device=x.device, dtype=torch.float64)
        values = x.masked_fill(~visible, 0.0)
        filled = linear_interpolation(steps if time is None else time, values, visible)
        distance = distance_to_visible(visible).to(x.dtype)
        # The derivative at an infinite distance would be 0 times infinity.
        nothing = distance.isinf()
        nearness = (-distance.masked_fill(nothing, 0.0) / self.decay.exp()).exp().masked_fill(nothing, 0.0)
        own, own_shown = values[:num_targets], visible[:num_targets]
        relations = _relations(values[source], visible[source], own[target], own_shown[target])
        weight = self._weights(relations, edge_attr)[:, None] * nearness[source][..., None]  # [E, L, C, H]
        known = _sum_at(target, num_targets, weight)
        mean = _sum_at(target, num_targets, weight * filled[source][..., None]) / known.clamp(min=_TINY)
        fit = self._regression(mean, own, own_shown)
        return torch.cat([mean.flatten(2), (known / (1 + known)).flatten(2), fit], dim=-1)

    def _weights(self, relations: Tensor, edge_attr: Tensor | None) -> Tensor:
        """Weights of the neighbours ``[E, C, H]``."""
        features = relations
        if self.edge_channels:
            given = (self._check(edge_attr, len(relations)) - self.edge_mean) / self.edge_scale
            given = given.to(relations.dtype)[:, None].expand(-1, self.channels, -1)
            features = torch.cat([relations, given], dim=-1)
        logits: Tensor = self.score(features)
        return (_MAX_LOGIT * torch.tanh(logits / _MAX_LOGIT)).exp()

    def _regression(self, mean: Tensor, own: Tensor, shown: Tensor) -> Tensor:
        """Ridge regression ``[B, L, C]`` of the series on the means ``[B, L, C, H]``, by their differences.

        Sums are written as such, since matrix products lose precision under autocast.
        """
        wide = torch.promote_types(mean.dtype, torch.float32)
        both = (shown[:, 1:] & shown[:, :-1]).to(wide)[..., None]
        given = mean.diff(dim=1).to(wide) * both
        count = both.sum(dim=1, keepdim=True).clamp(min=1)
        spread = (given.square().sum(dim=1, keepdim=True) / count + _TINY).sqrt()
        given = given / spread
        gram = (given.unsqueeze(-1) * given.unsqueeze(-2)).sum(dim=1)  # [B, C, H, H]
        ridge = F.softplus(self.ridge).to(wide)[:, None]
        right = (given * own.diff(dim=1).to(wide)[..., None]).sum(dim=1) + ridge * spread[:, 0] / self.heads
        system = gram + ridge[..., None] * torch.eye(self.heads, dtype=wide, device=mean.device)
        slope = torch.linalg.solve(system, right)[:, None] / spread
        fit: Tensor = (mean.to(wide) * slope).sum(dim=-1).to(mean.dtype)
        return fit

    def _check(self, edge_attr: Tensor | None, edges: int) -> Tensor:
        expected = (edges, self.edge_channels)
        if edge_attr is None or edge_attr.shape != expected:
            shape = None if edge_attr is None else tuple(edge_attr.shape)
            raise InputError(f"edge_attr has shape {shape}; expected {expected}")
        return edge_attr

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.channels}, heads={self.heads}, edge_channels={self.edge_channels}"


def _relations(near: Tensor, near_shown: Tensor, own: Tensor, own_shown: Tensor) -> Tensor:
    """Correlations of values and of differences, and the share of common steps, of each edge ``[E, C, 3]``."""
    both = (near_shown & own_shown).to(near.dtype)
    steps = both[:, 1:] * both[:, :-1]
    values = _correlation(near * both, own * both)
    differences = _correlation(near.diff(dim=1) * steps, own.diff(dim=1) * steps)
    return torch.stack([values, differences, both.mean(dim=1)], dim=-1)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Correlation over dimension 1 of values that are centred already."""
    return (a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1) + _TINY).sqrt()


def _sum_at(target: Tensor, count: int, value: Tensor) -> Tensor:
    return value.new_zeros(count, *value.shape[1:]).index_add(0, target, value)
