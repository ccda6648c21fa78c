"""The ablation study: its variants, its tables, and a tiny study from beginning to end."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import VARIANTS, Variant
from stgraph.errors import InputTypeError
from stgraph.models.options import SpecTraNetOptions

SETTINGS = {
    "model": {"preset": "default", "d_model": 8, "num_prototypes": 3, "num_neighbors": 2},
    "optimizer": {"learning_rate": 2e-3},
    "trainer": {"max_epochs": 4},
}


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Words for a study of two sets without GOT, in a folder of its own."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # a study sets it
    rng = np.random.default_rng(0)
    np.save(tmp_path / "coords.npy", rng.random((4, 2)))
    for name, steps in (("tiny", 60), ("other", 80)):
        np.save(tmp_path / f"{name}.npy", rng.standard_normal((steps, 4)))
        data = {"path": str(tmp_path / f"{name}.npy"), "coords": str(tmp_path / "coords.npy")}
        settings = SETTINGS | {"data": data | {"input_steps": 4, "horizon": 1, "batch_size": 8}}
        monkeypatch.setitem(ablation.SETS, name, settings)
    folders = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    return ["--sets", "tiny", "other", "--budget", "full", *folders, "--epochs", "2", "tiny=1"]


def record(mae: float) -> dict[str, Any]:
    return {"val_mae": mae, "val_rmse": 2 * mae, "test_mae": mae + 1, "test_rmse": 2 * mae + 1, "seconds": 1.0}


def test_variants_are_all_combinations_with_mgat_left_out_without_got() -> None:
    assert len(VARIANTS) == len(set(VARIANTS)) == len({str(v) for v in VARIANTS}) == 3 * 8 + 4
    assert Variant("off", False, True, False).options() == {"use_got": False, "use_sfe": True, "use_tgating": False}
    assert Variant("off", False, True, False).cells() == ["off", "-", "on", "off"]
    assert Variant("balanced", True, False, True).options() == {
        "use_got": True,
        "got_transport": "balanced",
        "use_mgat": True,
        "use_sfe": False,
        "use_tgating": True,
    }


@pytest.mark.skipif("got_transport" not in SpecTraNetOptions.__annotations__, reason="GOT has no choice of transport")
@pytest.mark.parametrize("budget", ["short", "full"])
def test_study_of_all_sets_has_420_different_runs_balanced_in_order(budget: str) -> None:
    runs = ablation.plan(ablation.parse(["--budget", budget]))
    assert len({run.name for run in runs}) == len(runs) == 28 * 3 * 5
    assert [run.seed for run in runs] == [1] * 140 + [2] * 140 + [3] * 140
    assert {run.data_set for run in runs[:28]} == {"germany_pm10"}
    assert {run.settings["trainer"]["limit_train_batches"] is None for run in runs} == {budget == "full"}


def test_filters_and_budget_of_a_command_line() -> None:
    args = ablation.parse(
        ["--variants", "*+mgat+sfe+tgating", "--epochs", "7", "ireland_wind=2", "--model", "dropout=0"]
    )
    assert list(map(str, args.variants)) == [f"{t}+mgat+sfe+tgating" for t in ("semi_relaxed", "balanced", "relaxed")]
    short = ablation.BUDGETS["short"]
    assert args.budgets["germany_pm10"] == short["germany_pm10"]._replace(epochs=7)
    assert args.budgets["ireland_wind"] == short["ireland_wind"]._replace(epochs=2)
    assert args.model == {"dropout": 0}


def test_names_of_runs_differ_with_every_setting(study: list[str]) -> None:
    changes = [[], ["--model", "dropout=0.5"], ["--epochs", "3"], ["--batches", "1"], ["--seeds", "5"]]
    runs = [ablation.plan(ablation.parse([*study, "--variants", "off+sfe", *change])) for change in changes]
    assert len({run.name for several in runs for run in several}) == 2 * (4 * 3 + 1)
    again = ablation.plan(ablation.parse([*study, "--variants", "off*", "--processes", "1", "--name", "x"]))
    assert {run.name for run in runs[0]} < {run.name for run in again}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--variants", "sinkhorn"], "matches none of off,"),
        (["--model", "use_sfe=false"], "use_sfe is what the variants differ in"),
        (["--model", "got_eps"], "not of the form OPTION=VALUE"),
        (["--epochs", "0"], "--epochs 0 is not of the form"),
        (["--batches", "mars=3"], "--batches mars=3 is not of the form"),
        (["--processes", "0"], "--processes is 0"),
    ],
)
def test_wrong_words_are_refused(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ablation.parse(words)
    assert message in capsys.readouterr().err


def test_unknown_model_option_is_refused_before_anything_is_trained(study: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputTypeError, match="did you mean 'got_tau'"):
        ablation.main([*study, "--variants", "off", "--model", "got_tua=1"])
    assert not (tmp_path / "work").exists()


def test_table_has_mean_and_deviation_and_marks_the_best_and_the_incomplete() -> None:
    off, sfe = Variant("off", False, False, False), Variant("off", False, True, False)
    records = {("a", off, 1): record(1.0), ("a", off, 2): record(2.0), ("a", sfe, 1): record(1.25)}
    args = argparse.Namespace(sets=["a"], variants=[off, sfe], seeds=[1, 2])
    lines = ablation.errors_table(records, args).splitlines()
    assert lines[0].split() == ["GOT", "MGAT", "SFE", "T-Gating", "a", "val", "a", "test"]
    assert " ".join(lines[2].split()) == "off - off off 1.500 +- 0.707 2.500 +- 0.707"
    assert " ".join(lines[3].split()) == "off - on off 1.250 (1) * 2.250 (1)"


def test_effects_compare_pairs_of_equal_rest() -> None:
    records = {
        ("a", Variant("off", False, True, True), 1): record(2.0),
        ("a", Variant("balanced", False, True, True), 1): record(1.0),
        ("a", Variant("balanced", True, True, True), 1): record(1.5),
        ("a", Variant("balanced", True, True, True), 2): record(9.0),  # has no partner
        ("b", Variant("balanced", False, True, True), 1): record(1.0),
        ("b", Variant("balanced", True, True, True), 1): record(0.5),
    }
    changes = ablation.effects(records)
    assert changes == {
        "GOT balanced, from off (no MGAT)": {"a": [-0.5]},
        "MGAT on, from off": {"a": [0.5], "b": [-0.5]},
    }
    table = ablation.effects_table(changes, ["a", "b"])
    assert "+50.00% (0 of 1 better)  -50.00% (1 of 1 better)" in table
    assert table.splitlines()[-1].endswith("+0.00%")


def test_metr_la_is_skipped_by_name_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STGRAPH_DATA", raising=False)
    folders = ["--work", str(tmp_path / "work"), "--results", str(tmp_path)]
    assert ablation.main(["--sets", "metr_la_week", "--variants", "off", *folders]) == 0
    assert "metr_la_week is skipped" in capsys.readouterr().out
    assert "metr_la_week is skipped" in (tmp_path / "ablation.txt").read_text()


@pytest.mark.slow
def test_interrupted_study_goes_on_tells_of_failures_and_makes_its_tables_again(
    study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*study, "--variants", "off", "off+tgating", "--processes", "1", "--seeds", "1"]
    runs = ablation.plan(ablation.parse(words))
    (tmp_path / "work").mkdir()
    finished = tmp_path / "work" / f"{runs[0].name}.json"
    finished.write_text(json.dumps(record(0.125)))
    (tmp_path / "other.npy").unlink()
    assert ablation.main(words) == 1
    said = capsys.readouterr()
    assert "4 runs, of which 1 are finished" in said.out
    assert said.err.count("FAILED: FileNotFoundError") == 2
    files = {run.name: tmp_path / "work" / f"{run.name}.json" for run in runs}
    assert set((tmp_path / "work").iterdir()) == {files[run.name] for run in runs if run.data_set == "tiny"}

    results = tmp_path / "results"
    document, text = json.loads((results / "ablation.json").read_text()), (results / "ablation.txt").read_text()
    assert [(row["set"], row["got"], row["tgating"]) for row in document["runs"]] == [
        ("tiny", "off", False),
        ("tiny", "off", True),
    ]
    assert document["runs"][0]["val_mae"] == 0.125
    errors = {key: document["runs"][1][key] for key in ("val_mae", "val_rmse", "test_mae", "test_rmse")}
    assert len(set(errors.values())) == 4
    assert all(0.3 < value < 3 for value in errors.values())  # the series is white noise of variance 1
    assert errors["val_mae"] < errors["val_rmse"]
    assert errors["test_mae"] < errors["test_rmse"]
    assert document["about"]["runs"] == "2 of 4"
    assert "2 of 4 runs are missing" in text
    assert "tiny: 4 steps in, 1 out; epochs: 1, each of all batches of 8 windows; learning rate 0.002" in text
    assert "other: 4 steps in, 1 out; epochs: 2," in text
    assert f"{errors['val_mae']:.3f}" in text
    assert "T-Gating on, from off" in text
    assert ablation.main([*words, "--table-only"]) == 0
    assert (results / "ablation.txt").read_text() == text
