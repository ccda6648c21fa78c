"""The log of a run: ``metrics.csv``, which survives an interruption without a lost or a doubled row."""

from __future__ import annotations

import csv
import logging
import math
import time
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from stgraph.tasks.checkpoints import write_atomically

__all__ = ["MetricsFile", "RunLog"]

_logger = logging.getLogger("stgraph")


class MetricsFile(Logger):
    """Lightning logger that appends rows to a CSV file and can go back to an earlier row.

    Lightning's ``CSVLogger`` deletes the rows of an interrupted run when it resumes.

    Args:
        path: The file.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__()
        self.path = Path(path)
        self.columns: list[str] = []
        self.rows = 0

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "metrics"

    @property
    def version(self) -> str:
        """Version of the log; there is one."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: ``config.yaml`` holds the configuration."""

    @rank_zero_only
    def keep(self, rows: int) -> None:
        """Drop all but the first ``rows`` rows of the file."""
        kept: list[dict[str, str]] = []
        if rows and self.path.is_file():
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or ())
                kept = list(reader)[:rows]
        self.rows = len(kept)
        self._rewrite(kept)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Append a row."""
        row = {"step": step, **{k: float(v) if k != "epoch" else int(v) for k, v in metrics.items()}}
        new = [name for name in row if name not in self.columns]
        if new:
            self._add_columns(new)
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns).writerow(row)
        self.rows += 1

    def _add_columns(self, names: list[str]) -> None:
        rows: list[dict[str, str]] = []
        if self.rows:
            with self.path.open(newline="") as file:
                rows = list(csv.DictReader(file))
        self.columns += names
        self._rewrite(rows)

    def _rewrite(self, rows: list[dict[str, str]]) -> None:
        def write(path: Path) -> None:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.columns)
                if self.columns:
                    writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.path, write)


class Logged(Protocol):
    """What a task tells about an epoch."""

    def epoch_values(self) -> dict[str, float]:
        """Return the mean training loss of the epoch so far and the last validation errors."""
        raise NotImplementedError

    def epoch_lines(self, values: dict[str, float], seconds: float) -> list[str]:
        """Return what a reader sees of an epoch of so many seconds."""
        raise NotImplementedError


class RunLog(Callback):
    """Log the loss of steps and the errors of epochs, tell about each epoch, and time them.

    Rows are written before a checkpoint of the same step is, and the checkpoint knows how many there were.

    Args:
        every_n_steps: Steps between two rows of the training loss.
        verbose: Send the lines of each epoch to the logger ``stgraph``.
    """

    def __init__(self, every_n_steps: int = 10, verbose: bool = False) -> None:
        self.every_n_steps = every_n_steps
        self.verbose = verbose
        self.rows = 0
        self.epoch_seconds: list[float] = []
        self._elapsed = 0.0
        self._started = 0.0
        self._rate = math.nan

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the rows that an interrupted run wrote after its last checkpoint."""
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.keep(self.rows)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of a resumed epoch."""
        self._started = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        self._started, self._elapsed = time.perf_counter(), 0.0

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """Note the learning rate; the schedule has moved on by the time that an epoch is logged."""
        self._rate = float(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Log the loss of a step."""
        if trainer.global_step % self.every_n_steps == 0:
            self._log(trainer, {"train_loss_step": float(outputs["logged_loss"])})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Logged) -> None:  # type: ignore[override]
        """Log the mean loss and the validation errors of an epoch."""
        self.epoch_seconds.append(self._elapsed + time.perf_counter() - self._started)
        self._elapsed = 0.0
        values = {"learning_rate": self._rate, **pl_module.epoch_values()}
        self._log(trainer, values)
        if self.verbose and trainer.is_global_zero:
            for line in pl_module.epoch_lines(values, self.epoch_seconds[-1]):
                _logger.info("%s", line)

    def _log(self, trainer: Trainer, values: dict[str, float]) -> None:
        for logger in trainer.loggers:
            logger.log_metrics({"epoch": trainer.current_epoch, **values}, step=trainer.global_step)
            if isinstance(logger, MetricsFile):
                self.rows = logger.rows

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rows and the times of the epochs."""
        running = time.perf_counter() - self._started if self._started else 0.0
        return {"rows": self.rows, "epoch_seconds": list(self.epoch_seconds), "elapsed": self._elapsed + running}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.rows = state_dict["rows"]
        self.epoch_seconds = list(state_dict["epoch_seconds"])
        self._elapsed = state_dict["elapsed"]
