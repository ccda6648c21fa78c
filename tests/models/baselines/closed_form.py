"""What every baseline fitted in closed form has to do, as a check that their tests call."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

from tests.models.baselines.contract import MINUTE, graph_batch, permute_nodes, select_windows


def series_with_gaps(nodes=6, steps=900, channels=1, missing=0.2, step=5 * MINUTE, seed=0):
    """A series of several days with a level of each node and values missing."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, steps, channels, generator=generator) + 20 + torch.arange(nodes).view(-1, 1, 1)
    data = Data(x=x, time=torch.arange(steps) * step)
    if missing:
        data.mask = torch.rand(x.shape, generator=generator) > missing
        data.x = x * data.mask
    return data


def check_closed_form(model, missing=0.2):
    """Shape, type, batch independence, no look at targets, no influence of unobserved values, and permutations."""
    channels, horizon = model.in_channels, model.horizon
    batch = graph_batch(nodes=model.num_nodes, steps=model.input_steps, horizon=horizon, channels=channels)
    batch.x_mask = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(4)) > missing
    batch.x_mask[0, 0] = False  # a window without any observation
    series = series_with_gaps(model.num_nodes, channels=channels, missing=missing)
    model.fit(series)
    whole = model(batch)
    assert whole.shape == (*batch.x.shape[:2], horizon, model.out_channels)
    assert whole.dtype == batch.x.dtype
    assert torch.isfinite(whole).all()
    for i in range(len(batch.x)):
        torch.testing.assert_close(model(select_windows(batch, [i]))[0], whole[i])
    _check_ignores(model, batch, whole)
    series_with_garbage = Data(**series.to_dict())
    if missing:
        series_with_garbage.x = torch.where(series.mask, series.x, 1e6)
    order = torch.randperm(model.num_nodes, generator=torch.Generator().manual_seed(5))
    for name in ("x", "mask"):
        if name in series_with_garbage:
            series_with_garbage[name] = series_with_garbage[name][order]
    again = model.fit(series_with_garbage)(permute_nodes(batch, order))
    torch.testing.assert_close(again, whole[:, order], rtol=1e-4, atol=1e-4)


def _check_ignores(model, batch, whole):
    other = Data(**batch.to_dict())
    other.y = torch.full_like(batch.y, torch.nan)
    other.x = torch.where(batch.x_mask, batch.x, 1e6)
    torch.testing.assert_close(model(other), whole, rtol=1e-5, atol=1e-5)
    del other.y, other.y_time
    torch.testing.assert_close(model(other), whole, rtol=1e-5, atol=1e-5)
