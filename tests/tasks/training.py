"""Training of the small forecaster, for the tests of training."""

from __future__ import annotations

import torch

from stgraph.models.options import LossOptions
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.forecasting import Forecasting
from stgraph.tasks.options import OptimizerOptions, TrainerOptions
from stgraph.tasks.trainer import make_trainer, quiet_lightning
from tests.tasks.stand_in import MLPForecaster, make_datamodule


def fit(
    path,
    *,
    data=None,
    callbacks=(),
    resume=None,
    schedule="cosine",
    seed=1,
    dropout=0.2,
    loss=None,
    model=None,
    **trainer,
):
    """Train for a few epochs in the folder ``path``; return the task, the folder and the trainer."""
    torch.manual_seed(seed)
    data = make_datamodule() if data is None else data
    channels = data.series.x.shape[2]
    model = model or MLPForecaster(channels, data.input_steps, data.horizon, dropout=dropout)
    task = Forecasting(
        model.fit(data.train_series),
        loss or LossOptions(),
        OptimizerOptions(learning_rate=1e-2, schedule=schedule),
        seed=seed,
    )
    folder = RunFolder(path)
    folder.path.mkdir(parents=True, exist_ok=True)
    options = {"max_epochs": 3, "log_every_n_steps": 2, "tensorboard": False, "progress_bar": False, **trainer}
    with quiet_lightning():
        lightning = make_trainer(TrainerOptions(accelerator="cpu", **options), folder, callbacks)
        lightning.fit(task, datamodule=data, ckpt_path=resume)
    return task, folder, lightning


def weights(task):
    return {name: value.clone() for name, value in task.state_dict().items()}


def same_bits(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
