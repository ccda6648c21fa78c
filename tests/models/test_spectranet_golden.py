"""The numbers of the original implementation, reproduced from its own checkpoints."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.models import SpecTraNet
from stgraph.nn.losses import ForecastLoss
from stgraph.ops.gating import change_score

ROOT = Path(os.environ.get("STGRAPH_DATA", "")) / "spectranet_golden"
pytestmark = pytest.mark.skipif(
    not os.environ.get("STGRAPH_DATA") or not ROOT.is_dir(), reason="spectranet_golden: set STGRAPH_DATA to its folder"
)


def nodes_first(x: np.ndarray) -> torch.Tensor:
    """(B, P, H, W, C) to (B, N, P, C)."""
    batch, steps, height, width, channels = x.shape
    return torch.from_numpy(x).reshape(batch, steps, height * width, channels).transpose(1, 2)


@pytest.fixture(params=["node", "grid"])
def case(request: pytest.FixtureRequest) -> tuple[SpecTraNet, dict[str, torch.Tensor], Data]:
    folder = ROOT / request.param
    pos = np.load(folder / "coords.npy") if request.param == "node" else None
    model = SpecTraNet.from_reference_checkpoint(folder / "checkpoint.pt", pos=pos)
    with np.load(folder / "golden.npz") as arrays:
        golden = {name: arrays[name] for name in arrays.files}
    x = nodes_first(golden["x_raw"])
    grid = golden["y_raw"].shape[1:3]
    batch = Data(x=x, y=nodes_first(golden["y_raw"][:, None]), grid=grid if request.param == "grid" else None)
    batch.loss_grid = grid
    return model, {name: torch.from_numpy(np.asarray(value)) for name, value in golden.items()}, batch


def close(ours: torch.Tensor, golden: torch.Tensor) -> None:
    golden = golden.reshape(ours.shape)
    scale = golden.abs().max().clamp(min=1e-12)
    assert ((ours - golden).abs().max() / scale).item() < 1e-5
    torch.testing.assert_close(ours, golden, rtol=1e-5, atol=1e-5 * float(scale))


@torch.no_grad()
def test_intermediate_arrays(case: tuple[SpecTraNet, dict[str, torch.Tensor], Data]) -> None:
    model, golden, batch = case
    assert model.got is not None
    assert model.mgat is not None
    close(change_score(batch.x), golden["gating"])
    x = model.scaler.transform(batch.x)
    close(x, nodes_first(golden["x_scaled"].numpy()))
    z = model.temporal(x, batch.x, model._time(batch, x))
    close(z, golden["temporal"])
    geometry = model.geometry(batch, model.mgat)
    got, plan = model.got(z, geometry.pos)
    close(got, golden["got"])
    close(plan, golden["plan"])
    close(model.mgat(got, geometry.edges, plan=plan), golden["mgat"])


def test_prediction_and_loss(case: tuple[SpecTraNet, dict[str, torch.Tensor], Data]) -> None:
    model, golden, batch = case
    scaled, regulariser = model.forward_scaled(batch)
    close(scaled, golden["prediction_scaled"])
    close(regulariser, golden["regulariser"])
    close(model.predict(batch.x), golden["prediction"])
    batch.grid = tuple(batch.loss_grid)
    parts = ForecastLoss()(scaled, model.scaler.transform(batch.y), batch=batch, regulariser=regulariser)
    for name, value in (("huber", parts.point), ("frequency_loss", parts.frequency), ("pinball", parts.quantile)):
        close(value, golden[name])
    close(parts.total, golden["loss"])
    parts.total.backward()
    norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
    close(norm, golden["grad_norm"])
