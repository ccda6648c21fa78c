"""The numbers that others have published for a data set, each with its source and the protocol of that source."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import yaml

from stgraph.errors import InputError
from stgraph.tasks.benchmark.options import HORIZONS, METRICS
from stgraph.tasks.protocols.protocol import PROTOCOLS

__all__ = ["PublishedResults", "PublishedRow", "PublishedSource", "published_cost", "published_results"]

_FOLDER = Path(__file__).parent / "published_results"
_ROW = {"model", "title", "source", "parameters", "seconds_per_epoch", *HORIZONS}


@dataclasses.dataclass(frozen=True)
class PublishedSource:
    """Where numbers were published.

    Args:
        letter: What its rows name it with.
        title: Its name.
        protocol: Name of the protocol that it follows; :obj:`None` for one that is not of ours or not known.
        rules: That protocol in words where it has no name.
    """

    letter: str
    title: str
    protocol: str | None
    rules: str | None = None


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """What a source has published about a model.

    Args:
        model: Name of the model in this library, or one in the same style where it has none.
        title: Name of the model in the source.
        source: The source.
        scores: Horizon -> metric -> number, those that are printed.
        parameters: Number of parameters, to the digits printed.
        seconds_per_epoch: Training time of an epoch, on the machine of the source.
    """

    model: str
    title: str
    source: PublishedSource
    scores: dict[str, dict[str, float]]
    parameters: int | None = None
    seconds_per_epoch: float | None = None


@dataclasses.dataclass(frozen=True)
class PublishedResults:
    """What was published for a data set.

    Args:
        dataset: Name of the data set.
        title: What the literature calls it.
        rows: The rows.
        cost_beside: Other data sets, of as many nodes and steps, that the cost of training may be compared on.
    """

    dataset: str
    title: str
    rows: tuple[PublishedRow, ...]
    cost_beside: tuple[str, ...] = ()

    def relative_cost(self, row: PublishedRow, to: str = "stid") -> float | None:
        """Return the seconds per epoch of a row over those of another model in the same source."""
        for other in self.rows:
            if other.model == to and other.source == row.source and other.seconds_per_epoch and row.seconds_per_epoch:
                return row.seconds_per_epoch / other.seconds_per_epoch
        return None


def published_results(dataset: str, folder: Path = _FOLDER) -> PublishedResults | None:
    """Return what was published for a data set, or :obj:`None` where nothing is known.

    Args:
        dataset: Name of the data set.
        folder: Where the files are.

    Raises:
        InputError: If the file of the data set is not as it should be.

    Example:
        >>> rows = [row for row in published_results("metr_la").rows if row.model == "stgcn"]
        >>> rows[0].scores["12"]["mae"], rows[0].parameters, rows[0].source.protocol
        (3.59, 250000, 'dcrnn')
    """
    path = folder / f"{dataset}.yaml"
    if not path.is_file():
        return None
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        sources = {letter: _source(letter, entry) for letter, entry in values["sources"].items()}
        rows = tuple(_row(entry, sources) for entry in values["rows"])
        found = PublishedResults(values["dataset"], values["title"], rows, tuple(values.get("cost_beside", ())))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if found.dataset != dataset:
        raise InputError(f"{path} is of the data set {found.dataset!r}; expected {dataset!r}")
    return found


def published_cost(dataset: str, folder: Path = _FOLDER) -> PublishedResults | None:
    """Return what was published for a data set, or for one that the cost of training may be compared with.

    >>> published_cost("metr_la_week").dataset
    'metr_la'
    """
    own = published_results(dataset, folder)
    if own is not None:
        return own
    others = (published_results(path.stem, folder) for path in sorted(folder.glob("*.yaml")))
    return next((other for other in others if other is not None and dataset in other.cost_beside), None)


def _source(letter: str, entry: dict[str, Any]) -> PublishedSource:
    source = PublishedSource(letter=letter, **entry)
    if source.protocol is None and not source.rules:
        raise ValueError(f"source {letter} has neither a protocol nor rules")
    if source.protocol is not None and source.protocol not in PROTOCOLS:
        raise ValueError(f"source {letter} has the unknown protocol {source.protocol!r}")
    return source


def _row(entry: dict[str, Any], sources: dict[str, PublishedSource]) -> PublishedRow:
    if not set(entry) <= _ROW:
        raise ValueError(f"the row of {entry['model']} has the unknown entries {sorted(set(entry) - _ROW)}")
    scores = {horizon: _scores(entry, horizon) for horizon in HORIZONS if horizon in entry}
    parameters, seconds = entry.get("parameters"), entry.get("seconds_per_epoch")
    if not scores and parameters is None and seconds is None:
        raise ValueError(f"the row of {entry['model']} holds no number")
    if not isinstance(parameters, int | None) or not isinstance(seconds, int | float | None):
        raise ValueError(f"the row of {entry['model']} has parameters {parameters!r} and seconds {seconds!r}")
    return PublishedRow(entry["model"], entry["title"], sources[entry["source"]], scores, parameters, seconds)


def _scores(entry: dict[str, Any], horizon: str) -> dict[str, float]:
    numbers = entry[horizon]
    if len(numbers) != len(METRICS) or not all(number is None or 0 < number < 1000 for number in numbers):
        raise ValueError(f"the row of {entry['model']} has {numbers} at {horizon}; expected MAE, RMSE and MAPE")
    return {metric: float(n) for metric, n in zip(METRICS, numbers, strict=True) if n is not None}
