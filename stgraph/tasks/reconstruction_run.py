"""A reconstruction run from its options to the files of its folder."""

from __future__ import annotations

import dataclasses
import logging
import math
import statistics
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LambdaCallback
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.autoencoders.reconstructor import SeriesReconstructor
from stgraph.nn.reconstruction_loss import ReconstructionLoss
from stgraph.tasks.checkpoints import RunCheckpoints, load_trained, read_checkpoint
from stgraph.tasks.environment import describe_environment, peak_memory_mb
from stgraph.tasks.folder import RunFolder, reconstruction_output, write_json
from stgraph.tasks.logs import RunLog
from stgraph.tasks.reconstruction import Reconstruction
from stgraph.tasks.reconstruction_data import STAGES, ReconstructionData
from stgraph.tasks.reconstruction_errors import evaluate_reconstruction
from stgraph.tasks.reconstruction_input import read_input, resolve_input
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.run import note_resumption
from stgraph.tasks.trainer import device_of, is_main_process, make_trainer, number_of_devices, quiet_lightning

__all__ = ["load_reconstructor", "train_reconstruction", "training_summary", "with_data"]

_logger = logging.getLogger("stgraph")


def train_reconstruction(options: ReconstructionOptions, callbacks: list[Callback] | None = None) -> dict[str, Any]:
    """Train an autoencoder, evaluate it, and write the folder of the run.

    Args:
        options: The options.
        callbacks: Further Lightning callbacks, such as one that draws figures.

    Returns:
        dict: The content of ``results.json``; empty in all but the first of several processes.

    Raises:
        InputError: If an option, the data or the output folder cannot be used; nothing has been changed then.
    """
    options.check()
    if options.model.name == "multimodal" and math.prod(number_of_devices(options.trainer)) > 1:
        raise InputError(
            "model.name 'multimodal' normalises over its batch, which devices would divide; use one device"
        )
    options = options.resolved()
    options = dataclasses.replace(options, data=resolve_input(options.data))
    folder, main = RunFolder(reconstruction_output(options)), is_main_process()
    if main:
        folder.check(overwrite=options.overwrite, resume=options.resume)
    seed_everything(options.seed, verbose=False)
    data = ReconstructionData(read_input(options.data), options)
    resume = options.resume and folder.is_run
    if resume:
        folder.check_resume(options)
    with quiet_lightning():
        run = _Run(options, data, folder, resume, callbacks or [])
        if main and resume:
            note_resumption(folder, describe_environment(options.seed))
        elif main:
            stored = dataclasses.replace(options, overwrite=False, resume=False, output=str(folder.path))
            folder.create(stored, describe_environment(options.seed, data.data))
        try:
            return run.run()
        except BaseException:
            folder.rollback()
            raise


def load_reconstructor(path: str | Path) -> SeriesReconstructor:
    """Load the trained model of a reconstruction run from one of its checkpoints.

    Args:
        path: A ``.ckpt`` file, or the folder of a run, whose best checkpoint is taken.

    Returns:
        SeriesReconstructor: The model in evaluation mode on the CPU.

    Raises:
        CheckpointError: If the file is damaged or was not written by such a run.
    """
    unknown = "holds no autoencoder of a reconstruction run"
    return load_trained(path, "reconstructor", lambda description: SeriesReconstructor(**description), unknown)


def describe_reconstructor(options: ReconstructionOptions, data: ReconstructionData) -> dict[str, Any]:
    """Return the arguments of the model of a run, as plain values."""
    model, spectra = options.model, data.data.get("spectra")
    return {
        "name": model.name,
        "channels": int(data.data.x.shape[2]),
        "steps": data.steps,
        "arguments": dict(model.arguments or {}),
        "uncertainty": model.uncertainty,
        "neighbors": model.neighbors,
        "edge_channels": data.edge_channels if model.neighbors else 0,
        "bins": None if spectra is None else int(spectra.shape[1]),
        "spectra": [] if spectra is None else list(data.data.spectra_names),
        "frequency_range": frequency_range(data.data),
    }


def with_data(options: ReconstructionOptions, **changes: Any) -> ReconstructionOptions:
    """Return options with other data options."""
    return dataclasses.replace(options, data=dataclasses.replace(options.data, **changes))


def frequency_range(data: Data) -> list[float] | None:
    """Return the lowest and highest frequency of spectra that share their bins."""
    frequency = data.get("frequency")
    return None if frequency is None or frequency.dim() != 1 else [float(frequency[0]), float(frequency[-1])]


class _Run:
    """One run; whatever could be wrong with options and data shows here, before the folder is made."""

    def __init__(
        self,
        options: ReconstructionOptions,
        data: ReconstructionData,
        folder: RunFolder,
        resume: bool,
        callbacks: list[Callback],
    ) -> None:
        self.options, self.data, self.folder = options, data, folder
        self.resume_from = folder.last if resume and folder.last.is_file() else None
        self.description = describe_reconstructor(options, data)
        model = SeriesReconstructor(**self.description)
        if model.context is not None and data.edge_channels:
            model.context.fit(data.data.edge_attr)
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.task = Reconstruction(
            model,
            ReconstructionLoss(options.loss.kind or "mse", options.loss.hidden_weight, options.loss.huber_delta),
            options.optimizer,
            seed=options.seed,
            compile=options.compile,
            description=self.description,
            max_horizon=options.loss.max_horizon,
            spectra_weight=options.loss.spectra_weight,
        )
        unused = self.task.check(next(iter(data.loader("train"))))
        self.trainer = self._make_trainer(callbacks, bool(unused))

    def _make_trainer(self, callbacks: list[Callback], unused_parameters: bool) -> Trainer:
        step = None if self.resume_from is None else int(read_checkpoint(self.resume_from)["global_step"])
        options = self.options.trainer
        clip = None if options.gradient_clip_val == "none" else options.gradient_clip_val
        begin = LambdaCallback(on_train_start=self._on_start)
        return make_trainer(
            dataclasses.replace(options, gradient_clip_val=clip),
            self.folder,
            [begin, *callbacks],
            monitor=options.monitor,
            announce=True,
            resume_step=step,
            unused_parameters=unused_parameters,
        )

    def _on_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Training has begun: the run that this one replaces is not needed any more."""
        if is_main_process():
            self.folder.commit()

    def _announce(self) -> None:
        options, x = self.options, self.data.data.x
        mask = self.data.data.get("mask")
        values = x if mask is None else x[mask]
        _logger.info("Using device: %s", device_of(options.trainer.accelerator))
        _logger.info("Loading data from %s", options.data.path)
        _logger.info("Dataset statistics:")
        _logger.info("  Shape: %s", tuple(x.shape))
        _logger.info("  Range: [%.3f, %.3f]", values.min(), values.max())
        _logger.info("  Mean: %.3f", values.mean())
        _logger.info("  Std: %.3f", values.std())
        _logger.info("Dataset split:")
        for stage in STAGES:
            if stage in self.stages:
                _logger.info("  %s: %d samples", stage.capitalize(), self.data.loader(stage).num_samples)
        _logger.info("Model parameters: %s", f"{self.parameters:,}")
        _logger.info("Starting training for %d epochs...", options.trainer.max_epochs)
        masking = options.masking
        text = "Dynamic masking: block size [%d, %d], mask ratio [%.0f%%, %.0f%%]"
        ratios = 100 * masking.min_mask_ratio, 100 * masking.max_mask_ratio
        _logger.info(text, masking.min_block_size, masking.largest_block(self.data.steps), *ratios)

    @property
    def stages(self) -> list[str]:
        """Stages that have something to do."""
        return [stage for stage in STAGES if stage != "test" or self.options.data.test > 0]

    def run(self) -> dict[str, Any]:
        """Train, evaluate and write the results."""
        main = is_main_process()
        if main:
            self._announce()
        self.trainer.fit(self.task, datamodule=self.data, ckpt_path=self.resume_from)
        return self._finish() if main else {}

    def _finish(self) -> dict[str, Any]:
        model = load_reconstructor(self.folder.best)
        device = device_of(self.options.trainer.accelerator)
        stage = self.stages[-1]
        errors = evaluate_reconstruction(model.to(device), self.data, stage, device, self.folder.errors)
        results = {
            "model": self.options.model.name,
            "parameters": self.parameters,
            "stage": stage,
            **errors,
            **training_summary(self.trainer),
            "seed": self.options.seed,
            "peak_memory_mb": peak_memory_mb(),
            "threads": torch.get_num_threads(),
        }
        write_json(self.folder.results, results)
        return results


def training_summary(trainer: Trainer) -> dict[str, Any]:
    """Return how long the epochs took, and which was the best."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    log = next(c for c in callbacks if isinstance(c, RunLog))
    checkpoints = next(c for c in callbacks if isinstance(c, RunCheckpoints))
    if not checkpoints.best_path.is_file():
        raise RuntimeError("training wrote no checkpoint: it ended before the first validation")
    seconds = log.epoch_seconds
    return {
        "best": checkpoints.best_values,
        "best_epoch": checkpoints.best_epoch,
        "epochs": len(seconds),
        "seconds_per_epoch": statistics.median(seconds) if seconds else None,
        "training_seconds": sum(seconds),
    }
