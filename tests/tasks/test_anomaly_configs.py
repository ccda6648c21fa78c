"""The configurations of anomaly runs that come with the project."""

from __future__ import annotations

from pathlib import Path

import pytest

from stgraph.cli.main import parse_command
from stgraph.models.autoencoders import SpectralCNNAutoencoder
from stgraph.tasks.anomaly_options import AnomalyOptions

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def read(name):
    options = parse_command("anomaly train", ["--config", str(CONFIGS / f"anomalies_{name}.yaml")])
    options.check()
    options.data.kind = "series" if name == "sensors" else "spectra"
    return options.resolved()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("anomalies_*.yaml")), ids=lambda path: path.stem)
def test_configurations_can_be_used_and_are_stored_whole(path):
    options = read(path.stem.removeprefix("anomalies_"))
    import dataclasses

    assert AnomalyOptions.from_dict(dataclasses.asdict(options)) == options


def test_the_documented_configuration_is_the_documented_one():
    options = read("documented")
    assert (options.optimizer.name, options.optimizer.learning_rate, options.optimizer.schedule) == (
        *("adam", 1e-3, "constant"),
    )
    assert (options.trainer.max_epochs, options.trainer.gradient_clip_val, options.data.batch_size) == (50, 1.0, 32)
    assert (options.loss.kind, options.loss.weight_factor, options.loss.l1) == ("gradient", 10.0, 0.0)
    assert (options.rule.name, options.rule.percentile_threshold, options.data.scaling) == ("percentile", 95, "minmax")
    network = SpectralCNNAutoencoder.from_preset(options.model.preset)
    assert sum(p.numel() for p in network.parameters()) == 15953


def test_the_later_configuration_weighs_by_errors_and_leaves_out_the_blue_end():
    options = read("later")
    assert (options.loss.kind, options.loss.l1, options.data.batch_size) == ("chi2", 1e-5, 8)
    assert (options.data.scaling, options.data.min_wavelength) == ("robust", 4000)
    assert (options.rule.name, options.rule.abs_residual_threshold) == ("fixed", 0.1)
