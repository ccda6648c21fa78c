from __future__ import annotations

import torch

from stgraph.ops.multitaper.period_search import refine_peak


def test_parabola_is_found_between_unequal_bins() -> None:
    frequency = torch.tensor([[0.0, 1.0, 1.5, 3.0, 4.0]], dtype=torch.float64)
    place, height = refine_peak(frequency, 5 - (frequency - 1.8) ** 2, torch.tensor([2]))
    torch.testing.assert_close((place, height), (torch.tensor([1.8]).double(), torch.tensor([5.0]).double()))


def test_peak_stays_within_the_neighbours_and_ends_stay() -> None:
    frequency = torch.arange(5.0).expand(3, -1)
    rising = torch.tensor([0.0, 1.0, 1.9, 2.7, 3.4]).expand(3, -1)
    place, height = refine_peak(frequency, rising, torch.tensor([0, 2, 4]))
    torch.testing.assert_close(place, torch.tensor([0.0, 3.0, 4.0]))
    torch.testing.assert_close(height, torch.tensor([0.0, 2.7, 3.4]))
    few = refine_peak(frequency[:1, :2], rising[:1, :2], torch.tensor([1]))
    assert [entry.tolist() for entry in few] == [[1.0], [1.0]]
