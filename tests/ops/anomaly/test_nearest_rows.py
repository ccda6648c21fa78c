"""Nearest rows against a sort of all distances."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.ops.anomaly import nearest as module
from stgraph.ops.anomaly.nearest import nearest_rows


@given(own=st.booleans(), k=st.integers(1, 4), seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_neighbours_are_the_nearest_usable_ones(own: bool, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    reference = torch.randn(12, 3, generator=generator)
    query = reference if own else torch.randn(7, 3, generator=generator)
    usable = torch.ones(12, dtype=torch.bool)
    usable[torch.randperm(12, generator=generator)[:7]] = False
    found = nearest_rows(query, reference, k, usable, own=own)
    for row, point in enumerate(query):
        candidates = [i for i in range(12) if usable[i] and not (own and i == row)]
        candidates.sort(key=lambda i: float((reference[i].double() - point.double()).norm()))
        assert found[row].tolist() == candidates[:k]


def test_a_distant_origin_changes_nothing() -> None:
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    usable = torch.ones(20, dtype=torch.bool)
    near = nearest_rows(points, points, 5, usable, own=True)
    assert nearest_rows(points + 1e6, points + 1e6, 5, usable, own=True).equal(near)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    usable = torch.arange(20) % 3 > 0
    whole = nearest_rows(points, points, 5, usable, own=True)
    monkeypatch.setattr(module, "_BLOCK", 60)
    assert nearest_rows(points, points, 5, usable, own=True).equal(whole)
