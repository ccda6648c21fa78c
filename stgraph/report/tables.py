"""Tables of metrics and of settings as HTML; all text is escaped."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = [
    "Metrics",
    "fact_table",
    "flatten",
    "format_number",
    "is_metrics",
    "metric_tables",
    "part_table",
    "seed_table",
    "table",
]

Metrics = Mapping[str, Any]

#: Name, explanation, whether it is a share, and the direction of improvement (0: none) of each metric.
_METRICS: dict[str, tuple[str, str, bool, int]] = {
    "mae": ("MAE", "mean absolute error", False, -1),
    "rmse": ("RMSE", "root mean squared error", False, -1),
    "smape": ("sMAPE", "mean of |d| / (|y| + |forecast|)", True, -1),
    "mape": ("MAPE", "mean of |d| / |y|, small targets left out", True, -1),
    "r2": ("R²", "coefficient of determination", False, 1),
    "crps": ("CRPS", "continuous ranked probability score, from the quantiles", False, -1),
    "pinball": ("Pinball", "mean pinball loss over the quantile levels", False, -1),
}
_MAX_COLUMNS = 12


def is_metrics(value: Any) -> bool:
    """Return whether a value is a result of :class:`~stgraph.metrics.ForecastMetrics`."""
    return isinstance(value, Mapping) and isinstance(value.get("global"), Mapping)


def format_number(value: Any, *, share: bool = False) -> str:
    """Format a number for a table: four digits, a share in percent, a dash for what is missing.

    >>> format_number(0.123456), format_number(0.123456, share=True), format_number(None)
    ('0.1235', '12.35 %', '–')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if not math.isfinite(value):
        return "–"
    if share:
        return f"{100 * value:.4g} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, bold: Sequence[tuple[int, int]] = ()) -> str:
    """Return a table; the first column holds the names of the rows, ``bold`` the cells that stand out."""
    marked = set(bold)
    head = "".join(f"<th scope='col'>{escape(cell)}</th>" for cell in header)
    lines = []
    for i, row in enumerate(rows):
        cells = "".join(
            f"<td{' class=best' if (i, j) in marked else ''}>{escape(cell)}</td>" for j, cell in enumerate(row[1:], 1)
        )
        lines.append(f"<tr><th scope='row'>{escape(row[0])}</th>{cells}</tr>")
    return f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"


def metric_tables(models: Mapping[str, Metrics]) -> str:
    """Return tables of the metrics of several models: in all, by forecast step, by channel, and of the quantiles."""
    usable = {name: value for name, value in models.items() if is_metrics(value)}
    if not usable:
        return ""
    first = next(iter(usable.values()))
    parts = [_global_table(usable)]
    for metric in ("mae", "rmse"):
        parts.append(_step_table(usable, metric))
    parts += [_channel_table(first), _quantile_table(first.get("quantiles"))]
    for name, value in models.items():
        if not is_metrics(value):
            reason = value.get("skipped", "no result") if isinstance(value, Mapping) else "no result"
            parts.append(f"<p class=note>{escape(name)} was left out: {escape(str(reason))}</p>")
    return "".join(parts)


def part_table(models: Mapping[str, Metrics]) -> str:
    """Return a table of mean squared errors of reconstructions on the parts of the series."""
    parts = list(next(iter(models.values())))
    rows = [[name, *(format_number(errors[part]["mse"]) for part in parts)] for name, errors in models.items()]
    columns = [[errors[part]["mse"] for errors in models.values()] for part in parts]
    bold = [(i, j) for j, values in enumerate(columns, 1) for i in _best(values, -1)]
    return table(["", *parts], rows, bold=bold)


def seed_table(model: str, summary: Metrics, baselines: Mapping[str, Metrics]) -> str:
    """Return a table of mean and standard deviation over seeds against the baselines.

    Args:
        model: Name of the model.
        summary: ``"mean"`` and ``"std"`` of each metric, and the list ``"seeds"``.
        baselines: Metrics of the baselines by name.
    """
    mean, std = summary["mean"], summary.get("std", {})
    names = [m for m in _METRICS if mean.get(m) is not None]
    others = {name: value["global"] for name, value in baselines.items() if is_metrics(value)}
    columns = [[mean[m], *(other.get(m) for other in others.values())] for m in names]
    first = [
        f"{format_number(mean[m], share=_METRICS[m][2])} ± {format_number(std.get(m), share=_METRICS[m][2])}"
        for m in names
    ]
    rows = [[model, *first]] + [
        [name, *(format_number(other.get(m), share=_METRICS[m][2]) for m in names)] for name, other in others.items()
    ]
    bold = [(row, j) for j, m in enumerate(names, 1) for row in _best(columns[j - 1], _METRICS[m][3])]
    note = f"Mean ± standard deviation over {len(summary.get('seeds', []))} seeds. The best of each column is bold."
    return table(("Model", *(_METRICS[m][0] for m in names)), rows, bold=bold) + f"<p class=note>{note}</p>"


def fact_table(facts: Mapping[str, Any]) -> str:
    """Return a table of names and values; nested mappings become dotted names."""
    rows = [[name, _plain(value)] for name, value in flatten(facts).items()]
    return table(("Name", "Value"), rows) if rows else ""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into dotted names.

    >>> flatten({"a": {"b": 1}, "c": [2, 3]})
    {'a.b': 1, 'c': [2, 3]}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_plain(v) for v in value) if value else "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None or value == {} else str(value)


def _global_table(models: Mapping[str, Metrics]) -> str:
    names = [m for m in _METRICS if any(value["global"].get(m) is not None for value in models.values())]
    columns = [[value["global"].get(metric) for value in models.values()] for metric in names]
    rows = [
        [
            name,
            *(
                format_number(column[i], share=_METRICS[metric][2])
                for metric, column in zip(names, columns, strict=True)
            ),
        ]
        for i, name in enumerate(models)
    ]
    bold = [(row, j) for j, metric in enumerate(names, 1) for row in _best(columns[j - 1], _METRICS[metric][3])]
    count = next(iter(models.values())).get("count")
    said = "; ".join(f"{_METRICS[m][0]}: {_METRICS[m][1]}" for m in names)
    note = f"{said}. The best of each column is bold." + (
        f" {count:,} observed targets." if isinstance(count, int) else ""
    )
    return table(("Model", *(_METRICS[m][0] for m in names)), rows, bold=bold) + f"<p class=note>{escape(note)}</p>"


def _step_table(models: Mapping[str, Metrics], metric: str) -> str:
    columns = {name: value.get("per_horizon", {}).get(metric) for name, value in models.items()}
    known = {name: values for name, values in columns.items() if values}
    length = min((len(values) for values in known.values()), default=0)
    if length < 2:
        return ""
    count = min(length, _MAX_COLUMNS)
    steps = sorted({round(i * (length - 1) / (count - 1)) for i in range(count)})
    rows = [[name, *(format_number(values[s]) for s in steps)] for name, values in known.items()]
    bold = [
        (row, j) for j, s in enumerate(steps, 1) for row in _best([v[s] for v in known.values()], _METRICS[metric][3])
    ]
    header = ("Model", *(f"step {s + 1}" for s in steps))
    return f"<h3>{_METRICS[metric][0]} by forecast step</h3>" + table(header, rows, bold=bold)


def _channel_table(metrics: Metrics) -> str:
    values = {m: v for m, v in metrics.get("per_channel", {}).items() if m in _METRICS and isinstance(v, list)}
    count = max((len(v) for v in values.values()), default=0)
    if count < 2:
        return ""
    names = metrics.get("channel_names") or [f"Channel {c}" for c in range(count)]
    rows = [
        [str(names[c]), *(format_number(v[c], share=_METRICS[m][2]) for m, v in values.items())] for c in range(count)
    ]
    note = "<p class=note>R² of a channel is about each frame's spatial mean.</p>" if "r2" in values else ""
    return "<h3>By channel</h3>" + table(("Channel", *(_METRICS[m][0] for m in values)), rows) + note


def _quantile_table(quantiles: Any) -> str:
    if not isinstance(quantiles, Mapping):
        return ""
    intervals = [
        [
            f"{interval['low']:g} to {interval['high']:g}",
            format_number(interval.get("nominal"), share=True),
            format_number(interval.get("coverage"), share=True),
            format_number(interval.get("width")),
        ]
        for interval in quantiles.get("intervals", [])
    ]
    levels = [
        [f"{level:g}", format_number(below, share=True), format_number(pinball)]
        for level, below, pinball in zip(
            quantiles.get("levels", []), quantiles.get("below", []), quantiles.get("pinball", []), strict=True
        )
    ]
    parts = ["<h3>Prediction intervals</h3>" + table(("Levels", "Nominal", "Covered", "Mean width"), intervals)]
    parts.append("<h3>Quantiles</h3>" + table(("Level", "Targets below", "Pinball loss"), levels))
    return (parts[0] if intervals else "") + (parts[1] if levels else "")


def _best(values: Sequence[Any], direction: int) -> list[int]:
    """Return the rows of the best value, where there is something to compare."""
    known = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    if len(known) < 2:
        return []
    best = max(known) if direction > 0 else min(known)
    return [i for i, v in enumerate(values) if v == best]
