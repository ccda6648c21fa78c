from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.cli.main import main
from stgraph.errors import InputError, InputTypeError
from stgraph.models import FNO, FNOOptions, get_model
from stgraph.tasks.checkpoints import load_forecaster
from stgraph.tasks.folder import RunFolder, read_config

SMALL = {"width": 8, "modes": 4, "num_layers": 2}
GRID = (6, 8)
N = GRID[0] * GRID[1]


def advected(steps: int = 80, grid: tuple[int, int] = GRID, seed: int = 0) -> Tensor:
    """Smooth waves that drift over a torus, ``[N, T, 1]`` around a level of 20."""
    rng = np.random.default_rng(seed)
    t, h, w = np.meshgrid(np.arange(steps), np.arange(grid[0]) / grid[0], np.arange(grid[1]) / grid[1], indexing="ij")
    field = 20 * np.ones(t.shape)
    for k in ((1, 0), (0, 1), (1, 1), (-1, 1)):
        phase = rng.uniform(0, 6)
        field += 3 * np.cos(2 * np.pi * (k[0] * (h - 0.05 * t) + k[1] * (w - 0.08 * t)) + phase)
    return torch.from_numpy(field.reshape(steps, -1, 1)).float().transpose(0, 1).contiguous()


def windows(series: Tensor, past: int, future: int, grid: tuple[int, int] = GRID) -> tuple[Data, Tensor]:
    cut = series.unfold(1, past + future, 1).permute(1, 0, 3, 2)  # [S, N, past + future, 1]
    return Data(x=cut[:, :, :past], grid=grid, num_nodes=len(series)), cut[:, :, past:]


def model(**changes) -> FNO:
    torch.manual_seed(0)
    made = FNO(**{"in_channels": 2, "input_steps": 3, "horizon": 2, **SMALL, **changes})
    for parameter in made.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)  # also those that start at zero
    return made.eval()


def test_learns_to_carry_waves_on() -> None:
    torch.manual_seed(0)
    series = advected()
    net = FNO(1, 2, 2, **SMALL).fit(Data(x=series[:, :60], grid=GRID))
    batch, target = windows(series[:, :60], 2, 2)
    torch.testing.assert_close(net(batch), batch.x[:, :, -1:].expand(-1, -1, 2, -1), msg="starts from persistence")
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        (net.forward_scaled(batch)[0] - net.scaler.transform(target)).square().mean().backward()
        optimizer.step()
    later, truth = windows(series[:, 60:], 2, 2)
    error, persistence = (net(later) - truth).square().mean(), (later.x[:, :, -1:] - truth).square().mean()
    assert error < 0.1 * persistence
    fine, fine_truth = windows(advected(grid=(12, 16))[:, 60:], 2, 2, grid=(12, 16))
    error, persistence = (net(fine) - fine_truth).square().mean(), (fine.x[:, :, -1:] - fine_truth).square().mean()
    assert error < 0.5 * persistence, "the same operator on a finer grid"


def test_no_parameter_depends_on_the_grid() -> None:
    shapes = [{k: v.shape for k, v in model(num_nodes=n).state_dict().items()} for n in (None, 48, 192)]
    assert shapes[0] == shapes[1] == shapes[2]
    for grid in ((1, 1), (1, 7), (5, 3), (20, 20)):
        nodes = grid[0] * grid[1]
        out = model().predict(torch.randn(2, nodes, 3, 2), grid=grid)
        assert out.shape == (2, nodes, 2, 2)
        assert torch.isfinite(out).all()


@pytest.mark.parametrize("options", [{}, {"mask_input": False, "mlp_ratio": 0}, {"out_channels": 1, "scaler": "none"}])
def test_gradients_batches_and_missing_values(options: dict) -> None:
    net = model(**options)
    x = torch.randn(4, N, 3, 2)
    mask = torch.rand(x.shape) < 0.5
    mask[:, 1] = False
    batch = Data(x=x, x_mask=mask, grid=GRID, num_nodes=N)
    out, regulariser = net.forward_scaled(batch)
    assert out.shape == (4, N, 2, options.get("out_channels", 2))
    assert regulariser == 0
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    one = Data(x=x[1:2], x_mask=mask[1:2], grid=GRID, num_nodes=N)
    torch.testing.assert_close(net(one)[0], net(batch)[1], rtol=1e-4, atol=1e-5)
    for filler in (1e6, float("nan")):
        changed = Data(x=torch.where(mask, x, filler), x_mask=mask, grid=GRID, num_nodes=N)
        assert torch.equal(net(changed), net(batch))
    assert net(Data(x=x[:0], grid=GRID, num_nodes=N)).shape[0] == 0


def test_cells_are_row_major() -> None:
    """A wave along the columns of the grid moves as one: all rows are alike where the places do not enter."""
    net = model(in_channels=1)
    net.lift.weight.data[:, -2:] = 0
    x = torch.randn(2, 1, GRID[1], 3, 1).expand(-1, GRID[0], -1, -1, -1)
    out = net(Data(x=x.flatten(1, 2), grid=GRID, num_nodes=N)).unflatten(1, GRID)
    torch.testing.assert_close(out, out[:, :1].expand_as(out), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(out[:, :, :1].expand_as(out), out, atol=1e-2)


def test_float64_and_autocast() -> None:
    batch = Data(x=torch.randn(2, N, 3, 2), grid=GRID, num_nodes=N)
    net = model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(
            net(batch).float(), net.double()(batch.clone().apply(lambda t: t.double())).float(), rtol=0.05, atol=0.1
        )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: FNO(1, 2, 1, witdh=3), InputTypeError, "unknown option 'witdh'; did you mean 'width'"),
        (lambda: FNO(1, 2, 1, width=0), InputError, "width is 0"),
        (lambda: FNO(1, 2, 1, modes=0), InputError, "modes is 0"),
        (lambda: FNO(1, 2, 1, num_layers=0), InputError, "num_layers is 0"),
        (lambda: FNO(1, 2, 1, dropout=2.0), InputError, "dropout is 2.0"),
        (lambda: FNO(1, 2, 1, scaler="minmax"), InputError, "scaler is 'minmax'"),
        (
            lambda: model().predict(torch.zeros(1, 6, 3, 2)),
            InputError,
            "the data is no grid, .* 'spectranet' serves any",
        ),
        (lambda: model().predict(torch.zeros(1, 6, 3, 2), grid=(2, 4)), InputError, "expected 6 cells"),
        (lambda: model()(Data(x=torch.zeros(1, 6, 4, 2), grid=(2, 3))), InputError, r"expected \(B, N, 3, 2\)"),
    ],
)
def test_bad_input(make, error, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_options() -> None:
    assert get_model("fno") is FNO
    assert FNOOptions(width=3).with_defaults().width == 3
    assert None not in vars(FNOOptions().with_defaults()).values()
    assert FNO(1, 2, 1).options == FNOOptions().with_defaults()


TRAIN = [
    *("--data.input_steps", "3", "--data.horizon", "2", "--data.batch_size", "16", "--trainer.max_epochs", "2"),
    *("--trainer.accelerator", "cpu", "--trainer.tensorboard=false", "--report=false", "--baselines", "persistence"),
]


def test_run_of_the_command_line(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("field.npy", advected().transpose(0, 1).reshape(80, *GRID, 1).numpy())
    (tmp_path / "c.yaml").write_text("data: {path: field.npy}\nmodel: {modes: 3, width: 8, num_layers: 1}\n")
    assert main(["train", "--config", "c.yaml", "--model.name", "fno", "--output", "run", *TRAIN]) == 0
    folder = RunFolder("run")
    stored, results = read_config(folder.config), json.loads(folder.results.read_text())
    assert (stored.model.name, stored.model.modes, stored.model.mlp_ratio) == ("fno", 3, 2.0)
    assert stored.model.d_model is None
    loaded = load_forecaster("run")
    assert isinstance(loaded, FNO)
    assert loaded.options == FNOOptions(modes=3, width=8, num_layers=1).with_defaults()
    assert results["parameters"] == sum(p.numel() for p in loaded.parameters())
    with np.load(folder.predictions) as saved:
        values = torch.from_numpy(np.load("field.npy")).flatten(1, 2).transpose(0, 1)
        first = int(saved["start"][0])
        forecast = loaded.predict(values[None, :, first : first + 3], grid=GRID)
        np.testing.assert_allclose(forecast[0], saved["y_pred"][0], rtol=1e-4, atol=1e-4)
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 0
    assert "fno" in capsys.readouterr().out
    assert main(["predict", "run", "--output", "f.npz"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.d_model", "8"], "model.d_model does not apply to the model 'fno'"),
        (["--model.modes", "0"], "modes is 0; expected at least 1"),
        (["--model.mode", "3"], "unknown option --model.mode; did you mean --model.modes?"),
        (["--model.name", "spectranet", "--model.width", "8"], "model.width does not apply to the model 'spectranet'"),
    ],
)
def test_wrong_options_on_the_command_line(words, message: str, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("field.npy", advected().transpose(0, 1).reshape(80, *GRID, 1).numpy())
    assert main(["train", "field.npy", "--output", "run", "--model.name", "fno", *TRAIN, *words]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:no coordinates were given")
def test_data_that_is_no_grid(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("nodes.npy", advected().transpose(0, 1).numpy())
    assert main(["train", "nodes.npy", "--output", "run", "--model.name", "fno", *TRAIN]) != 0
    assert "the data is no grid" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
