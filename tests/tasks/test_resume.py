"""An interrupted run continues as if nothing had happened: weights, best checkpoint and log, bit for bit."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback

from stgraph.tasks.checkpoints import read_checkpoint
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.options import RunOptions, to_dict
from stgraph.tasks.run import train
from tests.tasks.small_runs import small_options, write_series
from tests.tasks.training import fit, same_bits, weights


class Snapshots(Callback):
    """Keep a copy of the run's folder as a kill before each training step would leave it."""

    def __init__(self, folder: Path, copies: Path) -> None:
        self.folder, self.copies = folder, copies

    def on_train_batch_start(self, trainer, *args):
        shutil.copytree(self.folder, self.copies / str(trainer.global_step))


OPTIONS = {"max_epochs": 3, "log_every_n_steps": 1}


@pytest.fixture(scope="module", params=["cosine", "one_cycle"])
def uninterrupted(request, tmp_path_factory):
    """A run, the copies of its folder before each step, and its schedule."""
    root = tmp_path_factory.mktemp(request.param)
    (root / "copies").mkdir()
    task, folder, trainer = fit(
        root / "run",
        callbacks=[Snapshots(root / "run", root / "copies")],
        schedule=request.param,
        checkpoint_every_n_steps=2,
        **OPTIONS,
    )
    assert trainer.global_step == 15
    return task, folder, root / "copies", request.param


@pytest.mark.parametrize("killed_before", [3, 5, 6, 9, 10, 14])  # inside and between epochs of 5 steps
def test_resuming_gives_the_same_bits(uninterrupted, tmp_path, killed_before):
    task, folder, copies, schedule = uninterrupted
    shutil.copytree(copies / str(killed_before), tmp_path / "run")
    log = tmp_path / "run" / "metrics.csv"
    log.write_text(log.read_text() + "99,99,0.5\n")  # written after the last checkpoint, before the kill
    saved = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"]
    assert saved == max(s for s in (2, 4, 5, 6, 8, 10, 12, 14) if s <= killed_before)
    again, resumed, trainer = fit(
        tmp_path / "run",
        resume=RunFolder(tmp_path / "run").last,
        schedule=schedule,
        checkpoint_every_n_steps=2,
        **OPTIONS,
    )
    assert trainer.global_step == 15
    assert same_bits(weights(task), weights(again))
    assert resumed.metrics.read_text() == folder.metrics.read_text()
    first, second = read_checkpoint(folder.best), read_checkpoint(resumed.best)
    assert same_bits(first["state_dict"], second["state_dict"])
    optimizers = [read_checkpoint(f.last)["optimizer_states"][0]["state"] for f in (folder, resumed)]
    for i in optimizers[0]:
        assert same_bits(optimizers[0][i], optimizers[1][i])


def test_checkpointing_does_not_change_the_run(uninterrupted, tmp_path):
    task, _, _, schedule = uninterrupted
    plain, _, _ = fit(tmp_path / "plain", schedule=schedule, **OPTIONS)
    assert same_bits(weights(task), weights(plain))


def test_a_finished_run_stays_finished(uninterrupted, tmp_path):
    task, folder, _, schedule = uninterrupted
    shutil.copytree(folder.path, tmp_path / "run")
    again, resumed, trainer = fit(
        tmp_path / "run", resume=RunFolder(tmp_path / "run").last, schedule=schedule, **OPTIONS
    )
    assert trainer.global_step == 15
    assert same_bits(weights(task), weights(again))
    assert resumed.metrics.read_text() == folder.metrics.read_text()


def test_a_run_that_stopped_early_does_not_start_again(tmp_path):
    arguments = {"max_epochs": 30, "early_stopping": 1, "schedule": "constant"}
    task, folder, trainer = fit(tmp_path / "run", **arguments)
    assert trainer.global_step < 150, "the run was to stop early"
    again, _, resumed = fit(tmp_path / "run", resume=folder.last, **arguments)
    assert resumed.global_step == trainer.global_step
    assert same_bits(weights(task), weights(again))


def test_early_stopping_counts_on_after_resuming(tmp_path):
    (tmp_path / "copies").mkdir()
    arguments = {"max_epochs": 30, "early_stopping": 2, "schedule": "constant"}
    snapshots = Snapshots(tmp_path / "run", tmp_path / "copies")
    task, _, trainer = fit(tmp_path / "run", callbacks=[snapshots], **arguments)
    assert trainer.global_step < 150
    late = trainer.global_step - 4  # in the last epoch: one epoch without progress has been counted
    again, _, resumed = fit(
        tmp_path / "copies" / str(late), resume=RunFolder(tmp_path / "copies" / str(late)).last, **arguments
    )
    assert resumed.global_step == trainer.global_step
    assert same_bits(weights(task), weights(again))


def run_until(options: RunOptions, steps: int) -> None:
    """Train by the command line in another process and kill it by SIGKILL once it has logged some steps."""
    folder = RunFolder(options.output)
    config = folder.path.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(to_dict(options)))
    threads = str(torch.get_num_threads())  # sums over another number of threads differ in their last bits
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "stgraph", "train", "--config", str(config)], env=environment, stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    try:
        while not (folder.metrics.is_file() and folder.metrics.read_text().count("\n") > steps):
            assert process.poll() is None, "the process ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_a_killed_process_is_continued(tmp_path):
    """SpecTra-Net with dropout, on a series with gaps."""
    write_series(tmp_path, missing=0.2)
    options = small_options(tmp_path, "whole", baselines=[])
    options.data.batch_size, options.trainer.max_epochs, options.trainer.checkpoint_every_n_steps = 4, 10, 4
    options.model.dropout = 0.3
    results = train(options)
    killed = dataclasses.replace(options, output=str(tmp_path / "killed"))
    steps = 8 + time.time_ns() % 35
    run_until(killed, steps)
    whole, folder = RunFolder(options.output), RunFolder(killed.output)
    assert not folder.results.exists()
    assert 0 < read_checkpoint(folder.last)["global_step"] < read_checkpoint(whole.last)["global_step"] == 100
    again = train(dataclasses.replace(killed, resume=True))
    for name in ("last", "best"):
        first, second = (read_checkpoint(getattr(f, name)) for f in (whole, folder))
        assert first["global_step"] == second["global_step"]
        assert same_bits(first["state_dict"], second["state_dict"]), f"killed after {steps} rows"
    assert folder.metrics.read_text() == whole.metrics.read_text(), f"killed after {steps} rows"
    assert again["test"] == results["test"]
