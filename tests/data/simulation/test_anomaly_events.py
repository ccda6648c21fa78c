"""Events in series: the table, the mask and the changes agree, and events leave each other and the past alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies import SERIES_ANOMALIES, inject_series
from stgraph.errors import InputError


def sensors(nodes: int = 10, channels: int = 2) -> Data:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(nodes, 200, channels, generator=generator) + torch.arange(200).div(8).sin()[:, None]
    mask = torch.rand(x.shape, generator=generator) > 0.05
    return Data(x=x, mask=mask)


def marked_by(events: dict[str, np.ndarray], shape: torch.Size) -> torch.Tensor:
    region = torch.zeros(shape, dtype=torch.int64)
    for node, channel, start, end in zip(*(events[k] for k in ("node", "channel", "start", "end")), strict=True):
        region[node, start:end, channel] += 1
    return region


@pytest.mark.parametrize("kind", SERIES_ANOMALIES)
def test_only_the_events_change(kind: str) -> None:
    data = sensors()
    before = data.x.clone()
    result = inject_series(data, (kind,), fraction=0.6, seed=3, count=2, first_step=90)
    region = marked_by(result.events, data.x.shape)
    assert region.max() == 1  # no overlap
    inside = (region == 1) & data.mask
    assert not (result.anomaly_mask & ~inside).any()
    # Of swapped series only the steps at which both are observed change.
    assert result.anomaly_mask.equal(inside) != (kind == "swapped")
    changed = result.x != data.x
    assert not (changed & ~result.anomaly_mask).any()
    assert (changed & result.anomaly_mask).sum() > 0.9 * result.anomaly_mask.sum()
    assert not result.anomaly_mask[:, :90].any()
    assert len(result.events["kind"]) == 12
    assert set(result.events["kind"]) == {kind}
    assert data.x.equal(before)


def test_sizes() -> None:
    data = sensors(channels=1)
    data.mask[:] = True
    spread = 1.4826 * (data.x - data.x.median(dim=1, keepdim=True).values).abs().median(dim=1).values
    spikes = inject_series(data, ("spike",), fraction=1.0)
    assert ((spikes.x - data.x).abs().amax(dim=1) > 0.98 * spread).all()
    assert (spikes.anomaly_mask.sum(dim=1) <= 3).all()
    drifts = inject_series(data, ("drift",), fraction=1.0)
    size = (drifts.x - data.x).abs().amax(dim=1) / spread
    assert ((size > 0.98) & (size < 3.02)).all()
    assert (drifts.x >= data.x.amin(dim=1, keepdim=True)).all()


def test_stuck_series_stay_at_the_last_value() -> None:
    data = sensors(channels=1)
    data.mask[:] = True
    result = inject_series(data, ("stuck",), fraction=1.0, first_step=1)
    for node, start, end in zip(*(result.events[k] for k in ("node", "start", "end")), strict=True):
        assert (result.x[node, start:end] == data.x[node, start - 1]).all()


def test_swapped_series_come_from_each_other() -> None:
    data = sensors()
    events = inject_series(data, ("swapped",), fraction=0.5).events
    assert len(events["node"]) == 4  # one of five stays alone
    values, numbers = np.unique(
        np.stack([events["start"], events["end"], events["channel"]]), axis=1, return_counts=True
    )
    assert values.shape[1] == 2
    assert (numbers == 2).all()


def test_determinism_and_order() -> None:
    first, again = (inject_series(sensors(), fraction=1.0, seed=5, count=3) for _ in range(2))
    assert first.x.equal(again.x)
    assert all((first.events[name] == again.events[name]).all() for name in first.events)
    assert (np.diff(first.events["node"]) >= 0).all()
    assert not first.x.equal(inject_series(sensors(), fraction=1.0, seed=6, count=3).x)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"kinds": ("spikes",)}, "did you mean 'spike'"),
        ({"fraction": 0.01}, "larger fraction"),
        ({"first_step": 200}, "first_step"),
        ({"kinds": ("drift",), "count": 40, "first_step": 150}, "no room"),
    ],
)
def test_settings_that_cannot_be_used(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        inject_series(sensors(), **arguments)
