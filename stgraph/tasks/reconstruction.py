"""Reconstruction of hidden points as a Lightning module."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.models.autoencoders.reconstructor import SeriesReconstructor
from stgraph.nn.bounded_horizon import draw_horizon, has_sources, longest_horizon
from stgraph.nn.reconstruction_loss import LossSums, ReconstructionLoss
from stgraph.tasks.checkpoints import EXTRA
from stgraph.tasks.optimization import step_seed
from stgraph.tasks.options import OptimizerOptions
from stgraph.tasks.task import SeededTask

__all__ = ["Reconstruction"]

# Fixed, so that two epochs can be compared.
_VALIDATION_HORIZONS = (1, 2, 4, 8)


class Reconstruction(SeededTask):
    """Train an autoencoder to reconstruct series, with separate errors on hidden and visible points.

    Every step seeds the random numbers of dropout from the seed, the epoch, the step and the process, and masks are a
    function of seed, epoch and place, so that a run that was interrupted continues with the same bits.

    On several processes each batch is shared out; sums over points are divided by the numbers of points of all
    processes, so that loss and gradient are those of one process with the whole batch.

    Args:
        model: The model.
        loss: Error of the points.
        optimizer: The optimizer and its schedule.
        seed: Seed of dropout.
        compile: Compile the model with ``torch.compile``.
        description: Arguments of the model; saved in checkpoints, so that it can be built again.
        max_horizon: Longest horizon of the bounded-horizon loss, for a model that predicts each point from states some
            steps before and after it; ``None`` trains on the reconstruction.
        spectra_weight: Weight of the mean squared error of spectra that the model reconstructs beside the series.

    Examples:
        >>> model = SeriesReconstructor("mlp", channels=1, steps=16)
        >>> Reconstruction(model, ReconstructionLoss("mae")).loss.kind
        'mae'
    """

    def __init__(
        self,
        model: SeriesReconstructor,
        loss: ReconstructionLoss | None = None,
        optimizer: OptimizerOptions | None = None,
        *,
        seed: int = 42,
        compile: bool = False,
        description: dict[str, Any] | None = None,
        max_horizon: int | None = None,
        spectra_weight: float = 1.0,
    ) -> None:
        super().__init__(optimizer, seed, description)
        self.model = model
        self.max_horizon, self.spectra_weight = max_horizon, spectra_weight
        self.loss = ReconstructionLoss() if loss is None else loss
        # A bound method is no submodule: the names of the weights stay the same with and without compilation.
        self._reconstruct = torch.compile(model.forward) if compile else model.forward
        self._train_sums = torch.zeros(4, dtype=torch.float64)
        self._val_sums = torch.zeros(4, dtype=torch.float64)

    def forward(self, batch: Data) -> dict[str, Any]:
        """Return the reconstruction of the samples of a batch, in scaled units."""
        output: dict[str, Any] = self._reconstruct(batch)
        return output

    def sums(self, batch: Data, output: dict[str, Any]) -> LossSums:
        """Return the sums of the loss over the samples of a batch."""
        count = output["mean"].shape[0]
        error = batch.get("error")
        return self.loss.sums(
            output["mean"],
            batch.x[:count],
            batch.mask[:count],
            batch.hidden[:count],
            None if error is None else error[:count],
            output.get("log_variance"),
        )

    def horizon_sums(self, batch: Data, output: dict[str, Any], horizon: int) -> LossSums:
        """Return the sums of the loss where each point is predicted from visible ones ``horizon`` steps away.

        The predicted variance is that of what is observed, so it has the noise of the measurement in it.
        """
        count = output["mean"].shape[0]
        mask, hidden = batch.mask[:count], batch.hidden[:count]
        time, padding = batch.get("time"), batch.get("padding")
        network: Any = self.model.autoencoder
        mean, log_variance = network.predict(
            output, horizon, None if time is None else time[:count], None if padding is None else padding[:count]
        )
        sources = has_sources((mask & ~hidden).any(dim=-1), horizon)[..., None]
        return self.loss.sums(mean, batch.x[:count], mask & sources, hidden, None, log_variance)

    def spectral_sums(self, batch: Data, output: dict[str, Any]) -> Tensor:
        """Return the sum of squared errors of the spectra that stars have, and the number of their values."""
        if "spectra" not in output:
            return torch.zeros(2, device=output["mean"].device)
        present = batch.present
        target = [batch.spectra[..., self.model.spectra.index(name)] for name in output["spectra"]]
        difference = torch.stack(list(output["spectra"].values())) - torch.stack(target)
        square = difference.square()[:, present]
        return torch.stack([square.sum(), square.new_tensor(float(square.numel()))])

    def check(self, batch: Data) -> list[str]:
        """Go through a training step without taking it, so that data which does not fit shows before training begins.

        Returns:
            list: Names of the parameters that have no influence on the loss.

        Raises:
            InputError: If the batch does not fit the model or the loss.
        """
        return self.unused_parameters(lambda: self._loss(*self._step_sums(batch, self.model(batch), 0)))

    def on_train_epoch_start(self) -> None:
        """Start the means over the epoch, and tell the loader which epoch it is."""
        super().on_train_epoch_start()
        self._train_sums = torch.zeros(4, dtype=torch.float64, device=self.device)

    def training_step(self, batch: Data, batch_idx: int) -> dict[str, Tensor]:
        """Return the loss of a batch, and ``logged_loss``, its value over all processes."""
        sums, spectral = self._step_sums(batch, self(batch), batch_idx)
        whole, processes = torch.cat([sums.stacked(), spectral.detach().double()]), self.trainer.world_size
        if processes > 1:
            whole = self.trainer.strategy.reduce(whole, reduce_op="sum")
        loss = self._loss(sums, spectral, whole, processes)
        logged = self._loss(LossSums(*whole[:4].unbind()), whole[4:])
        self._train_sums += whole[:4].to(self._train_sums)
        self.log("train_loss", logged, prog_bar=True, logger=False, batch_size=1)
        return {"loss": loss, "logged_loss": logged}

    def _step_sums(self, batch: Data, output: dict[str, Any], batch_idx: int) -> tuple[LossSums, Tensor]:
        """Sums of a training step: of the points, and of the spectra."""
        if self.max_horizon is None:
            return self.sums(batch, output), self.spectral_sums(batch, output)
        # All processes draw the same horizon.
        generator = torch.Generator().manual_seed(step_seed(self.seed, self._epoch, batch_idx))
        horizon = draw_horizon(batch.x.shape[1], self.max_horizon, generator=generator)
        return self.horizon_sums(batch, output, horizon), self.spectral_sums(batch, output)

    def _loss(self, sums: LossSums, spectral: Tensor, whole: Tensor | None = None, processes: int = 1) -> Tensor:
        """Loss of this process, so that its mean over all processes is that of the whole batch."""
        counts = None if whole is None else whole[2:4].to(sums.hidden.dtype)
        number = spectral[1] if whole is None else whole[5]
        points: Tensor = self.loss(sums, counts, processes)
        return points + self.spectra_weight * processes * spectral[0] / number.clamp(min=1).to(points.dtype)

    @property
    def _epoch(self) -> int:
        return self.current_epoch if self._trainer is not None else 0

    def on_validation_epoch_start(self) -> None:
        """Start the validation errors."""
        self._val_sums = torch.zeros(4, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: Data, batch_idx: int) -> None:
        """Add a batch to the validation errors."""
        output = self(batch)
        if self.max_horizon is None:
            self._val_sums += self.sums(batch, output).stacked()
            return
        longest = min(self.max_horizon, longest_horizon(batch.x.shape[1]))
        for horizon in (h for h in _VALIDATION_HORIZONS if h <= longest):
            self._val_sums += self.horizon_sums(batch, output, horizon).stacked()

    def on_validation_epoch_end(self) -> None:
        """Log the validation errors over all points of all processes."""
        whole = self._val_sums
        if self.trainer.world_size > 1:
            whole = self.trainer.strategy.reduce(whole.clone(), reduce_op="sum")
        self._validation = self._named("val", whole)
        for name, value in self._validation.items():
            self.log(name, value, prog_bar=name == "val_loss", logger=False)

    def epoch_values(self) -> dict[str, float]:
        """Return the training errors of the epoch so far and the last validation errors."""
        return {**self._named("train", self._train_sums), **self._validation}

    def epoch_lines(self, values: dict[str, float], seconds: float) -> list[str]:
        """Return the lines about an epoch, in the form of LC-Gen."""
        lines = [f"Epoch {self.current_epoch + 1}/{self.trainer.max_epochs} ({seconds:.1f} s)"]
        for part in ("train", "val"):
            if f"{part}_loss" in values:
                loss, hidden, visible = (values[f"{part}_{name}"] for name in ("loss", "masked", "unmasked"))
                title = f"{part.capitalize():<5}"
                lines.append(f"  {title} - Loss: {loss:.6f} | Masked: {hidden:.6f} | Unmasked: {visible:.6f}")
        return lines

    def _named(self, part: str, sums: Tensor) -> dict[str, float]:
        hidden, visible, hidden_count, visible_count = sums.tolist()
        return {
            f"{part}_loss": float(self.loss(LossSums(*sums.unbind()))),
            f"{part}_masked": hidden / hidden_count if hidden_count else math.nan,
            f"{part}_unmasked": visible / visible_count if visible_count else math.nan,
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what stgraph needs to build the model again and to continue the means of the epoch."""
        checkpoint[EXTRA] = {"reconstructor": self.description, "train_sums": self._train_sums.tolist()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue the means of the epoch."""
        sums = checkpoint[EXTRA]["train_sums"]
        self._train_sums = torch.tensor(sums, dtype=torch.float64, device=self.device)
