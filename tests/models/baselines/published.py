"""Published settings, and the check that they give the published number of parameters."""

from __future__ import annotations

from importlib import resources

import yaml

from stgraph import models

NODES = {
    "metr_la": 207,
    "pems_bay": 325,
    "pems03": 358,
    "pems04": 307,
    "pems07": 883,
    "pems08": 170,
    "largest_sd": 716,
    "largest_gba": 2352,
    "largest_gla": 3834,
    "largest_ca": 8600,
}


def settings_of(name):
    """Return the settings of a model by data set."""
    text = (resources.files(models) / "published" / f"{name}.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    assert content["model"] == name
    assert {"paper", "year", "url", "code"} <= content["source"].keys()
    return content["settings"]


def parameters_of(make, dataset, arguments):
    """Count the parameters of a model for a data set, 12 steps to 12; 15 minutes for LargeST, else 5."""
    cycle = 96 if dataset.startswith("largest") else 288
    model = make(1, 12, 12, num_nodes=NODES.get(dataset, 207), steps_per_cycle=cycle, **arguments)
    return sum(p.numel() for p in model.parameters())
