"""An anomaly run from its options to the files of its folder."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, LambdaCallback
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.autoencoders.spectral_cnn import SPECTRAL_CNN_PRESETS, SpectralCNNAutoencoder
from stgraph.models.detectors import DETECTORS, get_detector
from stgraph.models.detectors.base import Detector
from stgraph.models.options import nearest_name
from stgraph.nn.spectral_loss import SpectralLoss
from stgraph.tasks.anomaly import Anomaly
from stgraph.tasks.anomaly_data import AnomalyParts, SpectraModule
from stgraph.tasks.anomaly_detection import (
    FoundAnomalies,
    evaluate_detection,
    judge,
    save_detector,
    thresholds_of,
    write_found,
)
from stgraph.tasks.anomaly_input import prepare, read_anomaly_input, resolve_anomaly_input
from stgraph.tasks.anomaly_options import AnomalyOptions
from stgraph.tasks.anomaly_records import save_anomaly_record
from stgraph.tasks.checkpoints import load_trained, read_checkpoint
from stgraph.tasks.environment import describe_environment, peak_memory_mb
from stgraph.tasks.folder import RunFolder, anomaly_output, write_json
from stgraph.tasks.reconstruction_run import training_summary
from stgraph.tasks.run import note_resumption
from stgraph.tasks.trainer import device_of, make_trainer, number_of_devices, quiet_lightning

__all__ = ["load_spectral_autoencoder", "prepare_run", "train_anomaly"]

_logger = logging.getLogger("stgraph")


def train_anomaly(options: AnomalyOptions, callbacks: list[Callback] | None = None) -> dict[str, Any]:
    """Learn what is normal, find what is not in the same data, and write the folder of the run.

    Args:
        options: The options.
        callbacks: Further Lightning callbacks for the training of the autoencoder.

    Returns:
        dict: The content of ``results.json``.

    Raises:
        InputError: If an option, the data or the output folder cannot be used; nothing has been changed then.
    """
    options.check()
    if math.prod(number_of_devices(options.trainer)) > 1:
        raise InputError("trainer.devices: anomaly runs use one device, as their data fit on one")
    folder = RunFolder(anomaly_output(options))
    folder.check(overwrite=options.overwrite, resume=options.resume)
    if options.resume and folder.is_run and not folder.is_anomaly:
        raise InputError(f"{folder.path} holds another kind of run; it cannot be resumed as an anomaly run")
    options, data = prepare_run(options)
    parts = AnomalyParts(data, options)
    resume = options.resume and folder.is_run
    if resume:
        folder.check_resume(options)
    with quiet_lightning():
        run = _Run(options, data, parts, folder, resume, callbacks or [])
        if resume:
            note_resumption(folder, describe_environment(options.seed))
        else:
            stored = dataclasses.replace(options, overwrite=False, resume=False, output=str(folder.path))
            folder.create(stored, describe_environment(options.seed, data))
        try:
            return run.run()
        except BaseException:
            folder.rollback()
            raise


def prepare_run(options: AnomalyOptions) -> tuple[AnomalyOptions, Data]:
    """Read and prepare the data of a run, and fill in all options that depend on them.

    Raises:
        InputError: If the data, or the detector for them, cannot be used.
    """
    options = dataclasses.replace(options, data=resolve_anomaly_input(options.data)).resolved()
    name, spectra = str(options.detector.name), options.data.kind == "spectra"
    if name not in DETECTORS:
        raise InputError(
            f"detector.name is {name!r}; expected one of {', '.join(DETECTORS)}{nearest_name(name, DETECTORS)}"
        )
    if options.trains and not spectra:
        raise InputError(f"detector.name 'autoencoder' is for spectra, and {options.data.path} holds a series")
    if name == "series_residual" and spectra:
        raise InputError(f"detector.name 'series_residual' is for series, and {options.data.path} holds spectra")
    data = prepare(read_anomaly_input(options.data), options.data)
    rest = data.get("frame") == "rest"
    return dataclasses.replace(options, data=dataclasses.replace(options.data, rest_frame=rest)), data


def load_spectral_autoencoder(path: Any) -> SpectralCNNAutoencoder:
    """Load the trained autoencoder of an anomaly run from one of its checkpoints.

    Args:
        path: A ``.ckpt`` file, or the folder of a run, whose best checkpoint is taken.

    Raises:
        CheckpointError: If the file is damaged or was not written by such a run.
    """
    unknown = "holds no autoencoder of an anomaly run"
    return load_trained(path, "autoencoder", lambda description: SpectralCNNAutoencoder(**description), unknown)


def _network_arguments(options: AnomalyOptions, length: int) -> dict[str, Any]:
    """Return the arguments of the autoencoder of a run, as plain values."""
    arguments = {**SPECTRAL_CNN_PRESETS[options.model.preset], **(options.model.arguments or {})}
    return {**arguments, "input_length": length} if arguments.get("latent_dim") else arguments


def _rule_arguments(options: AnomalyOptions) -> dict[str, Any]:
    """Return what the rule of an autoencoder takes; spectra that are compared with each other have none."""
    values = dataclasses.asdict(options.rule)
    if values.pop("name") == "graph_residual":
        return {}
    return {name: value for name, value in values.items() if value is not None}


def _detector_arguments(options: AnomalyOptions, length: int) -> dict[str, Any]:
    """Return the arguments of the detector of a run, as plain values.

    Raises:
        InputError: If a window is longer than what it goes over.
    """
    arguments = dict(options.detector.arguments or {})
    widths = arguments.get("widths")
    for width in [widths] if isinstance(widths, int) else widths or []:
        _check_window("detector.arguments: widths", width, length)
    if not options.trains:
        return arguments
    rule = _rule_arguments(options)
    if rule:
        _check_window("rule.window_size", rule["window_size"], length)
    own = {"network": _network_arguments(options, length), "scaling": options.data.scaling}
    return {**own, "rule": options.rule.name, "rule_arguments": rule, **arguments}


def _check_window(name: str, width: Any, length: int) -> None:
    if not isinstance(width, int) or not 2 <= width <= length:
        raise InputError(f"{name} has a window of {width!r} points; expected 2 to {length}, the points of a spectrum")


def _call(name: str, build: Any, arguments: dict[str, Any]) -> Any:
    """Build something from arguments that a user wrote."""
    try:
        return build(**arguments)
    except TypeError as error:
        raise InputError(f"{name}: {str(error).split('() ')[-1]}") from error


class _Run:
    """One run; whatever could be wrong with options and data shows here, before the folder is made."""

    def __init__(
        self,
        options: AnomalyOptions,
        data: Data,
        parts: AnomalyParts,
        folder: RunFolder,
        resume: bool,
        callbacks: list[Callback],
    ) -> None:
        self.options, self.data, self.parts, self.folder = options, data, parts, folder
        self.device = device_of(options.trainer.accelerator)
        self.parameters = 0
        self.training: dict[str, Any] = {}
        self.arguments = _detector_arguments(options, int(data.x.shape[1]))
        build = get_detector(str(options.detector.name))
        self.detector: Detector = _call("detector.arguments", build, self.arguments)
        if options.trains:
            self._prepare_training(resume, callbacks)

    def _prepare_training(self, resume: bool, callbacks: list[Callback]) -> None:
        options, folder, loss = self.options, self.folder, self.options.loss
        self.module = SpectraModule(self.parts.judged, options)
        seed_everything(options.seed, verbose=False)
        description = self.arguments["network"]
        model = SpectralCNNAutoencoder(**description)
        self.parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        criterion = SpectralLoss(
            loss.kind or "mse", loss.weight_factor, loss.l1 or 0.0, loss.denominator, loss.huber_delta
        )
        self.task = Anomaly(model, criterion, options.optimizer, seed=options.seed, description=description)
        self.task.check(next(iter(self.module.loader("val"))))
        self.resume_from = folder.last if resume and folder.last.is_file() else None
        step = None if self.resume_from is None else int(read_checkpoint(self.resume_from)["global_step"])
        begin = LambdaCallback(on_train_start=self._on_start)
        self.trainer = make_trainer(options.trainer, folder, [begin, *callbacks], monitor="val_loss", resume_step=step)

    def _on_start(self, trainer: Trainer, task: LightningModule) -> None:
        """Training has begun: the run that this one replaces is not needed any more."""
        self.folder.commit()

    def run(self) -> dict[str, Any]:
        """Train, detect and write the results."""
        options = self.options
        _logger.info("%s on %s", options.detector.name, options.data.path)
        _logger.info("  %s", _size(self.data, self.parts))
        if options.trains:
            self._train()
        judged = judge(self.detector, self.parts, self.device)
        self.folder.commit()
        self._write(judged)
        return self._results(judged)

    def _train(self) -> None:
        _logger.info("Autoencoder with %s parameters", f"{self.parameters:,}")
        sizes = [len(self.module.nodes[stage]) for stage in ("train", "val")]
        _logger.info("  %d spectra train, %d choose the best epoch", *sizes)
        self.trainer.fit(self.task, datamodule=self.module, ckpt_path=self.resume_from)
        self.training = training_summary(self.trainer)
        self.detector.network = load_spectral_autoencoder(self.folder.best)

    def _write(self, judged: FoundAnomalies) -> None:
        folder, options = self.folder, self.options
        wavelength = self.data.get("wavelength")
        description = {
            "name": options.detector.name,
            "arguments": self.arguments,
            "wavelength": wavelength,
            "nodes": int(self.data.x.shape[0]),
            "channels": int(self.data.x.shape[2]),
        }
        save_detector(folder.detector, self.detector.cpu(), description)
        write_found(judged, folder.anomalies, folder.scores)
        save_anomaly_record(
            judged.found, judged.names, json_directory=folder.path, wavelength=wavelength, data=judged.data
        )

    def _results(self, judged: FoundAnomalies) -> dict[str, Any]:
        found, options = judged.found, self.options
        results: dict[str, Any] = {
            "detector": options.detector.name,
            "kind": options.data.kind,
            "rule": found.rule,
            "nodes": int(self.data.x.shape[0]),
            "points": int(self.data.x.shape[1]),
            "judged": len(judged.names),
            "calibration": self.parts.calibration_size,
            "anomalous": int(found.anomalous.sum()),
            "no_data": int(found.no_data.sum()),
            "thresholds": thresholds_of(found),
            "detection": evaluate_detection(found, judged.data),
            "parameters": self.parameters,
            **self.training,
            "seed": options.seed,
            "peak_memory_mb": peak_memory_mb(),
            "threads": torch.get_num_threads(),
        }
        write_json(self.folder.results, results)
        return results


def _size(data: Data, parts: AnomalyParts) -> str:
    """Say how many spectra, or steps of a series, there are, and how many of them are judged."""
    nodes, steps = data.x.shape[:2]
    if parts.options.data.kind == "spectra":
        return f"{nodes} spectra of {steps} points, of which {len(parts.rows)} are judged"
    judged = steps - parts.calibration_size
    return f"{nodes} nodes of {steps} steps, of which {judged} steps are judged"
