"""The benchmark of masked autoencoders: its data, its limits, and a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import masked_autoencoders as benchmark
from benchmarks.masked_autoencoders import LINE, Required
from stgraph.data.simulation.light_curves import simulate_light_curves


@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_tiny_run_judges_every_network_and_states_what_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"mlp": {"encoder_hidden_dims": [8], "latent_dim": 4}}
    widths = {"encoder_dims": [4, 4], "nhead": 2, "num_transformer_blocks": 1}
    shrunk = [
        case._replace(arguments={**small, "transformer": widths}.get(case.model, {"encoder_dims": [4]}))
        for case in benchmark.cases()
    ]
    monkeypatch.setattr(benchmark, "cases", lambda: shrunk)
    threads = torch.get_num_threads()
    tiny = ["--curves", "20", "--points", "32", "--bins", "16", "--epochs", "1", "--threads", "1"]
    try:
        benchmark.main([*tiny, "--results", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    document = json.loads((tmp_path / "masked_autoencoders.json").read_text())
    records = document["records"]
    assert [record["network"] for record in records] == [case.name for case in shrunk]
    for name in ("spectra", "curves"):
        judged = [record for record in records if record["data"] == name]
        assert len({record["baselines"][LINE]["hidden"]["mse"] for record in judged}) == 1
        assert len({record["errors"]["hidden"]["count"] for record in judged}) == 1
        assert all("training_mean" in record["baselines"] for record in judged)
    assert [record["batch_size"] for record in records] == [128, 64, 16, 16, 16]
    assert sum("required <=" in note for note in document["notes"]) == 3
    assert "2 held-out stars of 20" in (tmp_path / "masked_autoencoders.txt").read_text()


def test_documented_networks_have_their_size_and_their_training() -> None:
    options = {
        case.name: benchmark.options_of(case, Path("data.h5"), 16, seed=1).resolved() for case in benchmark.cases()
    }
    assert {name: each.optimizer.learning_rate for name, each in options.items()} == dict.fromkeys(options, 1e-3)
    assert options["MLP"].model.arguments == {}
    assert (options["MLP"].trainer.max_epochs, options["U-Net"].trainer.max_epochs) == (30, 10)
    assert options["transformer"].model == options["transformer, longer"].model
    masks = options["transformer"].masking
    assert (masks.max_block_size, masks.min_mask_ratio, masks.max_mask_ratio) == (16, 0.1, 0.7)


def test_first_points_keep_short_curves_whole() -> None:
    data = simulate_light_curves(4, points=(20, 60))
    cut = benchmark.first_points(data, 40)
    assert cut.x.shape == cut.mask.shape == (4, 40, 1)
    assert cut.length.tolist() == [min(length, 40) for length in data.length.tolist()]
    assert torch.equal(cut.x, data.x[:, :40])
    assert torch.equal(cut.mask.sum(dim=1).flatten(), cut.length)
    assert data.x.shape[1] > 40


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        (Required(), ""),
        (Required(hidden=0.2), "0.2 error (required <= 0.2): reached"),
        (Required(hidden=0.1), "0.2 error (required <= 0.1): MISSED"),
        (Required(of_line=0.6), "0.5 of linear interpolation (required <= 0.6): reached"),
        (Required(of_line=0.4, seconds=9), "0.5 of linear interpolation (required <= 0.4): MISSED; 10 s (required <= 9): "
         "MISSED"),
    ],
)  # fmt: skip
def test_verdicts(required: Required, expected: str) -> None:
    found = {
        "errors": {"hidden": {"mse": 0.2}},
        "baselines": {LINE: {"hidden": {"mse": 0.4}}},
        "training_seconds": 10.0,
    }
    assert benchmark.verdict(required, found) == expected
