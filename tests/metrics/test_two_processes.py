"""Every metric gives in two processes what it gives in one that sees all windows."""

from __future__ import annotations

import json
import socket

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torchmetrics import Metric

import stgraph.metrics
from stgraph.metrics import ForecastMetrics

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
LATITUDE = torch.tensor([-90.0, -30.0, -30.0, 0.0, 45.0, 90.0])
QUANTILE = ("IntervalCoverage", "IntervalWidth", "MaskedCRPS", "MaskedPinball")
OF_NODES = {
    "AnomalyCorrelation": {"latitude": LATITUDE},
    "LatitudeWeightedRMSE": {"latitude": LATITUDE},
    "MaskedMASE": {"scale": torch.arange(12.0).view(6, 2)},
}
CLASSES = {name: getattr(stgraph.metrics, name) for name in stgraph.metrics.__all__ if name[0].isupper()}
# Those of forecasts; others take no windows of nodes, steps and channels.
OTHERS = {"ForecastMetrics", "GaussianMetrics", "ImageFusionMetrics", "ReconstructionMetrics"}
METRICS = [name for name, kind in CLASSES.items() if issubclass(kind, Metric) and name not in OTHERS]


def example():
    """Thirteen windows of six nodes, three steps and two channels: quantiles, targets, mask and climatology."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(13, 6, 3, 2)) + 1e6  # R2 must not lose its digits on the way
    p = y[..., None] + 0.5 * np.sort(rng.normal(size=(*y.shape, len(LEVELS))), -1)
    m = rng.random(y.shape) < 0.6
    m[2] = False
    return tuple(map(torch.from_numpy, (p, y, m, np.full_like(y, 1e6))))


def metric_values(parts):
    """All metrics over the windows of ``parts``, each part a batch."""
    p, y, m, climatology = example()
    whole = ForecastMetrics(2, 3, quantiles=LEVELS)
    single = {name: make(name) for name in METRICS}
    for part in parts:
        whole.update(p[part], y[part], m[part])
        for name, metric in single.items():
            prediction = p[part] if name in QUANTILE else p[part][..., 2]
            extra = (climatology[part],) if name == "AnomalyCorrelation" else ()
            metric.update(prediction, y[part], *extra, m[part])
    return {name: metric.compute().tolist() for name, metric in single.items()}, whole.compute()


def make(name):
    arguments = {"quantiles": LEVELS} if name in QUANTILE else OF_NODES.get(name, {})
    return getattr(stgraph.metrics, name)(num_channels=2, horizon=3, per="none", **arguments)


def worker(rank, port, queue):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    # The second process gets fewer windows, and nothing at all in its last batch.
    queue.put(json.dumps(metric_values([(slice(0, 6), slice(6, 9)), (slice(9, 13), slice(0, 0))][rank])))
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def results():
    """What the two processes found, and what one finds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(worker, args=(port, queue), nprocs=2)
    return json.loads(queue.get()), json.loads(queue.get()), metric_values([slice(None)])


@pytest.mark.parametrize("name", METRICS)
def test_two_processes_give_the_result_of_one(results, name):
    first, second, one = (values[name] for values, _ in results)
    assert first == second
    assert np.isfinite(one).all()
    np.testing.assert_allclose(first, one, rtol=1e-9)


def test_two_processes_give_all_metrics_of_one(results):
    first, second, one = (whole for _, whole in results)
    assert first == second
    for key in ("global", "per_channel", "per_horizon"):
        assert first[key].keys() == one[key].keys()
        for name, value in one[key].items():
            assert first[key][name] == pytest.approx(value, rel=1e-9), (key, name)
    assert first["quantiles"]["below"] == pytest.approx(one["quantiles"]["below"])
    assert first["count"] == one["count"]
