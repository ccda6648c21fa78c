"""The folder of a run."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import yaml

from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.options import DATASETS, RunOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from stgraph.tasks.anomaly_options import AnomalyOptions
    from stgraph.tasks.reconstruction_options import ReconstructionOptions

__all__ = [
    "RunFolder",
    "anomaly_output",
    "default_output",
    "read_config",
    "read_options",
    "reconstruction_output",
    "replace_file",
    "write_json",
]

#: What may differ between the start of a run and its continuation, as it does not change the result.
_FREE = {
    "output",
    "overwrite",
    "resume",
    "report",
    "baselines",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.max_time",
    "trainer.progress_bar",
    "trainer.tensorboard",
    "trainer.checkpoint_every_n_steps",
}


def default_output(path: str) -> str:
    """Return the folder of a run that names none.

    >>> default_output("germany_pm10"), default_output("data/speed.npy")
    ('runs/germany_pm10', 'runs/speed')
    """
    return str(Path("runs") / (path if path in DATASETS else Path(path).name.split(".")[0]))


def reconstruction_output(options: ReconstructionOptions) -> str:
    """Return the folder of a reconstruction run."""
    return options.output or f"{default_output(str(options.data.path))}-{options.model.name}"


def anomaly_output(options: AnomalyOptions) -> str:
    """Return the folder of an anomaly run."""
    return options.output or f"{default_output(str(options.data.path))}-anomalies"


class Configuration(Protocol):
    """The options of a task: a dataclass that a dictionary of plain values makes again."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Any:
        """Build the options."""


T = TypeVar("T", bound=Configuration)


class RunFolder:
    """Paths inside the folder of a run, and how the folder comes into being.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()
        self.config = self.path / "config.yaml"
        self.environment = self.path / "environment.json"
        self.graph = self.path / "graph.pt"
        self.checkpoints = self.path / "checkpoints"
        self.metrics = self.path / "metrics.csv"
        self.results = self.path / "results.json"
        self.predictions = self.path / "predictions.npz"
        self.errors = self.path / "errors.csv"
        self.detector = self.path / "detector.pt"
        self.anomalies = self.path / "anomalies.npz"
        self.scores = self.path / "scores.csv"
        self.figures = self.path / "figures"
        self.report = self.path / "report.html"
        self._replaced: Path | None = None

    @property
    def best(self) -> Path:
        """Checkpoint with the lowest validation error."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """Checkpoint from which the run continues."""
        return self.checkpoints / "last.ckpt"

    @property
    def is_run(self) -> bool:
        """Whether the folder holds a run."""
        return self.config.is_file()

    @property
    def is_reconstruction(self) -> bool:
        """Whether the run is one of reconstruction, whose options have a group for the masks."""
        return self._has_group("masking")

    @property
    def is_anomaly(self) -> bool:
        """Whether the run is one of anomalies, whose options have a group for the detector."""
        return self._has_group("detector")

    def _has_group(self, name: str) -> bool:
        if not self.is_run:
            return False
        try:
            values = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):  # whoever reads the options says so
            return False
        return isinstance(values, dict) and name in values

    def check(self, *, overwrite: bool, resume: bool) -> None:
        """Refuse a folder that cannot be used, before anything is done.

        Raises:
            OutputExistsError: If something is there that would be lost.
            InputError: If the folder cannot be written.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputExistsError(f"output {self.path} is a file; expected a folder")
        if self.path.is_dir() and any(self.path.iterdir()):
            if not self.is_run:
                raise OutputExistsError(f"output folder {self.path} is not empty and holds no run; choose another one")
            if not overwrite and not resume:
                raise OutputExistsError(
                    f"output folder {self.path} holds a run; use --overwrite to replace it, --resume to continue it, "
                    "or choose another --output"
                )
        place = self.path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
            raise InputError(f"output folder {self.path} cannot be written: {place} is not a writable folder")

    def create(self, options: DataclassInstance, environment: dict[str, Any]) -> None:
        """Make the folder with its configuration; a run that is there is set aside until :meth:`commit`.

        Raises:
            InputError: If the folder cannot be made.
        """
        try:
            if self.is_run:
                self._replaced = self._aside()
                self.path.rename(self._replaced)
            self.path.mkdir(parents=True, exist_ok=True)
            replace_file(self.config, yaml.safe_dump(dataclasses.asdict(options), sort_keys=False))
            write_json(self.environment, environment)
        except OSError as error:
            self.rollback()
            raise InputError(f"output folder {self.path} cannot be written: {error.strerror}") from error

    def _aside(self) -> Path:
        number = 0
        while (path := self.path.with_name(f".{self.path.name}.replaced-{number}")).exists():
            number += 1
        return path

    def commit(self) -> None:
        """Delete the run that was set aside: its successor has begun."""
        if self._replaced is not None:
            shutil.rmtree(self._replaced)
            self._replaced = None

    def rollback(self) -> None:
        """Bring back the run that was set aside: its successor has not begun."""
        if self._replaced is not None and self._replaced.is_dir():
            if self.path.is_dir():
                shutil.rmtree(self.path)
            self._replaced.rename(self.path)
            self._replaced = None

    def check_resume(self, options: Configuration) -> None:
        """Refuse to continue a run with options that would change its result.

        Raises:
            InputError: If an option differs; names the first.
        """
        stored, given = (_flatten(dataclasses.asdict(o)) for o in (read_options(self.config, type(options)), options))
        for name, value in given.items():
            if name not in _FREE and stored.get(name) != value:
                raise InputError(
                    f"cannot resume with {name} = {value!r}: the run in {self.path} has {stored.get(name)!r}"
                )


def read_config(path: Path) -> RunOptions:
    """Read the configuration of a forecasting run.

    Raises:
        InputError: If the file is missing or is no such configuration.
    """
    return read_options(path, RunOptions)


def read_options(path: Path, kind: type[T]) -> T:
    """Read the configuration of a run of any task.

    Args:
        path: The file.
        kind: Class of the options of the task.

    Raises:
        InputError: If the file is missing or is no configuration.
    """
    if not path.is_file():
        raise InputError(f"{path.parent} is not the folder of a run: it has no {path.name}")
    try:
        options: T = kind.from_dict(yaml.safe_load(path.read_text(encoding="utf-8")))
        return options
    except (yaml.YAMLError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not the configuration of a run: {str(error).splitlines()[0]}") from error


def write_json(path: Path, values: Any) -> None:
    """Write a JSON file; numbers that are not finite become null."""
    replace_file(path, json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it."""
    temporary = path.with_name(f".partial-{path.name}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _flatten(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{k}": v for k, v in value.items()}
        else:
            flat[name] = value
    return flat
