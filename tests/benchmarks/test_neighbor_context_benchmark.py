"""The benchmark of neighbours: its data, its limits, and a tiny run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import neighbor_context as benchmark
from benchmarks.neighbor_context import SHUFFLED, VARIANTS, WITH, WITHOUT
from stgraph.data.light_curves import read_light_curves
from stgraph.tasks.reconstruction_data import ReconstructionData


def runs(*errors: float, larger: float = 1.0) -> dict[str, dict[str, Any]]:
    """Runs without edges, with them and with shuffled ones."""
    sizes = (1000.0, 1000.0 * larger, 1000.0 * larger)
    return {
        name: {"errors": {"hidden": {"mse": error}}, "parameters": size}
        for name, error, size in zip((WITHOUT, WITH, SHUFFLED), errors, sizes, strict=True)
    }


def test_whole_groups_are_held_out_with_all_their_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "stars.h5"
    benchmark.write_stars(path, 64, 32, seed=3)
    group = torch.from_numpy(np.asarray(read_light_curves(path).metadata["group"]))
    data = {}
    for name in VARIANTS:
        options = benchmark.options_of(path, name, 1, seed=3).resolved()
        data[name] = ReconstructionData(read_light_curves(path), options)
    trained, held = (set(group[data[WITH].nodes[stage]].tolist()) for stage in ("train", "val"))
    assert (len(trained), len(held)) == (6, 2)
    assert not trained & held
    source, target = data[WITH].data.edge_index
    assert torch.equal(group[source], group[target])
    assert torch.bincount(target).tolist() == [7] * 64
    source, other = data[SHUFFLED].data.edge_index
    assert torch.equal(other, target)
    assert float((group[source] == group[other]).double().mean()) < 0.3
    first, second, third = (next(iter(data[name].loader("val"))) for name in VARIANTS)
    count = first.batch_size
    assert second.x.shape[0] == third.x.shape[0] == 8 * count
    for batch in (second, third):
        assert torch.equal(batch.hidden[:count], first.hidden)
        assert batch.hidden[count:].any(dim=1).all()


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_tiny_run_compares_three_variants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = {"encoder_dims": [4], "nhead": 2, "num_transformer_blocks": 1}
    monkeypatch.setattr(benchmark, "TRANSFORMER", widths)
    threads = torch.get_num_threads()
    tiny = ["--stars", "32", "--points", "32", "--epochs", "1", "--seeds", "1", "--threads", "1"]
    try:
        benchmark.main([*tiny, "--results", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    document = json.loads((tmp_path / "neighbor_context.json").read_text())
    records = document["records"]
    assert [record["variant"] for record in records] == list(VARIANTS)
    assert len({record["baselines"]["linear_interpolation"]["hidden"]["mse"] for record in records}) == 1
    assert len({record["errors"]["hidden"]["mse"] for record in records}) == 3
    assert records[0]["parameters"] < records[1]["parameters"] == records[2]["parameters"]
    assert sum("required" in note for note in document["notes"]) == 3


def test_ratios_and_verdicts() -> None:
    good = benchmark.verdicts({1: runs(1.0, 0.5, 1.0), 2: runs(2.0, 1.2, 2.1)})
    assert good[0] == "with edges / without: 0.550 (0.500, 0.600), required <= 0.7: reached"
    assert good[1].startswith("with shuffled edges / without: 1.025 (1.000, 1.050)")
    assert all(line.endswith("reached") for line in good)
    bad = benchmark.verdicts({1: runs(1.0, 0.8, 0.9, larger=1.1), 2: runs(1.0, 0.7, 0.9, larger=1.1)})
    assert all(line.endswith("MISSED") for line in bad)


def test_shuffled_edges_may_scatter_as_the_seeds_do() -> None:
    found = {seed: runs(1.0, 0.5, ratio) for seed, ratio in enumerate((0.86, 0.96, 1.06))}
    assert "required >= 0.900" in benchmark.verdicts(found)[1]
    assert benchmark.verdicts(found)[1].endswith("reached")
