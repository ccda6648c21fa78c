"""ST-ResNet: residual convolutions over recent, daily and weekly images, for series on grids."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.conv_lstm import as_images
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["ResidualUnit", "STResNet"]

_WEEKDAYS, _SATURDAY = 7, 5
_BOUNDED = "min_max"


class ResidualUnit(nn.Module):
    r"""Two convolutions of 3 x 3 cells, each after a rectifier, and a shortcut: :math:`x + W_2 * r(W_1 * r(x))`.

    Args:
        channels: Number of channels F.

    Shapes:
        - **x:** ``[B, F, H, W]``
        - **output:** ``[B, F, H, W]``

    Examples:
        >>> ResidualUnit(4)(torch.zeros(2, 4, 5, 6)).shape
        torch.Size([2, 4, 5, 6])
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the features with the change added."""
        changed: Tensor = x + self.layers(x)
        return changed


class STResNet(NeuralBaseline):
    r"""Residual convolutional networks on three kinds of past images, added up with a weight per cell.

    **Closeness** is the last steps; **period** the steps at the same time of the days before; **trend** those of the
    weeks before. Each kind has a network of its own; their outputs are weighted per cell and channel and summed.
    To this comes what two linear layers make of the weekday. With ``scaler="min_max"`` a tanh, as in the paper, keeps
    the forecast within the range of training, and a cell without any observation counts as the least value; with
    another scaler it is left out.

    All kinds are cut from the one window of P steps. A day (a cycle) back needs a window of at least
    ``steps_per_cycle`` steps, a week back of ``7 * steps_per_cycle``; as many days and weeks are used as the window
    holds, and with a window shorter than a day only closeness is left, without weights (see ``frames``). The paper
    forecasts one step. Here, for each of Q steps the images of the same time are taken, and the networks give all steps
    at once; for Q = 1 this is the paper's model.

    From Zhang, Zheng and Qi, "Deep spatio-temporal residual networks for citywide crowd flows prediction", AAAI 2017.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        grid: Number of rows and columns (H, W) of the grid.
        num_nodes: Number of nodes, H W; taken as every forecaster takes it.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        closeness: Number of the last steps to use; at most P are.
        period: Number of days (cycles) before to use, where the window holds them.
        trend: Number of weeks (seven cycles) before to use, where the window holds them.
        hidden_channels: Number of channels of the networks.
        residual_units: Number of residual units of each network.
        external_channels: Width of the hidden layer for the weekday; 0 for none.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``grid`` :math:`(H, W)` with :math:`N = H W` cells, row-major,
          optionally ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or the data is no grid or one of another size.

    Examples:
        >>> model = STResNet(2, 14 * 8, 1, grid=(4, 3), steps_per_cycle=8, period=4, trend=4, residual_units=1)
        >>> model.frames
        {'closeness': 3, 'period': 4, 'trend': 2}
        >>> model.predict(torch.zeros(2, 12, 14 * 8, 2), grid=(4, 3)).shape
        torch.Size([2, 12, 1, 2])
    """

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        grid: tuple[int, int],
        num_nodes: int | None = None,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        scaler: str = _BOUNDED,
        closeness: int = 3,
        period: int = 1,
        trend: int = 1,
        hidden_channels: int = 64,
        residual_units: int = 4,
        external_channels: int = 10,
    ) -> None:
        super().__init__(
            in_channels,
            input_steps,
            horizon,
            num_nodes=num_nodes,
            out_channels=out_channels,
            steps_per_cycle=steps_per_cycle,
            scaler=scaler,
        )
        at_least(1, closeness=closeness, hidden_channels=hidden_channels, residual_units=residual_units)
        at_least(0, period=period, trend=trend, external_channels=external_channels)
        self.grid = _checked_grid(grid, num_nodes)
        self.bounded = scaler == _BOUNDED
        days = input_steps // steps_per_cycle if steps_per_cycle > 1 else 0
        self.frames = {
            "closeness": min(closeness, input_steps),
            "period": min(period, days),
            "trend": min(trend, days // _WEEKDAYS),
        }
        self._places = self._cut()
        outputs = horizon * self.out_channels
        self.branches = nn.ModuleDict(
            {
                name: nn.Sequential(
                    nn.Conv2d(len(places) * in_channels, hidden_channels, 3, padding=1),
                    *(ResidualUnit(hidden_channels) for _ in range(residual_units)),
                    nn.ReLU(),
                    nn.Conv2d(hidden_channels, outputs, 3, padding=1),
                )
                for name, places in self._places.items()
            }
        )
        several = len(self._places) > 1
        self.fusion = nn.ParameterDict({n: torch.rand(outputs, *self.grid) for n in self._places if several})
        cells = self.out_channels * self.grid[0] * self.grid[1]
        self.external = _external(external_channels, cells) if external_channels else None

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        images = as_images(x, batch)
        if images.shape[-2:] != self.grid:
            raise InputError(
                f"batch.grid is {tuple(images.shape[-2:])}; expected {self.grid}, as the model was made for"
            )
        if self.bounded:
            images = 2 * images - 1  # the scaler maps to [0, 1], the paper to [-1, 1], the range of tanh
        total = x.new_zeros(())
        for name, branch in self.branches.items():
            output = branch(images[:, self._places[name]].flatten(1, 2))
            total = total + (output * self.fusion[name] if name in self.fusion else output)
        total = total.unflatten(1, (self.horizon, self.out_channels))
        if self.external is not None:
            total = total + self.external(self._weekdays(batch, x.dtype)).view(-1, *total.shape[1:])
        if self.bounded:
            total = (torch.tanh(total) + 1) / 2
        return total.permute(0, 3, 4, 1, 2).flatten(1, 2)

    def _cut(self) -> dict[str, list[int]]:
        """The steps of the window that each network sees, oldest first."""
        steps, day = self.input_steps, self.steps_per_cycle
        places = {"closeness": list(range(steps - self.frames["closeness"], steps))}
        for name, lag in (("period", day), ("trend", _WEEKDAYS * day)):
            backs = range(self.frames[name], 0, -1)
            # A step beyond the first cycle of the forecast has its counterpart one cycle further back.
            cut = [steps + q - (k + q // lag) * lag for k in backs for q in range(self.horizon)]
            if cut:
                places[name] = cut
        return places

    def _weekdays(self, batch: Data, dtype: torch.dtype) -> Tensor:
        """The weekday of each forecast step and whether it is a working day, ``[B, Q, 8]``."""
        weekday = self.calendar(batch, future=True)[1]
        working = (weekday < _SATURDAY).unsqueeze(-1)
        return torch.cat([one_hot(weekday, _WEEKDAYS), working], dim=-1).to(dtype)


def _external(hidden: int, cells: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(_WEEKDAYS + 1, hidden), nn.ReLU(), nn.Linear(hidden, cells), nn.ReLU())


def _checked_grid(grid: tuple[int, int], num_nodes: int | None) -> tuple[int, int]:
    sizes = tuple(int(size) for size in grid)
    if len(sizes) != 2 or min(sizes) < 1:
        raise InputError(f"grid is {sizes}; expected the numbers of rows and columns (H, W)")
    height, width = sizes
    if num_nodes is not None and height * width != num_nodes:
        raise InputError(f"grid is {sizes}; expected num_nodes = {num_nodes} cells")
    return height, width
