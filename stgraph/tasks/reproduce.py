"""The repetition of a run from its folder, and what differs from the run, bit by bit."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch

from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.anomaly_options import AnomalyOptions
from stgraph.tasks.anomaly_run import prepare_run, train_anomaly
from stgraph.tasks.bitwise import Difference, check_readable, compare_runs, read_json
from stgraph.tasks.environment import describe_environment
from stgraph.tasks.folder import RunFolder, read_options
from stgraph.tasks.options import RunOptions
from stgraph.tasks.reconstruction_data import ReconstructionData
from stgraph.tasks.reconstruction_input import read_input
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.reconstruction_run import train_reconstruction
from stgraph.tasks.run import prepare, train
from stgraph.tasks.trainer import number_of_devices

__all__ = ["Reproduction", "ReproductionDifference", "reproduce_run"]

#: Options of any task.
Options: TypeAlias = RunOptions | ReconstructionOptions | AnomalyOptions

_logger = logging.getLogger("stgraph")

#: What of the environment says nothing about the result.
_UNRELATED = ("command", "folder", "started", "resumed")

#: The fingerprints of the data in the environment, and the options that name their files.
_DATA = {"data": "path", "test_data": "test"}


class ReproductionDifference(InputError):  # noqa: N818 - a finding, not a fault
    """The repetition of a run does not give the bits of the run."""


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """What came of the repetition of a run.

    Args:
        run: Folder of the run.
        repeated: Folder of the repetition; ``None`` if it was not kept.
        weights: What differs in the tensors of ``best.ckpt`` and ``last.ckpt``, and of ``detector.pt``.
        predictions: What differs in ``predictions.npz``; of a reconstruction run in ``errors.csv``, and of one of
            anomalies in ``anomalies.npz``.
        metrics: What differs in ``results.json`` and ``metrics.csv``.
        environment: What differs in the environment, in the data and in the seed, with both values.
    """

    run: Path
    repeated: Path | None
    weights: tuple[Difference, ...]
    predictions: tuple[Difference, ...]
    metrics: tuple[Difference, ...]
    environment: tuple[str, ...]

    @property
    def parts(self) -> dict[str, tuple[Difference, ...]]:
        """The differences by the part of the run."""
        return {"weights": self.weights, "predictions": self.predictions, "metrics": self.metrics}

    @property
    def equal(self) -> bool:
        """Whether all bits of the run came again."""
        return not any(self.parts.values())


def reproduce_run(
    path: str | os.PathLike[str], *, output: str | None = None, keep: bool = False, device: str | None = None
) -> list[Reproduction]:
    """Repeat a run from its folder alone and compare every bit; the folder stays as it is.

    The repetition takes the stored configuration, the data at its stored path, the seed and the recorded number of
    threads. What differs in the environment is told before the training begins.

    Args:
        path: Folder of a run, or of several seeds, each of which is repeated.
        output: Folder of the repetition, which stays; by default it is a temporary one beside the run.
        keep: Keep the repetition beside the run, as NAME-repeated.
        device: Where to train; as the run by default.

    Returns:
        list: A :class:`Reproduction` for the run, or for each of its seeds.

    Raises:
        InputError: If the folder holds no finished run, or the repetition cannot be written or trained.
        OutputExistsError: If the folder of the repetition is not empty.
        CheckpointError: If a checkpoint of the run is damaged.
    """
    folder = RunFolder(path)
    runs = _runs(folder, _options_of(folder))
    for run in runs:
        _check_run(run)
    with _place(folder.path, output, keep) as (place, kept):
        return [_reproduce(run, place / run.path.relative_to(folder.path), device, kept) for run in runs]


def _options_of(folder: RunFolder) -> Options:
    if folder.is_anomaly:
        return read_options(folder.config, AnomalyOptions)
    if folder.is_reconstruction:
        return read_options(folder.config, ReconstructionOptions)
    return read_options(folder.config, RunOptions)


def _runs(folder: RunFolder, options: Options) -> list[RunFolder]:
    if not isinstance(options, RunOptions) or options.seeds == 1:
        return [folder]
    seeds = range(options.seed, options.seed + options.seeds)
    return [RunFolder(folder.path / f"seed_{seed}") for seed in seeds]


def _check_run(run: RunFolder) -> None:
    """Refuse a run that cannot be compared in the end, before hours of training."""
    if max(number_of_devices(_options_of(run).trainer)) > 1:
        raise InputError(
            f"{run.path} was trained on several devices, which one process cannot repeat; train with --config "
            f"{run.config} and another --output instead"
        )
    check_readable(run)


@contextlib.contextmanager
def _place(run: Path, output: str | None, keep: bool) -> Iterator[tuple[Path, bool]]:
    """Give the folder of the repetition and whether it stays; a temporary one is removed in the end."""
    if output is not None or keep:
        place = run.with_name(f"{run.name}-repeated") if output is None else Path(output).expanduser().absolute()
        if place.is_relative_to(run):
            raise InputError(f"output is {place}, inside the run itself, which must not change; choose another one")
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise OutputExistsError(f"output folder {place} exists and is not empty; choose another one")
        yield place, True
        return
    try:
        place = Path(tempfile.mkdtemp(prefix=f".{run.name}.repeated-", dir=run.parent))
    except OSError as error:
        raise InputError(
            f"no temporary folder can be made in {run.parent}: {error.strerror}; name an output"
        ) from error
    try:
        yield place, False
    finally:
        shutil.rmtree(place)


def _reproduce(run: RunFolder, place: Path, device: str | None, kept: bool) -> Reproduction:
    options, recorded = _options_of(run), read_json(run.environment)
    quiet: Any = dataclasses.replace(
        options.trainer, progress_bar=False, tensorboard=False, accelerator=device or options.trainer.accelerator
    )
    again = dataclasses.replace(options, output=str(place), overwrite=False, resume=False, trainer=quiet)
    if isinstance(again, RunOptions):
        again = dataclasses.replace(again, report=False)
    with _threads(recorded.get("threads")):
        environment = _environment_differences(again, recorded, _environment(again))
        if again.trainer.accelerator != options.trainer.accelerator:
            environment += (f"device: {options.trainer.accelerator}, now {again.trainer.accelerator}",)
        if recorded.get("resumed"):
            environment += (f"resumed: {len(recorded['resumed'])} times, now trained in one go",)
        for line in environment:
            _logger.info("differs from the run: %s", line)
        if isinstance(again, RunOptions):
            train(again)
        elif isinstance(again, AnomalyOptions):
            train_anomaly(again)
        else:
            train_reconstruction(again)
    repeated = RunFolder(place)
    return Reproduction(run.path, place if kept else None, **compare_runs(run, repeated), environment=environment)


def _environment(options: Options) -> dict[str, Any]:
    if isinstance(options, AnomalyOptions):
        return describe_environment(options.seed, prepare_run(options)[1])
    if isinstance(options, ReconstructionOptions):
        return describe_environment(options.seed, ReconstructionData(read_input(options.data), options).data)
    _, datamodule = prepare(options)
    return describe_environment(options.seed, datamodule.series, datamodule.test_series)


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Compute with the recorded number of threads, as sums depend on how they are shared out."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _environment_differences(options: Options, recorded: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Compare what the run recorded; older ones recorded less."""
    lines = []
    for name, old in recorded.items():
        new = now.get(name)
        if name in _UNRELATED or old == new or (name in _DATA and not (old and new)):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
            if name in _DATA:
                lines.append(
                    f"data of {getattr(options.data, _DATA[name])}: {', '.join(changed)} changed since the run"
                )
            else:
                lines += [f"{name}: {key} {_shown(old.get(key))}, now {_shown(new.get(key))}" for key in changed]
        else:
            lines.append(f"{name}: {_shown(old)}, now {_shown(new)}")
    return tuple(lines)


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
