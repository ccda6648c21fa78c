"""The value of one season ago."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.base import Baseline, slices
from stgraph.models.baselines.calendar import forecast_time
from stgraph.models.baselines.checks import at_least

__all__ = ["SeasonalNaive"]

_BLOCK = 1 << 22  # numbers in one temporary array of the search for last values


class SeasonalNaive(Baseline):
    """Forecast the most recent known value of the same place in the season, at each node.

    A forecaster knows its window and what it was fitted to. Where the window reaches back a whole season and the value
    there is observed, it is the forecast. Else the forecast is the last observed training value of that place in the
    season, however long ago training ended, or the training mean of the node where there is none. So with windows
    shorter than the season all forecasts come from the last training seasons, and windows inside the training series
    are forecast with values that may lie in their future: judge it by windows after training.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer.
        season_steps: Number of time steps of a season; ``steps_per_cycle`` by default.

    Shapes:
        - **batch.x**, **batch.x_mask:** ``[B, N, P, C]``
        - **batch.y_time:** ``[B, Q]``; without it ``batch.x_time`` ``[B, P]`` is continued by the training step
        - **output:** ``[B, N, Q, C]``

    Raises:
        InputError: If a season is longer than the window and the series has no times.

    Examples:
        >>> series = Data(x=torch.tensor([1.0, 2, 3, 4, 5, 6]).view(1, 6, 1), time=torch.arange(6))
        >>> model = SeasonalNaive(1, 2, 1, num_nodes=1, season_steps=3).fit(series)
        >>> model(Data(x=torch.zeros(1, 1, 2, 1), y_time=torch.tensor([[10]]))).item()  # 10 and 4 are in one place
        5.0
    """

    season: Tensor
    timed: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        season_steps: int | None = None,
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels)
        at_least(1, steps_per_cycle=steps_per_cycle)
        self.season_steps = steps_per_cycle if season_steps is None else season_steps
        at_least(1, season_steps=self.season_steps)
        shape = (self.season_steps, num_nodes, self.out_channels)
        self.register_buffer("season", torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("timed", torch.zeros((), dtype=torch.bool))

    def _fit(self, data: Data, starts: Tensor | None) -> None:
        time = data.get("time")
        self.timed.fill_(time is not None)
        self.season.copy_(self.node_mean)
        if time is None:
            if self.season_steps > self.input_steps:
                raise InputError(
                    f"the series has no time, and a season of {self.season_steps} steps is longer than the window of "
                    f"{self.input_steps}; expected times, to find the season in the training series"
                )
            return
        if time.dim() != 1:
            raise InputError(f"data.time has shape {tuple(time.shape)}; expected (T,), common to all nodes")
        place, step = self._place(time), torch.arange(len(time), device=time.device)
        latest = torch.full(self.season.shape, -1, device=step.device)
        for part in slices(len(time), _BLOCK // self.season[0].numel()):
            known = step[part].view(-1, 1, 1).expand(-1, *self.season.shape[1:])
            if data.get("mask") is not None:
                known = torch.where(data.mask[:, part, : self.out_channels].transpose(0, 1), known, -1)
            latest.scatter_reduce_(0, place[part].view(-1, 1, 1).expand_as(known), known, "amax")
        values = data.x[..., : self.out_channels].transpose(0, 1).gather(0, latest.clamp(min=0)).double()
        self.season.copy_(torch.where(latest >= 0, values, self.node_mean))

    def _place(self, time: Tensor) -> Tensor:
        return self.time_in_steps(time).round().long() % self.season_steps

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        if bool(self.timed):
            time = forecast_time(batch, self.horizon, self.time_step)
            forecast = self.season[self._place(time)].transpose(1, 2).to(x.dtype)
        else:
            forecast = self.node_mean.unsqueeze(1).expand(len(x), -1, self.horizon, -1).to(x.dtype)
        ahead = torch.arange(self.horizon, device=x.device)
        source = self.input_steps + ahead % self.season_steps - self.season_steps
        values = x[:, :, source.clamp(min=0)]
        known = (source >= 0).view(-1, 1)
        if mask is not None:
            known = known & mask[:, :, source.clamp(min=0)]
        return torch.where(known, values, forecast)
