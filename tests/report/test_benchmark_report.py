from __future__ import annotations

import json
import re

import pytest

from stgraph.report import benchmark as module
from stgraph.report.benchmark import write_benchmark_report
from stgraph.tasks.benchmark.options import BenchmarkConfig
from stgraph.tasks.benchmark.results import CellResult
from stgraph.tasks.benchmark.rows import parts
from tests.tasks.benchmark.small_results import done, with_forecasts

CONFIG = BenchmarkConfig("small <1>", {}, {}, seeds=[1])
FAILED = CellResult("week", "gman", 1, "strict", "failed", "RuntimeError: <script>alert(1)</script>")
MISSING = CellResult("pems_bay", "stid", 1, "strict", "missing", "no file")
MODELS = (("stid", 1.0), ("lstm", 1.5), ("var", 2.0))


def test_all_files_are_written_and_hold_all_results(tmp_path):
    results = [with_forecasts(tmp_path, model, 1, size) for model, size in MODELS]
    files = write_benchmark_report(tmp_path, CONFIG, [*results, FAILED, MISSING])
    names = ["benchmark.md", "benchmark.csv", "benchmark.tex", "benchmark.html", "benchmark.json"]
    assert [file.name for file in files] == [*names, "windows-week-strict.png"]
    assert all(file.is_file() for file in files)
    assert not list(tmp_path.rglob(".partial*"))
    markdown = files[0].read_text()
    assert "- pems_bay is left out: no file" in markdown
    assert "![" in markdown
    assert "(figures/windows-week-strict.png)" in markdown
    page = files[3].read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<title>Benchmark small &lt;1&gt;</title>" in page
    assert not re.search(r"(src|href)='(?!data:)", page)
    assert page.count("data:image/png;base64,") == 1
    values = json.loads(files[4].read_text())
    assert [cell["status"] for cell in values["results"]] == ["done"] * 3 + ["failed", "missing"]
    assert values["results"][0]["predictions"] == "week-stid-1.npz"
    assert {c["model"] for c in values["comparisons"]} == {"lstm", "var"}
    assert not any(c["tied"] for c in values["comparisons"] if c["horizon"] == "average")


def test_three_data_sets_are_compared_by_ranks(tmp_path):
    results = [done(model, mae=mae, dataset=d) for d in ("x", "y", "z") for model, mae in MODELS]
    files = write_benchmark_report(tmp_path / "new", CONFIG, results)
    assert [file.name for file in files[5:]] == ["critical_difference-strict.png"]


def test_models_that_failed_on_a_set_are_not_ranked(tmp_path):
    results = [done(model, mae=mae, dataset=d) for d in ("x", "y", "z") for model, mae in (*MODELS, ("tcn", 3.0))]
    failed = [
        r if (r.dataset, r.model) != ("y", "tcn") else CellResult("y", "tcn", 1, "strict", "failed", "x")
        for r in results
    ]
    models, errors = module._common_errors(parts(failed))
    assert models == ["stid", "lstm", "var"]
    assert errors.shape == (3, 3)


def test_a_report_of_nothing_but_failures(tmp_path):
    files = write_benchmark_report(tmp_path, CONFIG, [FAILED, MISSING])
    assert len(files) == 5
    assert "failed" in files[0].read_text()


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    files = write_benchmark_report(tmp_path, CONFIG, [done("stid")])
    before = files[3].read_text()

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(module, "write_then_rename", full)
    with pytest.raises(OSError, match="no space"):
        write_benchmark_report(tmp_path, CONFIG, [done("lstm")])
    assert files[3].read_text() == before
