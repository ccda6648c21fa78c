"""What published networks share: scaling, filling of gaps, the calendar and checks of their input."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.base import Forecaster
from stgraph.models.baselines.calendar import calendar_slots, continue_time
from stgraph.models.baselines.checks import at_least
from stgraph.ops.missing import fill_with_nearest_observed

__all__ = ["NeuralBaseline"]


class NeuralBaseline(Forecaster):
    """A published network behind the interface of all forecasters; a subclass implements :meth:`forecast`.

    Values are standardised per channel; where an input is missing, the nearest observed one of the node takes its
    place (the last before it, or else the first after it), and a node without any gets 0, the mean of training.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
    """

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int | None = None,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        scaler: str = "standard",
    ) -> None:
        super().__init__(
            in_channels, input_steps, horizon, out_channels=out_channels, scaler=scaler, num_nodes=num_nodes
        )
        at_least(1, steps_per_cycle=steps_per_cycle)
        self.steps_per_cycle = steps_per_cycle

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]`` from the scaled input ``[B, N, P, C]`` without gaps.

        What else a network needs (``edge_index``, ``pos``, the calendar, or in training the targets) is in ``batch``.
        """
        raise NotImplementedError  # pragma: no cover - abstract

    def forward_scaled(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Return the forecast in scaled units and a regulariser of 0."""
        x = batch.x
        if x.dim() != 4 or x.shape[2:] != (self.input_steps, self.in_channels):
            expected = f"(B, N, {self.input_steps}, {self.in_channels})"
            raise InputError(f"batch.x has shape {tuple(x.shape)}; expected {expected}")
        if self.num_nodes is not None and x.shape[1] != self.num_nodes:
            raise InputError(f"batch.x has {x.shape[1]} nodes; expected num_nodes = {self.num_nodes}")
        mask = batch.get("x_mask")
        scaled = self.scaler.transform(fill_with_nearest_observed(x, mask))
        if mask is not None:
            scaled = torch.where(mask.any(dim=-2, keepdim=True), scaled, 0.0)
        return self.forecast(scaled, batch), x.new_zeros(())

    def calendar(self, batch: Data, *, future: bool = False) -> tuple[Tensor, Tensor]:
        """Return where each step stands in its cycle, ``0 .. steps_per_cycle - 1``, and its weekday, ``0 .. 6``.

        The cycle is the day, or the year where a step lasts a day or longer. Steps a week or longer, and series without
        a calendar, have weekday 0.

        Args:
            batch: Windows with ``x_time`` ``[B, P]``, or without.
            future: Whether to describe the Q steps of the horizon, which follow the input.

        Returns:
            tuple: Two int64 tensors ``[B, P]``, or ``[B, Q]`` for the future.
        """
        steps = self.horizon if future else self.input_steps
        time = batch.get("x_time")
        if time is None or time.is_floating_point():
            none = torch.zeros(batch.x.shape[0], steps, dtype=torch.long, device=batch.x.device)
            return none, none
        if time.dim() != 2:
            raise InputError(f"batch.x_time has shape {tuple(time.shape)}; expected (B, {self.input_steps})")
        if future:
            time = continue_time(time, steps, self.time_step)
        return calendar_slots(time, self.steps_per_cycle, float(self.time_step))

    def with_calendar(self, x: Tensor, batch: Data, *, weekday: bool = False) -> Tensor:
        """Append the place in the cycle as a number in [0, 1) to the channels, and if asked for the weekday / 7."""
        slot, day = self.calendar(batch)
        extra = [slot.to(x.dtype) / self.steps_per_cycle]
        if weekday:
            extra.append(day.to(x.dtype) / 7)
        columns = [e.view(x.shape[0], 1, -1, 1).expand(-1, x.shape[1], -1, -1) for e in extra]
        return torch.cat([x, *columns], dim=-1)
