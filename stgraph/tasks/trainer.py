"""The Lightning trainer of a run."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from stgraph.errors import InputError
from stgraph.tasks.checkpoints import MONITOR, AtomicCheckpointIO, RunCheckpoints
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.logs import MetricsFile, RunLog
from stgraph.tasks.options import CommonTrainerOptions

__all__ = ["device_of", "is_main_process", "make_trainer", "number_of_devices", "quiet_lightning"]


def is_main_process() -> bool:
    """Whether this is the only process, or the first of several that torchrun or Lightning started."""
    return (
        int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", 0))) == 0 and int(os.environ.get("NODE_RANK", 0)) == 0
    )


def number_of_devices(options: CommonTrainerOptions) -> tuple[int, int]:
    """Return devices per machine and number of machines; torchrun's where it started this process."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        return local, int(os.environ["WORLD_SIZE"]) // local
    return options.devices, options.num_nodes


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning from telling about itself, and torch's switch for deterministic algorithms as it was."""
    before, warn_only = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 uses a class of torch that has been renamed since.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def device_of(accelerator: str) -> str:
    """Return torch's name of a device; "auto" knows CPU and CUDA alone, as other devices lack float64.

    >>> device_of("cpu"), device_of("gpu")
    ('cpu', 'cuda')
    """
    if accelerator == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return "cuda" if accelerator == "gpu" else accelerator


def make_trainer(
    options: CommonTrainerOptions,
    folder: RunFolder,
    callbacks: Sequence[Callback] = (),
    *,
    monitor: str = MONITOR,
    announce: bool = False,
    resume_step: int | None = None,
    unused_parameters: bool = False,
) -> Trainer:
    """Return a trainer that logs and saves into the folder of a run.

    Args:
        options: How to train.
        folder: The folder.
        callbacks: Further callbacks.
        monitor: Validation error that chooses the best epoch.
        announce: Tell of each epoch that is the best so far.
        resume_step: Step from which a run continues; later entries of its TensorBoard log are dropped.
        unused_parameters: Whether the model has parameters that have no influence on the loss, for which several
            processes must not wait.

    Raises:
        InputError: If Lightning refuses an option.
    """
    devices, machines = number_of_devices(options)
    strategy = "ddp_find_unused_parameters_true" if unused_parameters else "ddp"
    progress_bar = sys.stderr.isatty() if options.progress_bar is None else options.progress_bar
    all_callbacks: list[Callback] = [
        RunLog(options.log_every_n_steps, verbose=not progress_bar),
        RunCheckpoints(folder.checkpoints, options.checkpoint_every_n_steps, monitor, announce),
        *callbacks,
    ]
    if options.early_stopping is not None:
        all_callbacks.append(EarlyStopping(monitor, patience=options.early_stopping))
    try:
        return Trainer(
            accelerator=device_of(options.accelerator),
            devices=devices,
            num_nodes=machines,
            strategy=strategy if devices * machines > 1 else "auto",
            precision=options.precision,  # type: ignore[arg-type]
            max_epochs=options.max_epochs,
            max_time=options.max_time,
            gradient_clip_val=options.gradient_clip_val,
            limit_train_batches=options.limit_train_batches,
            limit_val_batches=options.limit_val_batches,
            deterministic=options.deterministic,
            logger=_loggers(options, folder, resume_step),
            callbacks=all_callbacks,
            plugins=[AtomicCheckpointIO()],
            enable_progress_bar=progress_bar,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # The loaders share out every batch themselves.
            use_distributed_sampler=False,
            # The run's own log decides how often; Lightning would warn about epochs shorter than its interval.
            log_every_n_steps=1,
            default_root_dir=folder.path,
        )
    except (MisconfigurationException, ValueError) as error:
        raise InputError(f"the options of the trainer cannot be used: {error}") from error


def _loggers(options: CommonTrainerOptions, folder: RunFolder, resume_step: int | None) -> list[Logger]:
    loggers: list[Logger] = [MetricsFile(folder.metrics)]
    if options.tensorboard and importlib.util.find_spec("tensorboard") is not None:
        arguments: dict[str, Any] = {} if resume_step is None else {"purge_step": resume_step + 1}
        loggers.append(TensorBoardLogger(folder.path, name="tensorboard", version="", **arguments))
    return loggers
