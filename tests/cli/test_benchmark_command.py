from __future__ import annotations

import sys
import types

import pytest
import yaml

from stgraph.cli import benchmark as command
from stgraph.cli.benchmark import BenchmarkOptions, benchmark
from stgraph.cli.parser import parse
from stgraph.errors import InputError
from stgraph.tasks.benchmark import runner
from stgraph.tasks.benchmark.expected import ReproductionError
from stgraph.tasks.benchmark.plan import result_of
from stgraph.tasks.benchmark.results import CellResult
from tests.tasks.benchmark.small_benchmarks import small_values


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = small_values(tmp_path, models={"ridge": {}, "persistence": {}}, seeds=[1, 2])
    numbers = {"ridge": {"3": {"mae": 2.0}}, "persistence": {"3": {"mae": 2.5}}}
    values["expected"] = {"tolerance": {"mae": 0.1}, "series": numbers}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
    return tmp_path / "small.yaml"


@pytest.fixture
def stand_ins(monkeypatch):
    """Results without a run, with a MAE of 2, and reports without tables."""
    told = {}

    def run(jobs, processes):
        told["jobs"], told["processes"] = jobs, processes
        scores = {"strict": {"3": {"mae": 2.0}}}
        cells = [job.cell for job in jobs if result_of(job) is None]
        return [CellResult(c.dataset, c.model, c.seed, c.protocol, "done", scores=scores) for c in cells]

    def write(folder, config, results):
        told["folder"], told["name"], told["results"] = folder, config.name, results
        return [folder / "report.md"]

    report, tables = types.ModuleType("report"), types.ModuleType("tables")
    report.write_benchmark_report, tables.summary_text = write, lambda results: f"{len(results)} results"
    monkeypatch.setattr(runner, "run_jobs", run)
    monkeypatch.setitem(sys.modules, "stgraph.report.benchmark", report)
    monkeypatch.setitem(sys.modules, "stgraph.tasks.benchmark.tables", tables)
    return told


def test_words_become_options():
    words = "quick --output out --processes 2 --seeds 1,2 --datasets a,b --models c --protocol strict --retry_failed"
    assert parse(BenchmarkOptions, words.split(), prog="stgraph benchmark", positional=("benchmark",)) == (
        BenchmarkOptions("quick", "out", 2, [1, 2], ["a", "b"], ["c"], ["strict"], retry_failed=True)
    )


def test_a_dry_run_lists_the_cells_and_changes_nothing(file, capsys):
    before = sorted(file.parent.iterdir())
    benchmark(BenchmarkOptions("small.yaml", dry_run=True, models=["ridge"]))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(
        "run       series ridge strict seed 1: runs/benchmark-small/cells/series/ridge/strict-seed1-"
    )
    assert lines[-1] == "2 cells: 2 to be run"
    assert sorted(file.parent.iterdir()) == before


def test_a_benchmark_whose_numbers_are_as_expected(file, stand_ins, capsys):
    options = BenchmarkOptions("small.yaml", output="out", models=["ridge"], seeds=[5], processes=2)
    benchmark(options)
    out = capsys.readouterr().out
    assert [job.cell.title for job in stand_ins["jobs"]] == ["series ridge strict seed 5"]
    assert (stand_ins["processes"], stand_ins["name"], stand_ins["folder"].name) == (2, "small", "out")
    assert "1 cells: 1 to be run" in out
    assert "1 results" in out
    assert "passed" in out


def test_a_benchmark_whose_numbers_are_not_as_expected_fails_after_its_report(file, stand_ins, capsys):
    with pytest.raises(ReproductionError, match="1 of 2 numbers are not those that small expects"):
        benchmark(BenchmarkOptions("small.yaml"))
    assert len(stand_ins["results"]) == 4
    assert "FAILED" in capsys.readouterr().out


def test_ctrl_c_says_how_to_go_on(file, monkeypatch, capsys):
    def interrupt(jobs, processes):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_jobs", interrupt)
    with pytest.raises(SystemExit) as stop:
        benchmark(BenchmarkOptions("small.yaml"))
    assert stop.value.code == command._INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BenchmarkOptions(), "name a benchmark"),
        (BenchmarkOptions("small.yaml", processes=0), "processes is 0"),
        (BenchmarkOptions("small.yaml", models=["rige"]), "no model 'rige'; did you mean 'ridge'"),
        (BenchmarkOptions("small.yaml", protocol=["dcrn"]), "unknown protocol 'dcrn'"),
        (BenchmarkOptions("small.yaml", output="small.yaml"), "is a file; expected a folder"),
    ],
)
def test_what_cannot_be_run(file, options, message):
    with pytest.raises(InputError, match=message):
        benchmark(options)
