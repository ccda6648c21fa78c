"""Small benchmarks on a series written for the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stgraph.tasks.benchmark.options import BenchmarkConfig
from stgraph.tasks.benchmark.reading import benchmark_from_dict
from tests.tasks.small_runs import write_series

SMALL_NETWORK = {"model": {"d_model": 8, "num_prototypes": 3, "mgat_heads": 2}}


def small_values(folder: Path, **changes: Any) -> dict[str, Any]:
    """The content of the file of a benchmark of one data set, which is written, and one model."""
    path = write_series(folder, steps=100)
    data = {"coords": str(folder / "coords.npy"), "input_steps": 4, "horizon": 3, "batch_size": 16}
    values = {
        "name": "small",
        "budget": {"max_epochs": 1},
        "defaults": {"data": data, "trainer": {"accelerator": "cpu"}},
        "datasets": {"series": {"data": {"path": str(path)}}},
        "models": {"ridge": {}},
    }
    return values | changes


def small_benchmark(folder: Path, **changes: Any) -> BenchmarkConfig:
    return benchmark_from_dict(small_values(folder, **changes))
