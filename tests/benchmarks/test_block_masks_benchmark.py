"""The benchmark of block masks: its rules, and a tiny run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks import block_masks as benchmark


@pytest.mark.parametrize("name", list(benchmark.ALTERNATIVES))
def test_every_alternative_keeps_to_its_rule(name: str) -> None:
    step = benchmark.ALTERNATIVES[name](20, 64)
    first, second = step(), step()
    assert 0.2 < benchmark.check(name, first) < 0.8
    assert not torch.equal(first.mask, second.mask)
    assert first.block_size.max() <= 32


def test_check_finds_broken_blocks_and_shares_outside_the_range() -> None:
    hidden = torch.zeros(1, 64, dtype=torch.bool)
    for count, name in ((0, "loop"), (64, "loop"), (3, "loop"), (4, "validated"), (60, "validated")):
        mask = hidden.clone()
        mask[:, :count] = True
        with pytest.raises(AssertionError, match=name):
            benchmark.check(name, benchmark.Drawn(mask, torch.tensor([4])))


def test_quick_run_compares_with_both_loops(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        benchmark.main(["--quick", "--repeats", "1", "--warmup", "0", "--threads", "1", "--results", str(tmp_path)])
    finally:
        torch.set_num_threads(threads)
    rows = json.loads((tmp_path / "block_masks.json").read_text())["rows"]
    assert [(row["peer"], row["target_faster"]) for row in rows] == [("loop", None), ("validated", 20.0)]
