"""The ``reference`` preset equals the dense implementation, at sizes and settings that no stored numbers cover."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from benchmarks import dense_reference as dense
from stgraph.models import SpecTraNet


@pytest.mark.parametrize(
    ("grid", "steps", "channels", "frequencies", "k", "spread"),
    [
        ((1, 207), 12, 1, 16, 32, 1.0),  # sensors
        ((1, 100), 3, 3, 16, 32, 3.0),  # more frequencies than bins, edges longer than the smallest radius
        ((1, 60), 5, 1, 4, 12, 6.0),  # edges longer than the second radius
        ((1, 40), 6, 1, 4, 39, None),  # sensors without coordinates
        ((8, 9), 3, 2, 16, 71, None),  # a grid; all cells are neighbours, so that no tie matters
        ((5, 6), 12, 2, 16, 29, None),
    ],
)
def test_same_weights_give_the_same_forecast_regulariser_and_gradients(
    tmp_path: Path, grid: tuple[int, int], steps: int, channels: int, frequencies: int, k: int, spread: float | None
) -> None:
    torch.manual_seed(steps)
    nodes = grid[0] * grid[1]
    pos = None if spread is None else (torch.rand(nodes, 2) * 2 - 1) * spread
    peer = dense.DenseSpecTraNet(*grid, channels, steps, pos, num_frequencies=frequencies, k=k).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.mul_(1.5)
    low, high = torch.full((channels,), -2.0), torch.full((channels,), 3.0)
    cfg = {"NODE_MODE": grid[0] == 1, "H": grid[0], "W": grid[1], "DLAK_K": k, "NUM_FREQUENCIES": frequencies}
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": peer.state_dict(), "cfg": cfg, "min": low.numpy(), "max": high.numpy()}, path)
    ours = SpecTraNet.from_reference_checkpoint(path, pos=pos)

    x = torch.randn(4, steps, *grid, channels)
    expected, regulariser = peer(dense.scale(x, low, high), x)
    windows = x.reshape(4, steps, nodes, channels).transpose(1, 2)
    forecast = ours.predict(windows).reshape(4, *grid, channels)
    expected_forecast = dense.unscale(expected, low, high).detach()
    assert ((forecast - expected_forecast).abs().max() / expected_forecast.abs().max()).item() < 1e-5

    scaled, own_regulariser = ours.forward_scaled(Data(x=windows))
    if grid[0] > 1:
        torch.testing.assert_close(own_regulariser, regulariser, rtol=1e-4, atol=1e-9)
    expected.square().mean().backward()
    scaled.square().mean().backward()
    norms = [
        torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm() for model in (peer, ours)
    ]
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-4, atol=0)
