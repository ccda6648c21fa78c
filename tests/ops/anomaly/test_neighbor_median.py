"""Medians of neighbours against plain loops, and the network of comparisons against the zero-one principle."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.ops.anomaly import neighbor_median as module
from stgraph.ops.anomaly.neighbor_median import neighbor_median


def plain(values: np.ndarray, mask: np.ndarray, neighbors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    median, spread = np.zeros((2, len(neighbors), values.shape[1]))
    number = np.zeros(median.shape, dtype=int)
    for row, point in np.ndindex(*median.shape):
        good = [values[near, point] for near in neighbors[row] if mask[near, point]]
        number[row, point] = len(good)
        if good:
            median[row, point] = np.median(good)
            spread[row, point] = 1.4826 * np.median(np.abs(good - median[row, point]))
    return median, spread, number


@given(k=st.integers(1, 20), good=st.sampled_from([0.1, 0.5, 0.9, 1.0]), seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_medians_are_those_of_the_good_points(k: int, good: float, seed: int) -> None:
    draws = np.random.default_rng(seed)
    values = draws.normal(size=(9, 6)).round(1)  # rounded, so that there are ties
    mask = draws.random(values.shape) < good
    mask[:, 2] = False
    neighbors = draws.integers(0, 9, (7, k))
    hidden = np.where(mask, values, draws.choice([np.nan, np.inf, 1e30]))
    found = neighbor_median(torch.from_numpy(hidden), torch.from_numpy(mask), torch.from_numpy(neighbors))
    for tensor, expected in zip(found, plain(values, mask, neighbors), strict=True):
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("chunk", [1, 10, 25, 1 << 15])
def test_the_size_of_a_chunk_changes_nothing(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(12, 5, generator=generator)
    mask = torch.rand(12, 5, generator=generator) < 0.7
    before = values.clone()
    neighbors = torch.randint(0, 12, (11, 6), generator=generator)
    whole = neighbor_median(values, mask, neighbors)
    monkeypatch.setattr(module, "_CHUNK", chunk)
    for part, expected in zip(neighbor_median(values, mask, neighbors), whole, strict=True):
        assert part.equal(expected)
    assert values.equal(before)


def test_no_nodes_have_no_medians() -> None:
    found = neighbor_median(torch.zeros(3, 4), torch.ones(3, 4) > 0, torch.zeros(0, 2, dtype=torch.int64))
    assert [tuple(each.shape) for each in found] == [(0, 4)] * 3


@pytest.mark.parametrize("size", range(1, 18))
def test_the_network_sorts_every_sequence_of_zeros_and_ones(size: int) -> None:
    # A network that sorts these sorts everything (zero-one principle).
    numbers = np.arange(1 << size)
    columns = [(numbers >> place & 1).astype(bool) for place in range(size)]
    for low, high in module._sorting_network(size):
        assert low < high
        columns[low], columns[high] = columns[low] & columns[high], columns[low] | columns[high]
    assert all((below <= above).all() for below, above in itertools.pairwise(columns))


@pytest.mark.parametrize("size", range(2, 19, 2))
def test_the_shortened_network_finds_the_two_in_the_middle(size: int) -> None:
    values = torch.randn(size, 200, generator=torch.Generator().manual_seed(size))
    ordered = values.sort(dim=0).values
    lower, upper = module._two_in_the_middle(list(values.clone()))
    assert lower.equal(ordered[size // 2 - 1])
    assert upper.equal(ordered[size // 2])
    assert len(module._median_network(size)) <= len(module._sorting_network(size))
