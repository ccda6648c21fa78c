"""The cells of a benchmark, each with the whole configuration of its run."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import typing
from typing import Any

from jsonargparse import ArgumentParser

from stgraph.errors import InputError
from stgraph.models import MODELS
from stgraph.models.options import LossOptions, nearest_name
from stgraph.tasks.benchmark.options import BenchmarkConfig, DatasetEntry, ModelEntry
from stgraph.tasks.benchmark.published import published_options
from stgraph.tasks.benchmark.reading import check_keys
from stgraph.tasks.options import (
    DataOptions,
    ModelOptions,
    OptimizerOptions,
    RunOptions,
    TrainerOptions,
)

__all__ = ["Cell", "expand"]

_GROUPS: dict[str, type[Any]] = {
    "data": DataOptions,
    "model": ModelOptions,
    "loss": LossOptions,
    "optimizer": OptimizerOptions,
    "trainer": TrainerOptions,
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model on one data set with one seed under one protocol of training.

    Args:
        dataset: Label of the data set.
        model: Label of the model.
        seed: Seed of the run.
        protocol: Protocol of training.
        options: Configuration of the run, without its folder.
        optional: Whether the cell is left out where the data is absent.
    """

    dataset: str
    model: str
    seed: int
    protocol: str
    options: RunOptions
    optional: bool = False

    @property
    def title(self) -> str:
        """What the cell is called in messages."""
        return f"{self.dataset} {self.model} {self.protocol} seed {self.seed}"


def expand(config: BenchmarkConfig) -> list[Cell]:
    """Return all cells; those of the first seed come first, so that an unfinished benchmark has whole tables.

    Args:
        config: The benchmark.

    Raises:
        InputError: If a model, a protocol or an option is unknown, or a value cannot be used.
    """
    from stgraph.tasks.protocols import PROTOCOLS

    for name in [*config.protocols, *([config.expected.protocol] if config.expected.protocol else [])]:
        if name not in PROTOCOLS:
            raise InputError(f"unknown protocol {name!r}{nearest_name(name, PROTOCOLS)}")
    runs = {
        (dataset, model): _run_options(config, dataset, model)
        for dataset, model in itertools.product(config.datasets, config.models)
    }
    return [
        Cell(
            dataset,
            model,
            seed,
            protocol,
            dataclasses.replace(runs[dataset, model], seed=seed, protocol=protocol),
            config.datasets[dataset].optional,
        )
        for seed, dataset, model, protocol in itertools.product(
            config.seeds, config.datasets, config.models, config.protocols
        )
    ]


def _run_options(config: BenchmarkConfig, dataset: str, model: str) -> RunOptions:
    """Lay the options over each other: defaults, data set, published settings, model, and the budget over all."""
    from stgraph.tasks.series import resolve_model

    where = f"benchmark {config.name}, {dataset} with {model}"
    data, own = config.datasets[dataset], config.models[model]
    merged: dict[str, dict[str, Any]] = {}
    for layer in _layers(config, data, own, dataset, model):
        for group, values in layer.items():
            known = [field.name for field in dataclasses.fields(_GROUPS[group])]
            for option, value in check_keys(values, known, f"{where}: {group}").items():
                merged.setdefault(group, {})[option] = _typed(group, option, value, where)
    # A cell is compared with other cells, under every protocol; its figures are those of the benchmark.
    options = RunOptions.from_dict({**merged, "baselines": [], "report": False})
    if options.model.name not in MODELS:
        raise InputError(f"{where}: unknown model {options.model.name!r}{nearest_name(options.model.name, MODELS)}")
    try:
        options.check()
        resolve_model(options.model, None)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return options


def _layers(
    config: BenchmarkConfig, data: DatasetEntry, own: ModelEntry, dataset: str, model: str
) -> list[dict[str, dict[str, Any]]]:
    name, path = own.name or model, data.data.get("path", dataset)
    budget = {key: value for key, value in dataclasses.asdict(config.budget).items() if value is not None}
    return [
        # Nobody watches a cell.
        {"trainer": {"progress_bar": False, "tensorboard": False}},
        config.defaults,
        {"data": {"path": path, **data.data}},
        published_options(name, path) if own.settings == "published" else {},
        {group: getattr(own, group) for group in _GROUPS},
        {"model": {"name": name}, "trainer": budget},
    ]


@functools.cache
def _parser(group: str, option: str) -> ArgumentParser:
    """A parser of one option: one of all options takes a hundred times longer to read one value."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=typing.get_type_hints(_GROUPS[group])[option])
    return parser


def _typed(group: str, option: str, value: Any, where: str) -> Any:
    """Check the type of an option, and read numbers that YAML takes for text, such as 1e-3."""
    try:
        return _parser(group, option).parse_object({"value": value}).value
    except argparse.ArgumentError:
        raise InputError(f"{where}: {group}.{option} is {value!r}, which is no value of this option") from None
