"""The report of a benchmark: its tables as Markdown, CSV, JSON, LaTeX and HTML, and its figures."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stgraph.errors import InputError
from stgraph.report.critical_difference import critical_difference, window_boxes
from stgraph.report.files import write_then_rename
from stgraph.report.html import STYLE
from stgraph.report.style import save_figure
from stgraph.report.tables import table
from stgraph.tasks.benchmark.formats import Sheet, to_csv, to_latex, to_markdown
from stgraph.tasks.benchmark.results import CellResult
from stgraph.tasks.benchmark.rows import Part, model_rows
from stgraph.tasks.benchmark.significance import forecast_losses
from stgraph.tasks.benchmark.tables import PartTables, benchmark_tables, left_out
from stgraph.tasks.folder import write_json

if TYPE_CHECKING:
    from stgraph.tasks.benchmark.options import BenchmarkConfig

__all__ = ["write_benchmark_report"]

_FEWEST_SETS = 3  # for ranks over data sets
_FEWEST_MODELS = 3


def write_benchmark_report(folder: str | Path, config: BenchmarkConfig, results: Sequence[CellResult]) -> list[Path]:
    """Write ``benchmark.md``, ``.csv``, ``.json``, ``.tex`` and ``.html`` and figures into a folder, and return them.

    The figure is one of average ranks for each protocol of training with at least three data sets and models, else one
    of the errors of windows for each data set. Each file is written whole or not at all.

    Args:
        folder: The folder; made if it is not there.
        config: The benchmark.
        results: The results of its cells.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    tables, notes = benchmark_tables(results), left_out(results)
    figures = _write_figures(place / "figures", [of_part.part for of_part in tables])
    texts = {
        "benchmark.md": _markdown(config.name, tables, notes, figures),
        "benchmark.csv": to_csv(results),
        "benchmark.tex": _latex(config.name, tables, notes),
        "benchmark.html": _html(config.name, tables, notes, figures),
    }
    written = [_write(place / name, text) for name, text in texts.items()]
    write_json(place / "benchmark.json", _values(place, config, results, tables))
    return [*written, place / "benchmark.json", *figures]


def _write(path: Path, text: str) -> Path:
    return write_then_rename(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _markdown(name: str, tables: Sequence[PartTables], notes: Sequence[str], figures: dict[Path, str]) -> str:
    parts = [f"# Benchmark {name}", *(f"- {note}" for note in notes)]
    for of_part in tables:
        parts.append(f"## {of_part.part.dataset}, {of_part.part.protocol}")
        parts += [to_markdown(sheet) for sheet in of_part.sheets]
    parts += [f"![{caption}](figures/{path.name})" for path, caption in figures.items()]
    return "\n\n".join(parts) + "\n"


def _latex(name: str, tables: Sequence[PartTables], notes: Sequence[str]) -> str:
    lines = [f"% Benchmark {name}. Needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}."]
    lines += [f"% {' '.join(note.split())}" for note in notes]
    lines += [to_latex(sheet) for of_part in tables for sheet in of_part.sheets]
    return "\n\n".join(lines) + "\n"


def _html(name: str, tables: Sequence[PartTables], notes: Sequence[str], figures: dict[Path, str]) -> str:
    title = f"Benchmark {escape(name)}"
    body = [f"<h1>{title}</h1>", *(f"<p class=lead>{escape(note)}</p>" for note in notes)]
    body += [f"<section>{''.join(_html_sheet(sheet) for sheet in of_part.sheets)}</section>" for of_part in tables]
    body += [_html_figure(path, caption) for path, caption in figures.items()]
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{title}</title><style>{STYLE}main {{ max-width: 90rem; }}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _html_sheet(sheet: Sheet) -> str:
    rows = [[sheet.shown(i, j) for j in range(len(row))] for i, row in enumerate(sheet.rows)]
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in sheet.notes)
    return f"<h3>{escape(sheet.title)}</h3>{table(sheet.header, rows, bold=sorted(sheet.bold))}{notes}"


def _html_figure(path: Path, caption: str) -> str:
    shown = escape(caption, quote=True)
    source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
    return f"<section><figure><img alt='{shown}' src='{source}'><figcaption>{shown}</figcaption></figure></section>"


def _values(
    folder: Path, config: BenchmarkConfig, results: Sequence[CellResult], tables: Sequence[PartTables]
) -> dict[str, Any]:
    """Return all results as values of JSON."""
    cells = []
    for result in results:
        values = dataclasses.asdict(result)
        values["predictions"] = None if result.predictions is None else _relative(result.predictions, folder)
        cells.append(values)
    comparisons = [
        {"dataset": of_part.part.dataset, "protocol": of_part.part.protocol, **dataclasses.asdict(c), "tied": c.tied}
        for of_part in tables
        for c in of_part.comparisons.comparisons
    ]
    sheets = [
        {"title": sheet.title, "header": sheet.header, "rows": sheet.rows, "notes": sheet.notes}
        for of_part in tables
        for sheet in of_part.sheets
    ]
    return {
        "benchmark": config.name,
        "seeds": config.seeds,
        "protocols": config.protocols,
        "results": cells,
        "comparisons": comparisons,
        "tables": sheets,
    }


def _relative(path: Path, folder: Path) -> str:
    whole, root = path.absolute(), folder.absolute()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


def _write_figures(folder: Path, parts: Sequence[Part]) -> dict[Path, str]:
    """Draw what there is to compare and return the files with their captions."""
    figures: dict[Path, str] = {}
    for protocol in dict.fromkeys(part.protocol for part in parts):
        of_protocol = [part for part in parts if part.protocol == protocol]
        models, errors = _common_errors(of_protocol)
        if len(errors) >= _FEWEST_SETS and len(models) >= _FEWEST_MODELS:
            path = folder / f"critical_difference-{_file_name(protocol)}.png"
            caption = f"Average ranks by MAE, protocol {protocol}; bars join models that do not differ (Nemenyi, 5 %)."
            figures[save_figure(critical_difference(errors, models), path)] = caption
        else:
            figures |= _window_figures(folder, of_protocol)
    return figures


def _common_errors(parts: Sequence[Part]) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """Return the models that have an average MAE on every data set where any has, and these errors, ``[n, k]``."""
    means = [{row.model: row.mean(part.protocol, "average") for row in model_rows(part)} for part in parts]
    means = [{model: mean for model, mean in of_set.items() if np.isfinite(mean)} for of_set in means]
    means = [of_set for of_set in means if of_set]
    models = [model for model in means[0] if all(model in of_set for of_set in means)] if means else []
    return models, np.array([[of_set[model] for model in models] for of_set in means])


def _window_figures(folder: Path, parts: Sequence[Part]) -> dict[Path, str]:
    figures: dict[Path, str] = {}
    for part in parts:
        errors = _window_errors(part)
        if errors:
            path = folder / f"windows-{_file_name(part.dataset)}-{_file_name(part.protocol)}.png"
            title = f"Errors of the test windows: {part.dataset} ({part.protocol})"
            caption = "Box: middle half of the windows; line: median; whiskers: 90 % of the windows; point: mean."
            figures[save_figure(window_boxes(errors, title=title), path)] = f"{title}. {caption}"
    return figures


def _window_errors(part: Part) -> dict[str, Any]:
    """Return the MAE of each window by model, best model first, all seeds together."""
    errors: dict[str, Any] = {}
    for row in model_rows(part):
        windows = []
        for cell in part.results:
            if cell.model == row.model and cell.status == "done" and cell.predictions is not None:
                try:
                    losses = forecast_losses(cell.predictions)
                except InputError:
                    continue  # said below the table
                sums, counts = losses.sums.sum(1), losses.counts.sum(1)
                windows.append(sums[counts > 0] / counts[counts > 0])
        together = np.concatenate(windows) if windows else np.array([])
        if np.isfinite(together).any():
            errors[row.model] = together
    return errors


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name)
