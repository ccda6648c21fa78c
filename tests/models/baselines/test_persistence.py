from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from stgraph.models import Persistence


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 2))
def test_equals_a_search_from_the_end(seed, windows, nodes, past, channels):
    generator = torch.Generator().manual_seed(seed)
    series = torch.randn(nodes, 10, channels, generator=generator)
    model = Persistence(channels, past, 2, num_nodes=nodes).fit(Data(x=series))
    x = torch.randn(windows, nodes, past, channels, generator=generator)
    mask = torch.rand(x.shape, generator=generator) < 0.4
    forecast = model(Data(x=x, x_mask=mask))
    for b in range(windows):
        for n in range(nodes):
            for c in range(channels):
                seen = [t for t in range(past) if mask[b, n, t, c]]
                expected = x[b, n, seen[-1], c] if seen else series[n, :, c].double().mean().float()
                torch.testing.assert_close(forecast[b, n, :, c], expected.expand(2))


def test_without_a_mask_the_last_step_counts():
    x = torch.arange(6.0).view(1, 2, 3, 1)
    model = Persistence(1, 3, 2, num_nodes=2).fit(Data(x=x[0]))
    assert model(Data(x=x)).flatten().tolist() == [2, 2, 5, 5]


def test_training_mean_counts_observed_values_only():
    series = torch.tensor([[[4.0], [0.0], [8.0]]])
    mask = series > 0
    model = Persistence(1, 2, 1, num_nodes=1).fit(Data(x=series, mask=mask))
    forecast = model(Data(x=torch.zeros(1, 1, 2, 1), x_mask=torch.zeros(1, 1, 2, 1, dtype=torch.bool)))
    assert forecast.item() == 6
