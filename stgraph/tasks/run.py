"""A training run from its options to the files of its folder."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import LambdaCallback

from stgraph.data.datamodule import STAGES, GraphToDevice, SeriesDataModule
from stgraph.errors import InputError
from stgraph.models.base import Forecaster
from stgraph.tasks.artefacts import write_artefacts
from stgraph.tasks.calibration import calibrate_quantiles
from stgraph.tasks.checkpoints import (
    EXTRA,
    RunCheckpoints,
    build_model,
    load_forecaster,
    read_checkpoint,
    write_atomically,
    write_tensors,
)
from stgraph.tasks.environment import describe_environment, peak_memory_mb
from stgraph.tasks.evaluation import Forecasts, evaluate_baselines, forecast, new_metrics
from stgraph.tasks.folder import RunFolder, default_output, write_json
from stgraph.tasks.forecasting import Forecasting
from stgraph.tasks.logs import RunLog
from stgraph.tasks.options import RunOptions
from stgraph.tasks.protocols import family_of
from stgraph.tasks.protocols.scaling import fit_under_protocol
from stgraph.tasks.series import describe_model, graph_of, load_series, make_datamodule, resolve_data, resolve_model
from stgraph.tasks.trainer import device_of, is_main_process, make_trainer, number_of_devices, quiet_lightning

__all__ = ["prepare", "train"]

_logger = logging.getLogger("stgraph")


def train(options: RunOptions) -> dict[str, Any]:
    """Train a model, evaluate it, and write the folder of the run.

    Args:
        options: The options.

    Returns:
        dict: The content of ``results.json``; empty in all but the first of several processes.

    Raises:
        InputError: If an option, the data or the output folder cannot be used; nothing has been changed then.
    """
    options.check()
    assert options.data.path is not None
    options = dataclasses.replace(options, output=options.output or default_output(options.data.path))
    return _train_seeds(options) if options.seeds > 1 else _train_once(options)


def _train_seeds(options: RunOptions) -> dict[str, Any]:
    assert options.output is not None
    if math.prod(number_of_devices(options.trainer)) > 1:
        raise InputError("seeds repeats a run on one device; train each seed by itself on several devices")
    folder = RunFolder(options.output)
    folder.check(overwrite=options.overwrite, resume=options.resume)
    seeds = list(range(options.seed, options.seed + options.seeds))
    if not (options.resume and folder.is_run):
        folder.create(options, describe_environment(options.seed))
    runs = []
    try:
        for seed in seeds:
            one = dataclasses.replace(
                options, seed=seed, seeds=1, output=str(folder.path / f"seed_{seed}"), overwrite=False
            )
            runs.append(_train_once(one, on_start=folder.commit))
    except BaseException:
        folder.rollback()
        raise
    results = summarise(seeds, runs)
    write_json(folder.results, results)
    return results


def summarise(seeds: list[int], runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean and standard deviation of the errors over seeds, and the errors of the baselines, which have none."""
    names = [name for name, value in runs[0]["test"]["global"].items() if isinstance(value, float)]
    values = {name: [float(run["test"]["global"][name]) for run in runs] for name in names}
    return {
        "model": runs[0]["model"],
        "seeds": seeds,
        "mean": {name: statistics.mean(v) for name, v in values.items()},
        "std": {name: statistics.stdev(v) for name, v in values.items()},
        "runs": values,
        "baselines": runs[0]["baselines"],
        "seconds_per_epoch": [run["seconds_per_epoch"] for run in runs],
    }


def _train_once(options: RunOptions, on_start: Callable[[], None] | None = None) -> dict[str, Any]:
    assert options.output is not None
    folder, main = RunFolder(options.output), is_main_process()
    if main:
        folder.check(overwrite=options.overwrite, resume=options.resume)
    seed_everything(options.seed, verbose=False)
    options, datamodule = prepare(options)
    resume = options.resume and folder.is_run
    if resume:
        folder.check_resume(options)
    with quiet_lightning():
        run = _Run(options, datamodule, folder, resume)
        if main and resume:
            note_resumption(folder, describe_environment(options.seed))
        elif main:
            # The switches say how this start treats the folder; they are no part of the run.
            stored = dataclasses.replace(options, overwrite=False, resume=False, output=str(folder.path))
            made_with = describe_environment(options.seed, datamodule.series, datamodule.test_series)
            folder.create(stored, made_with)
            write_tensors(folder.graph, graph_of(datamodule.series))
        try:
            return run.run(on_start)
        except BaseException:
            folder.rollback()
            raise


def note_resumption(folder: RunFolder, now: dict[str, Any]) -> None:
    """Add the environment to that of the run's start, and tell what may change the last bits of the result."""
    before: dict[str, Any] = {}
    if folder.environment.is_file():
        before = json.loads(folder.environment.read_text(encoding="utf-8"))
    for name in ("threads", "devices", "packages"):
        if before.get(name, now[name]) != now[name]:
            _logger.warning("this run began with other %s: the continuation may differ in the last bits", name)
    write_json(folder.environment, {**before, "resumed": [*before.get("resumed", []), now]})


def prepare(options: RunOptions) -> tuple[RunOptions, SeriesDataModule]:
    """Load the data of a run, split it, and fill in all options that depend on it.

    Raises:
        InputError: If the data or an option cannot be used.
    """
    data = resolve_data(options.data)
    series, test_series = load_series(data, resolve_model(options.model, None).num_neighbors)
    datamodule = make_datamodule(series, test_series, data, options.seed, options.protocol)
    model = resolve_model(options.model, series.x.shape[0])
    return dataclasses.replace(options, data=data, model=model), datamodule


class _Run:
    """One run on prepared options and data; whatever could be wrong with them shows here, before the folder is made."""

    def __init__(self, options: RunOptions, datamodule: SeriesDataModule, folder: RunFolder, resume: bool) -> None:
        self.options, self.datamodule, self.folder = options, datamodule, folder
        self.resume_from = folder.last if resume and folder.last.is_file() else None
        self.description = describe_model(options.model, datamodule, options.data.out_channels)
        model = build_model(self.description).fit(datamodule.train_series, datamodule.starts["train"])
        fit_under_protocol(model, datamodule, options.protocol, family_of(str(options.data.path)))
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.task = Forecasting(
            model,
            options.loss,
            options.optimizer,
            seed=options.seed,
            compile=options.compile,
            description=self.description,
        )
        self.trainer: Trainer | None = None
        self._on_start: Callable[[], None] | None = None
        if self.parameters:
            unused = self.task.check(next(iter(datamodule.loader("train"))))
            self.trainer = self._make_trainer(unused_parameters=bool(unused))

    def _make_trainer(self, unused_parameters: bool) -> Trainer:
        step = None if self.resume_from is None else int(read_checkpoint(self.resume_from)["global_step"])
        begin = LambdaCallback(on_train_start=lambda *_: self.on_start())
        return make_trainer(
            self.options.trainer,
            self.folder,
            [begin],
            monitor=self.options.trainer.monitor,
            resume_step=step,
            unused_parameters=unused_parameters,
        )

    def on_start(self) -> None:
        """Training has begun: what the run replaces is not needed any more."""
        if is_main_process():
            self.folder.commit()
            if self._on_start is not None:
                self._on_start()

    def _announce(self) -> None:
        data, (nodes, steps, channels) = self.options.data, self.datamodule.series.x.shape
        windows = {stage: len(starts) for stage, starts in self.datamodule.starts.items()}
        _logger.info("%s: %d nodes, %d steps, %d channels", Path(str(data.path)).name, nodes, steps, channels)
        text = "%d steps in, %d out: %d training, %d validation and %d test windows"
        _logger.info(text, data.input_steps, data.horizon, *windows.values())
        _logger.info("%s: %d parameters, seed %d", self.options.model.name, self.parameters, self.options.seed)

    def run(self, on_start: Callable[[], None] | None) -> dict[str, Any]:
        """Train, evaluate and write the results."""
        self._on_start = on_start
        if is_main_process():
            self._announce()
        training: dict[str, Any] = {"parameters": self.parameters}
        if self.trainer is not None:
            self.trainer.fit(self.task, datamodule=self.datamodule, ckpt_path=self.resume_from)
            training |= _training_summary(self.trainer)
        elif is_main_process():
            self.on_start()
            state = {f"model.{name}": value for name, value in self.task.model.state_dict().items()}
            write_tensors(self.folder.best, {EXTRA: {"model": self.description}, "state_dict": state})
        return self._finish(training) if is_main_process() else {}

    def _finish(self, training: dict[str, Any]) -> dict[str, Any]:
        """Evaluate the best weights on the test period and write all about it."""
        options, datamodule, folder = self.options, self.datamodule, self.folder
        device = device_of(options.trainer.accelerator)
        model = load_forecaster(folder.best).to(device)
        if options.calibrate and model.quantiles is not None:
            self._calibrate(model, device)
        names = datamodule.series.get("channel_names")
        metrics = new_metrics(model, names)
        forecasts = forecast(model, datamodule.loader("test"), device, metrics)
        save_predictions(folder.predictions, forecasts)
        results = {
            "model": options.model.name,
            "test": metrics.compute(),
            "baselines": evaluate_baselines(
                options.baselines, datamodule, datamodule.loader("test"), model.out_channels
            ),
            **training,
            "windows": {stage: len(datamodule.starts[stage]) for stage in STAGES},
            "nodes": datamodule.series.x.shape[0],
            "observed_targets": float(forecasts.mask.mean()),
            "channels": options.data.channels,
            "channel_names": None if names is None else list(names),
            "seed": options.seed,
            "peak_memory_mb": peak_memory_mb(),
        }
        write_artefacts(folder, options, model, datamodule.series, forecasts, results)
        write_json(folder.results, results)
        return results

    def _calibrate(self, model: Forecaster, device: str) -> None:
        move = GraphToDevice()
        offset = calibrate_quantiles(model, (move(batch, device) for batch in self.datamodule.loader("val")))
        checkpoint = read_checkpoint(self.folder.best)
        checkpoint["state_dict"]["model.quantile_offset"] = offset.cpu()
        write_tensors(self.folder.best, checkpoint)


def _training_summary(trainer: Trainer) -> dict[str, Any]:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    log = next(c for c in callbacks if isinstance(c, RunLog))
    checkpoints = next(c for c in callbacks if isinstance(c, RunCheckpoints))
    if trainer.is_global_zero and not checkpoints.best_path.is_file():
        raise RuntimeError("training wrote no checkpoint: it ended before the first validation")
    seconds = log.epoch_seconds
    return {
        "best_val_rmse": checkpoints.best_values.get("val_rmse"),
        "best_val_mae": checkpoints.best_values.get("val_mae"),
        "best_epoch": checkpoints.best_epoch,
        "epochs": len(seconds),
        "seconds_per_epoch": statistics.median(seconds) if seconds else None,
        "training_seconds": sum(seconds),
    }


def save_predictions(path: Path, forecasts: Forecasts) -> None:
    """Write forecasts, targets and their mask, window starts and target times into one ``.npz`` file."""
    arrays: dict[str, Any] = {
        "y_pred": forecasts.prediction,
        "y_true": np.where(forecasts.mask, forecasts.target, np.nan),
        "y_mask": forecasts.mask,
        "start": forecasts.start,
    }
    if forecasts.time is not None:
        arrays["time"] = forecasts.time
    write_atomically(path, lambda temporary: np.savez(temporary, **arrays))
