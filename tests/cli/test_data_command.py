from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from stgraph.cli.data import DataCommandOptions, data
from stgraph.cli.parser import parse
from stgraph.data.datasets.base import load_series
from stgraph.data.datasets.catalog import catalog
from stgraph.errors import InputError
from tests.data.datasets.file_server import serving
from tests.data.datasets.small_set import CONTENT, VALUES, SmallSpeeds, catalogued

SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def small(tmp_path):
    with catalogued(tmp_path / "catalog", sha256=SHA256, size=len(CONTENT), urls=["http://127.0.0.1:9/speed.csv"]):
        yield


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def folder(root):
    """Folder of the data set with its file in place."""
    (root / "small_speeds" / "raw").mkdir(parents=True)
    (root / "small_speeds" / "raw" / "speed.csv").write_bytes(CONTENT)
    return root / "small_speeds"


@pytest.fixture
def said(capsys, root):
    def said(*words):
        options = parse(DataCommandOptions, words, prog="stgraph data", positional=("action", "target"))
        options.root = options.root or str(root)
        data(options)
        return capsys.readouterr().out

    return said


def test_list_says_what_there_is_and_what_is_there(small, said, root):
    text = said("list")
    header, row = text.splitlines()[:2]
    assert header.split() == ["shape", "size", "there", "licence"]
    assert row.split() == ["small_speeds", "the", "shape", f"{len(CONTENT)}", "B", "no", "the", "licence"]
    assert f"Folder of the data sets: {root}" in text


def test_list_of_a_file_that_is_there(small, said, folder):
    assert said("list").splitlines()[1].split()[-3:] == ["yes", "the", "licence"]


def test_list_takes_no_target(said):
    with pytest.raises(InputError, match="list takes no target, got 'x'"):
        said("list", "x")


def test_list_and_info_of_the_package(said):
    text = said("list")
    for name in catalog():
        assert f"\n{name} " in text
        assert said("info", name).startswith(f"{name}: ")


def test_info_says_everything(small, said, root):
    text = said("info", "small_speeds")
    for part in ("the title", "the official", "the licence", "the citation", "the description", "the shape"):
        assert part in text
    assert "3 in, 2 out" in text
    assert SHA256 in text
    assert "http://127.0.0.1:9/speed.csv" in text
    assert f"belongs at {root / 'small_speeds' / 'raw' / 'speed.csv'}" in text
    assert "the page of the authors" in text


@pytest.mark.parametrize("action", ["info", "get", "check"])
def test_a_target_is_needed(said, action):
    with pytest.raises(InputError, match=f"stgraph data {action} needs .*stgraph data list"):
        said(action)


@pytest.mark.parametrize("action", ["info", "get"])
def test_an_unknown_name_gets_the_nearest(small, said, action):
    with pytest.raises(InputError, match="did you mean 'small_speeds'"):
        said(action, "small_sped")


def test_get_fetches_and_parses(tmp_path, said, root):
    with serving() as server, catalogued(tmp_path / "other", urls=[server.url("/speed.csv", content=CONTENT)]):
        text = said("get", "small_speeds")
        assert "nodes       3" in text
        assert "the title; licence: the licence" in text
        said("get", "small_speeds")
        assert server.sent == [len(CONTENT)]
    assert SmallSpeeds.reads == 1
    assert (root / "small_speeds" / "raw" / "speed.csv").exists()


def test_what_was_fetched_is_not_parsed_again_by_a_run(small, folder, root, tmp_path, monkeypatch):
    monkeypatch.setenv("STGRAPH_DATA", str(root))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data(DataCommandOptions("get", "small_speeds"))
    assert load_series("small_speeds").num_nodes == 3  # as a run reads it
    assert SmallSpeeds.reads == 1


def test_get_offline_says_where_to_put_what(small, said, root):
    with pytest.raises(InputError) as caught:
        said("get", "small_speeds")
    assert f"from http://127.0.0.1:9/speed.csv or the page of the authors, and put it at {root}" in str(caught.value)


@pytest.mark.parametrize("target", ["small_speeds", "root/small_speeds", "root/small_speeds/raw"])
def test_check_verifies_the_files_of_a_data_set(small, said, folder, tmp_path, monkeypatch, target):
    monkeypatch.chdir(tmp_path)
    assert said("check", target) == "small_speeds: speed.csv is the right one\n"
    (folder / "raw" / "speed.csv").write_bytes(CONTENT[::-1])
    with pytest.raises(InputError, match=r"1 of 1 files are damaged: .*has the SHA-256 .* says") as caught:
        said("check", target)
    assert SHA256 in str(caught.value)
    (folder / "raw" / "speed.csv").unlink()
    with pytest.raises(InputError, match=r"no file is there: .*belongs at"):
        said("check", target)


def test_check_of_a_file_of_a_data_set_also_reads_it(small, said, folder):
    text = said("check", str(folder / "raw" / "speed.csv"))
    assert text.startswith("small_speeds: speed.csv is the right one\n")
    assert "zeros" in text


def test_check_records_a_hash_that_was_not_known(said, folder, tmp_path):
    with catalogued(tmp_path / "other"):
        assert "its hash was not known and is recorded now" in said("check", "small_speeds")
        assert "is the right one" in said("check", "small_speeds")
        (folder / "raw" / "speed.csv").write_bytes(CONTENT + b"\n")
        with pytest.raises(InputError, match="if the change is intended, delete the entry"):
            said("check", "small_speeds")


def table(tmp_path, hours, values):
    frame = pd.DataFrame(
        values, index=pd.Timestamp("2020-01-01") + pd.to_timedelta(hours, unit="h"), columns=list("abc")
    )
    path = tmp_path / "own.csv"
    frame.to_csv(path, index_label="time")
    return str(path)


def test_check_of_any_file_says_what_may_be_wrong(said, tmp_path):
    values = VALUES.copy()
    values[:, 1], values[0, 0], values[3, 2] = 5.0, 0.0, np.nan
    text = said("check", table(tmp_path, [0, 1, 2, 3, 4, 8, 9, 10, 12, 13], values))
    facts = dict(line.split(maxsplit=1) for line in text.splitlines() if line.startswith("zeros"))
    assert "2 gaps, 4 steps missing, the longest of 0 days 04:00:00 after 2020-01-01T04:00" in text
    assert "constant nodes 1: b" in text
    assert "never observed none" in text
    assert facts["zeros"] == '3.45 % of what was observed (if they mean "missing", pass null_value=0)'
    assert "missing     3.33 %" in text


def test_check_of_repeated_times_is_an_error_that_names_the_first(said, tmp_path):
    with pytest.raises(InputError, match=r"time\[3\] repeats the entry before it \(2020-01-01T02:00:00\)"):
        said("check", table(tmp_path, [0, 1, 2, 2, 4, 5, 6, 7, 8, 9], VALUES))


def test_check_of_what_is_nothing(small, said, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file or folder .*nothing"):
        said("check", str(tmp_path / "nothing"))
    with pytest.raises(InputError, match=r"not the folder of a data set: .*small_speeds"):
        said("check", str(tmp_path))
    (tmp_path / "text.txt").write_text("text")
    with pytest.raises(InputError, match="no file of the catalogue, and its kind cannot be read as a series"):
        said("check", str(tmp_path / "text.txt"))
    (tmp_path / "broken.npy").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        said("check", str(tmp_path / "broken.npy"))


def test_check_of_a_part_of_the_files_names_the_others(said, folder, tmp_path):
    with catalogued(tmp_path / "other", more="later.csv"):
        text = said("check", "small_speeds")
        assert "speed.csv is there" in text
        assert f"later.csv is missing; it belongs at {folder / 'raw' / 'later.csv'}" in text
        assert "1 of 2 files" in said("list")
