from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.errors import InputError
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.windows import regions_from_windows, window_bounds, window_sums


def pairs(start: torch.Tensor, end: torch.Tensor) -> list[tuple[int, int]]:
    return list(zip(start.tolist(), end.tolist(), strict=True))


@given(length=st.integers(2, 40), data=st.data())
@settings(max_examples=60, deadline=None)
def test_windows_start_every_half_width_and_cover_the_tail(length: int, data: st.DataObject) -> None:
    width = data.draw(st.integers(2, length))
    expected, first = [], 0
    while first + width <= length:
        expected.append((first, first + width))
        first += width // 2
    assert pairs(*window_bounds(length, width, cover_tail=False)) == expected
    covered = pairs(*window_bounds(length, width))
    if expected[-1][1] < length:
        expected.append((length - width, length))
    assert covered == expected
    assert {point for begin, end in covered for point in range(begin, end)} == set(range(length))


def test_several_widths_come_one_after_another_each_with_its_tail() -> None:
    start, end = window_bounds(21, [4, 8, 16])
    parts = [window_bounds(21, width) for width in (4, 8, 16)]
    assert start.tolist() == torch.cat([part[0] for part in parts]).tolist()
    assert end.tolist() == torch.cat([part[1] for part in parts]).tolist()
    assert start.dtype == end.dtype == torch.int64
    assert [part[1][-1].item() for part in parts] == [21, 21, 21]


def test_a_stride_replaces_half_a_width() -> None:
    assert pairs(*window_bounds(10, 4, stride=4)) == [(0, 4), (4, 8), (6, 10)]
    assert pairs(*window_bounds(10, 4, stride=4, cover_tail=False)) == [(0, 4), (4, 8)]


@pytest.mark.parametrize("widths", [1, 0, -3, 11, [4, 11], []])
def test_windows_that_do_not_fit_are_named(widths: int | list[int]) -> None:
    with pytest.raises(InputError, match="window"):
        window_bounds(10, widths)


def test_sums_are_those_of_slices() -> None:
    values = torch.arange(2 * 3 * 23).reshape(2, 3, 23) % 7
    start, end = window_bounds(23, [3, 10])
    sums = window_sums(values, start, end)
    assert sums.dtype == torch.float64
    assert sums.shape == (2, 3, len(start))
    for window, (begin, stop) in enumerate(pairs(start, end)):
        assert sums[..., window].tolist() == values[..., begin:stop].sum(-1).double().tolist()


@given(length=st.integers(4, 30), spectra=st.integers(0, 4), data=st.data())
@settings(max_examples=60, deadline=None)
def test_regions_are_the_union_of_the_flagged_windows(length: int, spectra: int, data: st.DataObject) -> None:
    widths = data.draw(st.lists(st.integers(2, length), min_size=1, max_size=3))
    start, end = window_bounds(length, widths)
    seed = data.draw(st.integers(0, 1000))
    flagged = torch.rand(spectra, len(start), generator=torch.Generator().manual_seed(seed)) < 0.3
    expected = torch.zeros(spectra, length, dtype=torch.bool)
    for row in range(spectra):
        for window, (begin, stop) in enumerate(pairs(start, end)):
            if flagged[row, window]:
                expected[row, begin:stop] = True
    regions = regions_from_windows(flagged, start, end, length)
    assert regions.dtype == torch.bool
    assert regions.tolist() == expected.tolist()


def test_the_result_unpacks_as_arrays_of_each_spectrum() -> None:
    result = AnomalousRegions(
        regions=torch.tensor([[True, False], [False, False], [False, True]]),
        anomalous=torch.tensor([True, False, True]),
        metadata=[[], [], []],
        score=torch.zeros(3),
        no_data=torch.zeros(3, dtype=torch.bool),
        rule="fixed",
        window_size=2,
        window_start=torch.tensor([0]),
        window_end=torch.tensor([2]),
        window_score=torch.zeros(3, 1),
        abs_residual_threshold=0.5,
    )
    regions, anomalous, metadata, absolute, relative, factor = result
    assert [row.tolist() for row in regions] == [[True, False], [False, False], [False, True]]
    assert anomalous.tolist() == [True, False, True]
    assert metadata is result.metadata
    assert absolute == 0.5
    # The rule had no other thresholds.
    assert relative != relative
    assert factor != factor
