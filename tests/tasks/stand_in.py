"""A small forecaster and small series for the tests of training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.data.datamodule import SeriesDataModule
from stgraph.models.base import Forecaster


class MLPForecaster(Forecaster):
    """A perceptron on the window of each node, with dropout; the mean of its weights' squares is its regulariser."""

    def __init__(
        self,
        in_channels,
        input_steps,
        horizon,
        *,
        num_nodes=None,
        out_channels=None,
        dropout=0.2,
        quantiles=None,
        width=8,
    ):
        super().__init__(
            in_channels,
            input_steps,
            horizon,
            out_channels=out_channels,
            num_nodes=num_nodes,
            scaler="standard",
            quantiles=quantiles,
        )
        self.levels = len(quantiles or [0])
        self.net = nn.Sequential(
            nn.Linear(in_channels * input_steps, width),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(width, horizon * self.out_channels * self.levels),
        )

    def forward_scaled(self, batch: Data) -> tuple[Tensor, Tensor]:
        x = self.scaler.transform(batch.x)
        if batch.get("x_mask") is not None:
            x = torch.where(batch.x_mask, x, 0.0)
        out = self.net(x.flatten(-2)).unflatten(-1, (self.horizon, self.out_channels, self.levels))
        out = out.sort(dim=-1).values if self.quantiles else out.squeeze(-1)
        return out, 1e-3 * self.net[0].weight.square().mean()


def make_series(nodes=5, steps=120, channels=1, missing=0.0, seed=0, time=True, grid=None) -> Data:
    """Waves with noise around a level of 20."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps)[None, :, None]
    phase = rng.uniform(0, 6, (nodes, 1, channels))
    x = 20 + 5 * np.sin(0.5 * t + phase) + rng.normal(0, 0.5, (nodes, steps, channels))
    data = Data(x=torch.from_numpy(x).float(), pos=torch.from_numpy(rng.uniform(-1, 1, (nodes, 2))).float())
    if missing:
        data.mask = torch.from_numpy(rng.random(x.shape) >= missing)
        data.x = torch.where(data.mask, data.x, 0.0)
    if time:
        data.time = torch.arange(steps) * 3_600_000_000_000
    if grid is not None:
        data.grid = grid
    ring = torch.arange(nodes)
    data.edge_index = torch.stack([ring, (ring + 1) % nodes])
    return data


def make_datamodule(series=None, **arguments) -> SeriesDataModule:
    arguments = {"input_steps": 4, "horizon": 2, "batch_size": 16, "seed": 3, "split": (6, 2, 2), **arguments}
    return SeriesDataModule(make_series() if series is None else series, **arguments)
