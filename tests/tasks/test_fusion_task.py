"""The network of image fusion in a Lightning trainer."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from stgraph.errors import InputError
from stgraph.models.fusion import LatentEstimationNetwork, fit_network, flat_schedule, one_cycle_schedule
from stgraph.tasks.fusion import Fusion
from stgraph.tasks.trainer import quiet_lightning

EPOCHS = 4


def make_pixels():
    generator = torch.Generator().manual_seed(0)
    spectra = torch.rand(20, 6, generator=generator)
    return spectra[:, :2].contiguous(), spectra


def make_network():
    network = LatentEstimationNetwork(2, torch.eye(6)[:3] + 0.1, hidden=8)
    network.reset_parameters(torch.Generator().manual_seed(1))
    return network


def train(task):
    bands, spectra = make_pixels()
    validation = DataLoader(TensorDataset(bands, spectra), batch_size=7)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    with quiet_lightning():
        trainer = Trainer(max_epochs=EPOCHS, accelerator="cpu", **quiet)
        trainer.fit(task, DataLoader(TensorDataset(bands, spectra), batch_size=20), validation)
    return trainer


@pytest.mark.parametrize("schedule", [None, flat_schedule(0.01)], ids=["one_cycle", "flat"])
def test_a_full_batch_fit_equals_that_of_the_scene(schedule):
    task, network = Fusion(make_network(), schedule), make_network()
    train(task)
    fit_network(network, *make_pixels(), epochs=EPOCHS, schedule=schedule or one_cycle_schedule(EPOCHS))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(task.network.state_dict()[name], value, atol=1e-6, rtol=0)


def test_losses_are_logged_and_pixels_predicted():
    task = Fusion(make_network())
    bands, spectra = make_pixels()
    trainer = train(task)
    with torch.no_grad():
        wanted = (task.network(bands)[0] - spectra).abs().mean()
    torch.testing.assert_close(trainer.callback_metrics["val_loss"], wanted)
    assert trainer.callback_metrics["train_loss"] > 0
    with quiet_lightning():
        parts = trainer.predict(task, DataLoader(TensorDataset(bands, spectra), batch_size=7))
    assert [part[0].shape for part in parts] == [(7, 6), (7, 6), (6, 6)]
    values = torch.cat([part[0] for part in parts])
    torch.testing.assert_close(values, task.network(bands)[0].detach().clamp(0, 1))
    torch.testing.assert_close(task.predict_step(bands, 0)[1], task.network(bands)[1])


def test_a_schedule_or_a_number_of_epochs_is_needed():
    task = Fusion(make_network())
    task.trainer = Trainer(max_epochs=-1, accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(InputError, match="max_epochs of the trainer is -1"):
        task.configure_optimizers()
