"""The tables of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from stgraph.tasks.benchmark.formats import NOTHING, TIED, Sheet, format_spread, format_value, to_text
from stgraph.tasks.benchmark.options import METRICS
from stgraph.tasks.benchmark.published_results import PublishedRow, published_results
from stgraph.tasks.benchmark.published_tables import cost_sheet, published_sheet
from stgraph.tasks.benchmark.results import CellResult
from stgraph.tasks.benchmark.rows import ModelRow, Part, horizons_of, model_rows, parts
from stgraph.tasks.benchmark.significance import PartComparisons, compare_with_best

__all__ = ["PartTables", "benchmark_tables", "left_out", "summary_text"]

_COST = ("parameters", "s/epoch", "× STID", "memory in MB")


class PartTables(NamedTuple):
    """What there is to show of one data set under one protocol of training."""

    part: Part
    comparisons: PartComparisons
    sheets: list[Sheet]


def benchmark_tables(results: Sequence[CellResult]) -> list[PartTables]:
    """Return the tables of every data set and protocol of training.

    Args:
        results: Results of a benchmark.
    """
    tables = []
    for part in parts(results):
        comparisons = compare_with_best(part)
        rows = model_rows(part)
        sheets = [
            _error_sheet(part, rows, comparisons),
            cost_sheet(part, rows),
            published_sheet(part.dataset, part.protocol),
            _comparison_sheet(part, comparisons),
            _protocol_sheet(part, rows),
        ]
        tables.append(PartTables(part, comparisons, [sheet for sheet in sheets if sheet is not None]))
    return tables


def left_out(results: Iterable[CellResult]) -> list[str]:
    """Return the data sets that are left out, each with the reason."""
    reasons = {result.dataset: result.reason for result in results if result.status == "missing"}
    return [f"{dataset} is left out: {reason or 'its files are absent'}" for dataset, reason in reasons.items()]


def summary_text(results: Sequence[CellResult]) -> str:
    """Return short tables for a terminal: MAE at each horizon, RMSE and MAPE on average, and the cost.

    Args:
        results: Results of a benchmark.

    Example:
        >>> scores = {"strict": {"average": {"mae": 3.125, "rmse": 6.5, "mape": 9.25}}}
        >>> print(summary_text([CellResult("week", "stid", 1, "strict", "done", parameters=120000, scores=scores)]))
        week, trained and scored under strict
        model    MAE   RMSE  MAPE %  parameters  s/epoch  × STID  memory in MB
        stid   3.125  6.500   9.250     120,000        –       –             –
    """
    texts = []
    for part in parts(results):
        rows = model_rows(part)
        columns = [(h, "mae") for h in horizons_of(rows, part.protocol)]
        columns += [("average", metric) for metric in METRICS[1:] if columns]
        tied = compare_with_best(part, ["average"]).tied("average") if len(rows) > 1 else set()
        sheet = _sheet(part, rows, columns, {"average": tied})
        known = {row.model: row for row in _own_rows(part.dataset)}
        beside = [
            f"{row.model} was published with an average MAE of {known[row.model].scores['average']['mae']:g}"
            f" ({known[row.model].source.title}, protocol {known[row.model].source.protocol or 'of its own'})"
            for row in rows
            if row.model in known
        ]
        texts.append(to_text(Sheet(**{**vars(sheet), "notes": (*sheet.notes, *beside)})))
    return "\n\n".join([*texts, *left_out(results)])


def _own_rows(dataset: str) -> list[PublishedRow]:
    """Return the published rows with an average MAE, of each model the one that comes first."""
    published = published_results(dataset)
    rows = [row for row in published.rows if "mae" in row.scores.get("average", {})] if published else []
    return list({row.model: row for row in reversed(rows)}.values())


def _error_sheet(part: Part, rows: Sequence[ModelRow], comparisons: PartComparisons) -> Sheet:
    horizons = horizons_of(rows, part.protocol)
    columns = [(horizon, metric) for horizon in horizons for metric in METRICS]
    sheet = _sheet(part, rows, columns, {horizon: comparisons.tied(horizon) for horizon in horizons})
    notes = ["Mean ± standard deviation over seeds. The best of each column is bold."]
    if comparisons.comparisons:
        notes[0] += f" {TIED}: an MAE that is tied with the best, as the 95 % interval of the difference holds 0."
    return Sheet(**{**vars(sheet), "notes": (*notes, *sheet.notes)})


def _sheet(
    part: Part, rows: Sequence[ModelRow], columns: Sequence[tuple[str, str]], tied: dict[str, set[str]]
) -> Sheet:
    """Return errors and costs of the models, the best of each column marked, and what failed."""
    names = [_column(horizon, metric) for horizon, metric in columns]
    body, bold, marked = [], set(), set()
    for i, row in enumerate(rows):
        errors = [format_spread(row.scores.get((part.protocol, *column))) for column in columns]
        if not row.seeds:
            errors = ["failed"] * len(columns)
        body.append((row.model, *errors, *_cost(row)))
        marked |= {
            (i, j) for j, (h, metric) in enumerate(columns, 1) if metric == "mae" and row.model in tied.get(h, ())
        }
    for j, column in enumerate(columns, 1):
        means = [row.mean(part.protocol, *column) for row in rows]
        finite = [mean for mean in means if math.isfinite(mean)]
        if len(finite) > 1:
            bold |= {(i, j) for i, mean in enumerate(means) if mean == min(finite)}
    failures = [f"{row.model}, seed {seed}, failed: {reason}" for row in rows for seed, reason in row.failures]
    title = f"{part.dataset}, trained and scored under {part.protocol}"
    header = ("model", *names, *_COST)
    return Sheet(title, header, tuple(body), frozenset(bold), frozenset(marked - bold), tuple(failures))


def _column(horizon: str, metric: str) -> str:
    """Name a column.

    >>> _column("12", "mape"), _column("average", "mae")
    ('MAPE@12 %', 'MAE')
    """
    at = "" if horizon == "average" else f"@{horizon}"
    return f"{metric.upper()}{at}{' %' if metric == 'mape' else ''}"


def _cost(row: ModelRow) -> tuple[str, ...]:
    count = NOTHING if row.parameters is None else f"{row.parameters:,}"
    memory = NOTHING if row.peak_memory_mb is None else f"{row.peak_memory_mb:,.0f}"
    return count, format_value(row.seconds_per_epoch), format_value(row.relative_cost), memory


def _comparison_sheet(part: Part, comparisons: PartComparisons) -> Sheet | None:
    """Return by how much the models are worse than the best on average, and whether that is more than chance."""
    average = [c for c in comparisons.comparisons if c.horizon == "average"]
    if not average:
        return None
    rows = tuple(
        (
            c.model,
            f"{format_value(c.difference)}",
            f"{format_value(c.low, c.difference)} to {format_value(c.high, c.difference)}",
            *(_p_value(p) for p in (c.p_value, c.p_holm, c.p_diebold_mariano)),
            "yes" if c.tied else "no",
        )
        for c in average
    )
    header = ("model", "MAE above the best", "95 % interval", "p", "p (Holm)", "p (Diebold-Mariano)", "tied")
    notes = (
        "Circular block bootstrap over windows, paired, studentised; losses are absolute errors of observed targets, "
        "averaged over seeds. The interval is of the choice of windows, not of seeds. Holm's correction is for all "
        "models of the table.",
        *comparisons.notes,
    )
    return Sheet(f"{part.dataset} ({part.protocol}): against {average[0].best}", header, rows, notes=notes)


def _p_value(value: float | None) -> str:
    """Write a p-value.

    >>> _p_value(0.0004), _p_value(0.25), _p_value(None)
    ('< 0.001', '0.250', '–')
    """
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _protocol_sheet(part: Part, rows: Sequence[ModelRow]) -> Sheet | None:
    """Return the average errors of the same forecasts under every protocol."""
    protocols = list(dict.fromkeys(protocol for row in rows for protocol, _, _ in row.scores))
    if len(protocols) < 2:
        return None
    body = tuple(
        (
            row.model,
            *(" / ".join(format_value(row.mean(name, "average", metric)) for metric in METRICS) for name in protocols),
        )
        for row in rows
        if row.seeds
    )
    title = f"{part.dataset}: forecasts trained under {part.protocol}, scored under every protocol"
    return Sheet(title, ("model", *protocols), body, notes=("Average MAE / RMSE / MAPE %, mean over seeds.",))
