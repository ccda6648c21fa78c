"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml

from stgraph.errors import InputError
from stgraph.report.files import write_then_rename
from stgraph.report.tables import fact_table, format_number, is_metrics, metric_tables, part_table, seed_table

__all__ = ["STYLE", "read_mapping", "write_report"]

_CAPTIONS = {
    "forecasts": "Observed values and forecasts at a few nodes, from nodes that are easy to forecast to hard ones.",
    "error_map": "Mean absolute error of each node at its place.",
    "horizon_errors": "How the error grows with the forecast step, against simple forecasts.",
    "training": "Training loss and validation error by epoch.",
}

#: What a report shows elsewhere than in the table of facts.
_SHOWN = ("metrics", "baselines", "errors", "mean", "std", "runs", "model")

STYLE = """
:root { color-scheme: light; --ink: #1d2530; --soft: #5d6875; --line: #dfe4ea; --accent: #0072b2; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7f9; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.3rem; margin: 0 0 .8rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
section { background: #fff; border: 1px solid var(--line); border-radius: 10px; padding: 1.25rem 1.4rem;
  margin-top: 1.25rem; }
.lead, .note { color: var(--soft); } .note { font-size: .86rem; margin: .5rem 0 0; }
.cards { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.25rem; }
.card { flex: 1 1 9rem; background: #fff; border: 1px solid var(--line); border-left: 4px solid var(--accent);
  border-radius: 8px; padding: .7rem 1rem; }
.card b { display: block; font-size: 1.5rem; line-height: 1.25; } .card span { color: var(--soft); font-size: .86rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } thead th { color: var(--soft); font-weight: 600; border-bottom-width: 2px; }
tbody th { font-weight: 500; } td.best { font-weight: 700; color: var(--accent); }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; } .facts th { text-align: left; }
figure { margin: 0 0 1.4rem; } figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: var(--soft); font-size: .88rem; text-align: center; margin-top: .4rem; }
details summary { cursor: pointer; font-weight: 600; margin: .3rem 0; }
pre { overflow-x: auto; background: #f5f7f9; padding: .8rem 1rem; border-radius: 6px; font-size: .84rem; }
@media print { body { background: #fff; } figure, .card { break-inside: avoid; } }
"""


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write ``report.html`` of a run and return its path.

    It shows what is there of ``results.json`` (metrics of the test period against baselines, with mean and standard
    deviation where there are several seeds), ``figures/*.png`` (embedded), ``metrics.csv`` (as training curves where
    there is no such figure), ``config.yaml`` and ``environment.json``, and loads nothing from elsewhere.

    Args:
        run_dir: The folder of the run.

    Raises:
        InputError: If the folder holds no run or a file in it is damaged.
    """
    folder = Path(run_dir)
    if not any((folder / name).is_file() for name in ("config.yaml", "results.json")):
        raise InputError(f"run_dir {folder} is not the folder of a run: it has neither config.yaml nor results.json")
    config, results, environment = (
        read_mapping(folder / n) for n in ("config.yaml", "results.json", "environment.json")
    )
    model, data = _names(config, folder)
    body = [f"<h1>{escape(model)} on {escape(data)}</h1>", _lead(config, environment)]
    body.append(_cards(results))
    body += [_section(title, content) for title, content in _parts(folder, results, model)]
    body.append(_section("Configuration", _settings(config)))
    body.append(_section("Environment", _facts(environment)))
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(model)} on {escape(data)}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )
    return write_then_rename(folder / "report.html", lambda temporary: temporary.write_text(page, encoding="utf-8"))


def read_mapping(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML mapping; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} holds a {type(values).__name__}; expected names and values")
    return values


def _names(config: Mapping[str, Any], folder: Path) -> tuple[str, str]:
    """Return the names of the model and of the data."""
    name, path = _mapping(config.get("model")).get("name"), _mapping(config.get("data")).get("path")
    shown = {"spectranet": "SpecTra-Net"}.get(str(name), str(name or "Forecasts"))
    return shown, Path(str(path)).name if path else folder.absolute().name


def _lead(config: Mapping[str, Any], environment: Mapping[str, Any]) -> str:
    data = _mapping(config.get("data"))
    facts = []
    if data.get("input_steps") and data.get("horizon"):
        facts.append(f"{data['input_steps']} steps in, {data['horizon']} out")
    if "seed" in config:
        facts.append(f"seed {config['seed']}")
    if environment.get("started"):
        facts.append(f"started {environment['started']}")
    if environment.get("stgraph"):
        facts.append(f"stgraph {environment['stgraph']}")
    return f"<p class=lead>{escape(' · '.join(facts))}</p>" if facts else ""


def _cards(results: Mapping[str, Any]) -> str:
    """Show the errors of the test period, and how far they are from the best simple forecast."""
    errors = _mapping(results["mean"] if "mean" in results else _mapping(results.get("metrics")).get("global"))
    baselines = {k: v["global"] for k, v in _mapping(results.get("baselines")).items() if is_metrics(v)}
    cards = []
    for metric, name in (("mae", "MAE"), ("rmse", "RMSE"), ("r2", "R²")):
        value = errors.get(metric)
        if value is None:
            continue
        others = {k: v[metric] for k, v in baselines.items() if v.get(metric) is not None}
        note = "on the test period"
        if metric != "r2" and others and min(others.values()) > 0:
            best = min(others, key=lambda k: float(others[k]))
            note = f"{100 * (value / others[best] - 1):+.1f} % against {best}, the best simple forecast"
        text = f"<span>{name}</span><b>{format_number(value)}</b><span>{escape(note)}</span>"
        cards.append(f"<div class=card>{text}</div>")
    return f"<div class=cards>{''.join(cards)}</div>" if cards else ""


def _parts(folder: Path, results: Mapping[str, Any], model: str) -> Iterable[tuple[str, str]]:
    """Yield title and content of the sections between the headline and the configuration."""
    baselines = _mapping(results.get("baselines"))
    if "mean" in results:
        yield "Test period", seed_table(model, results, baselines)
        for seed in results.get("seeds", [])[:1]:
            yield f"Figures of seed {seed}", _figures(folder / f"seed_{seed}")
    elif "errors" in results:
        yield "Mean squared errors, scaled", part_table({model: results["errors"], **baselines})
        yield "Figures", _figures(folder)
    else:
        metrics = _mapping(results.get("metrics"))
        yield "Test period", metric_tables({model: metrics, **baselines}) if metrics else ""
        yield "Figures", _figures(folder)
    facts = {k: v for k, v in results.items() if k not in _SHOWN}
    yield "Run", _facts(facts)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _figures(folder: Path) -> str:
    order = list(_CAPTIONS)
    paths = sorted(
        (p for p in (folder / "figures").glob("*.png") if not p.name.startswith(".")),
        key=lambda p: (order.index(p.stem) if p.stem in order else len(order), p.name),
    )
    images = {path.stem: path.read_bytes() for path in paths}
    if "training" not in images and (folder / "metrics.csv").is_file():
        images |= _training(folder / "metrics.csv")
    return "".join(_figure(name, image) for name, image in images.items())


def _training(path: Path) -> dict[str, bytes]:
    """Draw the training curves of a run whose figures have not been drawn, such as one that is still running."""
    from stgraph.report.training import training_curves

    if not path.read_text(encoding="utf-8").strip():
        return {}
    buffer = io.BytesIO()
    training_curves(path).savefig(buffer, format="png", dpi=150)
    return {"training": buffer.getvalue()}


def _figure(name: str, image: bytes) -> str:
    caption = escape(_CAPTIONS.get(name, name.replace("_", " ").capitalize()), quote=True)
    source = f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"
    return f"<figure><img alt='{caption}' src='{source}'><figcaption>{caption}</figcaption></figure>"


def _settings(config: Mapping[str, Any]) -> str:
    if not config:
        return ""
    plain = {name: value for name, value in config.items() if not isinstance(value, Mapping)}
    groups = {name: value for name, value in config.items() if isinstance(value, Mapping)}
    parts = [_facts(plain)]
    parts += [
        f"<details><summary>{escape(str(name))}</summary>{_facts(values)}</details>" for name, values in groups.items()
    ]
    text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    parts.append(f"<details><summary>config.yaml</summary><pre>{escape(text)}</pre></details>")
    return "".join(parts)


def _facts(values: Mapping[str, Any]) -> str:
    content = fact_table(values)
    return f"<div class=facts>{content}</div>" if content else ""


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""
