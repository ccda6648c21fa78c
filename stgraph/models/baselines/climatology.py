"""The usual value at this hour, weekday and season."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.base import Baseline, slices
from stgraph.models.baselines.calendar import continue_time

__all__ = ["Climatology"]

_DAY, _WEEK, _YEAR = 86400.0, 604800.0, 31556952.0
_NANOSECONDS = 1_000_000_000
_CYCLES = 2  # a period seen less often than this cannot be told from chance or trend
_BLOCK = 1 << 22  # numbers in one temporary array of the normal equations


class Climatology(Baseline):
    """Harmonic regression on absolute time for each node and channel, fitted to the observed training values.

    Sines and cosines of the day, the week and the year (three harmonics of the week are all that daily values can
    resolve, so they hold any weekday effect). A harmonic is used where the sampling resolves it (period above two
    steps) and the training series covers its period twice. The ridge penalty spares the intercept. Without calendar
    times, that is int64 nanoseconds, the forecast is the training mean of each node.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        periods: Periods in seconds.
        harmonics: Number of harmonics of each period.
        alpha: Ridge penalty, in units of observations.

    Shapes:
        - **batch.y_time:** ``[B, Q]``; without it ``batch.x_time`` ``[B, P]`` is continued by the training step
        - **output:** ``[B, N, Q, C]``

    Examples:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> time = torch.arange(96) * 3600 * 10**9
        >>> daily = torch.sin(2 * torch.pi * torch.arange(96) / 24).view(1, 96, 1)
        >>> model = Climatology(1, 1, 1, num_nodes=1, alpha=1e-6).fit(Data(x=daily, time=time))
        >>> noon = torch.tensor([[(96 + 6) * 3600 * 10**9]])
        >>> round(model(Data(x=torch.zeros(1, 1, 1, 1), y_time=noon)).item(), 4)
        1.0
    """

    period_ns: Tensor
    order: Tensor
    active: Tensor
    weight: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int,
        out_channels: int | None = None,
        periods: Sequence[float] = (_DAY, _WEEK, _YEAR),
        harmonics: Sequence[int] = (8, 3, 4),
        alpha: float = 1.0,
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels)
        if len(periods) != len(harmonics):
            raise InputError(f"harmonics has {len(harmonics)} entries; expected one for each of {len(periods)} periods")
        if any(p <= 0 for p in periods) or any(h < 0 for h in harmonics):
            raise InputError(f"periods is {list(periods)} and harmonics {list(harmonics)}; expected > 0 and >= 0")
        if alpha <= 0:
            raise InputError(f"alpha is {alpha}; expected more than 0")
        self.alpha = alpha
        orders = [(p, h) for p, count in zip(periods, harmonics, strict=True) for h in range(1, count + 1)]
        # Integer periods keep the phase exact: int64 nanoseconds do not fit into float64.
        nanoseconds = torch.tensor([round(p * _NANOSECONDS) for p, _ in orders], dtype=torch.int64)
        self.register_buffer("period_ns", nanoseconds, persistent=False)
        self.register_buffer("order", torch.tensor([h for _, h in orders], dtype=torch.float64), persistent=False)
        self.register_buffer("active", torch.zeros(len(orders), dtype=torch.bool))
        size = 2 * len(orders)
        self.register_buffer("weight", torch.zeros(num_nodes, self.out_channels, 1 + size, dtype=torch.float64))

    def _fit(self, data: Data, starts: Tensor | None) -> None:
        time = data.get("time")
        calendar = time is not None and not time.is_floating_point()
        if calendar and time.dim() != 1:
            raise InputError(f"data.time has shape {tuple(time.shape)}; expected (T,), common to all nodes")
        self.active.zero_()
        if calendar and len(time) > 1:
            step = float(self.time_step)
            period = self.period_ns.double()
            self.active.copy_((period / self.order > 2 * step) & (_CYCLES * period <= float(time[-1] - time[0]) + step))
        self.weight.zero_()
        if bool(self.active.any()):
            self._fit_harmonics(data, time)
        self.weight[..., 0] += self.node_mean

    def _fit_harmonics(self, data: Data, time: Tensor) -> None:
        """Solve the normal equations of all nodes and channels at once, about the mean of each node."""
        channels, mask = self.out_channels, data.get("mask")
        size = self.weight.shape[-1]
        gram = self.weight.new_zeros(self.weight.shape[:2].numel() if mask is not None else 1, size, size)
        moment = self.weight.new_zeros(self.weight.shape)
        rows = max(size, self.weight.shape[:2].numel())
        for part in slices(len(time), max(1, _BLOCK // (size * rows))):
            phi = self._features(time[part])
            anomaly = data.x[:, part, :channels] - self.node_mean.unsqueeze(1)
            outer = (phi.unsqueeze(-1) * phi.unsqueeze(-2)).flatten(1)
            if mask is None:
                gram += outer.sum(0).view(1, size, size)
            else:
                observed = mask[:, part, :channels]
                anomaly = torch.where(observed, anomaly, 0)
                gram += (observed.transpose(1, 2).flatten(0, 1).double() @ outer).view(-1, size, size)
            moment += anomaly.transpose(1, 2) @ phi
        # The tiny entry keeps a node without observations solvable: its anomaly is then 0.
        penalty = gram.new_full((size,), self.alpha)
        penalty[0] = 1e-8
        unused = torch.cat([self.active.new_ones(1), self.active, self.active]).logical_not()
        penalty[unused] = 1.0
        solved = torch.linalg.solve(gram + penalty.diag(), moment.flatten(0, 1).unsqueeze(-1))
        self.weight.copy_(solved.view_as(self.weight))

    def _features(self, time: Tensor) -> Tensor:
        """Return 1, sines and cosines of the times, ``[..., 1 + 2H]``; 0 for harmonics that are not used."""
        phase = (time.unsqueeze(-1) % self.period_ns).double() / self.period_ns
        angle = 2 * torch.pi * self.order * phase
        waves = torch.cat([angle.sin() * self.active, angle.cos() * self.active], dim=-1)
        return torch.cat(
            [torch.ones_like(waves[..., :1]) if waves.shape[-1] else phase.new_ones(*time.shape, 1), waves], -1
        )

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        if not bool(self.active.any()):
            return self.weight[..., 0].unsqueeze(1).expand(len(x), -1, self.horizon, -1)
        return torch.einsum("bqf,ncf->bnqc", self._features(self._forecast_time(batch)), self.weight)

    def _forecast_time(self, batch: Data) -> Tensor:
        time: Tensor | None = batch.get("y_time")
        if time is None:
            past = batch.get("x_time")
            if past is None:
                raise InputError(
                    "the batch has neither y_time nor x_time; the climatology was fitted to calendar times"
                )
            time = continue_time(past, self.horizon, self.time_step)
        if time.is_floating_point() or time.shape != (batch.x.shape[0], self.horizon):
            raise InputError(
                f"the times of the forecast are {time.dtype} {tuple(time.shape)}; expected int64 nanoseconds "
                f"({batch.x.shape[0]}, {self.horizon})"
            )
        return time
