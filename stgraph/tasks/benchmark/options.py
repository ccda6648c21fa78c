"""What a benchmark consists of: the file that ``stgraph benchmark`` reads. Nothing heavy is imported here."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from stgraph.errors import InputError
from stgraph.models.options import nearest_name

__all__ = [
    "HORIZONS",
    "METRICS",
    "BenchmarkConfig",
    "Budget",
    "DatasetEntry",
    "Expected",
    "ModelEntry",
    "restrict",
]

T = TypeVar("T")

#: What the scores of a cell are indexed with, after the protocol.
HORIZONS: tuple[str, ...] = ("3", "6", "12", "average")
METRICS: tuple[str, ...] = ("mae", "rmse", "mape")


@dataclasses.dataclass
class Budget:
    """What every model may use for its training; what is left at null is the model's own.

    Args:
        max_epochs: Number of epochs.
        max_time: Longest training time as DD:HH:MM:SS.
        limit_train_batches: Training batches in an epoch, as a number or a share.
        early_stopping: Stop after this many epochs without a better validation error.
    """

    max_epochs: int | None = None
    max_time: str | None = None
    limit_train_batches: int | float | None = None
    early_stopping: int | None = None


@dataclasses.dataclass
class DatasetEntry:
    """A data set of a benchmark.

    Args:
        data: Options of the data, as those of ``stgraph train``; the path is the label where it is left out.
        optional: Leave the data set out, with a notice, where its files are absent.
    """

    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    optional: bool = False


@dataclasses.dataclass
class ModelEntry:
    """A model of a benchmark.

    Args:
        name: Name of the model; the label where it is left out.
        settings: "published" takes arguments and training from the published settings for the data set.
        data: Options of the data.
        model: Options of the model.
        loss: Options of the loss.
        optimizer: Options of the optimizer.
        trainer: Options of the trainer.
    """

    name: str | None = None
    settings: Literal["published"] | None = None
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    loss: dict[str, Any] = dataclasses.field(default_factory=dict)
    optimizer: dict[str, Any] = dataclasses.field(default_factory=dict)
    trainer: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Expected:
    """The numbers that a benchmark has to give.

    Args:
        values: Data set -> model -> horizon -> metric -> number.
        tolerance: Metric -> largest distance from the number, to either side.
        protocol: Protocol of scoring; the first protocol of training where it is left out.
    """

    values: dict[str, dict[str, dict[str, dict[str, float]]]] = dataclasses.field(default_factory=dict)
    tolerance: dict[str, float] = dataclasses.field(default_factory=dict)
    protocol: str | None = None


@dataclasses.dataclass
class BenchmarkConfig:
    """A benchmark: every model on every data set with every seed under every protocol of training.

    Args:
        name: Name of the benchmark.
        seeds: Seeds of the runs.
        protocols: Protocols of training; every run is scored under all protocols.
        budget: The budget of each run.
        defaults: Options of all runs, by group.
        datasets: The data sets by label.
        models: The models by label.
        expected: The numbers that have to come out.
    """

    name: str
    datasets: dict[str, DatasetEntry]
    models: dict[str, ModelEntry]
    seeds: list[int] = dataclasses.field(default_factory=lambda: [1])
    protocols: list[str] = dataclasses.field(default_factory=lambda: ["strict"])
    budget: Budget = dataclasses.field(default_factory=Budget)
    defaults: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    expected: Expected = dataclasses.field(default_factory=Expected)


def restrict(
    config: BenchmarkConfig,
    *,
    seeds: Sequence[int] | None = None,
    datasets: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    protocols: Sequence[str] | None = None,
) -> BenchmarkConfig:
    """Keep the data sets and models named, with other seeds and protocols where they are given.

    Raises:
        InputError: If the benchmark has no such data set or model, or an expected number would be lost unseen.
    """
    kept = dataclasses.replace(
        config,
        seeds=config.seeds if seeds is None else list(seeds),
        protocols=config.protocols if protocols is None else list(protocols),
        datasets=_chosen(config.datasets, datasets, "data set"),
        models=_chosen(config.models, models, "model"),
    )
    values = {
        dataset: {label: numbers for label, numbers in rows.items() if label in kept.models}
        for dataset, rows in config.expected.values.items()
        if dataset in kept.datasets
    }
    return dataclasses.replace(kept, expected=dataclasses.replace(config.expected, values=values))


def _chosen(entries: dict[str, T], labels: Sequence[str] | None, kind: str) -> dict[str, T]:
    if labels is None:
        return entries
    for label in labels:
        if label not in entries:
            raise InputError(f"the benchmark has no {kind} {label!r}{nearest_name(label, entries)}")
    return {label: entry for label, entry in entries.items() if label in labels}
