"""The report of an anomaly run: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import csv
import os
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml

from stgraph.errors import InputError
from stgraph.report.files import write_then_rename
from stgraph.report.html import STYLE, read_mapping
from stgraph.report.tables import fact_table, format_number, table

__all__ = ["write_anomaly_report"]

_ROWS = 20
_SHOWN = ("detection", "anomalous", "judged", "no_data")


def write_anomaly_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` of an anomaly run and return its path.

    It shows how much is flagged, precision and recall where the data have labels, the highest scores, the pictures of
    ``figures`` (embedded), the configuration and the environment, and loads nothing from elsewhere.

    Args:
        run_dir: The folder of the run.

    Raises:
        InputError: If the folder holds no finished anomaly run, or a file in it is damaged.
    """
    folder = Path(run_dir)
    config, results, environment = (
        read_mapping(folder / n) for n in ("config.yaml", "results.json", "environment.json")
    )
    if "detector" not in config or "judged" not in results:
        raise InputError(f"run_dir {folder} is not the folder of a finished run of stgraph anomaly train")
    title = f"Anomalies of {Path(str(config['data']['path'])).name}"
    lead = f"{results['detector']} · seed {results['seed']} · stgraph {environment.get('stgraph', '')}"
    detection = results.get("detection") or {}
    scores = {k: v for k, v in detection.items() if isinstance(v, int | float)}
    sections = [
        ("Against the labels", fact_table(scores) if scores else ""),
        ("Highest scores", _highest(folder / "scores.csv")),
        ("Figures", _figures(folder / "figures")),
        ("Run", fact_table({k: v for k, v in results.items() if k not in _SHOWN})),
        ("Configuration", f"<pre>{escape(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))}</pre>"),
        ("Environment", fact_table(environment)),
    ]
    body = "".join(
        f"<section><h2>{escape(name)}</h2><div class=facts>{content}</div></section>"
        for name, content in sections
        if content
    )
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f"<p class=lead>{escape(lead)}</p>{_cards(results)}{body}</main></body></html>\n"
    )
    return write_then_rename(folder / "report.html", lambda temporary: temporary.write_text(page, encoding="utf-8"))


def _cards(results: Mapping[str, Any]) -> str:
    what = "spectra" if results["kind"] == "spectra" else "nodes"
    cards = [
        ("Anomalous", results["anomalous"], f"of {results['judged']} {what}"),
        ("No data", results["no_data"], what),
    ]
    detection = results.get("detection") or {}
    for key, name in (("f1", "F1"), ("auroc", "AUROC"), ("auprc", "AUPRC")):
        if detection.get(key) is not None:
            cards.append((name, detection[key], "against the labels"))
    texts = (
        f"<div class=card><span>{name}</span><b>{format_number(value)}</b><span>{escape(note)}</span></div>"
        for name, value, note in cards
    )
    return f"<div class=cards>{''.join(texts)}</div>"


def _highest(path: Path) -> str:
    """Table of the highest scores."""
    if not path.is_file():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("score")]
    rows.sort(key=lambda row: -float(row["score"]))
    if not rows:
        return ""
    names = [name for name in rows[0] if name != "no_data"]
    return table(names, [[_shown(row[name]) for name in names] for row in rows[:_ROWS]])


def _shown(text: str) -> str:
    try:
        return format_number(float(text)) if "." in text else text
    except ValueError:
        return text


def _figures(folder: Path) -> str:
    paths = sorted(p for p in folder.glob("*.png") if not p.name.startswith("."))
    images = ((p.stem.replace("_", " ").capitalize(), base64.b64encode(p.read_bytes()).decode("ascii")) for p in paths)
    return "".join(
        f"<figure><img alt='{escape(name, quote=True)}' src='data:image/png;base64,{image}'>"
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for name, image in images
    )
