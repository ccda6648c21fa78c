from __future__ import annotations

import re

import pytest
import yaml

from stgraph.errors import InputError
from stgraph.tasks.benchmark.cells import expand
from stgraph.tasks.benchmark.published import published_options
from stgraph.tasks.benchmark.reading import benchmark_from_dict

VALUES = {"name": "two", "datasets": {"ireland_wind": {}}, "models": {"spectranet": {}}}


def cells(**changes):
    return expand(benchmark_from_dict(VALUES | changes))


def test_a_cell_for_each_combination_and_the_first_seed_first():
    found = cells(
        seeds=[3, 1],
        protocols=["strict", "dcrnn"],
        datasets={"ireland_wind": {}, "germany_pm10": {"optional": True}},
        models={"ridge": {}, "persistence": {}},
    )
    assert len({cell.title for cell in found}) == len(found) == 16
    assert [cell.seed for cell in found] == [3] * 8 + [1] * 8
    for cell in found:
        options = cell.options
        assert (options.seed, options.protocol) == (cell.seed, cell.protocol)
        assert (options.data.path, options.model.name) == (cell.dataset, cell.model)
        assert cell.optional == (cell.dataset == "germany_pm10")
        assert options.baselines == []
        assert options.report is options.trainer.progress_bar is options.trainer.tensorboard is False


def test_the_model_overrides_the_data_set_and_the_budget_overrides_all():
    (cell,) = cells(
        defaults={
            "data": {"batch_size": 2, "stride": 2, "horizon": 2},
            "trainer": {"max_epochs": 2, "early_stopping": 2},
        },
        datasets={"wind": {"data": {"path": "ireland_wind", "batch_size": 3, "stride": 3}}},
        models={
            "small": {
                "name": "spectranet",
                "data": {"batch_size": 4},
                "model": {"d_model": 8},
                "trainer": {"max_epochs": 4, "gradient_clip_val": None},
            }
        },
        budget={"max_epochs": 5},
    )
    options = cell.options
    assert (cell.dataset, options.data.path, cell.model, options.model.name) == (
        "wind",
        "ireland_wind",
        "small",
        "spectranet",
    )
    assert (options.data.batch_size, options.data.stride, options.data.horizon) == (4, 3, 2)
    assert (options.trainer.max_epochs, options.trainer.early_stopping) == (5, 2)
    assert options.trainer.gradient_clip_val is None
    assert options.model.d_model == 8


def test_numbers_that_yaml_takes_for_text_are_read():
    text = yaml.safe_load("{optimizer: {learning_rate: 1e-3}}")
    assert text["optimizer"]["learning_rate"] == "1e-3"
    assert cells(defaults=text)[0].options.optimizer.learning_rate == 0.001


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocols": ["strickt"]}, "unknown protocol 'strickt'; did you mean 'strict'"),
        ({"models": {"spectrnet": {}}}, "unknown model 'spectrnet'; did you mean 'spectranet'"),
        ({"defaults": {"data": {"horzon": 3}}}, "data has the unknown key 'horzon'; did you mean 'horizon'"),
        ({"defaults": {"data": {"horizon": "x"}}}, "ireland_wind with spectranet: data.horizon is 'x'"),
        ({"defaults": {"data": {"horizon": 0}}}, "data.horizon is 0; expected at least 1"),
        ({"models": {"ridge": {"model": {"arguments": {"alpha": 1}}}}}, "model.arguments has 'alpha'"),
        ({"expected": {"protocol": "dcrn"}}, "unknown protocol 'dcrn'; did you mean 'dcrnn'"),
    ],
)
def test_wrong_options_are_named_before_anything_runs(change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        cells(**change)


SETTINGS = """
model: small
settings:
  metr_la:
    arguments: {width: 3}
    training: {max_epochs: 7, batch_size: 64, learning_rate: 0.01, optimizer: adam, eps: 1.0e-3, schedule: multi_step,
      milestones: [2, 4], gamma: 0.5, gradient_clip_val: 5.0, loss: mae, weight_decay: 0.0}
  default:
    arguments: {width: 5}
"""


def test_published_settings_become_options(tmp_path):
    (tmp_path / "small.yaml").write_text(SETTINGS)
    assert published_options("small", "metr_la", tmp_path) == {
        "model": {"arguments": {"width": 3}},
        "trainer": {"max_epochs": 7, "gradient_clip_val": 5.0},
        "data": {"batch_size": 64},
        "optimizer": {
            "learning_rate": 0.01,
            "name": "adam",
            "eps": 0.001,
            "schedule": "multi_step",
            "milestones": [2, 4],
            "gamma": 0.5,
            "weight_decay": 0.0,
        },
        "loss": {"point": "mae", "frequency_weight": 0.0, "quantile_weight": 0.0},
    }
    assert published_options("small", "pems04", tmp_path) == {"model": {"arguments": {"width": 5}}}


def test_published_settings_that_are_not_there(tmp_path):
    (tmp_path / "small.yaml").write_text(SETTINGS.replace("default", "pems_bay"))
    with pytest.raises(InputError, match=r"no settings for 'pems04' and no default; it has \['metr_la', 'pems_bay'\]"):
        published_options("small", "pems04", tmp_path)
    with pytest.raises(InputError, match="model 'smal'; did you mean 'small'"):
        published_options("smal", "pems04", tmp_path)
    (tmp_path / "small.yaml").write_text(SETTINGS.replace("max_epochs", "epochs"))
    with pytest.raises(InputError, match="training option 'epochs'; did you mean 'max_epochs'"):
        published_options("small", "metr_la", tmp_path)
