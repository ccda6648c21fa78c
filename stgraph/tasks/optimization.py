"""The optimizer of a task, its schedule, and the seeds of its steps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from stgraph.tasks.options import OptimizerOptions

__all__ = ["make_optimizer", "step_seed"]


def make_optimizer(
    parameters: Iterable[nn.Parameter], options: OptimizerOptions, trainer: Trainer
) -> OptimizerLRScheduler:
    """Return an optimizer with the schedule asked for, in the form that Lightning expects."""
    kind: type[torch.optim.Adam] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.name]
    optimizer = kind(parameters, lr=options.learning_rate, weight_decay=options.weight_decay, eps=options.eps)
    if options.schedule == "constant":
        return optimizer
    if options.schedule == "multi_step":
        multi_step = torch.optim.lr_scheduler.MultiStepLR(optimizer, options.milestones, options.gamma)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": multi_step, "interval": "epoch"}}
    if options.schedule == "one_cycle":
        steps, rising = _total_steps(trainer), options.pct_start
        # The schedule divides by the number of rising steps less one.
        rising = rising * (1 + 1e-9) if rising * steps == 1 else rising
        one_cycle: Any = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            options.learning_rate,
            total_steps=steps,
            pct_start=rising,
            div_factor=options.div_factor,
            final_div_factor=options.final_div_factor,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": one_cycle, "interval": "step"}}
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=trainer.max_epochs or 1)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cosine, "interval": "epoch"}}


def _total_steps(trainer: Trainer) -> int:
    data = getattr(trainer, "datamodule", None)
    if data is None:
        return int(trainer.estimated_stepping_batches)
    # Lightning's estimate sets up the loaders before it restores a checkpoint, and then forgets to restore theirs.
    batches, limit = len(data.train_dataloader()), trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return math.ceil(batches / trainer.accumulate_grad_batches) * (trainer.max_epochs or 1)


def step_seed(*numbers: int) -> int:
    """Return a seed that is different and independent for every tuple of numbers.

    >>> step_seed(42, 0, 1, 0) == step_seed(42, 0, 1, 0), step_seed(42, 0, 1, 0) == step_seed(42, 1, 0, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
