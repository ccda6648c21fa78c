"""Scaling of spectra, their noise, and deviations from their neighbours, against NumPy."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.ops.anomaly.graph_residual import column_scale, graph_residual, noise_level, scale_spectra
from stgraph.ops.anomaly.neighbor_median import neighbor_median

module = importlib.import_module("stgraph.ops.anomaly.graph_residual")  # the package has a function of this name


def spectra(
    rows: int = 8, length: int = 41, good: float = 0.7, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(rows, length, generator=generator, dtype=dtype) * 5 + 20
    return x, torch.rand(rows, length, generator=generator) < good


@pytest.mark.parametrize("good", [0.1, 0.7, 1.0])
def test_spectra_are_scaled_by_percentiles_of_good_points(good: float) -> None:
    x, mask = spectra(good=good)
    mask[:, 0] = True
    found = scale_spectra(x.masked_fill(~mask, torch.nan), mask, torch.full_like(x, 0.5))
    for row in range(len(x)):
        low, middle, high = np.percentile(x[row][mask[row]].numpy(), [25, 50, 75])
        width = high - low if high > low else 1.0
        assert found.center[row].item() == pytest.approx(middle)
        assert found.scale[row].item() == pytest.approx(width)
        np.testing.assert_allclose(found.x[row][mask[row]].numpy(), (x[row][mask[row]].numpy() - middle) / width)
        assert found.error[row][mask[row]].tolist() == pytest.approx([0.5 / width] * int(mask[row].sum()))
    assert (found.x[~mask] == 0).all()
    assert (found.error[~mask] == 1).all()


def test_an_empty_spectrum_and_a_constant_one_are_zero() -> None:
    x, mask = spectra(good=1.0)
    mask[1] = False
    x[2] = 7.0
    found = scale_spectra(x, mask)
    assert not found.x[1:3].any()
    assert found.center[1:3, 0].tolist() == [0, 7]
    assert found.scale[1:3, 0].tolist() == [1, 1]
    # The constant spectrum has the usual noise of the others.
    noise = found.error[[0, 3, 4, 5, 6, 7], 0]
    assert found.error[2, 0] == noise.median()
    assert scale_spectra(x[2:3], mask[2:3], usual_error=torch.tensor(0.25)).error.unique().tolist() == [0.25]
    assert scale_spectra(x[2:3], mask[2:3]).error.unique().tolist() == [1.0]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, mask = spectra()
    whole = scale_spectra(x, mask)
    columns = column_scale(x, mask)
    monkeypatch.setattr(module, "_BLOCK", 60)
    for part, expected in zip(scale_spectra(x, mask), whole, strict=True):
        assert part.equal(expected)
    assert column_scale(x, mask).equal(columns)


def test_noise_is_the_median_of_differences_of_adjacent_good_points() -> None:
    x, mask = spectra()
    found = noise_level(x.masked_fill(~mask, torch.nan), mask)
    for row in range(len(x)):
        steps = [abs(float(x[row, i + 1] - x[row, i])) for i in range(40) if mask[row, i] and mask[row, i + 1]]
        middle = sorted(steps)[(len(steps) - 1) // 2]
        assert found[row].item() == pytest.approx(1.4826 * middle / 2**0.5)
    alternating = torch.arange(6) % 2 > 0
    assert noise_level(torch.rand(2, 6), alternating.expand(2, 6)).isnan().all()
    assert noise_level(torch.rand(2, 1), torch.ones(2, 1) > 0).isnan().all()


def test_noise_of_white_noise_is_its_standard_deviation() -> None:
    x = 3 * torch.randn(4, 20_000, generator=torch.Generator().manual_seed(0))
    assert noise_level(x, torch.ones_like(x, dtype=torch.bool)).flatten().tolist() == pytest.approx([3] * 4, rel=0.03)


def test_deviations_are_those_of_the_formula() -> None:
    x, mask = spectra()
    error = torch.rand(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    neighbors = torch.randint(0, 8, (8, 5), generator=torch.Generator().manual_seed(2))
    found = graph_residual(x, mask, error, neighbors, least_neighbors=0.6)
    around = neighbor_median(x, mask, neighbors)
    known = mask & (around.number >= 3)
    assert known.any()
    assert not known.all()
    assert found.mask.equal(known)
    assert found.expected.equal(around.median)
    variance = error**2 + around.spread**2 * (1 + 1.57 / around.number.double().clamp(min=1))
    torch.testing.assert_close(found.z, torch.where(known, (x - around.median) / variance.sqrt(), 0.0))


def test_a_point_without_neighbours_is_never_known() -> None:
    x, mask = spectra(good=1.0)
    mask[1:, 4] = False
    neighbors = torch.tensor([[1, 2, 3]]).expand(8, 3)
    found = graph_residual(x, mask, torch.ones_like(x), neighbors, least_neighbors=0.0)
    assert not found.mask[0, 4]
    assert found.z[0, 4] == 0


def test_neighbours_may_be_in_other_spectra() -> None:
    x, mask = spectra(good=1.0)
    neighbors = torch.tensor([[0, 1, 2]])
    other = graph_residual(x[7:], mask[7:], torch.ones(1, 41), neighbors, (x[:7], mask[:7]))
    same = graph_residual(x, mask, torch.ones_like(x), neighbors.expand(8, 3))
    torch.testing.assert_close(other.z[0], same.z[7])


def test_the_scale_of_a_column_is_its_widest_quantile_over_that_of_a_normal_distribution() -> None:
    z = torch.randn(30_000, 3, generator=torch.Generator().manual_seed(0))
    z[:, 1] *= 3
    z[:3_300, 2] = 20.0  # a tail that the median does not see
    mask = torch.ones_like(z, dtype=torch.bool)
    mask[:15_000, 1] = False
    z[:15_000, 1] = 1e9
    found = column_scale(z, mask)
    assert found.tolist() == pytest.approx([1.0, 3.0, 20 / 1.6449], rel=0.03)
    assert (found >= 1).all()


def test_a_column_that_is_narrow_or_empty_is_left_alone() -> None:
    z = torch.full((5, 2), 0.1)
    mask = torch.tensor([[True, False]]).expand(5, 2)
    assert column_scale(z, mask).tolist() == [1, 1]
    assert column_scale(z[:0], mask[:0]).tolist() == [1, 1]
