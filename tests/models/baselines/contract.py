"""What every published network has to do, as checks that their tests call."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

MINUTE = 60_000_000_000
DAY = 1440 * MINUTE


def graph_batch(windows=3, nodes=6, steps=12, horizon=4, channels=1, *, missing=0.0, step=5 * MINUTE, seed=0):
    """Windows on a ring with chords, with positions, distances, weights and times."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(windows, nodes, steps, channels, generator=generator) * 3 + 20
    y = torch.randn(windows, nodes, horizon, channels, generator=generator) * 3 + 20
    pos = torch.rand(nodes, 2, generator=generator)
    source = torch.arange(nodes).repeat(2)
    target = torch.cat([(torch.arange(nodes) + 1) % nodes, (torch.arange(nodes) + 2) % nodes])
    relative = pos[target] - pos[source]
    start = torch.arange(windows) * 7
    time = (start.unsqueeze(1) + torch.arange(steps + horizon)) * step
    batch = Data(
        x=x,
        y=y,
        pos=pos,
        edge_index=torch.stack([source, target]),
        edge_attr=torch.cat([relative, relative.norm(dim=1, keepdim=True)], dim=1),
        edge_weight=torch.rand(len(source), generator=generator) + 0.1,
        x_time=time[:, :steps],
        y_time=time[:, steps:],
        start=start,
    )
    if missing:
        batch.x_mask = torch.rand(x.shape, generator=generator) > missing
        batch.x = x * batch.x_mask
    return batch


def series_of(batch, length=300, seed=1):
    """A training series of the same graph, to fit the scaler and the time step."""
    generator = torch.Generator().manual_seed(seed)
    nodes, channels = batch.x.shape[1], batch.x.shape[3]
    step = int(batch.x_time[0, 1] - batch.x_time[0, 0])
    x = torch.randn(nodes, length, channels, generator=generator) * 3 + 20
    return Data(x=x, time=torch.arange(length) * step)


def select_windows(batch, index):
    chosen = Data(**batch.to_dict())
    for name in ("x", "y", "x_mask", "x_time", "y_time", "start"):
        if name in batch:
            chosen[name] = batch[name][index]
    return chosen


def permute_nodes(batch, order):
    """The same windows with node ``order[i]`` in place i."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    moved = Data(**batch.to_dict())
    for name in ("x", "y", "x_mask"):
        if name in batch:
            moved[name] = batch[name][:, order]
    moved.pos, moved.edge_index = batch.pos[order], place[batch.edge_index]
    return moved


def check_forecaster(model, batch, *, equivariant):
    """Shape, gradients, batch independence, no look at the targets, missing inputs, and permutation equivariance."""
    model.fit(series_of(batch)).eval()
    windows, nodes = batch.x.shape[:2]
    _check_gradients(model, batch)  # before all else: a training pass moves the statistics of a batch normalisation
    whole = model(batch)
    assert whole.shape == (windows, nodes, model.horizon, model.out_channels)
    assert whole.dtype == batch.x.dtype
    assert torch.isfinite(whole).all()
    for i in range(windows):
        torch.testing.assert_close(model(select_windows(batch, [i]))[0], whole[i], rtol=1e-4, atol=1e-4)
    _check_causality(model, batch, whole)
    _check_missing(model, batch)
    if equivariant:
        order = torch.randperm(nodes, generator=torch.Generator().manual_seed(5))
        torch.testing.assert_close(model(permute_nodes(batch, order)), whole[:, order], rtol=1e-4, atol=1e-4)


def _check_gradients(model, batch):
    model.train()
    torch.manual_seed(0)
    prediction = model.forward_scaled(batch)[0]
    model.zero_grad()
    prediction.square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not without, f"no finite gradient: {without}"
    model.zero_grad()
    model.eval()


def _check_causality(model, batch, whole):
    """Future values cannot change a forecast."""
    other = Data(**batch.to_dict())
    other.y = torch.full_like(batch.y, torch.nan)
    assert torch.equal(model(other), whole)
    del other.y, other.y_time
    assert torch.equal(model(other), whole)


def _check_missing(model, batch):
    """What stands in an unobserved place has no influence."""
    mask = torch.rand(batch.x.shape, generator=torch.Generator().manual_seed(3)) > 0.3
    mask[0, 0] = False  # one node without any observation
    first, second = (Data(**batch.to_dict()) for _ in range(2))
    first.x, second.x = torch.where(mask, batch.x, 0.0), torch.where(mask, batch.x, 1e6)
    first.x_mask = second.x_mask = mask
    forecast = model(first)
    assert torch.isfinite(forecast).all()
    torch.testing.assert_close(forecast, model(second))


def training_losses(model, batch, *, steps, learning_rate, squared=False):
    """Train with Adam on the errors of one batch in data units, and return the loss before each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    losses = []
    for _ in range(steps):
        errors = model(batch) - batch.y
        loss = (errors.square() if squared else errors.abs()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def check_mixed_precision(model, batch):
    """Under bfloat16 autocast gradients are finite and forecasts change little."""
    model.fit(series_of(batch)).eval()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = model(batch)
        mixed.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(mixed, model(batch), atol=0.1, rtol=0)
