"""What all tasks have in common: seeds of the steps, the optimizer, and a look at a step before it is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch_geometric.data import Data

from stgraph.tasks.optimization import make_optimizer, step_seed
from stgraph.tasks.options import OptimizerOptions

__all__ = ["SeededTask"]


class SeededTask(LightningModule):
    """Base class of tasks whose every step depends on the seed, the epoch, the step and the process alone.

    Args:
        optimizer: The optimizer and its schedule.
        seed: Seed of dropout.
        description: What builds the model again; saved in checkpoints.
    """

    def __init__(self, optimizer: OptimizerOptions | None, seed: int, description: dict[str, Any] | None) -> None:
        super().__init__()
        self.optimizer_options = OptimizerOptions() if optimizer is None else optimizer
        self.seed = seed
        self.description = description
        self._validation: dict[str, float] = {}

    def unused_parameters(self, loss: Callable[[], Tensor]) -> list[str]:
        """Return the names of the parameters that have no influence on a loss, computed without dropout."""
        self.eval()  # dropout would draw random numbers
        total = loss()
        names, parameters = zip(*((n, p) for n, p in self.named_parameters() if p.requires_grad), strict=True)
        gradients = torch.autograd.grad(total, parameters, allow_unused=True)
        self.train()
        return [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]

    def on_train_epoch_start(self) -> None:
        """Forget the last validation, and tell the loader which epoch it is."""
        set_epoch = getattr(self.trainer.train_dataloader, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(self.current_epoch)
        self._validation = {}

    def on_train_batch_start(self, batch: Data, batch_idx: int) -> None:
        """Seed dropout for this step."""
        torch.manual_seed(step_seed(self.seed, self.current_epoch, batch_idx, self.global_rank))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer with the schedule asked for."""
        return make_optimizer(self.parameters(), self.optimizer_options, self.trainer)
