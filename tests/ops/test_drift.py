from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.ops.drift import share_out_of_range


def test_equals_a_loop_over_nodes_and_channels():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 40, 2, generator=generator).cumsum(dim=1)
    mask = torch.rand(x.shape, generator=generator) > 0.4
    mask[3, :30] = False  # nothing known of the early range of this node
    outside = known = 0
    for series, observed in zip(x.transpose(1, 2).reshape(-1, 40), mask.transpose(1, 2).reshape(-1, 40), strict=True):
        early, late = series[:32][observed[:32]].numpy(), series[32:][observed[32:]].numpy()
        if early.size:
            known += late.size
            outside += int(((late < early.min()) | (late > early.max())).sum())
    assert share_out_of_range(x, mask).item() == pytest.approx(outside / known)
    assert 0 < outside < known


def test_a_trend_leaves_the_range_and_noise_does_not():
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 500, 1)))
    assert share_out_of_range(noise) < 0.02
    assert share_out_of_range(noise + torch.linspace(0, 30, 500).view(1, -1, 1)) > 0.3


def test_what_stands_in_unobserved_places_has_no_influence():
    x, mask = torch.zeros(2, 10, 1), torch.ones(2, 10, 1, dtype=torch.bool)
    mask[:, ::3] = False
    assert share_out_of_range(torch.where(mask, x, 1e9), mask) == 0


@pytest.mark.parametrize("steps", [0, 1])
def test_too_short_a_series_says_nothing(steps):
    assert share_out_of_range(torch.ones(2, steps, 1)) == 0


@pytest.mark.parametrize("fraction", [0.0, 1.0])
def test_wrong_fractions_are_refused(fraction):
    with pytest.raises(InputError, match="expected a number between 0 and 1"):
        share_out_of_range(torch.ones(1, 5, 1), fraction=fraction)
