"""From windows to regions and their records, against plain loops."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.ops.anomaly.merging import merged_records, narrowest_windows
from stgraph.ops.anomaly.windows import regions_from_windows, window_bounds


def drawn(seed: int, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    start, end = window_bounds(30, [3, 6, 12])
    generator = torch.Generator().manual_seed(seed)
    score = torch.randint(0, 8, (5, len(start)), generator=generator).float()
    flagged = torch.rand(score.shape, generator=generator) < share
    flagged[3] = False
    return flagged, score, start, end


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.1, 0.4, 1.0]))
@settings(max_examples=40, deadline=None)
def test_a_window_stays_unless_a_narrower_one_says_as_much(seed: int, share: float) -> None:
    flagged, score, start, end = drawn(seed, share)
    found = narrowest_windows(flagged, score.masked_fill(~flagged, torch.nan), start, end)
    for row in range(len(flagged)):
        kept: list[int] = []
        # Windows come by width, the narrowest first; those of one width do not compete.
        for window in range(len(start)):
            narrower = [
                other
                for other in kept
                if end[other] - start[other] < end[window] - start[window]
                and start[other] < end[window]
                and start[window] < end[other]
                and score[row, other] >= score[row, window]
            ]
            if flagged[row, window] and not narrower:
                kept.append(window)
        assert found[row].nonzero()[:, 0].tolist() == kept
        assert bool(found[row].any()) == bool(flagged[row].any())


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.05, 0.3]))
@settings(max_examples=40, deadline=None)
def test_each_region_has_its_ends_and_its_best_window(seed: int, share: float) -> None:
    flagged, score, start, end = drawn(seed, share)
    regions = regions_from_windows(flagged, start, end, 30)
    records = merged_records(regions, flagged, score, start, "reason")
    assert len(records) == len(regions)
    for row, listed in enumerate(records):
        again = torch.zeros(30, dtype=torch.bool)
        before = -1
        for record in listed:
            begin, stop = record["range_start"], record["range_end"]
            assert before < begin < stop <= 30  # regions that touch are one
            before = stop
            again[begin:stop] = True
            inside = flagged[row] & (start >= begin) & (end <= stop)
            assert record["trigger_value"] == float(score[row][inside].max())
            assert record["reason_type"] == "reason"
        assert again.equal(regions[row])


def test_regions_of_neighbouring_rows_are_not_joined() -> None:
    regions = torch.tensor([[False, True, True], [True, False, True]])
    flagged = torch.tensor([[False, True, False], [True, False, True]])
    score = torch.tensor([[0.0, 5.0, 0.0], [6.0, 0.0, 7.0]])
    found = merged_records(regions, flagged, score, torch.tensor([0, 1, 2]), "r")
    assert [[(one["range_start"], one["range_end"], one["trigger_value"]) for one in row] for row in found] == [
        [(1, 3, 5.0)],
        [(0, 1, 6.0), (2, 3, 7.0)],
    ]
