"""A Fourier neural operator that forecasts series on grids."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.base import Forecaster
from stgraph.models.fno_options import FNOOptions
from stgraph.models.options import options_from_keywords
from stgraph.nn.spectral.fno import FNOBlock
from stgraph.ops.missing import fill_with_nearest_observed

__all__ = ["FNO"]


class FNO(Forecaster):
    r"""Forecast a series on a grid with a Fourier neural operator.

    All input steps and channels of a cell, where they are observed, and the place of the cell in the plane are lifted
    to hidden channels; :class:`~stgraph.nn.spectral.FNOBlock` with two-dimensional modes follow each other; a linear
    head gives Q steps as changes from the last observed input. Its weights start at zero, so that training starts from
    persistence. No parameter depends on the size of the grid: a trained model forecasts on other grids of the same
    region.

    Missing inputs never influence a forecast: only the mask of what is observed enters beside the observed values.

    From Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021.

    Args:
        in_channels: Number of channels of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        num_nodes: Taken as every forecaster takes it; the model is the same for every number of nodes.
        **options: Fields of :class:`~stgraph.models.FNOOptions`.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``grid`` :math:`(H, W)` with :math:`N = H W` cells, row-major,
          optionally ``x_mask``
        - **output:** :math:`(B, N, Q, C)`

    Raises:
        InputError: If a value is out of range or the data is no grid.

    Examples:
        >>> model = FNO(in_channels=1, input_steps=4, horizon=2, width=8, modes=4, num_layers=2)
        >>> model.predict(torch.randn(3, 30, 4, 1), grid=(5, 6)).shape
        torch.Size([3, 30, 2, 1])
        >>> model.predict(torch.randn(3, 120, 4, 1), grid=(10, 12)).shape
        torch.Size([3, 120, 2, 1])
    """

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        out_channels: int | None = None,
        num_nodes: int | None = None,
        **options: Any,
    ) -> None:
        chosen = options_from_keywords(FNOOptions, options).with_defaults()
        super().__init__(
            in_channels,
            input_steps,
            horizon,
            out_channels=out_channels,
            scaler=str(chosen.scaler),
            num_nodes=num_nodes,
        )
        self.options = chosen
        width, modes, layers = (_positive(chosen, name) for name in ("width", "modes", "num_layers"))
        features = input_steps * in_channels * (2 if chosen.mask_input else 1)
        self.lift = nn.Linear(features + 2, width)
        ratio, dropout = float(chosen.mlp_ratio or 0), float(chosen.dropout or 0)
        self.blocks = nn.Sequential(*(FNOBlock(width, (modes, modes), ratio, dropout=dropout) for _ in range(layers)))
        self.lin_out = nn.Linear(width, horizon * self.out_channels)
        nn.init.zeros_(self.lin_out.weight)
        nn.init.zeros_(self.lin_out.bias)

    def forward_scaled(self, batch: Data) -> tuple[Tensor, Tensor]:
        """Return the forecast in scaled units, and a regulariser of 0."""
        height, width = self._grid(batch)
        mask = getattr(batch, "x_mask", None)
        x = self.scaler.transform(fill_with_nearest_observed(batch.x, mask))
        if mask is not None:
            # Where a cell has no observation in the window its level is unknown; 0 is the centre of the training data.
            x = torch.where(mask.any(dim=-2, keepdim=True), x, 0.0)
        features = [x]
        if self.options.mask_input:
            features.append(torch.ones_like(x) if mask is None else mask.to(x.dtype))
        cells = torch.cat([*(part.flatten(-2) for part in features), _places(height, width, x)], dim=-1)
        hidden: Tensor = self.blocks(self.lift(cells).unflatten(1, (height, width)))
        change: Tensor = self.lin_out(hidden).flatten(1, 2).unflatten(-1, (self.horizon, self.out_channels))
        return x[..., -1:, : self.out_channels] + change, x.new_zeros(())

    def _grid(self, batch: Data) -> tuple[int, int]:
        grid, x = getattr(batch, "grid", None), batch.x
        if x.dim() != 4 or x.shape[2:] != (self.input_steps, self.in_channels):
            expected = f"(B, N, {self.input_steps}, {self.in_channels})"
            raise InputError(f"batch.x has shape {tuple(x.shape)}; expected {expected}")
        if grid is None:
            raise InputError(
                "the data is no grid, and the model 'fno' needs values on a regular grid (H, W); "
                "the model 'spectranet' serves any graph"
            )
        height, width = (int(size) for size in grid)
        if height * width != x.shape[1]:
            raise InputError(f"grid is {(height, width)}; expected {x.shape[1]} cells, as batch.x has nodes")
        return height, width


def _places(height: int, width: int, like: Tensor) -> Tensor:
    """The centres of the cells of a plane from -1 to 1, ``[B, H * W, 2]``."""
    axes = [(2 * torch.arange(n, dtype=like.dtype, device=like.device) + 1) / n - 1 for n in (height, width)]
    return torch.cartesian_prod(*axes).expand(like.shape[0], -1, -1)


def _positive(options: FNOOptions, name: str) -> int:
    value = getattr(options, name)
    if value < 1:
        raise InputError(f"{name} is {value}; expected at least 1")
    return int(value)
