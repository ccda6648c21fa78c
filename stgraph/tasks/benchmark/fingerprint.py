"""What the result of a cell depends on, as hashes: its configuration, the code and the files of the data."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import stgraph
from stgraph.models import MODELS
from stgraph.tasks.options import DataOptions, RunOptions, to_dict

__all__ = ["cell_key", "code_version", "data_files", "data_fingerprint"]

_PACKAGE = Path(stgraph.__file__).parent

#: Parts of the package that cannot change what a run computes.
_ELSEWHERE = ("cli/", "report/", "testing/", "tasks/benchmark/", "__main__.py")

#: Folders of the data sets that lie in one of the user's and are read from there as they are.
_LOCAL = {
    "beijing_air_two_years": "beijing_air",
    "metr_la_week": "metr_la_week",
    "nyc_bike_eight_weeks": "nyc_bike_grid",
    "uk_temperature_march_2019": "era5_uk_t2m",
}

#: Files up to this size are told apart by their content, larger ones by size and time of the last change.
_SMALL = 32 * 2**20

#: Options that do not change what a run computes.
_FREE = ("output", "overwrite", "resume", "report")
_FREE_TRAINER = ("progress_bar", "tensorboard")


def cell_key(options: RunOptions, code: str, data: str) -> str:
    """Return the hash of all that the result of a cell depends on, as 64 hexadecimal digits.

    Args:
        options: The whole configuration of the run.
        code: From :func:`code_version`.
        data: From :func:`data_fingerprint`.
    """
    values = to_dict(options)
    kept = {name: value for name, value in values.items() if name not in _FREE}
    kept["trainer"] = {name: value for name, value in values["trainer"].items() if name not in _FREE_TRAINER}
    return _digest([kept, code, data])


@functools.cache
def code_version(model: str, package: Path = _PACKAGE) -> str:
    """Return the version of the package and a hash of its source files that a run of the model uses.

    Other models do not count, unless this one is built from them: a change of one model leaves the results of the
    others as they are.

    Args:
        model: Name of the model.
        package: Folder of the package.

    Examples:
        >>> code_version("ridge") == code_version("persistence")
        False
    """
    path, used = MODELS[model].partition(":")[0], hashlib.sha256()
    models = {_file(package, module) for module in _imported(package, path)}
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package).as_posix()
        # Every module of a model but those of the models' folder itself, which all share.
        other = name.startswith("models/baselines/") or file in _model_files(package)
        if name.startswith(_ELSEWHERE) or (other and file not in models):
            continue
        used.update(f"{name}:{hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return f"{stgraph.__version__}+{used.hexdigest()[:12]}"


def data_files(options: DataOptions) -> list[Path]:
    """Return the files that the series of a run is read from; none where it is simulated.

    Raises:
        FileNotFoundError: If they are not there; says how to get them.
    """
    given = [options.path, options.test, options.coords, options.adjacency]
    first, *others = [path for path in given if path is not None]
    named = _dataset_files(first)
    files = [Path(path).expanduser() for path in ([first, *others] if named is None else others)]
    for file in files:
        if not file.exists():
            raise FileNotFoundError(f"there is no file {file}")
    return [*(named or []), *files]


def data_fingerprint(options: DataOptions) -> str:
    """Return a hash of the files of the data, wherever they lie.

    Raises:
        FileNotFoundError: If they are not there.
    """
    return _digest([_describe(file) for path in data_files(options) for file in _inside(path)])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _describe(file: Path) -> list[str | int]:
    state = file.stat()
    if state.st_size <= _SMALL:
        return [file.name, hashlib.sha256(file.read_bytes()).hexdigest()]
    return [file.name, state.st_size, state.st_mtime_ns]


def _inside(path: Path) -> list[Path]:
    """The file, or all files of a folder such as a Zarr store."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _dataset_files(name: str) -> list[Path] | None:
    """The files of a data set that are there, or ``None`` if this is no name of a data set."""
    from stgraph.data.datasets.catalog import catalog
    from stgraph.data.datasets.locate import locate, stgraph_data_folder
    from stgraph.data.datasets.places import default_root

    if name in _LOCAL:
        return sorted(path for path in stgraph_data_folder(_LOCAL[name]).iterdir() if path.is_file())
    if name not in (entries := catalog()):
        return None
    entry = entries[name]
    if entry.dataset.startswith("stgraph.data.datasets.embedded:"):
        return [locate(f"{name}.npz")]
    # Sets without files of their own are computed, or cut from those of another set that the same module reads.
    module = entry.dataset.partition(":")[0]
    source = next((e for e in [entry, *entries.values()] if e.files and e.dataset.startswith(f"{module}:")), None)
    if source is None:
        return []
    folder = default_root() / source.name
    found = _raw_files(folder, [file.name for file in source.files])
    if not found:
        raise FileNotFoundError(f"the files of {name} are not in {folder}; `stgraph data get {name}` fetches them")
    return found


def _raw_files(folder: Path, names: list[str]) -> list[Path]:
    """The published files of a data set, and all in folders beside them, such as archives that were unpacked."""
    beside = [folder / name for name in names]
    below = [path for path in sorted(folder.glob("*/**/*")) if path.relative_to(folder).parts[0] != "processed"]
    return sorted({path for path in beside + below if path.is_file() and not path.name.startswith(".")})


@functools.cache
def _model_files(package: Path) -> frozenset[Path]:
    return frozenset(_file(package, path.partition(":")[0]) for path in MODELS.values())


def _file(package: Path, module: str) -> Path:
    path = package.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imported(package: Path, module: str) -> set[str]:
    """The module and all modules of models that it imports, directly or through others."""
    found, open_ = set(), [module]
    while open_:
        name = open_.pop()
        if name in found or not _file(package, name).is_file():
            continue
        found.add(name)
        open_ += [imported for imported in _imports(_file(package, name)) if imported.startswith("stgraph.models.")]
    return found


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
