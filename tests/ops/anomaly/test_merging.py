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
@settings(max_examples=20, deadline=None)
def test_a_window_stays_unless_narrower_ones_explain_most_of_it(seed: int, share: float) -> None:
    flagged, _, start, end = drawn(seed, share)
    deviation = torch.randint(0, 5, (5, 30), generator=torch.Generator().manual_seed(seed)).float()
    found = narrowest_windows(flagged, deviation, start, end)
    bounds = list(zip(start.tolist(), end.tolist(), strict=True))
    for row in range(len(flagged)):
        energy = [value**2 for value in deviation[row].tolist()]
        left, kept = list(energy), []
        for width in (3, 6, 12):
            own = [w for w, (a, b) in enumerate(bounds) if b - a == width and flagged[row, w]]
            stays = [w for w in own if 2 * sum(left[slice(*bounds[w])]) >= sum(energy[slice(*bounds[w])])]
            for a, b in (bounds[w] for w in stays):
                left[a:b] = [0.0] * width
            kept += stays
        assert found[row].nonzero()[:, 0].tolist() == kept


def test_a_line_flags_its_own_windows_and_noise_all_that_are_noisy() -> None:
    start, end = window_bounds(80, [10, 40])
    flagged = torch.ones(1, len(start), dtype=torch.bool)
    flagged[0, :15] = (start[:15] == 20) | (start[:15] == 60)
    line = torch.full((1, 80), 0.1)
    line[0, 24:27] = 9.0
    line[0, 63:66] = 9.0
    kept = narrowest_windows(flagged, line, start, end)
    assert kept[0].nonzero()[:, 0].tolist() == flagged[0, :15].nonzero()[:, 0].tolist()
    kept = narrowest_windows(flagged, torch.ones(1, 80), start, end)
    assert bool(kept.equal(flagged))


@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.05, 0.3]))
@settings(max_examples=20, deadline=None)
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
