"""Times inside gaps, against a loop over curves and points."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.light_curves.gaps import insert_gap_times
from stgraph.errors import InputError, InputTypeError


def curves(lengths: list[int], seed: int = 0, steps: int | None = None) -> Data:
    """Curves whose steps are near 1 day, with a gap of up to 9 days here and there."""
    random = np.random.default_rng(seed)
    width = steps or max(lengths)
    time = np.zeros((len(lengths), width))
    for row, length in zip(time, lengths, strict=True):
        step = random.uniform(0.8, 1.2, width)
        gap = (random.random(width) < 0.25) & (np.arange(width) < length - 1)
        step[gap] = random.uniform(1.3, 9, gap.sum())
        row[:] = 2454833 + np.cumsum(step)
    length = torch.tensor(lengths)
    real = (torch.arange(width) < length[:, None])[..., None]
    x = torch.from_numpy(random.normal(size=(len(lengths), width, 1))).float()
    observed = torch.from_numpy(random.random((len(lengths), width, 1)) < 0.8)
    return Data(
        x=x.masked_fill(~real, 0.0),
        mask=observed & real,
        time=torch.from_numpy(time),
        length=length,
        flux_error=torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)),
    )


def by_hand(time: Tensor, threshold: float) -> tuple[list[float], list[int]]:
    """Times of one curve without padding, and the places of its own points among them."""
    values = time.tolist()
    step = np.diff(values)
    # The lower of the two middle ones where the number of steps is even.
    median = np.sort(step)[(len(step) - 1) // 2] if len(step) else np.nan
    found, places = values[:1], [0]
    for before, after in itertools.pairwise(values):
        if after - before > threshold * median:
            number = round((after - before) / median)
            found += [before + k * (after - before) / number for k in range(1, number)]
        places.append(len(found))
        found.append(after)
    return found, places


@pytest.mark.parametrize("threshold", [1.0, 1.5, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(threshold, seed):
    data = curves([12, 7, 1, 20, 2], seed, steps=22)
    filled = insert_gap_times(data, threshold=threshold)
    assert filled.x.shape[1] == filled.time.shape[1] == int(filled.length.max())
    for n, length in enumerate(data.length.tolist()):
        expected, places = by_hand(data.time[n, :length], threshold)
        assert filled.length[n] == len(expected)
        np.testing.assert_allclose(filled.time[n, : len(expected)], expected, rtol=1e-15)
        # What was observed is as it was, bit for bit, and nothing else is new.
        own = torch.zeros(filled.x.shape[1], dtype=torch.bool)
        own[places] = True
        assert torch.equal(filled.time[n, own], data.time[n, :length])
        for name in ("x", "mask", "flux_error"):
            assert torch.equal(filled[name][n, own], data[name][n, :length])
            assert not filled[name][n, ~own].any()
    assert (torch.diff(filled.time) > 0).all()


def test_padding_goes_on_by_the_median_step_even_after_a_gap():
    time = torch.tensor([[0.0, 1, 2, 3, 13], [0.0, 10, 20, 30, 50]], dtype=torch.float64)
    x = torch.ones(2, 5, 1)
    filled = insert_gap_times(Data(x=x, time=time))
    assert filled.length.tolist() == [14, 6]
    torch.testing.assert_close(filled.time[0], torch.arange(14, dtype=torch.float64))
    torch.testing.assert_close(filled.time[1], 10 * torch.arange(14, dtype=torch.float64))
    assert filled.mask.sum(dim=1).tolist() == [[5], [5]]


def test_without_gaps_nothing_changes():
    data = Data(x=torch.rand(2, 5, 1), time=torch.arange(10.0, dtype=torch.float64).view(2, 5))
    filled = insert_gap_times(data)
    assert torch.equal(filled.x, data.x)
    assert torch.equal(filled.time, data.time)
    assert filled.mask.all()
    assert filled.length.tolist() == [5, 5]


def test_the_curves_handed_in_stay_as_they_are():
    data = curves([12, 7])
    before = {name: value.clone() for name, value in data if isinstance(value, Tensor)}
    insert_gap_times(data)
    assert all(torch.equal(data[name], value) for name, value in before.items())


@pytest.mark.parametrize("lengths", [[1, 1], [0, 3], [0, 0]])
def test_curves_of_one_point_or_none(lengths):
    data = curves(lengths, steps=max(1, *lengths))
    filled = insert_gap_times(data)
    assert filled.length.tolist()[0] == lengths[0]
    assert filled.time.isfinite().all()
    assert (torch.diff(filled.time) > 0).all()


def test_errors():
    far = Data(x=torch.zeros(2, 4, 1), time=torch.tensor([[0.0, 1, 2, 3], [0, 1, 2, 1e9]]).double())
    with pytest.raises(InputError, match="curve 1 would have 1000000001 points"):
        insert_gap_times(far)
    assert insert_gap_times(far, threshold=1e10).length.tolist() == [4, 4]
    assert insert_gap_times(far, max_gap=100.0).length.tolist() == [4, 4]
    with pytest.raises(InputError, match="max_gap is 0"):
        insert_gap_times(far, max_gap=0)
    for time in (None, torch.arange(4.0)):
        with pytest.raises(InputError, match="share their times, or have none"):
            insert_gap_times(Data(x=torch.zeros(2, 4, 1), time=time))
    with pytest.raises(InputError, match=r"threshold is 0\.4"):
        insert_gap_times(far, threshold=0.4)
    with pytest.raises(InputTypeError, match=r"torch\.int64"):
        insert_gap_times(Data(x=torch.zeros(2, 4, 1), time=far.time.long()))


def test_only_gaps_up_to_the_longest_are_filled():
    time = torch.tensor([[0.0, 1, 2, 5, 6, 16]], dtype=torch.float64)
    filled = insert_gap_times(Data(x=torch.ones(1, 6, 1), time=time), max_gap=3.0)
    assert filled.time.tolist() == [[0.0, 1, 2, 3, 4, 5, 6, 16]]
    assert filled.mask.flatten().tolist() == [True, True, True, False, False, True, True, True]
