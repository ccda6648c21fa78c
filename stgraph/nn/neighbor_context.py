"""What the neighbours of a series say about its hidden points, at the same steps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["NeighborContext"]

_MAX_LOGIT = 8.0
_TINY = 1e-6


class NeighborContext(nn.Module):
    r"""What the neighbours' visible values say about a series: weighted means, and the regression on these means.

    For an edge :math:`j \to i`, the visible values of both give the correlation :math:`r_{ij}` and the slope of a ridge
    regression without intercept (series are centred),

    .. math::
        \beta_{ij} = \frac{\sum_t v_{it} v_{jt} + \lambda \beta_0}{\sum_t v_{jt}^2 + \lambda},

    with learned :math:`\lambda` and :math:`\beta_0`. A small network makes the logits of H weightings from the edge's
    attributes, :math:`r_{ij}` and the share of steps that both show; each weighting gives the mean of
    :math:`\beta_{ij} v_{jt}` over the neighbours visible at step t, and the weight behind it. Last comes the fit of the
    series' visible values by the H means together, a ridge regression in closed form: slopes found one by one are too
    small where each neighbour has a signal of its own beside the common one, and the regression on means of many
    neighbours mends that. It is drawn to the mean of the means, the more so the fewer points the series shows.

    Sums over edges are taken of the channels alone, so nothing of the size of hidden features is gathered. Hidden values have no influence, and a series without neighbours gets zeros.

    Args:
        channels: Number of channels C of the series.
        heads: Number of weightings H.
        edge_channels: Number of edge attributes D.
        hidden_channels: Width of the small network.

    Shapes:
        - **x, visible:** :math:`(R, L, C)`; **edge_index:** :math:`(2, E)`, from rows to the first ``num_targets`` rows
        - **edge_attr:** :math:`(E, D)`
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
            nn.Linear(edge_channels + 2, hidden_channels), nn.GELU(), nn.Linear(hidden_channels, heads)
        )
        self.ridge = nn.Parameter(torch.empty(channels))
        self.prior = nn.Parameter(torch.empty(channels))
        self.fit_ridge = nn.Parameter(torch.empty(channels))
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
        """Draw new parameters."""
        for layer in self.score:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        nn.init.constant_(self.ridge, 3.0)
        nn.init.constant_(self.fit_ridge, 3.0)
        nn.init.ones_(self.prior)

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
        self, x: Tensor, visible: Tensor, edge_index: Tensor, edge_attr: Tensor | None = None, *, num_targets: int
    ) -> Tensor:
        """Return what the neighbours say about the first ``num_targets`` series."""
        if x.dim() != 3 or x.shape[2] != self.channels or visible.shape != x.shape:
            raise InputError(
                f"x has shape {tuple(x.shape)} and visible {tuple(visible.shape)}; expected (R, L, {self.channels})"
            )
        source, target = edge_index
        shown = visible.to(x.dtype)
        values = x.masked_fill(~visible, 0.0)
        near, near_shown = values[source], shown[source]
        correlation, slope, share = self._relation(near, near_shown, values[target], shown[target])
        features = [correlation[..., None], share[..., None]]  # [E, C, 1]
        if self.edge_channels:
            given = (self._check(edge_attr, source.numel()) - self.edge_mean) / self.edge_scale
            features.append(given.to(x.dtype)[:, None].expand(-1, self.channels, -1))
        logits = self.score(torch.cat(features, dim=-1))  # [E, C, H]
        weight = (_MAX_LOGIT * torch.tanh(logits / _MAX_LOGIT)).exp()[:, None]
        total = _sum_at(target, num_targets, weight * (slope[:, None] * near)[..., None])
        known = _sum_at(target, num_targets, weight * near_shown[..., None])
        mean = total / known.clamp(min=_TINY)
        fit = self._fit(mean, values[:num_targets], (shown[:num_targets, ..., None] * (known > 0)))
        return torch.cat([mean.flatten(2), (known / (1 + known)).flatten(2), fit], dim=-1)

    def _fit(self, mean: Tensor, own: Tensor, known: Tensor) -> Tensor:
        """Ridge regression ``[B, L, C]`` of the series on the means ``[B, L, C, H]``, in units of their spread.

        Sums are written as such, since matrix products lose precision under autocast.
        """
        wide = torch.promote_types(mean.dtype, torch.float32)
        given = (mean * known).to(wide)
        count = known.sum(dim=1, keepdim=True).clamp(min=1)
        spread = (given.square().sum(dim=1, keepdim=True) / count + _TINY).sqrt()
        given = given / spread
        gram = (given.unsqueeze(-1) * given.unsqueeze(-2)).sum(dim=1)  # [B, C, H, H]
        ridge = F.softplus(self.fit_ridge).to(wide)[:, None]
        right = (given * own.to(wide).unsqueeze(-1)).sum(dim=1) + ridge * spread[:, 0] / self.heads
        system = gram + ridge[..., None] * torch.eye(self.heads, dtype=wide, device=mean.device)
        slope = torch.linalg.solve(system, right)[:, None] / spread
        return (mean.to(wide) * slope).sum(dim=-1).to(mean.dtype)

    def _relation(
        self, near: Tensor, near_shown: Tensor, own: Tensor, own_shown: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Correlation, slope and share of common steps of each edge and channel, ``[E, C]``."""
        product = (near * own).sum(dim=1)
        near_square = (near.square() * own_shown).sum(dim=1)
        own_square = (own.square() * near_shown).sum(dim=1)
        share = (near_shown * own_shown).mean(dim=1)
        correlation = product / (near_square * own_square + _TINY).sqrt()
        ridge = F.softplus(self.ridge)
        return correlation, (product + ridge * self.prior) / (near_square + ridge), share

    def _check(self, edge_attr: Tensor | None, edges: int) -> Tensor:
        expected = (edges, self.edge_channels)
        if edge_attr is None or edge_attr.shape != expected:
            shape = None if edge_attr is None else tuple(edge_attr.shape)
            raise InputError(f"edge_attr has shape {shape}; expected {expected}")
        return edge_attr

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.channels}, heads={self.heads}, edge_channels={self.edge_channels}"


def _sum_at(target: Tensor, count: int, value: Tensor) -> Tensor:
    return value.new_zeros(count, *value.shape[1:]).index_add(0, target, value)
