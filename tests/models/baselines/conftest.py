from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

HOUR = 3_600_000_000_000


def make_series(nodes=4, steps=120, channels=2, missing=0.3, step=6 * HOUR, seed=0):
    """A series with memory, a daily wave, and gaps."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(nodes, steps, channels, generator=generator)
    x = torch.zeros_like(noise)
    for t in range(1, steps):
        x[:, t] = 0.8 * x[:, t - 1] + noise[:, t]
    wave = torch.sin(torch.arange(steps) * 2 * torch.pi * step / (24 * HOUR)).view(1, -1, 1)
    x = 10 + x + 2 * wave + 5 * torch.arange(nodes).view(-1, 1, 1)
    data = Data(time=torch.arange(steps) * step)
    if missing:
        data.mask = torch.rand(x.shape, generator=generator) > missing
        x = x * data.mask
    data.x = x
    return data


def make_windows(data, input_steps, horizon, starts=None):
    if starts is None:
        starts = torch.arange(data.x.shape[1] - input_steps - horizon + 1)
    index = starts.unsqueeze(-1) + torch.arange(input_steps + horizon)
    x = data.x[:, index].transpose(0, 1)
    batch = Data(x=x[:, :, :input_steps], y=x[:, :, input_steps:], start=starts)
    if data.get("mask") is not None:
        mask = data.mask[:, index].transpose(0, 1)
        batch.x_mask, batch.y_mask = mask[:, :, :input_steps], mask[:, :, input_steps:]
    if data.get("time") is not None:
        batch.x_time, batch.y_time = data.time[index][:, :input_steps], data.time[index][:, input_steps:]
    return batch


@pytest.fixture
def series():
    return make_series


@pytest.fixture
def windows():
    return make_windows
