from __future__ import annotations

import torch

from benchmarks import forecaster_cost
from stgraph.models import MODELS


def test_networks_are_models_and_a_step_learns():
    assert set(forecaster_cost.NETWORKS) <= set(MODELS)
    step, parameters = forecaster_cost.training_step("dlinear")
    assert parameters == 312
    losses = [float(step()) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_windows_are_those_of_the_series():
    data = forecaster_cost.series()
    batch = forecaster_cost.batch_of(data)
    assert batch.x.shape == (16, 207, 12, 1)
    assert torch.equal(batch.x[3, :, :, 0], data.x[:, 3:15, 0])
    assert torch.equal(batch.y[3, :, :, 0], data.x[:, 15:27, 0])
    assert torch.equal(batch.y_time[3], data.time[15:27])
