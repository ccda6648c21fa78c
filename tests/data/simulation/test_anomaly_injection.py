"""Injected anomalies: only the marked region changes, labels agree with it, and the input stays as it was."""

from __future__ import annotations

import collections

import pytest
import torch
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies import SPECTRUM_ANOMALIES, analytic_galaxies, inject
from stgraph.errors import InputError, InputTypeError


def galaxies() -> Data:
    data = analytic_galaxies(24, length=150)
    data.mask[:, 40:50] = False
    data.mask[3] = False
    data.x[~data.mask] = 0
    return data


@pytest.mark.parametrize("kind", SPECTRUM_ANOMALIES)
def test_only_the_marked_region_changes(kind: str) -> None:
    data = galaxies()
    before = data.clone()
    result = inject(data, (kind,), fraction=1.0)
    changed = result.x != data.x
    assert not (changed & ~result.anomaly_mask).any()
    assert (changed & result.anomaly_mask).sum() > 0.9 * result.anomaly_mask.sum()
    assert result.anomalous.equal(result.anomaly_mask.flatten(1).any(dim=1))
    assert [bool(name) for name in result.metadata["anomaly_kind"]] == result.anomalous.tolist()
    assert int(result.anomalous.sum()) == 23  # all but the one without data
    assert not (result.anomaly_mask & ~data.mask).any()
    assert data.x.equal(before.x)
    assert "anomaly_kind" not in data.metadata


def test_determinism_and_the_global_generators() -> None:
    torch.manual_seed(0)
    state = torch.get_rng_state()
    first, again, other = (inject(galaxies(), SPECTRUM_ANOMALIES, 0.5, seed) for seed in (1, 1, 2))
    assert first.x.equal(again.x)
    assert not first.x.equal(other.x)
    assert torch.get_rng_state().equal(state)


def test_kinds_are_dealt_equally() -> None:
    data = inject(galaxies(), fraction=0.5)
    counts = collections.Counter(data.metadata["anomaly_kind"].tolist())
    assert counts[""] == 12
    assert sorted(counts[kind] for kind in ("line", "bump", "noisy", "gap", "step")) == [2, 2, 2, 3, 3]


def test_gaps_fall_below_the_minimum() -> None:
    data = galaxies()
    result = inject(data, ("gap",), fraction=1.0)
    inside = result.anomaly_mask
    lowest = data.x.masked_fill(~data.mask, float("inf")).amin(dim=1, keepdim=True)
    assert (result.x < lowest)[inside].all()


def test_steps_are_one_to_three_deviations() -> None:
    data = analytic_galaxies(10, length=150)
    result = inject(data, ("step",), fraction=1.0)
    size = (result.x - data.x).abs().amax(dim=1) / data.x.std(dim=1, correction=0)
    assert ((size > 0.99) & (size < 3.01)).all()
    width = result.anomaly_mask.sum(dim=1)
    assert ((width >= 6) & (width <= 18)).all()


@pytest.mark.parametrize("fraction", [0.5, 0.25, 0.125])
def test_swapped_spectra_keep_redshift_and_name(fraction: float) -> None:
    data = analytic_galaxies(24, length=60)
    result = inject(data, ("swapped",), fraction)
    rows = result.anomalous.nonzero()[:, 0]
    assert len(rows) == round(24 * fraction)
    sources = [int((data.x == result.x[row]).flatten(1).all(dim=1).nonzero()) for row in rows]
    assert sorted(sources) == rows.tolist()
    assert all(source != row for source, row in zip(sources, rows.tolist(), strict=True))
    assert result.flux_error[rows].equal(data.flux_error[sources])
    assert result.redshift.equal(data.redshift)


def test_channels_and_data_without_mask() -> None:
    x = torch.arange(600.0).view(4, 50, 3).sin()
    x[0, 10:20, 1] = float("nan")
    result = inject(Data(x=x), fraction=1.0)
    changed = (result.x != x) & x.isfinite()
    assert changed.any(dim=1).all()
    assert not (changed & ~result.anomaly_mask).any()
    assert result.anomaly_mask.shape == (4, 50, 1)


def test_a_constant_spectrum_changes_too() -> None:
    result = inject(Data(x=torch.full((2, 60, 1), 5.0)), ("bump", "step"), fraction=1.0)
    assert ((result.x != 5) == result.anomaly_mask).all()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"kinds": ("lines",)}, "did you mean 'line'"),
        ({"kinds": ()}, "at least one"),
        ({"fraction": 0.0}, "larger fraction"),
        ({"fraction": 1.5}, "from 0 to 1"),
        ({"kinds": ("swapped",), "fraction": 0.04}, "two nodes"),
        ({"seed": -1}, "seed"),
    ],
)
def test_settings_that_cannot_be_used(arguments: dict[str, object], match: str) -> None:
    with pytest.raises(InputError, match=match):
        inject(galaxies(), **arguments)


def test_data_that_cannot_be_used() -> None:
    with pytest.raises(InputError, match="at least 5"):
        inject(Data(x=torch.rand(3, 4, 1)), fraction=1.0)
    with pytest.raises(InputError, match="shape"):
        inject(Data(x=torch.rand(3, 40)), fraction=1.0)
    with pytest.raises(InputTypeError, match="floating"):
        inject(Data(x=torch.ones(3, 40, 1, dtype=torch.int64)), fraction=1.0)
    with pytest.raises(InputTypeError, match="sequence"):
        inject(galaxies(), "line")
