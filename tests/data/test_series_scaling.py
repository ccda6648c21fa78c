"""Scaling of series: the statistics against NumPy, what has influence on them, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data import series_scaling
from stgraph.data.series_scaling import ScaleSeries, unscale
from stgraph.errors import InputError, InputTypeError

METHODS = ("robust", "standard", "climatology", "minmax", "none")


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def series(nodes: int = 5, steps: int = 23, channels: int = 2) -> Data:
    """Random series of which about a third was not observed; the last node never was."""
    mask = random(nodes, steps, channels, seed=1) > -0.4
    mask[-1] = False
    return Data(x=(7 + 3 * random(nodes, steps, channels)).masked_fill(~mask, 0.0), mask=mask)


def scaler(method: str, **options: Any) -> ScaleSeries:
    return ScaleSeries(method, 4 if method == "climatology" else None, **options)  # type: ignore[arg-type]


def each(data: Data) -> list[tuple[int, int, np.ndarray]]:
    """Every node and channel with observations, and these."""
    shape = data.x[:-1, 0].shape
    return [(n, c, data.x[n, data.mask[n, :, c], c].numpy()) for n, c in np.ndindex(*shape)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_robust_is_median_and_interquartile_range(dtype):
    data = series()
    scaled = ScaleSeries("robust")(Data(x=data.x.to(dtype), mask=data.mask))
    assert scaled.center.shape == scaled.scale.shape == (5, 1, 2)
    assert scaled.x.dtype == scaled.center.dtype == dtype
    for n, c, values in each(data):
        quartiles = np.percentile(values, [25, 75])
        assert scaled.center[n, 0, c].item() == pytest.approx(np.median(values), rel=1e-6)
        assert scaled.scale[n, 0, c].item() == pytest.approx(quartiles[1] - quartiles[0], rel=1e-5)


def test_standard_is_mean_and_standard_deviation():
    data = series()
    scaled = ScaleSeries("standard")(data)
    for n, c, values in each(data):
        assert scaled.center[n, 0, c].item() == pytest.approx(values.mean(), rel=1e-12)
        assert scaled.scale[n, 0, c].item() == pytest.approx(values.std(), rel=1e-12)
        again = scaled.x[n, data.mask[n, :, c], c].numpy()
        assert (again.mean(), again.std()) == (pytest.approx(0, abs=1e-12), pytest.approx(1, rel=1e-12))


def test_minmax_takes_the_observed_values_to_zero_and_one():
    data = series()
    data.flux_error = torch.ones_like(data.x)
    scaled = ScaleSeries("minmax")(data)
    for n, c, values in each(data):
        assert scaled.center[n, 0, c].item() == values.min()
        assert scaled.scale[n, 0, c].item() == values.max() - values.min()
        again = scaled.x[n, data.mask[n, :, c], c]
        assert (again.min().item(), again.max().item()) == (0, pytest.approx(1, rel=1e-15))
    assert torch.equal(scaled.flux_error, (1 / scaled.scale).expand_as(data.x))


def test_minmax_of_a_constant_series_is_zero_with_a_warning(caplog):
    data = Data(x=torch.tensor([[[2.0], [2.0], [9.0]], [[1.0], [2.0], [3.0]], [[0.0], [0.0], [0.0]]]))
    data.mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]]).unsqueeze(2)
    with caplog.at_level("WARNING", logger="stgraph"):
        scaled = ScaleSeries("minmax")(data)
    assert scaled.x[..., 0].tolist() == [[0, 0, 0], [0, 0.5, 1], [0, 0, 0]]
    assert scaled.scale[0].item() == 1
    assert [record.getMessage() for record in caplog.records] == ["1 of 3 series are constant; they are scaled to 0"]
    caplog.clear()
    ScaleSeries("minmax")(series())
    assert not caplog.records


def test_climatology_with_many_observations_is_the_mean_of_each_slot():
    cycle = random(2, 3, 1)
    data = Data(x=cycle.repeat(1, 400, 1) + 0.1 * random(2, 1200, 1, seed=3))
    scaled = ScaleSeries("climatology", 3)(data)
    slots = data.x.view(2, 400, 3, 1).mean(dim=1)
    assert scaled.center.shape == (2, 3, 1)
    torch.testing.assert_close(scaled.center, slots, rtol=0, atol=0.01)
    rest = data.x - slots.repeat(1, 400, 1)
    torch.testing.assert_close(scaled.scale, rest.std(dim=1, correction=0, keepdim=True), rtol=1e-3, atol=0)


def test_climatology_draws_slots_of_few_observations_to_the_cycle_of_the_others():
    data = series(nodes=4, steps=10, channels=1)
    x, mask = data.x.numpy()[..., 0], data.mask.numpy()[..., 0]
    center = ScaleSeries("climatology", 4)(data).center.numpy()[..., 0]
    mean = [x[n][mask[n]].mean() for n in range(3)]
    slot = np.arange(10) % 4
    for s in range(4):
        own = [x[n][mask[n] & (slot == s)] - mean[n] for n in range(3)]
        common = np.concatenate(own).mean()
        for n in range(3):
            # One observation more, which has the value of the common cycle.
            assert center[n, s] == pytest.approx(mean[n] + np.mean([*own[n], common]), rel=1e-12)
        assert center[3, s] == pytest.approx(np.median(mean) + common, rel=1e-12)


@pytest.mark.parametrize("method", ["robust", "standard", "minmax"])
def test_a_node_without_observations_takes_the_median_of_the_others(method):
    scaled = scaler(method)(series(nodes=6))
    assert torch.equal(scaled.center[-1], scaled.center[:-1].median(dim=0).values)
    assert torch.equal(scaled.scale[-1], scaled.scale[:-1].median(dim=0).values)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_observed_at_all(method):
    scaled = scaler(method)(Data(x=torch.zeros(2, 6, 1), mask=torch.zeros(2, 6, 1, dtype=torch.bool)))
    assert (scaled.x == 0).all()
    assert (scaled.center == 0).all()
    assert (scaled.scale == 1).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
def test_what_stands_where_nothing_was_observed_has_no_influence(method, wrong):
    data = series()
    spoilt = Data(x=data.x.masked_fill(~data.mask, wrong), mask=data.mask)
    expected, found = scaler(method)(data), scaler(method)(spoilt)
    for name in ("x", "center", "scale"):
        assert torch.equal(found[name], expected[name])


@pytest.mark.parametrize("method", METHODS)
def test_entries_outside_fit_mask_are_scaled_but_do_not_tell_the_scale(method):
    data = series()
    fit_mask = random(*data.x.shape, seed=5) > 0
    outside = data.mask & ~fit_mask
    changed = Data(x=torch.where(outside, data.x + 100, data.x), mask=data.mask)
    first, second = (scaler(method, fit_mask=fit_mask)(d) for d in (data, changed))
    assert torch.equal(first.center, second.center)
    assert torch.equal(first.scale, second.scale)
    difference = second.x - first.x
    torch.testing.assert_close(difference, torch.where(outside, 100 / first.scale, 0.0), rtol=1e-9, atol=1e-9)


def test_fit_mask_is_as_good_as_a_mask():
    data = series()
    fit_mask = random(*data.x.shape, seed=5) > 0
    fitted = ScaleSeries("robust", fit_mask=fit_mask)(data)
    masked = ScaleSeries("robust")(Data(x=data.x, mask=data.mask & fit_mask))
    assert torch.equal(fitted.center, masked.center)
    assert torch.equal(fitted.scale, masked.scale)


@pytest.mark.parametrize("method", METHODS)
def test_unscale_is_the_inverse(method):
    data = series()
    scaled = scaler(method)(data)
    node, start = torch.tensor([0, 3, 1, 3]), torch.tensor([0, 13, 6, 1])
    at = start[:, None] + torch.arange(10)
    back = unscale(scaled.x[node[:, None], at], scaled, node, start)
    observed = data.mask[node[:, None], at]
    torch.testing.assert_close(back[observed], data.x[node[:, None], at][observed], rtol=1e-12, atol=1e-12)
    spread = unscale(torch.ones(4, 10, 2), scaled, node, start, spread=True)
    assert torch.equal(spread, scaled.scale[node].expand(4, 10, 2))


def test_a_spread_of_zero_counts_as_one():
    data = Data(x=torch.tensor([[[2.0], [2.0], [2.0]], [[1.0], [2.0], [3.0]]]))
    for method in ("robust", "standard", "minmax"):
        scaled = scaler(method)(data)
        assert scaled.scale[0].item() == 1
        assert scaled.x[0].tolist() == [[0], [0], [0]]


def test_a_spread_of_rounding_counts_as_one():
    data = Data(x=torch.full((1, 33, 1), 0.1, dtype=torch.float64))
    data.x[0, 32] = 0.2
    fit_mask = (torch.arange(33) < 32).view(1, 33, 1)
    fit_mask[0, 0] = False  # the mean of 31 such values is not one of them
    scaled = ScaleSeries("standard", fit_mask=fit_mask)(data)
    assert scaled.scale.item() == 1
    assert scaled.x[0, 32].item() == pytest.approx(0.1)


def test_measurement_errors_are_divided_and_the_graph_is_left_alone():
    data = series()
    data.flux_error = torch.rand(5, 23, 2, dtype=torch.float64)
    before = data.x.clone(), data.flux_error.clone()
    scaled = ScaleSeries("robust")(data)
    assert torch.equal(scaled.flux_error, data.flux_error / scaled.scale)
    assert torch.equal(data.x, before[0])
    assert torch.equal(data.flux_error, before[1])
    assert "center" not in data


def test_none_leaves_the_values():
    data = series()
    assert torch.equal(ScaleSeries("none")(data).x, data.x)


def test_chunks_do_not_matter(monkeypatch):
    data = series()
    whole = ScaleSeries("robust")(data)
    monkeypatch.setattr(series_scaling, "_CHUNK", 100)
    parts = ScaleSeries("robust")(data)
    assert torch.equal(parts.center, whole.center)
    assert torch.equal(parts.scale, whole.scale)


def test_errors():
    with pytest.raises(InputError, match="method is 'median'"):
        ScaleSeries("median")  # type: ignore[arg-type]
    for cycle in (None, 1):
        with pytest.raises(InputError, match="steps_per_cycle"):
            ScaleSeries("climatology", cycle)
    with pytest.raises(InputError, match="its own times"):
        ScaleSeries("climatology", 2)(Data(x=torch.zeros(2, 3, 1), time=torch.arange(3.0).expand(2, 3)))
    with pytest.raises(InputError, match="fit_mask has shape"):
        ScaleSeries("robust", fit_mask=torch.ones(3, 1, dtype=torch.bool))(Data(x=torch.zeros(2, 3, 1)))
    with pytest.raises(InputError, match=r"^mask has shape \(2, 3\)"):
        ScaleSeries()(Data(x=torch.zeros(2, 3, 1), mask=torch.ones(2, 3, dtype=torch.bool)))
    with pytest.raises(InputTypeError, match=r"torch\.int64"):
        ScaleSeries()(Data(x=torch.zeros(2, 3, 1, dtype=torch.int64)))
    with pytest.raises(InputError, match="must have values x"):
        ScaleSeries()(Data(x=torch.zeros(2, 3)))
