from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import yaml

from stgraph.errors import InputError
from stgraph.metrics import ForecastMetrics
from stgraph.report import write_report
from stgraph.report.tables import format_number, metric_tables, seed_table, table

LEVELS = (0.1, 0.5, 0.9)


class Page(HTMLParser):
    """Collect cells of tables, texts, and what would be loaded from elsewhere; check that tags are balanced."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text):
        super().__init__()
        self.stack, self.rows, self.sources, self.text, self.bold = [], [], [], [], []
        self.feed(text)
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.bold += [(len(self.rows) - 1, len(self.rows[-1]) - 1)] if ("class", "best") in attrs else []
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.stack and self.stack[-1] in ("td", "th"):
            self.rows[-1][-1] += data

    def row(self, name):
        return next(row for row in self.rows if row and row[0] == name)


def metrics(error, horizon=3, channels=1, quantiles=None, seed=0):
    rng = np.random.default_rng(seed)
    y = torch.from_numpy(10 + rng.normal(size=(20, 5, horizon, channels)))
    p = y + error
    if quantiles:
        p = torch.stack([p - 1, p, p + 1], -1)
    accumulated = ForecastMetrics(channels, horizon, quantiles=quantiles)
    accumulated.update(p, y)
    return accumulated.compute()


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    config = {"data": {"path": "/somewhere/germany_pm10", "input_steps": 14, "horizon": 3}, "seed": 7}
    config["model"] = {"name": "spectranet", "d_model": None, "periods": [7.0, 365.0]}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "environment.json").write_text(
        json.dumps({"python": "3.11", "packages": {"torch": "2.13"}, "stgraph": "0.1"})
    )
    results = {
        "model": "spectranet",
        "metrics": metrics(1.0, quantiles=LEVELS),
        "baselines": {
            "persistence": metrics(2.0),
            "ridge": metrics(1.25),
            "climatology": {"skipped": "no <calendar> & co"},
        },
        "best_epoch": 4,
        "windows": {"train": 100},
    }
    (folder / "results.json").write_text(json.dumps(results))
    return folder


@pytest.fixture
def log(run):
    path = run / "metrics.csv"
    path.write_text("step,epoch,train_loss,val_rmse\n10,0,1.0,2.0\n20,1,0.5,1.5\n")
    return path


def change(folder, name, function):
    path = folder / name
    load, dump = (json.loads, json.dumps) if name.endswith(".json") else (yaml.safe_load, yaml.safe_dump)
    values = load(path.read_text())
    function(values)
    path.write_text(dump(values))


def read(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


def test_report_shows_metrics_against_baselines(run):
    page = Page(read(run))
    values = json.loads((run / "results.json").read_text())
    for name, key in (("SpecTra-Net", None), ("persistence", "persistence"), ("ridge", "ridge")):
        expected = (values["baselines"][key] if key else values["metrics"])["global"]
        row = page.row(name)
        assert row[1:3] == [f"{expected['mae']:.4g}", f"{expected['rmse']:.4g}"]
        assert row[3] == f"{100 * expected['smape']:.4g} %"
    assert page.row("ridge")[-1] == "–"
    assert page.row("Model")[1:] == ["MAE", "RMSE", "sMAPE", "MAPE", "R²", "CRPS", "Pinball"]
    text = "".join(page.text)
    assert "SpecTra-Net on germany_pm10" in text
    assert "14 steps in, 3 out" in text
    assert "-20.0 % against ridge, the best simple forecast" in text
    assert "MAE by forecast step" in text
    assert "Prediction intervals" in text
    assert page.row("0.1 to 0.9")[1] == "80 %"
    assert "climatology was left out: no <calendar> & co" in text
    assert page.row("best_epoch") == ["best_epoch", "4"]
    assert page.row("windows.train") == ["windows.train", "100"]
    assert page.row("periods") == ["periods", "7, 365"]
    assert page.row("packages.torch") == ["packages.torch", "2.13"]


def test_best_of_each_column_is_bold(run):
    page = Page(read(run))
    model = next(i for i, row in enumerate(page.rows) if row[0] == "SpecTra-Net")
    assert {(model, 1), (model, 2), (model, 5)} <= set(page.bold)
    assert (model, 6) not in page.bold  # nothing to compare with


def test_report_loads_nothing_from_elsewhere(run):
    figures = run / "figures"
    figures.mkdir()
    image = b"\x89PNG not really"
    for name in ("zeta.png", "error_map.png", "forecasts.png", ".partial-x.png"):
        (figures / name).write_bytes(image)
    text = read(run)
    page = Page(text)
    assert len(page.sources) == 3
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert base64.b64decode(page.sources[0].split(",")[1]) == image
    assert re.findall(r"alt='(\w+)", text) == ["Observed", "Mean", "Zeta"]
    assert not re.search(r"https?://|@import|<script|<link", text)


def test_training_curves_are_drawn_where_no_figure_is(run, log):
    page = Page(read(run))
    (source,) = page.sources
    assert base64.b64decode(source.split(",")[1]).startswith(b"\x89PNG")
    log.write_text("")
    assert Page(read(run)).sources == []


def test_all_text_is_escaped(run):
    evil = "<img src=x onerror=alert(1)>'\"&"
    change(run, "config.yaml", lambda c: c.update(model={"name": evil, evil: evil}, data={"path": evil}))
    change(run, "environment.json", lambda e: e.update({evil: evil}))
    change(run, "results.json", lambda r: r["baselines"].update({evil: {"skipped": evil}, evil + "2": r["metrics"]}))
    change(run, "results.json", lambda r: r["metrics"].update(channel_names=[evil]))
    change(run, "results.json", lambda r: r.update({evil: evil}))
    page = Page(read(run))
    assert all(source.startswith("data:") for source in page.sources)
    assert "<img src=x" not in (run / "report.html").read_text()


def test_several_channels_have_a_table(run):
    several = metrics(1.0, channels=2) | {"channel_names": ["u", "v"]}
    change(run, "results.json", lambda r: r.update(metrics=several))
    page = Page(read(run))
    assert page.row("v")[1] == f"{several['per_channel']['mae'][1]:.4g}"


def test_several_seeds_are_summarised(run):
    def summarise(results):
        del results["metrics"]
        results.update(
            mean={"mae": 1.0, "rmse": 2.0}, std={"mae": 0.1, "rmse": 0.2}, seeds=[1, 2, 3], runs={"mae": [1, 1, 1]}
        )

    change(run, "results.json", summarise)
    (run / "seed_1" / "figures").mkdir(parents=True)
    (run / "seed_1" / "figures" / "forecasts.png").write_bytes(b"x")
    text = read(run)
    page = Page(text)
    assert page.row("SpecTra-Net") == ["SpecTra-Net", "1 ± 0.1", "2 ± 0.2"]
    assert "over 3 seeds" in text
    assert "Figures of seed 1" in text
    assert len(page.sources) == 1
    assert "-20.0 % against ridge" in text


def test_null_and_nan_are_dashes(run):
    def spoil(results):
        results["metrics"]["global"].update(mae=None, r2=math.nan)
        results["metrics"]["per_horizon"]["mae"][1] = None

    change(run, "results.json", spoil)
    row = Page(read(run)).row("SpecTra-Net")
    assert row[1] == "–"
    assert row[5] == "–"


def test_long_horizons_keep_few_columns():
    page = Page(metric_tables({"net": metrics(1.0, horizon=100)}))
    header = [row for row in page.rows if row[0] == "Model"][1]
    assert len(header) == 13
    assert (header[1], header[-1]) == ("step 1", "step 100")


def test_one_step_has_no_table_by_step():
    assert "by forecast step" not in metric_tables({"net": metrics(1.0, horizon=1)})


def test_unfinished_run_is_reported_as_far_as_it_is(run):
    (run / "results.json").unlink()
    (run / "environment.json").unlink()
    text = read(run)
    Page(text)
    assert "Configuration" in text
    assert "Test period" not in text


def test_results_alone_are_enough(run):
    for name in ("config.yaml", "environment.json"):
        (run / name).unlink()
    assert "Forecasts on run" in read(run)


def test_report_is_written_again(run):
    first = read(run)
    assert read(run) == first
    assert sorted(p.name for p in run.iterdir()) == [
        "config.yaml", "environment.json", "report.html", "results.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", "{", "results.json is damaged"),
        ("results.json", "[]", "results.json holds a list"),
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "!!python/object:os.system {}", "config.yaml is damaged"),
        ("environment.json", "\x00", "environment.json is damaged"),
        ("metrics.csv", "epoch,train_loss\nx,y\n", "metrics.csv holds something that is not a number"),
    ],
)
def test_damaged_files_are_named_and_the_old_report_stays(run, name, text, message):
    before = read(run)
    (run / name).write_text(text)
    with pytest.raises(InputError, match=message):
        write_report(run)
    assert (run / "report.html").read_text(encoding="utf-8") == before


def test_folder_without_a_run_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="is not the folder of a run"):
            write_report(folder)


@pytest.mark.parametrize(
    ("value", "share", "text"),
    [
        (3, False, "3"),
        (12345, False, "12,345"),
        (0.5, True, "50 %"),
        (None, True, "–"),
        (math.inf, False, "–"),
        (True, False, "True"),
    ],
)
def test_numbers(value, share, text):
    assert format_number(value, share=share) == text


def test_table_without_rows_and_seed_table_without_baselines():
    Page(table(("a", "b"), []))
    assert Page(seed_table("net", {"mean": {"mae": 1.0}, "std": {}, "seeds": [1]}, {})).row("net") == ["net", "1 ± –"]
