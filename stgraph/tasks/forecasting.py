"""Forecasting as a Lightning module."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.metrics import ForecastMetrics
from stgraph.models.base import Forecaster
from stgraph.models.options import LossOptions
from stgraph.nn.losses import ForecastLoss, LossParts
from stgraph.tasks.checkpoints import EXTRA, MONITOR
from stgraph.tasks.options import OptimizerOptions
from stgraph.tasks.task import SeededTask

__all__ = ["Forecasting"]


class Forecasting(SeededTask):
    """Train a forecaster with Adam or AdamW on the loss of :class:`~stgraph.nn.losses.ForecastLoss`.

    Every step seeds the random numbers of dropout from the seed, the epoch, the step and the process. So a run that was
    interrupted continues with the same bits, validation disturbs nothing, and no state of a generator has to be saved.

    On several processes each batch is shared out; the loss of each process is weighted by its share of the observed
    targets, so that the gradient is that of one process with the whole batch.

    Args:
        model: The forecaster, already fitted to the training series (:meth:`~stgraph.models.Forecaster.fit`).
        loss: Weights of the loss.
        optimizer: The optimizer and its schedule.
        seed: Seed of dropout.
        compile: Compile the model with ``torch.compile``.
        description: Name and arguments of the model, ``{"name": ..., "arguments": {...}}``; saved in checkpoints, so
            that :func:`~stgraph.tasks.load_forecaster` can build the model again.

    Examples:
        >>> from stgraph.models import SpecTraNet
        >>> model = SpecTraNet(in_channels=1, input_steps=4, horizon=1, num_nodes=3, pos_dim=2)
        >>> Forecasting(model, LossOptions(point="mae")).loss.point
        'mae'
    """

    def __init__(
        self,
        model: Forecaster,
        loss: LossOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        *,
        seed: int = 42,
        compile: bool = False,
        description: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, seed, description)
        self.model = model
        self.loss = ForecastLoss(**dataclasses.asdict(loss or LossOptions()), quantiles=model.quantiles)
        self.val_metrics = ForecastMetrics(model.out_channels, model.horizon, model.quantiles)
        self.test_metrics = ForecastMetrics(model.out_channels, model.horizon, model.quantiles)
        # Bound methods are no submodules: the names of the weights stay the same with and without compilation.
        self._forward_scaled = torch.compile(model.forward_scaled) if compile else model.forward_scaled
        self._epoch_loss = torch.zeros(2, dtype=torch.float64)

    def forward(self, batch: Data) -> Tensor:
        """Return the forecast in data units."""
        return self.model.to_data_units(self._forward_scaled(batch)[0])

    def check(self, batch: Data) -> list[str]:
        """Go through a training step without taking it, so that data which does not fit shows before training begins.

        Returns:
            list: Names of the parameters that have no influence on the loss.

        Raises:
            InputError: If the batch does not fit the model or the loss.
        """
        return self.unused_parameters(lambda: self._total(batch))

    def _total(self, batch: Data) -> Tensor:
        prediction, regulariser = self.model.forward_scaled(batch)
        target, mask = self._target(batch)
        parts: LossParts = self.loss(prediction, self.model.scaler.transform(target), mask, batch, regulariser)
        return parts.total

    def on_train_epoch_start(self) -> None:
        """Start the mean of the loss over the epoch, and tell the loader which epoch it is."""
        super().on_train_epoch_start()
        self._epoch_loss = torch.zeros(2, dtype=torch.float64, device=self.device)

    def training_step(self, batch: Data, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of a batch, and ``logged_loss``, its value over all processes."""
        prediction, regulariser = self._forward_scaled(batch)
        target, mask = self._target(batch)
        observed_weight, batch_weight, windows = self._weights(target, mask)
        parts = self.loss(
            prediction,
            self.model.scaler.transform(target),
            mask,
            batch,
            regulariser,
            observed_weight=observed_weight,
            batch_weight=batch_weight,
        )
        logged = parts.total.detach()
        if self.trainer.world_size > 1:
            logged = self.trainer.strategy.reduce(logged.clone(), reduce_op="mean")
        self._epoch_loss += torch.stack([logged * windows, windows]).to(self._epoch_loss)
        self.log("train_loss", logged, prog_bar=True, logger=False, batch_size=1)
        return {"loss": parts.total, "logged_loss": logged}

    def _weights(self, target: Tensor, mask: Tensor | None) -> tuple[Any, Any, Tensor]:
        """Return the weights of this process's targets and windows, and the number of windows of the whole batch."""
        windows = torch.tensor(float(target.shape[0]), device=target.device)
        world_size = self.trainer.world_size
        if world_size == 1:
            return 1.0, 1.0, windows
        observed = target.new_tensor(target.numel()) if mask is None else mask.sum()
        local = torch.stack([observed.to(torch.float64), windows.to(torch.float64)])
        whole = self.trainer.strategy.reduce(local.clone(), reduce_op="sum")
        weights = (local * world_size / whole.clamp(min=1)).to(target.dtype)
        return weights[0], weights[1], whole[1]

    def _target(self, batch: Data) -> tuple[Tensor, Tensor | None]:
        mask = batch.get("y_mask")
        channels = self.model.out_channels
        return batch.y[..., :channels], None if mask is None else mask[..., :channels]

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """Add a batch to the validation errors."""
        self.val_metrics.update(self(batch).float(), *self._target(batch))

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors, in data units, over all targets."""
        values = self.val_metrics.compute()["global"]
        self.val_metrics.reset()
        names = sorted(values, key=lambda name: f"val_{name}" != MONITOR)  # what decides comes first in the log
        self._validation = {f"val_{name}": float(values[name]) for name in names}
        for name, value in self._validation.items():
            self.log(name, value, prog_bar=name == MONITOR, logger=False, sync_dist=True)

    def test_step(self, batch: Data, batch_idx: int) -> None:
        """Add a batch to the test errors."""
        self.test_metrics.update(self(batch).float(), *self._target(batch))

    def on_test_epoch_end(self) -> None:
        """Log the test errors, in data units, over all targets."""
        for name, value in self.test_metrics.compute()["global"].items():
            self.log(f"test_{name}", float(value), sync_dist=True)
        self.test_metrics.reset()

    def predict_step(self, batch: Data, batch_idx: int) -> Tensor:
        """Return the forecast of a batch in data units."""
        prediction: Tensor = self(batch)
        return prediction

    def epoch_values(self) -> dict[str, float]:
        """Return the mean training loss of the epoch so far and the last validation errors."""
        total, windows = self._epoch_loss.tolist()
        return {"train_loss": total / windows if windows else math.nan, **self._validation}

    def epoch_lines(self, values: dict[str, float], seconds: float) -> list[str]:
        """Return one line about an epoch."""
        text = f"epoch {self.current_epoch + 1}/{self.trainer.max_epochs}  loss {values['train_loss']:.4g}"
        if MONITOR in values:
            text += f"  validation RMSE {values[MONITOR]:.4g}  MAE {values['val_mae']:.4g}"
        return [f"{text}  ({seconds:.1f} s)"]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what stgraph needs to build the model again and to continue the mean of the epoch."""
        checkpoint[EXTRA] = {"model": self.description, "epoch_loss": self._epoch_loss.tolist()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the mean of the epoch."""
        self._epoch_loss = torch.tensor(checkpoint[EXTRA]["epoch_loss"], dtype=torch.float64, device=self.device)
