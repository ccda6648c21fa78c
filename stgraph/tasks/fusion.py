"""Training the network of image fusion with Lightning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.models.fusion import LatentEstimationNetwork, one_cycle_schedule

__all__ = ["Fusion"]


class Fusion(LightningModule):
    r"""Train a latent estimation network on pairs of multispectral bands and spectra of low-resolution pixels.

    The loss is the mean absolute error, the optimizer Adam with an epsilon of 1e-7, whose learning rate changes with
    the epoch. With all pixels in one batch it does what :func:`~stgraph.models.fusion.fit_network` does, and can be
    combined with callbacks, loggers and strategies of Lightning, or be trained on the pixels of many scenes.

    Args:
        network: The network.
        schedule: Learning rate by the index of the epoch from 0. (default:
            :func:`~stgraph.models.fusion.one_cycle_schedule` over the epochs of the trainer)

    Shapes:
        - **batch:** bands :math:`(B, c_{in})` and spectra :math:`(B, C)`; bands alone, or first, to predict
        - **output:** spectra :math:`(B, C)` in [0, 1] and latent estimates :math:`(B, K)`

    Examples:
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from lightning.pytorch import Trainer
        >>> from stgraph.tasks.trainer import quiet_lightning
        >>> spectra = torch.rand(16, 3, generator=torch.Generator().manual_seed(0))
        >>> task = Fusion(LatentEstimationNetwork(2, torch.eye(3), hidden=4))
        >>> quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        >>> with quiet_lightning():
        ...     trainer = Trainer(max_epochs=2, accelerator="cpu", enable_model_summary=False, **quiet)
        ...     pixels = DataLoader(TensorDataset(spectra[:, :2], spectra), batch_size=16)
        ...     trainer.fit(task, pixels, pixels)
        >>> task.predict_step([spectra[:, :2]], 0)[0].shape
        torch.Size([16, 3])
    """

    def __init__(self, network: LatentEstimationNetwork, schedule: Callable[[int], float] | None = None) -> None:
        super().__init__()
        self.network = network
        self.schedule = schedule

    def forward(self, bands: Tensor) -> tuple[Tensor, Tensor]:
        """Return the spectra and the latent estimates."""
        found: tuple[Tensor, Tensor] = self.network(bands)
        return found

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the mean absolute error of a batch."""
        return self._loss(batch, "train_loss")

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Log the mean absolute error of held-out pixels."""
        self._loss(batch, "val_loss")

    def predict_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the spectra, clipped to [0, 1], and the latent estimates."""
        spectra, latent = self(batch if isinstance(batch, Tensor) else batch[0])
        return spectra.clamp(0, 1), latent

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return Adam with a learning rate that changes once per epoch.

        Raises:
            InputError: If there is no schedule and the trainer has no number of epochs.
        """
        schedule = self.schedule
        if schedule is None:
            epochs = self.trainer.max_epochs
            if epochs is None or epochs < 1:
                raise InputError(f"max_epochs of the trainer is {epochs}; expected a number of epochs, or a schedule")
            schedule = one_cycle_schedule(epochs)
        optimizer = torch.optim.Adam(self.network.parameters(), lr=1.0, eps=1e-7)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}

    def _loss(self, batch: Sequence[Tensor], name: str) -> Tensor:
        bands, spectra = batch
        loss = F.l1_loss(self(bands)[0], spectra)
        self.log(name, loss, prog_bar=True, on_step=False, on_epoch=True, batch_size=bands.shape[0])
        return loss
