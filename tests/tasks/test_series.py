from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.tasks.options import DataOptions, ModelOptions
from stgraph.tasks.series import (
    calendar_periods,
    describe_model,
    graph_of,
    load_series,
    make_datamodule,
    resolve_data,
    resolve_model,
)
from tests.tasks.small_runs import write_series
from tests.tasks.stand_in import make_series

pytestmark = pytest.mark.filterwarnings("ignore:no coordinates were given")

MINUTE, DAY = 60 * 10**9, 86400 * 10**9


@pytest.fixture
def options(tmp_path):
    write_series(tmp_path)
    return DataOptions(path=str(tmp_path / "series.npy"), coords=str(tmp_path / "coords.npy"), input_steps=4, horizon=2)


@pytest.mark.parametrize(
    ("step", "count", "expected"),
    [
        (5 * MINUTE, 12 * 24 * 10, [288]),  # ten days: the week is not covered twice
        (60 * MINUTE, 24 * 30, [24, 168]),
        (DAY, 365 * 3, [7, 365.2425]),  # a day cannot be resolved by daily values
        (7 * DAY, 52 * 5, [365.2425 / 7]),
        (DAY, 10, []),
    ],
)
def test_periods_that_the_sampling_resolves_and_the_series_covers(step, count, expected):
    series = make_series(steps=3)
    series.time = torch.arange(count) * step
    assert calendar_periods(series) == pytest.approx(expected)


def test_without_a_calendar_there_are_no_periods():
    series = make_series(time=False)
    assert calendar_periods(series) == []
    series.time = torch.arange(120.0)
    assert calendar_periods(series) == []


def test_defaults_come_from_the_data_set_and_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    named = resolve_data(DataOptions(path="germany_pm10"))
    assert (named.path, named.input_steps, named.horizon) == ("germany_pm10", 14, 3)
    assert resolve_data(DataOptions(path="germany_pm10", input_steps=5)).input_steps == 5
    file = resolve_data(DataOptions(path="a.npy", coords="c.npy"))
    assert (file.path, file.coords) == (os.path.abspath("a.npy"), os.path.abspath("c.npy"))  # noqa: PTH100
    assert (file.input_steps, file.horizon, file.test) == (12, 1, None)


def edges_of(series):
    return set(map(tuple, series.edge_index.t().tolist()))


def test_edges_of_the_model_are_its_nearest_neighbours(options):
    series, _ = load_series(options, num_neighbors=2)
    distance = torch.cdist(series.pos.double(), series.pos.double())
    distance.fill_diagonal_(torch.inf)
    nearest = distance.topk(2, largest=False).indices
    assert edges_of(series) == {(int(j), i) for i in range(5) for j in nearest[i]}
    every, _ = load_series(options, num_neighbors=32)
    assert every.edge_index.shape[1] == 5 * 4


def test_other_edges(options, tmp_path):
    pos = np.load(options.coords)
    distance = np.linalg.norm(pos[:, None] - pos[None], axis=-1)
    near, _ = load_series(dataclasses.replace(options, edges="radius", radius=0.8))
    expected = {(j, i) for i in range(5) for j in range(5) if i != j and distance[i, j] <= 0.8}
    assert edges_of(near) == expected
    assert 0 < len(expected) < 20
    adjacency = np.triu(np.ones((5, 5)), 1)
    np.save(tmp_path / "adj.npy", adjacency)
    given, _ = load_series(dataclasses.replace(options, edges="file", adjacency=str(tmp_path / "adj.npy")))
    assert given.edge_index.shape[1] == 10
    one, _ = load_series(dataclasses.replace(options, edges="knn", k=1))
    assert one.edge_index.shape[1] == 5


def test_edges_of_a_grid(tmp_path):
    np.save(tmp_path / "grid.npy", np.random.default_rng(0).normal(size=(20, 3, 4, 1)))
    options = DataOptions(path=str(tmp_path / "grid.npy"))
    assert load_series(options)[0].get("edge_index") is None, "a grid is its own graph"
    series, _ = load_series(dataclasses.replace(options, edges="grid", neighbors=4))
    assert series.edge_index.shape[1] == 2 * (3 * 3 + 2 * 4)


def test_the_test_period_has_the_graph_of_the_training_period(options, tmp_path):
    write_series(tmp_path, "later", steps=20)
    series, later = load_series(dataclasses.replace(options, test=str(tmp_path / "later.npy")), 2)
    assert later.edge_index is series.edge_index
    assert later.x.shape == (5, 20, 1)


def test_a_test_period_of_other_nodes_is_refused(options, tmp_path):
    (tmp_path / "wider").mkdir()
    wider = write_series(tmp_path / "wider", nodes=6)
    with pytest.raises(InputError, match="6 nodes and 1 channels; the training data has 5 and 1"):
        load_series(dataclasses.replace(options, coords=None, test=str(wider)), 2)


def test_the_graph_is_all_but_the_values():
    series = make_series(nodes=3, channels=2)
    series.node_names = ["a", "b", "c"]
    assert set(graph_of(series)) == {"pos", "edge_index", "node_names", "num_nodes", "num_channels"}
    assert (graph_of(series)["num_nodes"], graph_of(series)["num_channels"]) == (3, 2)


def test_neighbours_are_limited_by_the_nodes_unless_asked_for():
    assert resolve_model(ModelOptions(), 10).num_neighbors == 9
    assert resolve_model(ModelOptions(), 100).num_neighbors == 32
    assert resolve_model(ModelOptions(num_neighbors=9), 10).num_neighbors == 9
    with pytest.raises(InputError, match="expected less than the number of nodes, 10"):
        resolve_model(ModelOptions(num_neighbors=10), 10)


def test_resolving_twice_changes_nothing():
    once = resolve_model(ModelOptions(preset="reference", dropout=0.5), 10)
    assert (once.d_model, once.dropout) == (128, 0.5)
    assert resolve_model(once, 10) == once


def test_the_description_of_a_model_holds_plain_values(options):
    series, _ = load_series(options, 2)
    module = make_datamodule(series, None, options, seed=0)
    description = describe_model(resolve_model(ModelOptions(), 5), module, None)
    assert json.loads(json.dumps(description)) == description
    assert description["arguments"]["in_channels"] == 1
    assert description["arguments"]["pos_dim"] == 2
    assert "name" not in description["arguments"]
