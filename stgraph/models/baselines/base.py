"""What the baselines share: the mean of each node, and checks of their input."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data
from typing_extensions import Self

from stgraph.errors import InputError
from stgraph.models.base import Forecaster
from stgraph.models.baselines.checks import at_least

__all__ = ["Baseline", "slices"]


class Baseline(Forecaster):
    """A forecaster without trainable parameters, fitted in closed form and working in data units.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
    """

    node_mean: Tensor
    fitted: Tensor

    def __init__(
        self, in_channels: int, input_steps: int, horizon: int, *, num_nodes: int, out_channels: int | None = None
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, out_channels=out_channels, num_nodes=num_nodes)
        at_least(1, num_nodes=num_nodes)
        self.register_buffer("node_mean", torch.zeros(num_nodes, self.out_channels, dtype=torch.float64))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    @torch.no_grad()
    def fit(self, data: Data, starts: Tensor | None = None) -> Self:
        """Fit to the training series.

        Args:
            data: The training series, ``x`` ``[N, T, C]`` with ``mask`` where values are missing.
            starts: First steps of the training windows; only baselines that learn from windows use them.

        Raises:
            InputError: If the series does not fit the model or a channel has no observed value.
        """
        expected = (self.num_nodes, self.in_channels)
        if data.x.dim() != 3 or (data.x.shape[0], data.x.shape[2]) != expected:
            raise InputError(
                f"data.x has shape {tuple(data.x.shape)}; expected ({expected[0]} nodes, T, {expected[1]} channels)"
            )
        super().fit(data, starts)
        self.node_mean.copy_(self._observed_mean(data))
        self._fit(data, starts)
        self.fitted.fill_(True)
        return self

    def forward_scaled(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Return the forecast, in data units as the scaler is the identity, and a regulariser of 0."""
        if not bool(self.fitted):
            raise InputError(f"{type(self).__name__} is not fitted; call fit(data) or load a fitted state first")
        x = batch.x
        expected = (self.num_nodes, self.input_steps, self.in_channels)
        if x.dim() != 4 or tuple(x.shape[1:]) != expected:
            raise InputError(f"batch.x has shape {tuple(x.shape)}; expected (B, {', '.join(map(str, expected))})")
        mask = batch.get("x_mask")
        channels = self.out_channels
        forecast = self._forecast(batch, x[..., :channels], None if mask is None else mask[..., :channels])
        return forecast.to(x.dtype), x.new_zeros(())

    def _fit(self, data: Data, starts: Tensor | None) -> None:
        """Fit what goes beyond the mean of each node."""

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return ``[B, N, Q, C]`` from the channels to be forecast, ``[B, N, P, C]``, and their mask."""
        raise NotImplementedError  # pragma: no cover - abstract

    def _observed_mean(self, data: Data) -> Tensor:
        """Mean of the observed values of each node; a node without any takes the mean of its channel."""
        x, mask = data.x[..., : self.out_channels], data.get("mask")
        if mask is None:
            mean: Tensor = x.mean(1, dtype=torch.float64)
            return mean
        mask = mask[..., : self.out_channels]
        count = mask.sum(1)
        total = torch.where(mask, x, 0).sum(1, dtype=torch.float64)
        return torch.where(count > 0, total / count.clamp(min=1), total.sum(0) / count.sum(0))


def slices(length: int, size: int) -> Iterator[slice]:
    """Cut ``range(length)`` into pieces of at most ``size``.

    >>> list(slices(5, 3))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return (slice(i, min(i + size, length)) for i in range(0, length, max(size, 1)))
