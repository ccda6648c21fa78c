"""Anomalies by the uncertainty of a reconstruction run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.tasks.anomaly_uncertainty import detect_by_uncertainty, regions_of_deviation
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.reconstruction_run import train_reconstruction


def write_sensors(path):
    """Sensors with a common curve; two neighbouring steps of the fifth are far off."""
    generator = np.random.default_rng(0)
    values = np.sin(np.arange(96) / 5)[:, None] + 0.1 * generator.standard_normal((96, 10))
    values[50:53, 4] += 6.0
    np.save(path, values.astype(np.float32))


def train(folder, output, *, uncertainty):
    options = ReconstructionOptions(output=str(folder / output))
    options.data.path, options.data.steps, options.data.batch_size = str(folder / "sensors.npy"), 32, 8
    options.data.arguments = {"coords": str(folder / "coords.npy")}
    options.model.name, options.model.uncertainty = "mlp", uncertainty
    options.model.arguments = {"encoder_hidden_dims": [16], "latent_dim": 8, "decoder_hidden_dims": [16]}
    options.trainer.max_epochs, options.trainer.accelerator = 2, "cpu"
    options.trainer.tensorboard, options.trainer.progress_bar = False, False
    train_reconstruction(options)
    return folder / output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uncertainty")
    write_sensors(folder / "sensors.npy")
    np.save(folder / "coords.npy", np.arange(20.0).reshape(10, 2))
    train(folder, "run", uncertainty=True)
    return folder


def test_points_that_the_model_did_not_expect_have_the_highest_score(folder):
    judged = detect_by_uncertainty(folder / "run", block=4)
    assert judged.found.rule == "uncertainty"
    assert int(judged.found.score.argmax()) == 4
    assert judged.found.deviation is not None
    assert int(judged.found.deviation[4].abs().argmax()) in range(50, 53)
    assert bool(judged.found.regions[4, 51])
    assert judged.names == [str(i) for i in range(10)]
    assert judged.found.expected is not None
    assert judged.found.expected.shape == (10, 96)


def test_a_point_has_no_influence_on_what_is_expected_of_it(folder):
    first = detect_by_uncertainty(folder / "run", block=4)
    changed = first.data.clone()
    # The scaling knows medians and quartiles only, which the largest value does not change.
    changed.x[4, 51] += 5.0
    second = detect_by_uncertainty(folder / "run", changed, block=4)
    assert first.found.expected is not None
    assert second.found.expected is not None
    assert torch.allclose(first.found.expected[4, 48:52], second.found.expected[4, 48:52], atol=1e-5)


def test_runs_without_uncertainty_are_refused(folder):
    run = train(folder, "without", uncertainty=False)
    with pytest.raises(InputError, match="no uncertainty"):
        detect_by_uncertainty(run)
    with pytest.raises(InputError, match="block is 0"):
        detect_by_uncertainty(folder / "run", block=0)


def test_of_several_channels_the_largest_score_counts():
    z = torch.randn(20, 60, 2, generator=torch.Generator().manual_seed(0))
    z[3, 20:30, 1] += 6.0
    mask = torch.ones_like(z, dtype=torch.bool)
    mask[5] = False
    z[5] = 0.0
    found = regions_of_deviation(z, mask, torch.zeros_like(z))
    assert found.anomalous.nonzero().flatten().tolist() == [3]
    assert bool(found.regions[3, 25])
    assert found.no_data.nonzero().flatten().tolist() == [5]
    assert bool(found.score[5].isnan())
