from __future__ import annotations

import re

import pytest

from stgraph.errors import InputError
from stgraph.tasks.benchmark.cells import expand
from stgraph.tasks.benchmark.options import restrict
from stgraph.tasks.benchmark.reading import benchmark_from_dict, find_benchmark, read_benchmark

VALUES = {
    "name": "two",
    "datasets": {"ireland_wind": {}, "germany_pm10": {"optional": True}},
    "models": {"ridge": {}, "mine": {"name": "spectranet"}},
}
SHIPPED = ["quick", "traffic-full", "weather", "grids"]
REPRODUCED = [f"reproduce-{name}" for name in ("metr-la", "pems-bay", "pems04", "pems08")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": [1]}, "unknown key 'seed'; did you mean 'seeds'"),
        ({"models": {}}, "has no models"),
        ({"name": ""}, "has no name"),
        ({"seeds": 3}, "seeds is 3; expected a list of int"),
        ({"seeds": [1, 1]}, "expected each once"),
        ({"seeds": []}, "expected a list"),
        ({"seeds": [True]}, "expected a list of int"),
        ({"budget": {"epochs": 2}}, "unknown key 'epochs'; did you mean 'max_epochs'"),
        ({"datasets": {"a": {"optionl": True}}}, "datasets.a has the unknown key 'optionl'"),
        ({"datasets": ["a"]}, "expected a mapping of labels"),
        ({"datasets": {"../a": {}}}, "the label '../a'"),
        ({"models": {"ridge": {"settings": "own"}}}, "settings is 'own'"),
        ({"models": {"ridge": {"optimizer": 3}}}, "optimizer is 3; expected a mapping"),
        ({"defaults": {"modle": {}}}, "unknown key 'modle'; did you mean 'model'"),
        ({"expected": {"metr_la": {}}}, "unknown key 'metr_la'"),
        ({"expected": {"ireland_wind": {"rige": {}}}}, "unknown key 'rige'; did you mean 'ridge'"),
        ({"expected": {"ireland_wind": {"ridge": {4: {"mae": 1}}}}}, "unknown key '4'"),
        ({"expected": {"ireland_wind": {"ridge": {3: {"mae": 1}}}}}, "tolerance has no mae"),
        (
            {"expected": {"tolerance": {"mae": 1}, "ireland_wind": {"ridge": {3: {"mae": "low"}}}}},
            "mae is 'low'; expected a number",
        ),
    ],
)
def test_what_a_benchmark_cannot_hold(change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        benchmark_from_dict(VALUES | change)


def test_horizons_may_be_numbers_in_the_file():
    values = VALUES | {"expected": {"tolerance": {"mae": 0.1}, "ireland_wind": {"ridge": {3: {"mae": 1}}}}}
    assert benchmark_from_dict(values).expected.values == {"ireland_wind": {"ridge": {"3": {"mae": 1}}}}


def test_a_part_of_a_benchmark():
    values = VALUES | {
        "expected": {
            "tolerance": {"mae": 0.1},
            "ireland_wind": {"ridge": {3: {"mae": 1}}, "mine": {3: {"mae": 2}}},
            "germany_pm10": {"ridge": {3: {"mae": 3}}},
        }
    }
    part = restrict(benchmark_from_dict(values), seeds=[7, 8], datasets=["ireland_wind"], models=["mine"])
    assert (part.seeds, list(part.datasets), list(part.models)) == ([7, 8], ["ireland_wind"], ["mine"])
    assert part.expected.values == {"ireland_wind": {"mine": {"3": {"mae": 2}}}}
    with pytest.raises(InputError, match="no data set 'irland_wind'; did you mean 'ireland_wind'"):
        restrict(part, datasets=["irland_wind"])
    with pytest.raises(InputError, match="no model 'ridge'"):
        restrict(part, models=["ridge"])


def test_files_are_found_by_path_and_by_name(tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\ndatasets: {ireland_wind: }\nmodels: {ridge: }\n")
    assert read_benchmark(str(tmp_path / "own.yaml")).name == "own"
    assert find_benchmark("weather").is_file()
    with pytest.raises(InputError, match="did you mean 'quick'"):
        find_benchmark("quik")
    with pytest.raises(InputError, match=r"no file .*none\.yaml"):
        find_benchmark(str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match="name a benchmark: a file, or one of"):
        find_benchmark("")
    (tmp_path / "torn.yaml").write_text("name: [")
    with pytest.raises(InputError, match="no YAML file"):
        read_benchmark(str(tmp_path / "torn.yaml"))


@pytest.mark.parametrize("name", [*SHIPPED, *REPRODUCED])
def test_shipped_benchmarks_can_be_read(name):
    config = read_benchmark(name)
    assert config.name == name
    assert bool(config.expected.values) == name.startswith("reproduce")
    cells = len(config.datasets) * len(config.models) * len(config.seeds) * len(config.protocols)
    assert len(expand(config)) == cells


@pytest.mark.parametrize("name", REPRODUCED)
def test_a_number_is_expected_of_every_model_that_is_reproduced(name):
    config = read_benchmark(name)
    for dataset in config.datasets:
        assert set(config.expected.values[dataset]) == set(config.models)
