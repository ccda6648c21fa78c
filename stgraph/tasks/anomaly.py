"""Learning what spectra usually look like, as a Lightning module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.models.autoencoders.spectral_cnn import SpectralCNNAutoencoder
from stgraph.nn.spectral_loss import SpectralLoss
from stgraph.tasks.checkpoints import EXTRA
from stgraph.tasks.options import OptimizerOptions
from stgraph.tasks.task import SeededTask

__all__ = ["Anomaly", "reconstruct_batch"]


class Anomaly(SeededTask):
    """Train an autoencoder to reconstruct spectra, whose residuals then show what is unusual about one.

    Bad points are no part of the loss. Every step depends on the seed, the epoch and the step alone, so that a run
    that was interrupted continues with the same bits.

    Args:
        model: The autoencoder.
        loss: Error of the reconstruction.
        optimizer: The optimizer and its schedule.
        seed: Seed of the steps.
        description: What builds the model again; saved in checkpoints.

    Examples:
        >>> Anomaly(SpectralCNNAutoencoder(widths=(4,)), SpectralLoss("mse")).loss.kind
        'mse'
    """

    def __init__(
        self,
        model: SpectralCNNAutoencoder,
        loss: SpectralLoss | None = None,
        optimizer: OptimizerOptions | None = None,
        *,
        seed: int = 42,
        description: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(optimizer, seed, description)
        self.model = model
        self.loss = SpectralLoss() if loss is None else loss
        self._sums = {part: torch.zeros(2, dtype=torch.float64) for part in ("train", "val")}

    def forward(self, batch: Data) -> Tensor:
        """Return the reconstruction of the spectra of a batch, in scaled units."""
        return reconstruct_batch(self.model, batch.x, batch.mask)

    def check(self, batch: Data) -> None:
        """Go through a training step without taking it, so that data which does not fit shows before training begins.

        Raises:
            InputError: If the batch does not fit the model or the loss.
        """
        self.unused_parameters(lambda: self._batch_loss(batch))

    def training_step(self, batch: Data, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of a batch."""
        loss = self._batch_loss(batch)
        self._add("train", loss, batch)
        self.log("train_loss", loss, prog_bar=True, logger=False, batch_size=1)
        return {"loss": loss, "logged_loss": loss.detach()}

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """Add a batch to the validation error."""
        self._add("val", self._batch_loss(batch), batch)

    def _batch_loss(self, batch: Data) -> Tensor:
        loss: Tensor = self.loss(self(batch), batch.x, batch.mask, batch.get("error"), self.model)
        return loss

    def _add(self, part: str, loss: Tensor, batch: Data) -> None:
        """Add the loss of a batch, so that the mean over the epoch is one over points."""
        count = batch.mask.sum().double()
        self._sums[part] += torch.stack([loss.detach().double() * count, count]).to(self._sums[part])

    def on_train_epoch_start(self) -> None:
        """Start the mean over the epoch, and tell the loader which epoch it is."""
        super().on_train_epoch_start()
        self._sums["train"] = torch.zeros(2, dtype=torch.float64)

    def on_validation_epoch_start(self) -> None:
        """Start the validation error."""
        self._sums["val"] = torch.zeros(2, dtype=torch.float64)

    def on_validation_epoch_end(self) -> None:
        """Log the validation error."""
        self._validation = {"val_loss": self._mean("val")}
        self.log("val_loss", self._validation["val_loss"], prog_bar=True, logger=False)

    def epoch_values(self) -> dict[str, float]:
        """Return the training loss of the epoch so far and the last validation error."""
        return {"train_loss": self._mean("train"), **self._validation}

    def epoch_lines(self, values: dict[str, float], seconds: float) -> list[str]:
        """Return the line about an epoch."""
        losses = [f"loss {values['train_loss']:.6f}"]
        if "val_loss" in values:
            losses.append(f"validation {values['val_loss']:.6f}")
        return [f"Epoch {self.current_epoch + 1}/{self.trainer.max_epochs}: {', '.join(losses)} ({seconds:.1f} s)"]

    def _mean(self, part: str) -> float:
        total, count = self._sums[part].tolist()
        return total / count if count else math.nan

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what stgraph needs to build the model again and to continue the mean of the epoch."""
        checkpoint[EXTRA] = {"autoencoder": self.description, "train_sums": self._sums["train"].tolist()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the mean of the epoch."""
        self._sums["train"] = torch.tensor(checkpoint[EXTRA]["train_sums"], dtype=torch.float64)


def reconstruct_batch(model: SpectralCNNAutoencoder, x: Tensor, mask: Tensor) -> Tensor:
    """Reconstruct scaled spectra; bad points are 0 to the network, which is told of them where it has a channel for it.

    Shapes:
        - **x**, **mask**, **output:** :math:`(B, L, 1)`
    """
    values = x.masked_fill(~mask, 0.0)
    if model.mask_channel:
        values = torch.cat([values, (~mask).to(values.dtype)], dim=-1)
    reconstructed: Tensor = model(values)["reconstructed"]
    return reconstructed
