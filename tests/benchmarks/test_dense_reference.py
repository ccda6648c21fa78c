"""The dense implementation that the benchmarks compare with computes what the original computed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy._core.multiarray import _reconstruct  # type: ignore[attr-defined]
from torch import Tensor

from benchmarks import dense_reference as dense

DATA = os.environ.get("STGRAPH_DATA")
SAFE = [np.ndarray, _reconstruct, np.dtype, np.dtypes.Float32DType]
LOSSES = ["regulariser", "huber", "frequency_loss", "pinball", "loss", "grad_norm"]
ARRAYS = ["gating", "x_scaled", "temporal", "plan", "got", "mgat", "prediction_scaled", "prediction", *LOSSES]


def small(coords: Tensor | None, shape: tuple[int, int], steps: int = 4, **options: object) -> dense.DenseSpecTraNet:
    torch.manual_seed(0)
    sizes = {"features": 8, "num_frequencies": 5, "num_prototypes": 6, "k": 4} | options
    return dense.DenseSpecTraNet(*shape, 2, steps, coords, **sizes).eval()


def golden(view: str) -> dict[str, tuple[Tensor, Tensor]]:
    """Each array as computed here and as the original computed it."""
    folder = Path(DATA or "") / "spectranet_golden" / view
    with torch.serialization.safe_globals(SAFE):
        checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    with np.load(folder / "golden.npz") as file:
        expected = {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}
    coords = torch.from_numpy(np.load(folder / "coords.npy")) if view == "node" else None
    cfg = checkpoint["cfg"]
    model = dense.DenseSpecTraNet(
        cfg["H"],
        cfg["W"],
        cfg["C"],
        cfg["P_IN"],
        coords,
        features=cfg["D_MODEL"],
        periods=cfg["PERIODS"],
        num_frequencies=cfg["NUM_FREQUENCIES"],
        gain=cfg["TGATING_GAIN"],
        num_prototypes=cfg["N_PROTO"],
        eps=cfg["GOT_EPS"],
        tau=cfg["GOT_TAU"],
        k=cfg["DLAK_K"],
        r0=cfg["MGAT_R0"],
        dropout=cfg["DROPOUT"],
    ).eval()
    model.load_state_dict(checkpoint["model"])
    low, high = torch.from_numpy(checkpoint["min"]), torch.from_numpy(checkpoint["max"])
    computed = run(model, expected["x_raw"], expected["y_raw"], low, high, cfg["LOSS_DELTA"])
    return {name: (computed[name], expected[name]) for name in ARRAYS}


def run(
    model: dense.DenseSpecTraNet, x_raw: Tensor, y_raw: Tensor, low: Tensor, high: Tensor, delta: float
) -> dict[str, Tensor]:
    x = dense.scale(x_raw, low, high)
    y = dense.scale(y_raw, low[:, 0], high[:, 0])
    spatial = model.spatial
    out: dict[str, Tensor] = {"x_scaled": x, "gating": dense.gating_score(x_raw)}
    out["temporal"] = model.temporal(x, out["gating"])
    out["got"], out["plan"] = spatial.got(out["temporal"], spatial.pos)
    out["mgat"], _ = spatial.mgat(out["got"], out["plan"], spatial.neighbors, spatial.rel, spatial.geod)
    out["prediction_scaled"], out["regulariser"] = model(x, x_raw)
    out["prediction"] = dense.unscale(out["prediction_scaled"], low[:, 0], high[:, 0])
    out["huber"] = F.huber_loss(out["prediction_scaled"], y, delta=delta)
    out["frequency_loss"] = dense.frequency_loss(out["prediction_scaled"], y)
    out["pinball"] = dense.pinball_loss(out["prediction_scaled"], y)
    out["loss"] = dense.training_loss(out["prediction_scaled"], y, out["regulariser"], delta)
    gradients = torch.autograd.grad(out["loss"], list(model.parameters()), allow_unused=True)
    out["grad_norm"] = torch.stack([g.norm() for g in gradients if g is not None]).norm()
    return out


@pytest.mark.skipif(not DATA, reason="STGRAPH_DATA names no folder with spectranet_golden")
@pytest.mark.parametrize("view", ["node", "grid"])
def test_reproduces_the_original(view: str) -> None:
    for name, (computed, expected) in golden(view).items():
        scale = expected.abs().max().clamp(min=1e-12)
        assert computed.shape == expected.shape, name
        assert float(((computed - expected).abs().max() / scale).detach()) < 1e-5, name


def test_gating_score_of_a_constant_window_is_one_half() -> None:
    score = dense.gating_score(torch.full((2, 7, 1, 3, 2), 5.0))
    torch.testing.assert_close(score, torch.full((2, 7), 0.5))


@pytest.mark.parametrize("steps", [1, 2, 3, 12])
def test_gating_score_treats_each_window_alone_and_lags_beyond_the_window_as_no_change(steps: int) -> None:
    x = torch.randn(3, steps, 2, 4, 2, generator=torch.Generator().manual_seed(0))
    score = dense.gating_score(x)
    assert score.shape == (3, steps)
    assert bool(((score >= 0) & (score <= 1)).all())
    torch.testing.assert_close(score, torch.cat([dense.gating_score(window) for window in x.split(1)]))


def test_earlier_periods_take_the_remainder() -> None:
    embedding = dense.PeriodicEmbedding(8, (24, 48, 168))
    assert [part[2].out_features for part in embedding.period_embeds] == [3, 3, 2]
    assert embedding(5).shape == (5, 8)


@pytest.mark.parametrize("steps", [3, 8])
def test_only_the_frequencies_that_exist_are_trained(steps: int) -> None:
    model = small(torch.rand(9, 2), (1, 9), steps)
    x = torch.randn(2, steps, 1, 9, 2)
    model(x, x)[0].sum().backward()
    trained = [mlp[0].weight.grad is not None for mlp in model.temporal.sfe.sfe_processors]
    assert trained == [i < steps // 2 + 1 for i in range(5)]


def test_sensors_in_another_order_give_the_same_forecast() -> None:
    coords = torch.rand(9, 2, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    x = torch.randn(3, 4, 1, 9, 2, generator=torch.Generator().manual_seed(3))
    model, permuted = small(coords, (1, 9)), small(coords[order], (1, 9))
    permuted.load_state_dict(model.state_dict())
    prediction, regulariser = model(x, x)
    torch.testing.assert_close(permuted(x[:, :, :, order], x[:, :, :, order])[0], prediction[:, :, order])
    assert float(regulariser) == 0


def test_a_grid_is_regularised_and_all_its_parameters_are_trained() -> None:
    model = small(None, (3, 4), steps=12)
    x = torch.randn(2, 12, 3, 4, 2)
    prediction, regulariser = model(x, x)
    assert prediction.shape == (2, 3, 4, 2)
    assert float(regulariser.detach()) > 0
    dense.training_loss(prediction, torch.zeros_like(prediction), regulariser).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_scaling_of_a_constant_channel_can_be_undone() -> None:
    low, high = torch.tensor([1.0, 5.0]), torch.tensor([3.0, 5.0])
    x = torch.tensor([[1.0, 5.0], [3.0, 7.0]])
    scaled = dense.scale(x, low, high)
    torch.testing.assert_close(scaled, torch.tensor([[0.0, 0.0], [1.0, 2.0]]), atol=2e-6, rtol=0)
    torch.testing.assert_close(dense.unscale(scaled, low, high), x)
