from __future__ import annotations

import json
import math

import pytest
import yaml

from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.folder import RunFolder, read_config, write_json
from stgraph.tasks.options import DataOptions, RunOptions, to_dict


def test_a_configuration_is_read_as_it_was_written(tmp_path):
    options = RunOptions(data=DataOptions(path="a.npy", split=[7, 1, 2], channels=["flow", 1]), seed=3)
    folder = RunFolder(tmp_path / "run")
    folder.create(options, {"seed": 3})
    assert read_config(folder.config) == options
    assert json.loads(folder.environment.read_text()) == {"seed": 3}
    assert yaml.safe_load(folder.config.read_text()) == to_dict(options)


@pytest.mark.parametrize("text", ["[1, 2]", "seed: [", "color: red", "data:\n  colour: red\n", "- a"])
def test_other_files_are_no_configuration(tmp_path, text):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match="is not the configuration of a run"):
        read_config(tmp_path / "config.yaml")


def test_numbers_that_are_not_finite_become_null(tmp_path):
    values = {"a": math.nan, "b": [1.5, -math.inf], "c": {"d": (2, math.inf)}, "e": "nan", "f": True}
    write_json(tmp_path / "x.json", values)
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "a": None,
        "b": [1.5, None],
        "c": {"d": [2, None]},
        "e": "nan",
        "f": True,
    }


def test_replacing_and_returning(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(RunOptions(seed=1), {})
    (folder.path / "note.txt").write_text("old")
    again = RunFolder(folder.path)
    again.create(RunOptions(seed=2), {})
    assert read_config(folder.config).seed == 2
    assert not (folder.path / "note.txt").exists()
    again.rollback()
    assert read_config(folder.config).seed == 1
    assert (folder.path / "note.txt").read_text() == "old"
    again.create(RunOptions(seed=3), {})
    again.commit()
    again.rollback()  # too late: nothing is left to bring back
    assert read_config(folder.config).seed == 3
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_run_set_aside_by_a_killed_process_is_not_touched(tmp_path):
    (tmp_path / ".run.replaced-0").mkdir()
    (tmp_path / ".run.replaced-0" / "note.txt").write_text("precious")
    folder = RunFolder(tmp_path / "run")
    folder.create(RunOptions(seed=1), {})
    folder.create(RunOptions(seed=2), {})
    folder.commit()
    assert (tmp_path / ".run.replaced-0" / "note.txt").read_text() == "precious"


def test_what_may_differ_on_resuming(tmp_path):
    folder = RunFolder(tmp_path / "run")
    options = RunOptions(data=DataOptions(path="a.npy"))
    folder.create(options, {})
    free = RunOptions(data=DataOptions(path="a.npy"), resume=True, report=False)
    free.trainer.max_time = "00:01:00:00"
    folder.check_resume(free)
    free.trainer.max_epochs = 7
    with pytest.raises(InputError, match=r"cannot resume with trainer\.max_epochs = 7: the run in .* has 50"):
        folder.check_resume(free)


def test_checks(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.check(overwrite=False, resume=False)
    assert not (tmp_path / "deep").exists(), "a check makes nothing"
    folder.create(RunOptions(), {})
    folder.check(overwrite=True, resume=False)
    folder.check(overwrite=False, resume=True)
    with pytest.raises(OutputExistsError):
        folder.check(overwrite=False, resume=False)


def test_an_unwritable_place(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *a: False)  # the superuser may write everywhere
    with pytest.raises(InputError, match="is not a writable folder"):
        RunFolder(tmp_path / "run").check(overwrite=False, resume=False)


def test_a_place_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        RunFolder(tmp_path / "file" / "run").create(RunOptions(), {})
