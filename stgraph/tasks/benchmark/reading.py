"""Find and read the file of a benchmark."""

from __future__ import annotations

import dataclasses
import site
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from stgraph.errors import InputError
from stgraph.models.options import nearest_name
from stgraph.tasks.benchmark.options import (
    HORIZONS,
    METRICS,
    BenchmarkConfig,
    Budget,
    DatasetEntry,
    Expected,
    ModelEntry,
)

__all__ = ["benchmark_from_dict", "check_keys", "find_benchmark", "read_benchmark"]

T = TypeVar("T")

_INSTALLED = Path("share", "stgraph", "benchmarks", "configs")


def find_benchmark(name: str) -> Path:
    """Path of a benchmark: a file, or the short name of one that comes with the package.

    Raises:
        InputError: If there is none.

    Examples:
        >>> find_benchmark("quick").name
        'quick.yaml'
    """
    if not name:
        raise InputError("name a benchmark: a file, or one of " + ", ".join(_shipped()))
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if name in (shipped := _shipped()):
        return shipped[name]
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"there is no file {path}")
    raise InputError(f"there is no file and no benchmark {name!r}{nearest_name(name, shipped)}")


def read_benchmark(name: str) -> BenchmarkConfig:
    """Read a benchmark from its file.

    Args:
        name: As for :func:`find_benchmark`.

    Raises:
        InputError: If there is none or it cannot be understood.
    """
    path = find_benchmark(name)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML file: {' '.join(str(error).split())}") from error
    return benchmark_from_dict(values, str(path))


def benchmark_from_dict(values: Any, file: str = "the benchmark") -> BenchmarkConfig:
    """Build a benchmark from the content of its file.

    Args:
        values: The content.
        file: What errors call it.

    Raises:
        InputError: If a key is unknown, one is missing, or a value has the wrong type.

    Examples:
        >>> quick = {"name": "quick", "datasets": {"ireland_wind": {}}, "models": {"ridge": None}}
        >>> benchmark_from_dict(quick).seeds
        [1]
    """
    values = dict(check_keys(values, _names(BenchmarkConfig), file))
    for key in ("name", "datasets", "models"):
        if not values.get(key):
            raise InputError(f"{file} has no {key}; a benchmark names itself, its data sets and its models")
    for key, kind in (("seeds", int), ("protocols", str)):
        _check_list(values.get(key, [kind()]), kind, f"{file}: {key}")
    values["datasets"] = _entries(DatasetEntry, values["datasets"], f"{file}: datasets")
    values["models"] = _entries(ModelEntry, values["models"], f"{file}: models")
    values["budget"] = _build(Budget, values.get("budget"), f"{file}: budget")
    values["defaults"] = _groups(values.get("defaults"), f"{file}: defaults")
    values["expected"] = _expected(values, f"{file}: expected")
    return BenchmarkConfig(**values)


def check_keys(values: Any, known: Iterable[str], where: str) -> dict[str, Any]:
    """Return a mapping whose keys are all known; an absent one is empty.

    Raises:
        InputError: If it is no mapping, or names the first unknown key and the known one nearest to it.
    """
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}; expected a mapping")
    known = list(known)
    for key in values:
        if key not in known:
            raise InputError(f"{where} has the unknown key {key!r}{nearest_name(str(key), known)}")
    return values


def _shipped() -> dict[str, Path]:
    """The benchmarks beside the package in a clone, or where an installation put them."""
    project = Path(__file__).resolve().parents[3] / "benchmarks" / "configs"
    folders = [project, Path(sysconfig.get_path("data")) / _INSTALLED, Path(site.getuserbase()) / _INSTALLED]
    return {path.stem: path for folder in reversed(folders) for path in sorted(folder.glob("*.yaml"))}


def _names(cls: type[Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _build(cls: type[T], values: Any, where: str) -> T:
    return cls(**check_keys(values, _names(cls), where))


def _entries(cls: type[T], values: Any, where: str) -> dict[str, T]:
    if not isinstance(values, dict):
        raise InputError(f"{where} is {values!r}; expected a mapping of labels")
    entries = {str(label): _build(cls, entry, f"{where}.{label}") for label, entry in values.items()}
    for label, entry in entries.items():
        if not label.replace("-", "_").replace(".", "_").isidentifier():
            raise InputError(f"{where} has the label {label!r}; expected letters, digits, '_', '-' and '.'")
        settings = getattr(entry, "settings", None)
        if settings not in (None, "published"):
            raise InputError(f"{where}.{label}.settings is {settings!r}; expected 'published' or nothing")
        _groups({k: v for k, v in vars(entry).items() if k not in ("name", "settings", "optional")}, f"{where}.{label}")
    return entries


def _groups(values: Any, where: str) -> dict[str, dict[str, Any]]:
    groups = check_keys(values, ("data", "model", "loss", "optimizer", "trainer"), where)
    for name, group in groups.items():
        if not isinstance(group, dict):
            raise InputError(f"{where}.{name} is {group!r}; expected a mapping of options")
    return groups


def _check_list(values: Any, kind: type[Any], where: str) -> None:
    if not isinstance(values, list) or not values or not all(type(value) is kind for value in values):
        raise InputError(f"{where} is {values!r}; expected a list of {kind.__name__}")
    if len(set(values)) != len(values):
        raise InputError(f"{where} is {values!r}; expected each once")


def _expected(config: dict[str, Any], where: str) -> Expected:
    given = check_keys(config.get("expected"), [*config["datasets"], "tolerance", "protocol"], where)
    tolerance = check_keys(given.get("tolerance"), METRICS, f"{where}.tolerance")
    values: dict[str, dict[str, dict[str, dict[str, float]]]] = {}
    for dataset in set(given) - {"tolerance", "protocol"}:
        rows = check_keys(given[dataset], config["models"], f"{where}.{dataset}")
        values[dataset] = {label: _numbers(row, tolerance, f"{where}.{dataset}.{label}") for label, row in rows.items()}
    order = [dataset for dataset in config["datasets"] if dataset in values]
    return Expected({dataset: values[dataset] for dataset in order}, tolerance, given.get("protocol"))


def _numbers(row: Any, tolerance: dict[str, float], where: str) -> dict[str, dict[str, float]]:
    # YAML reads an unquoted 3 as a number.
    named = {str(key): value for key, value in row.items()} if isinstance(row, dict) else row
    horizons: dict[str, dict[str, float]] = check_keys(named, HORIZONS, where)
    for horizon, numbers in horizons.items():
        for metric, value in check_keys(numbers, METRICS, f"{where}.{horizon}").items():
            if metric not in tolerance:
                raise InputError(f"{where}.{horizon} expects {metric}, but tolerance has no {metric}")
            if not isinstance(value, int | float):
                raise InputError(f"{where}.{horizon}.{metric} is {value!r}; expected a number")
    return horizons
