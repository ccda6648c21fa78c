from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stgraph.errors import InputError
from stgraph.models import MODELS
from stgraph.tasks.benchmark import published_results as module
from stgraph.tasks.benchmark.published_results import published_cost, published_results

NAMES = sorted(path.stem for path in (Path(module.__file__).parent / "published_results").glob("*.yaml"))
ROW = {"model": "stid", "title": "STID", "source": "A", "12": [3.5, 7.5, 10.9]}


def write(folder, row=ROW, source=None, **more):
    source = {"title": "a paper", "protocol": "dcrnn"} if source is None else source
    values = {"dataset": "x", "title": "X", "sources": {"A": source}, "rows": [row], **more}
    (folder / "x.yaml").write_text(yaml.safe_dump(values))


@pytest.mark.parametrize("name", NAMES)
def test_every_file_can_be_read_and_grows_with_the_horizon(name):
    found = published_results(name)
    assert found.rows
    for row in found.rows:
        steps = [row.scores[h]["mae"] for h in ("3", "6", "12") if h in row.scores]
        assert steps == sorted(steps)
        if len(steps) == 3 and "average" in row.scores:
            assert steps[0] <= row.scores["average"]["mae"] <= steps[2]
        for errors in row.scores.values():
            assert errors.get("rmse", errors["mae"]) >= errors["mae"]


def test_all_sets_with_tables_are_there():
    largest = [f"largest_{part}" for part in ("ca", "gba", "gla", "sd")]
    assert sorted([*largest, "metr_la", "pems03", "pems04", "pems07", "pems08", "pems_bay"]) == NAMES


def test_models_of_the_library_are_named_as_there():
    used = {row.model for name in NAMES for row in published_results(name).rows}
    assert {"stid", "lstm", "dcrnn", "graph_wavenet", "copy_last_window", "historical_average"} <= used & set(MODELS)


def test_costs_over_stid_are_of_the_same_source():
    found = published_results("metr_la")
    costs = {(row.model, row.source.letter): found.relative_cost(row) for row in found.rows}
    assert costs["dcrnn", "A"] == pytest.approx(166.9 / 41.8)
    assert costs["dcrnn", "C"] == pytest.approx(95 / 7.5)
    assert costs["historical_average", "B"] is None


def test_sets_without_published_numbers():
    assert published_results("germany_pm10") is None
    assert published_cost("germany_pm10") is None
    assert published_cost("simulated_traffic").dataset == "metr_la"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"row": ROW | {"12": [3.5, 7.5]}}, "expected MAE, RMSE and MAPE"),
        ({"row": ROW | {"12": [3.5, -1, 2]}}, "expected MAE, RMSE and MAPE"),
        ({"row": ROW | {"hours": 3}}, r"unknown entries \['hours'\]"),
        ({"row": ROW | {"source": "B"}}, "KeyError: 'B'"),
        ({"row": ROW | {"parameters": "0.1e6"}}, "parameters '0.1e6'"),
        ({"row": {"model": "a", "title": "A", "source": "A"}}, "holds no number"),
        ({"source": {"title": "t", "protocol": "dcrn"}}, "unknown protocol 'dcrn'"),
        ({"source": {"title": "t", "protocol": None}}, "neither a protocol nor rules"),
        ({"dataset": "y"}, "is of the data set 'y'"),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path, change, message):
    write(tmp_path, **change)
    with pytest.raises(InputError, match=message):
        published_results("x", tmp_path)


def test_a_file_as_it_should_be(tmp_path):
    write(tmp_path)
    (row,) = published_results("x", tmp_path).rows
    assert row.scores == {"12": {"mae": 3.5, "rmse": 7.5, "mape": 10.9}}
