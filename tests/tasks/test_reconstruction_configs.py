"""The configurations of reconstruction that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stgraph.cli.main import parse_command
from stgraph.data.datasets import load_series
from stgraph.tasks.reconstruction_data import ReconstructionData
from stgraph.tasks.reconstruction_run import train_reconstruction

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("light_curves_*.yaml")), ids=lambda path: path.stem)
def test_configurations_of_light_curves_are_the_documented_ones(path):
    options = parse_command("lightcurve train", ["--config", str(path)])
    options.check()
    options = options.resolved()
    assert path.stem == f"light_curves_{options.model.name}"
    assert options.trainer.max_epochs == 50
    assert (options.optimizer.schedule, options.optimizer.pct_start) == ("one_cycle", 0.1)
    expected = {"transformer": (32, 0.5), "mlp": (512, 0.9), "unet": (512, 0.9)}
    assert (options.masking.max_block_size, options.masking.max_mask_ratio) == expected[options.model.name]


def test_the_weather_stations_are_split_as_the_configuration_says():
    options = parse_command("lightcurve train", ["--config", str(CONFIGS / "colorado_gaps.yaml")])
    options.check()
    data = load_series("colorado_climate")
    made = ReconstructionData(data, options.resolved())
    observed = int(data.mask.sum())
    assert int(made.held["test"].sum()) == pytest.approx(0.1 * observed, rel=0.1)
    assert not (made.stage_data("train").mask & made.held["test"]).any()
    batch = next(iter(made.loader("test")))
    assert batch.x.shape[1:] == (120, 3)
    assert torch.equal(batch.x[batch.mask].isfinite(), torch.ones(int(batch.mask.sum()), dtype=torch.bool))


@pytest.mark.slow
def test_gaps_of_weather_stations_are_filled_better_than_by_a_line_or_the_climatology(tmp_path):
    words = ["--config", str(CONFIGS / "colorado_gaps.yaml"), "--trainer.max_epochs=2", "--output", str(tmp_path / "r")]
    options = parse_command("lightcurve train", words)
    results = train_reconstruction(options)
    hidden = results["errors"]["hidden"]["mse"]
    assert hidden < 0.8 * results["baselines"]["climatology"]["hidden"]["mse"]
    assert hidden < 0.8 * results["baselines"]["linear_interpolation"]["hidden"]["mse"]
