"""Two processes on the CPU give the loss curve of one process with the same batches."""

from __future__ import annotations

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from stgraph.tasks.options import RunOptions, to_dict
from stgraph.tasks.run import train
from tests.tasks.stand_in import make_series


def options_of(tmp_path, name):
    options = RunOptions(output=str(tmp_path / name), report=False)
    options.data.path = str(tmp_path / "series.npy")
    options.data.coords = str(tmp_path / "coords.npy")
    options.data.input_steps, options.data.horizon = 4, 2
    options.data.batch_size = 7  # the two processes get four and three windows, and one and none of the last batch
    options.model.d_model, options.model.dropout = 8, 0.0
    options.model.num_prototypes, options.model.mgat_heads, options.model.num_neighbors = 3, 2, 2
    options.model.got_embedding_distance = False  # leaves a parameter without influence on the loss
    options.trainer.max_epochs, options.trainer.log_every_n_steps = 2, 1
    options.trainer.accelerator, options.trainer.tensorboard = "cpu", False
    options.optimizer.learning_rate = 1e-2
    options.baselines = []
    return options


def curve(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        name: [float(row[name]) for row in rows if row[name]] for name in ("train_loss_step", "train_loss", "val_rmse")
    }


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    """A series with missing values, on disk, and the curves of a run in one process."""
    tmp_path = tmp_path_factory.mktemp("ddp")
    series = make_series(nodes=5, steps=67, missing=0.3)
    np.save(tmp_path / "series.npy", np.where(series.mask, series.x, np.nan).transpose(1, 0, 2))
    np.save(tmp_path / "coords.npy", series.pos.numpy())
    train(options_of(tmp_path, "one"))
    return tmp_path, curve(tmp_path / "one")


def run_two(tmp_path, name, launcher, arguments):
    config = tmp_path / f"{name}.yaml"
    config.write_text(yaml.safe_dump(to_dict(options_of(tmp_path, name))))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*launcher, "-m", "stgraph", "train", "--config", str(config), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name / "results.json").is_file()
    return curve(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "launcher", "arguments"),
    [
        ("devices", [sys.executable], ["--trainer.devices", "2"]),
        pytest.param(
            "torchrun",
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"],
            [],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_two_processes_give_the_curve_of_one(one_process, name, launcher, arguments):
    tmp_path, expected = one_process
    found = run_two(tmp_path, name, launcher, arguments)
    for key, values in expected.items():
        assert len(values) > 1
        np.testing.assert_allclose(found[key], values, rtol=1e-4, atol=1e-4, err_msg=key)
