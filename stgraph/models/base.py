"""What every forecaster of stgraph has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from typing_extensions import Self

from stgraph.errors import InputError
from stgraph.nn.scalers import Scaler, make_scaler

__all__ = ["Forecaster"]


class Forecaster(nn.Module):
    """Base class of models that map the last P steps of a graph series to the next Q, in data units.

    A subclass implements :meth:`forward_scaled`. The scaler is a module: a saved model predicts without anything else.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        scaler_per: ``"channel"`` or ``"node"``.
        num_nodes: Number of nodes, where something is learned per node.
        quantiles: Levels of the quantile outputs, increasing and including 0.5; ``None`` for a point forecast.
    """

    time_origin: Tensor
    time_step: Tensor
    quantile_offset: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        out_channels: int | None = None,
        scaler: str = "none",
        scaler_per: str = "channel",
        num_nodes: int | None = None,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("input_steps", input_steps), ("horizon", horizon)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.in_channels, self.input_steps, self.horizon = in_channels, input_steps, horizon
        self.out_channels = in_channels if out_channels is None else out_channels
        if not 1 <= self.out_channels <= in_channels:
            raise InputError(f"out_channels is {out_channels}; expected 1 to in_channels = {in_channels}")
        self.num_nodes = num_nodes
        self.quantiles = _check_quantiles(quantiles)
        self.scaler: Scaler = make_scaler(scaler, in_channels, num_nodes, per=scaler_per)
        self.register_buffer("time_origin", torch.zeros((), dtype=torch.float64))
        self.register_buffer("time_step", torch.ones((), dtype=torch.float64))
        levels = len(self.quantiles or ())
        self.register_buffer("quantile_offset", torch.zeros(horizon, self.out_channels, levels))

    def fit(self, data: Data, starts: Tensor | None = None) -> Self:
        """Fit what gradient descent does not train, such as the scaler, on the training series alone.

        Args:
            data: The training series.
            starts: First steps of the training windows, for models that learn from windows in closed form.
        """
        self.scaler.fit(data.x, getattr(data, "mask", None))
        time = getattr(data, "time", None)
        if time is not None and time.dim() == 1 and time.numel() > 1:
            self.time_origin.fill_(float(time[0]))
            self.time_step.fill_(float((time[1:] - time[:-1]).double().median()))
        return self

    def forward_scaled(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Return the forecast in scaled units and the regulariser, a scalar that training adds to the loss."""
        raise NotImplementedError  # pragma: no cover - abstract

    def forward(self, batch: Data) -> Tensor:
        """Return the forecast in data units, ``[B, N, Q, C]`` or ``[B, N, Q, C, L]`` for L quantiles."""
        return self.to_data_units(self.forward_scaled(batch)[0])

    def to_data_units(self, scaled: Tensor) -> Tensor:
        """Undo the scaling of a forecast and add the calibrated offsets of its quantiles."""
        if self.quantiles is None:
            return self.scaler.inverse(scaled)
        # Quantiles commute with the increasing map of the scaler; L goes in front so that channels are last.
        values = self.scaler.inverse(scaled.movedim(-1, 0)).movedim(0, -1) + self.quantile_offset
        return values.sort(dim=-1).values

    def point(self, prediction: Tensor) -> Tensor:
        """Return the point forecast ``[B, N, Q, C]``: the median where the forecast has quantiles."""
        return prediction if self.quantiles is None else prediction[..., self.quantiles.index(0.5)]

    def time_in_steps(self, time: Tensor) -> Tensor:
        """Convert times as stored in the data to a float64 number of steps since the start of training."""
        return (time.double() - self.time_origin) / self.time_step

    @torch.no_grad()
    def predict(
        self,
        windows: Any,
        pos: Any = None,
        *,
        mask: Any = None,
        time: Any = None,
        grid: tuple[int, int] | None = None,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ) -> Tensor:
        """Forecast from raw windows in evaluation mode.

        Args:
            windows: Array or tensor ``(B, N, P, C)`` in data units; NaN is missing. Nodes of a grid are row-major.
            pos: Coordinates ``(N, D)``.
            mask: True where observed, shape of ``windows``.
            time: Times ``(B, P)`` as in the training data.
            grid: ``(H, W)`` where the nodes are a grid.
            edge_index: Edges ``[2, E]``, j to i; without them the model connects nearest neighbours by ``pos``.
            edge_attr: Relative position and distance of each edge, ``[E, D + 1]``.

        Returns:
            Tensor: ``(B, N, Q, C)``, or ``(B, N, Q, C, L)`` with quantiles, in data units.

        Raises:
            InputError: If a shape does not fit the model.
        """
        reference = self.time_origin
        x = torch.as_tensor(windows).to(reference.device, torch.get_default_dtype())
        if x.dim() != 4 or x.shape[2:] != (self.input_steps, self.in_channels):
            raise InputError(
                f"windows has shape {tuple(x.shape)}; expected (B, N, {self.input_steps}, {self.in_channels})"
            )
        observed = ~torch.isnan(x)
        if mask is not None:
            observed &= torch.as_tensor(mask, device=x.device).bool()
        batch = Data(x=torch.where(observed, x, 0.0), num_nodes=x.shape[1])
        if not bool(observed.all()):
            batch.x_mask = observed
        for name, value in (("pos", pos), ("x_time", time), ("edge_index", edge_index), ("edge_attr", edge_attr)):
            if value is not None:
                batch[name] = torch.as_tensor(value, device=x.device)
        if grid is not None:
            batch.grid = grid
        if batch.get("pos") is not None:
            batch.pos = batch.pos.to(x.dtype)
            if batch.pos.dim() != 2 or batch.pos.shape[0] != x.shape[1]:
                raise InputError(f"pos has shape {tuple(batch.pos.shape)}; expected ({x.shape[1]}, D)")
        was_training = self.training
        self.eval()
        try:
            prediction: Tensor = self(batch)
            return prediction
        finally:
            self.train(was_training)


def _check_quantiles(quantiles: Sequence[float] | None) -> tuple[float, ...] | None:
    if quantiles is None:
        return None
    levels = tuple(float(q) for q in quantiles)
    if any(not 0 < q < 1 for q in levels) or list(levels) != sorted(set(levels)) or 0.5 not in levels:
        raise InputError(f"quantiles is {list(levels)}; expected increasing levels between 0 and 1 with 0.5 among them")
    return levels
