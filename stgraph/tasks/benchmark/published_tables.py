"""The published numbers beside those of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from stgraph.tasks.benchmark.formats import NOTHING, Sheet, format_value
from stgraph.tasks.benchmark.options import HORIZONS, METRICS
from stgraph.tasks.benchmark.published_results import (
    PublishedResults,
    PublishedRow,
    published_cost,
    published_results,
)
from stgraph.tasks.benchmark.rows import ModelRow, Part

__all__ = ["cost_sheet", "published_sheet"]

_DIFFERS = "≠"


def published_sheet(dataset: str, protocol: str) -> Sheet | None:
    """Return what was published for a data set, sources of another protocol marked; :obj:`None` of an unknown set.

    Args:
        dataset: Label of the data set.
        protocol: Protocol of the table that it stands beside.
    """
    published = published_results(dataset)
    rows = [row for row in published.rows if row.scores] if published else []
    if published is None or not rows:
        return None
    body = tuple(
        (
            row.title,
            *(_triple(row, horizon) for horizon in HORIZONS),
            "" if row.parameters is None else _count(row.parameters),
            "" if row.seconds_per_epoch is None else f"{row.seconds_per_epoch:g}",
            f"{row.source.letter}{'' if row.source.protocol == protocol else ' ' + _DIFFERS}",
        )
        for row in rows
    )
    header = ("published", *(h if h == "average" else f"step {h}" for h in HORIZONS), "parameters", "s/epoch", "source")
    sources = {row.source.letter: row.source for row in rows}
    notes = [
        f"{source.letter}: {source.title}; protocol: {source.protocol or source.rules}"
        + ("" if source.protocol == protocol else f" {_DIFFERS} {protocol}")
        for source in sorted(sources.values(), key=lambda source: source.letter)
    ]
    notes.insert(0, f"MAE / RMSE / MAPE %. {_DIFFERS}: published under another protocol than {protocol}.")
    return Sheet(f"{published.title}: published numbers", header, body, notes=tuple(notes))


def cost_sheet(part: Part, rows: Sequence[ModelRow]) -> Sheet | None:
    """Return parameters and time of the models beside the published ones; :obj:`None` where nothing was published."""
    published = published_cost(part.dataset)
    if published is None:
        return None
    body = tuple(
        (
            row.model,
            NOTHING if row.parameters is None else f"{row.parameters:,}",
            _published_parameters(published, row.model),
            format_value(row.relative_cost),
            _published_cost(published, row.model),
        )
        for row in rows
        if row.seeds
    )
    used = [row for row in published.rows if any(row.model == ours.model for ours in rows) and _has_cost(row)]
    if not used:
        return None
    sources = {row.source.letter: row.source.title for row in used}
    header = ("model", "parameters", "published", "× STID", "published × STID")
    notes = [
        f"Published of {published.title}, with the settings of each source; times are over STID's in the same source.",
        *(f"{letter}: {title}" for letter, title in sorted(sources.items())),
    ]
    return Sheet(f"{part.dataset} ({part.protocol}): cost beside the published one", header, body, notes=tuple(notes))


def _has_cost(row: PublishedRow) -> bool:
    return row.parameters is not None or row.seconds_per_epoch is not None


def _published_parameters(published: PublishedResults, model: str) -> str:
    rows = [row for row in published.rows if row.model == model]
    cells = [f"{_count(row.parameters)} ({row.source.letter})" for row in rows if row.parameters is not None]
    return "; ".join(cells) or NOTHING


def _published_cost(published: PublishedResults, model: str) -> str:
    costs = [(published.relative_cost(row), row.source.letter) for row in published.rows if row.model == model]
    return "; ".join(f"{cost:.1f} ({letter})" for cost, letter in costs if cost is not None) or NOTHING


def _count(count: int) -> str:
    """Write a number of parameters as it is printed in papers.

    >>> _count(370000), _count(1251000)
    ('370 K', '1.251 M')
    """
    return f"{count / 1e6:g} M" if count >= 1e6 else f"{count / 1e3:g} K"


def _triple(row: PublishedRow, horizon: str) -> str:
    errors = row.scores.get(horizon)
    if not errors:
        return NOTHING
    return " / ".join(f"{errors[metric]:.2f}" if metric in errors else NOTHING for metric in METRICS)
