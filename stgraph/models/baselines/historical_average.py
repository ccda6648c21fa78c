"""Averages of the past: of the same time of the week, of the same time of the day, or of the window."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.base import Baseline, slices
from stgraph.models.baselines.calendar import DAY, calendar_slots, forecast_time
from stgraph.models.baselines.checks import at_least

__all__ = ["HistoricalAverage"]

Variant = Literal["slot", "day", "window"]

_WEEKDAYS = 7
_BLOCK = 1 << 22  # numbers in one temporary array of the sums


class HistoricalAverage(Baseline):
    """The mean of each node's observed values, over one of three sets that the literature all calls "HA".

    ``"slot"``: the training values of the same time of the day and weekday. This is the HA of Li et al., "Diffusion
    convolutional recurrent neural network", ICLR 2018 (period of a week, nulls left out), whose errors are the same at
    all horizons. There training and validation part are averaged; fit to both for the same numbers.

    ``"day"``: the training values of the same time of the day on any weekday, that HA with a period of a day.

    ``"window"``: the P values of the window, the same for all Q steps. This is the HA of Guo et al., "Attention based
    spatial-temporal graph convolutional networks", AAAI 2019 (the last 12 values), and, judging by errors that grow
    with the horizon as only a forecast from the window can have them, that of the tables of Shao et al., "Decoupled
    dynamic spatial-temporal graph neural network", VLDB 2022.

    A slot without observations takes the mean of its time of the day, or else of its node; so does a window. Where a
    step lasts a day or longer, the place in the year takes the place of that in the day, and weekdays are not told
    apart. Without calendar times, that is int64 nanoseconds, ``"slot"`` and ``"day"`` give the mean of the node.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        variant: What is averaged.

    Shapes:
        - **batch.x**, **batch.x_mask:** ``[B, N, P, C]``
        - **batch.y_time:** ``[B, Q]``; without it ``batch.x_time`` ``[B, P]`` is continued by the training step
        - **output:** ``[B, N, Q, C]``

    Raises:
        InputError: If the variant is unknown, or a batch has no times where they are needed.

    Examples:
        >>> from torch_geometric.data import Data
        >>> hour = 3600 * 10**9
        >>> series = Data(x=torch.arange(96.0).view(1, 96, 1), time=torch.arange(96) * hour)
        >>> model = HistoricalAverage(1, 2, 1, num_nodes=1, steps_per_cycle=24, variant="day").fit(series)
        >>> model(Data(x=torch.zeros(1, 1, 2, 1), y_time=torch.tensor([[100 * hour]]))).item()  # 4, 28, 52, 76
        40.0
    """

    table: Tensor
    calendar: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        variant: Variant = "slot",
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels)
        if variant not in get_args(Variant):
            raise InputError(f"variant is {variant!r}; expected one of {', '.join(get_args(Variant))}")
        at_least(1, steps_per_cycle=steps_per_cycle)
        self.steps_per_cycle, self.variant = steps_per_cycle, variant
        slots = {"slot": _WEEKDAYS * steps_per_cycle, "day": steps_per_cycle, "window": 0}[variant]
        self.register_buffer("table", torch.zeros(slots, num_nodes, self.out_channels, dtype=torch.float64))
        self.register_buffer("calendar", torch.zeros((), dtype=torch.bool))

    def _fit(self, data: Data, starts: Tensor | None) -> None:
        time = data.get("time")
        known = self.variant != "window" and time is not None and not time.is_floating_point()
        self.calendar.fill_(known)
        if not known:
            return
        if time.dim() != 1:
            raise InputError(f"data.time has shape {tuple(time.shape)}; expected (T,), common to all nodes")
        slot, mask = self._slot(time), data.get("mask")
        total, count = torch.zeros_like(self.table), torch.zeros_like(self.table)
        for part in slices(len(time), _BLOCK // self.table[0].numel()):
            x = data.x[:, part, : self.out_channels].transpose(0, 1).double()
            known_part = torch.ones_like(x) if mask is None else mask[:, part, : self.out_channels].transpose(0, 1)
            total.index_add_(0, slot[part], torch.where(known_part.bool(), x, 0.0))
            count.index_add_(0, slot[part], known_part.double())
        by_weekday = (-1, self.steps_per_cycle, *total.shape[1:])
        total, count = total.view(by_weekday), count.view(by_weekday)
        day_total, day_count = total.sum(0, keepdim=True), count.sum(0, keepdim=True)
        day = torch.where(day_count > 0, day_total / day_count.clamp(min=1), self.node_mean)
        self.table.copy_(torch.where(count > 0, total / count.clamp(min=1), day).flatten(0, 1))

    def _slot(self, time: Tensor) -> Tensor:
        """Return the row of the table of each time."""
        slot, weekday = calendar_slots(time, self.steps_per_cycle, float(self.time_step))
        if self.variant == "day" or float(self.time_step) >= DAY:
            return slot
        return slot + self.steps_per_cycle * weekday

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        if self.variant == "window":
            return self._window_mean(x, mask).unsqueeze(2).expand(-1, -1, self.horizon, -1)
        if not bool(self.calendar):
            return self.node_mean.unsqueeze(1).expand(len(x), -1, self.horizon, -1)
        time = forecast_time(batch, self.horizon, self.time_step)
        if time.is_floating_point():
            raise InputError(f"the times of the batch are {time.dtype}; expected int64 nanoseconds, as in training")
        return self.table[self._slot(time)].transpose(1, 2)

    def _window_mean(self, x: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return x.mean(2)
        count = mask.sum(2)
        total = torch.where(mask, x, 0.0).sum(2)
        return torch.where(count > 0, total / count.clamp(min=1), self.node_mean.to(x.dtype))
