"""A table of a benchmark as Markdown, LaTeX or text, and its results as CSV."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Sequence

from stgraph.tasks.benchmark.options import METRICS
from stgraph.tasks.benchmark.results import CellResult
from stgraph.tasks.benchmark.rows import Spread

__all__ = ["NOTHING", "TIED", "Sheet", "format_spread", "format_value", "to_csv", "to_latex", "to_markdown", "to_text"]

NOTHING = "–"
TIED = "≈"

_WIDEST = 8  # columns that fit on a page of LaTeX

_COLUMNS = (
    *("dataset", "model", "seed", "training_protocol", "status", "reason"),
    *("scoring_protocol", "horizon", "metric", "value"),
    *("parameters", "epochs", "seconds_per_epoch", "training_seconds", "peak_memory_mb"),
)
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    TIED: r"$\approx$",
    NOTHING: "--",
}


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table: text in rows, the cells that stand out, and what is said below it.

    Args:
        title: What it shows.
        header: Names of the columns.
        rows: The cells; the first of a row is its name.
        bold: Row and column of the best cells.
        tied: Row and column of cells that are tied with the best.
        notes: What is said below.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()
    tied: frozenset[tuple[int, int]] = frozenset()
    notes: tuple[str, ...] = ()

    def shown(self, row: int, column: int) -> str:
        """Return the text of a cell with the mark of a tie."""
        mark = f" {TIED}" if (row, column) in self.tied else ""
        return f"{self.rows[row][column]}{mark}"


def format_value(value: float | None, like: float | None = None) -> str:
    """Write a number with four digits, or with the decimals of another number.

    >>> format_value(3.0), format_value(0.01234), format_value(12345.6), format_value(0.5, like=12.0)
    ('3.000', '0.01234', '12346', '0.50')
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "inf"
    size = abs(value if like is None else like)
    decimals = 3 - math.floor(math.log10(size)) if size > 0 else 3
    return f"{value:.{min(max(decimals, 0), 6)}f}"


def format_spread(spread: Spread | None) -> str:
    """Write a mean with its deviation, where there is one.

    >>> format_spread(Spread(3.0412, 0.0123)), format_spread(Spread(3.0412))
    ('3.041 ± 0.012', '3.041')
    """
    if spread is None:
        return NOTHING
    mean = format_value(spread.mean)
    return mean if spread.deviation is None else f"{mean} ± {format_value(spread.deviation, like=spread.mean)}"


def to_markdown(sheet: Sheet, level: int = 3) -> str:
    """Return a table as Markdown.

    >>> print(to_markdown(Sheet("Errors", ("model", "MAE"), (("stid", "3.1"),), bold=frozenset({(0, 1)}))))
    ### Errors
    <BLANKLINE>
    | model | MAE |
    | --- | ---: |
    | stid | **3.1** |
    """
    lines = [sheet.header, ("---", *("---:",) * (len(sheet.header) - 1))]
    for i, row in enumerate(sheet.rows):
        cells = [_plain(sheet.shown(i, j)) for j in range(len(row))]
        lines.append(tuple(f"**{cell}**" if (i, j) in sheet.bold else cell for j, cell in enumerate(cells)))
    table = [f"| {' | '.join(cells)} |" for cells in lines]
    notes = ["", *(f"- {_plain(note)}" for note in sheet.notes)] if sheet.notes else []
    return "\n".join([f"{'#' * level} {sheet.title}", "", *table, *notes])


def to_text(sheet: Sheet) -> str:
    """Return a table for a terminal; the best of a column is marked with a star.

    >>> print(to_text(Sheet("Errors", ("model", "MAE"), (("stid", "3.1"), ("var", "4.2")), bold=frozenset({(0, 1)}))))
    Errors
    model  MAE
    stid   3.1*
    var    4.2
    """
    marked = [
        [f"{cell}{'*' if (i, j) in sheet.bold else TIED if (i, j) in sheet.tied else ''}" for j, cell in enumerate(row)]
        for i, row in enumerate(sheet.rows)
    ]
    # Marks hang over, so that the numbers stay in line.
    marked = [[cell if cell[-1:] in ("*", TIED) or j == 0 else f"{cell} " for j, cell in enumerate(r)] for r in marked]
    header = [sheet.header[0], *(f"{name} " for name in sheet.header[1:])]
    widths = [max(len(row[j]) for row in [header, *marked]) for j in range(len(header))]
    lines = [
        " ".join(
            [row[0].ljust(widths[0] + 1), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in [header, *marked]
    ]
    return "\n".join([sheet.title, *lines, *sheet.notes])


def to_latex(sheet: Sheet) -> str:
    """Return a table as LaTeX; it needs the packages booktabs and graphicx."""
    lines = [" & ".join(_latex(name) for name in sheet.header) + r" \\", r"\midrule"]
    for i, row in enumerate(sheet.rows):
        cells = [_latex(sheet.shown(i, j)) for j in range(len(row))]
        cells = [f"\\textbf{{{cell}}}" if (i, j) in sheet.bold else cell for j, cell in enumerate(cells)]
        lines.append(" & ".join(cells) + r" \\")
    wide = len(sheet.header) > _WIDEST
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            r"\centering",
            f"\\caption{{{_latex(sheet.title)}}}",
            *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
            f"\\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}" + ("}" if wide else ""),
            *(f"\\par\\footnotesize {_latex(note)}" for note in sheet.notes),
            r"\end{table}",
        ]
    )


def to_csv(results: Sequence[CellResult]) -> str:
    """Return the results as CSV, a row for every data set, model, seed, protocol, horizon and metric.

    A cell that is not done has one row, without a value.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for cell in results:
        name = [cell.dataset, cell.model, cell.seed, cell.protocol, cell.status, cell.reason]
        cost = [cell.parameters, cell.epochs, cell.seconds_per_epoch, cell.training_seconds, cell.peak_memory_mb]
        values = [
            [protocol, horizon, metric, errors[metric]]
            for protocol, horizons in cell.scores.items()
            for horizon, errors in horizons.items()
            for metric in METRICS
            if metric in errors
        ]
        writer.writerows([*name, *value, *cost] for value in values or [[None] * 4])
    return text.getvalue()


def _plain(text: str) -> str:
    """Keep a text from ending a cell of a table or from being read as a tag."""
    return re.sub(r"([|<*`\\])", r"\\\1", " ".join(text.split()))


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
