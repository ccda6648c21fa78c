"""Checkpoints of a run: written whole or not at all, read without executing anything."""

from __future__ import annotations

import logging
import math
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn

from stgraph.errors import CheckpointError
from stgraph.models import get_model

if TYPE_CHECKING:
    from stgraph.models import Forecaster

__all__ = [
    "MONITOR",
    "AtomicCheckpointIO",
    "RunCheckpoints",
    "build_model",
    "load_forecaster",
    "load_trained",
    "read_checkpoint",
    "write_atomically",
    "write_tensors",
]

M = TypeVar("M", bound=nn.Module)

_logger = logging.getLogger("stgraph")

#: The quantity that decides which checkpoint is the best unless said otherwise: validation RMSE over all targets, in
#: data units.
MONITOR = "val_rmse"

#: Key of what stgraph adds to a Lightning checkpoint.
EXTRA = "stgraph"


def write_atomically(path: str | Path, write: Callable[[Path], Any]) -> None:
    """Call ``write`` with a temporary name beside ``path`` and rename the file it wrote, so that no reader sees half.

    Args:
        path: Where the file is to be.
        write: Writes the file under the name it is given.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays at the end: writers such as numpy.save append theirs otherwise.
    temporary = path.with_name(f".partial-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(path: str | Path, content: dict[str, Any]) -> None:
    """Write a dictionary of tensors and plain values with :func:`torch.save`, whole or not at all."""
    write_atomically(path, lambda temporary: torch.save(content, temporary))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning plugin that renames a checkpoint into place once it is complete and loads with ``weights_only=True``.

    A process killed while it writes leaves the previous checkpoint as it was.

    Examples:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(plugins=[AtomicCheckpointIO()], accelerator="cpu", logger=False)
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``."""
        write_tensors(path, checkpoint)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read ``path`` onto the CPU; never runs code from the file, whatever the caller asks for."""
        return read_checkpoint(path)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint file without executing anything from it.

    Raises:
        CheckpointError: If the file is missing, damaged or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}")
    try:
        with warnings.catch_warnings():
            # Said of other kinds of pickles, which are refused right after.
            warnings.filterwarnings("ignore", "Detected pickle protocol", UserWarning)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, LookupError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"checkpoint {path} cannot be read: {reason}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(checkpoint).__name__}; expected a dictionary")
    return checkpoint


def build_model(description: dict[str, Any]) -> Forecaster:
    """Build an untrained model from its description ``{"name": ..., "arguments": {...}}``."""
    return get_model(description["name"])(**description["arguments"])


def load_forecaster(path: str | Path) -> Forecaster:
    """Load the trained model of a run from one of its checkpoints.

    Args:
        path: A ``.ckpt`` file, or the folder of a run, whose best checkpoint is taken.

    Returns:
        Forecaster: The model in evaluation mode on the CPU.

    Raises:
        CheckpointError: If the file is damaged or was not written by a run.
    """
    unknown = "does not say which model it holds; expected one written by a run"
    return load_trained(path, "model", build_model, unknown)


def load_trained(path: str | Path, key: str, build: Callable[[Any], M], unknown: str) -> M:
    """Build the model that a checkpoint describes, and give it its weights.

    Args:
        path: A ``.ckpt`` file, or the folder of a run, whose best checkpoint is taken.
        key: Name of the description among what stgraph adds to a checkpoint.
        build: Builds an untrained model from the description.
        unknown: What to say of a checkpoint without it.

    Raises:
        CheckpointError: If the file is damaged, or does not describe its model or fit it.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    checkpoint = read_checkpoint(path)
    description = checkpoint.get(EXTRA, {}).get(key)
    if description is None or "state_dict" not in checkpoint:
        raise CheckpointError(f"checkpoint {path} {unknown}")
    model = build(description)
    prefix = "model."
    state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {path} does not fit its model: {error}") from error
    return model.eval()


class RunCheckpoints(Checkpoint):
    """Write ``best.ckpt`` and ``last.ckpt``.

    Lightning's ``ModelCheckpoint`` may save after the last batch of an epoch but before its validation, and a run that
    resumes there skips that validation. Here ``last.ckpt`` is written inside an epoch or after all of it.

    Args:
        folder: Folder of the checkpoints.
        every_n_steps: Write ``last.ckpt`` after so many optimizer steps too.
        monitor: Validation error that decides which weights are the best.
        announce: Tell of each epoch whose weights are the best so far.
    """

    def __init__(
        self, folder: str | Path, every_n_steps: int | None = None, monitor: str = MONITOR, announce: bool = False
    ) -> None:
        self.folder = Path(folder)
        self.every_n_steps = every_n_steps
        self.monitor = monitor
        self.announce = announce
        self.best_values: dict[str, float] = {}
        self.best_score: float | None = None
        self.best_epoch: int | None = None
        self.stopped = False

    @property
    def best_path(self) -> Path:
        """Path of the weights with the lowest validation error."""
        return self.folder / "best.ckpt"

    @property
    def last_path(self) -> Path:
        """Path of the state from which the run continues."""
        return self.folder / "last.ckpt"

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save inside an epoch."""
        progress = trainer.fit_loop.epoch_loop.batch_progress
        is_last = progress.is_last_batch or progress.current.ready >= trainer.num_training_batches
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0 and not is_last:
            trainer.save_checkpoint(self.last_path)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights if they are the best so far."""
        if trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        score = float(trainer.callback_metrics[self.monitor])
        # Without a target nothing can be said of an epoch; any other is better.
        if self.best_score is None or math.isnan(self.best_score) or score < self.best_score:
            self.best_score, self.best_epoch = score, trainer.current_epoch
            metrics = trainer.callback_metrics.items()
            self.best_values = {name: float(value) for name, value in metrics if name.startswith("val_")}
            trainer.save_checkpoint(self.best_path, weights_only=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after the epoch, its validation and the decision to stop early."""
        self.stopped = trainer.should_stop
        trainer.save_checkpoint(self.last_path)
        if self.announce and self.best_epoch == trainer.current_epoch and trainer.is_global_zero:
            _logger.info("  Saved best model to %s", self.best_path)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to know."""
        return {
            "best_score": self.best_score,
            "best_epoch": self.best_epoch,
            "best_values": dict(self.best_values),
            "stopped": self.stopped,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.best_score, self.best_epoch = state_dict["best_score"], state_dict["best_epoch"]
        self.best_values = dict(state_dict["best_values"])
        self.stopped = state_dict["stopped"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Do not train on when the run had already decided to stop."""
        state = checkpoint.get("callbacks", {}).get(self.state_key)
        trainer.should_stop = bool(state and state["stopped"])
