from __future__ import annotations

import json
from pathlib import Path

import pytest

from stgraph.cli.main import main
from stgraph.cli.reproduce import ReproduceOptions, reproduce
from stgraph.errors import InputError
from stgraph.tasks.bitwise import Difference
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.options import ModelOptions
from stgraph.tasks.reproduce import Reproduction, ReproductionDifference
from stgraph.tasks.run import train
from tests.tasks.small_runs import small_options, write_series


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_series(tmp_path)
    options = small_options(tmp_path, baselines=[])
    options.model = ModelOptions(name="lstm", arguments={"hidden_channels": 4})
    options.trainer.max_epochs = 1
    train(options)
    assert main(["reproduce", "run"]) == 0
    out = capsys.readouterr().out
    lines = [line.split() for line in out.splitlines()]
    assert ["weights", "equal", "predictions", "equal", "metrics", "equal"] in lines
    assert ["run", "yes", "yes", "yes"] in lines
    assert "differs" not in out
    results = json.loads(RunFolder("run").results.read_text())
    results["test"]["global"]["mae"] += 1
    RunFolder("run").results.write_text(json.dumps(results))
    assert main(["reproduce", "run", "--output", "again"]) == 2
    shown = capsys.readouterr()
    assert "the repetition of run differs in metrics" in shown.err
    assert ["run", "yes", "yes", "no"] in [line.split() for line in shown.out.splitlines()]
    assert "  results.json: test.global.mae: largest difference 1, " in shown.out
    assert "Nothing that the run recorded of its environment differs." in shown.out
    assert f"The repetition is in {tmp_path / 'again'}" in shown.out
    assert (tmp_path / "again" / "results.json").is_file()


def test_many_seeds_and_many_differences(monkeypatch, capsys):
    many = tuple(Difference("best.ckpt", f"w{i}", 0.5) for i in range(13))
    found = [
        Reproduction(Path("/runs/a/seed_1"), None, (), (), (), ("python: 3.10, now 3.11",)),
        Reproduction(Path("/runs/a/seed_2"), Path("/kept"), many, (), (), ()),
    ]
    monkeypatch.setattr("stgraph.tasks.reproduce.reproduce_run", lambda run, **options: found)
    with pytest.raises(ReproductionDifference, match=r"a differs in weights$"):
        reproduce(ReproduceOptions("a"))
    out = capsys.readouterr().out
    assert [line.split() for line in out.splitlines()][2:4] == [
        ["seed_1", "yes", "yes", "yes"],
        ["seed_2", "no", "yes", "yes"],
    ]
    first, second = out[out.index("seed_1:") :].split("seed_2:")
    assert "python: 3.10, now 3.11" in first
    assert "w9: largest difference 0.5" in second
    assert "w10" not in second
    assert "and 3 more" in second
    assert "/kept" in second


def test_a_run_must_be_named():
    with pytest.raises(InputError, match="name the folder of a run"):
        reproduce(ReproduceOptions())
