"""Resampling with the flux conserved: against a plain loop over bins, and what must hold for any grids."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops import resampling
from stgraph.ops.resampling import bin_edges, resample


def grid(points: int, seed: int, low: float = 4000.0) -> Tensor:
    steps = np.random.default_rng(seed).uniform(0.2, 2.0, points)
    return torch.from_numpy(low + steps.cumsum())


def spectra(rows: int, points: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    flux, error = rng.normal(3, 2, (rows, points)), rng.uniform(0.1, 1, (rows, points))
    return torch.from_numpy(flux), torch.from_numpy(error), torch.from_numpy(rng.random((rows, points)) > 0.2)


def by_loop(
    flux: Tensor, error: Tensor, mask: Tensor, old: Tensor, new: Tensor
) -> list[list[tuple[float, float, bool]]]:
    result = []
    for n in range(flux.shape[0]):
        a = bin_edges(old if old.dim() == 1 else old[n]).tolist()
        b = bin_edges(new).tolist()
        row = []
        for j in range(len(new)):
            covered = total = square = 0.0
            for i in range(flux.shape[1]):
                width = max(0.0, min(a[i + 1], b[j + 1]) - max(a[i], b[j]))
                if mask[n, i]:
                    covered += width
                    total += width * float(flux[n, i])
                    square += (width * float(error[n, i])) ** 2
            good = covered > 0.5 * (b[j + 1] - b[j])
            row.append((total / covered, math.sqrt(square) / covered, True) if good else (0.0, 0.0, False))
        result.append(row)
    return result


@pytest.mark.parametrize("own_wavelengths", [False, True])
@pytest.mark.parametrize("points", [7, 23, 90])
def test_equals_a_loop_over_bins(points, own_wavelengths, monkeypatch):
    monkeypatch.setattr(resampling, "_CHUNK", 2 * (30 + points))  # two rows at a time
    flux, error, mask = spectra(5, 30)
    old = torch.stack([grid(30, seed) for seed in range(5)]) if own_wavelengths else grid(30, 0)
    new = grid(points, 9, 3995.0)
    found = resample(flux, error, mask, old, new)
    assert found[1] is not None
    expected = torch.tensor(by_loop(flux, error, mask, old, new), dtype=torch.float64)
    torch.testing.assert_close(found[0], expected[..., 0], rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(found[1], expected[..., 1], rtol=1e-11, atol=1e-11)
    assert torch.equal(found[2], expected[..., 2].bool())
    assert found[2].any()
    assert not found[2].all()


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 10**6))
def test_the_integral_is_kept(points, new_points, seed):
    old = grid(points, seed)
    edges = bin_edges(old)
    # Bins of equal width that reach exactly as far as the old ones.
    cuts = torch.linspace(float(edges[0]), float(edges[-1]), new_points + 1, dtype=torch.float64)
    flux = spectra(2, points, seed)[0]
    new_flux, _, mask = resample(flux, None, torch.ones_like(flux, dtype=torch.bool), old, (cuts[1:] + cuts[:-1]) / 2)
    assert mask.all()
    torch.testing.assert_close((new_flux * cuts.diff()).sum(1), (flux * edges.diff()).sum(1), rtol=1e-9, atol=1e-9)


def test_the_same_grid_changes_nothing():
    flux, error, mask = (value.float() if value.is_floating_point() else value for value in spectra(3, 50))
    found = resample(flux, error, mask, grid(50, 1), grid(50, 1))
    assert torch.equal(found[0], flux * mask)
    assert torch.equal(found[1], error * mask)
    assert torch.equal(found[2], mask)
    assert found[0].dtype == found[1].dtype == torch.float32


def test_a_constant_stays_one():
    flux = torch.full((2, 60), 1e-17, dtype=torch.float64)
    found = resample(flux, None, torch.ones(2, 60, dtype=torch.bool), grid(60, 2), grid(13, 3, 4005.0))
    assert found[1] is None
    assert found[2].any()
    torch.testing.assert_close(found[0], 1e-17 * found[2].double(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_error_of_a_mean_of_n_equal_bins_is_less_by_the_root_of_n(count):
    old = torch.arange(20 * count, dtype=torch.float64)
    new = torch.arange(20, dtype=torch.float64) * count + (count - 1) / 2
    flux = torch.zeros(1, 20 * count)
    _, error, _ = resample(flux, flux + 3, torch.ones_like(flux, dtype=torch.bool), old, new)
    torch.testing.assert_close(error, torch.full((1, 20), 3 / math.sqrt(count)))


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf, 1e30])
def test_masked_points_have_no_influence(wrong):
    flux, error, mask = spectra(3, 40)
    given = (mask, grid(40, 1), grid(25, 2))
    expected = resample(flux, error, *given)
    found = resample(flux.masked_fill(~mask, wrong), error.masked_fill(~mask, wrong), *given)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_points_that_are_not_finite_count_as_masked():
    flux, error, mask = spectra(3, 40)
    given = (grid(40, 1), grid(25, 2))
    found = resample(flux.masked_fill(~mask, torch.nan), error, torch.ones_like(mask), *given)
    assert all(torch.equal(a, b) for a, b in zip(found, resample(flux, error, mask, *given), strict=True))


def test_a_huge_value_does_not_cost_the_others_their_digits():
    flux, error, mask = spectra(1, 40)
    mask = torch.ones_like(mask)
    given = (mask, grid(40, 1), grid(40, 1))
    flux[0, 5], error[0, 5] = 1e20, 1e20
    found = resample(flux, error, *given)
    torch.testing.assert_close(found[0], flux, rtol=1e-12, atol=0)
    torch.testing.assert_close(found[1], error, rtol=1e-12, atol=0)


def test_bins_no_more_than_half_covered_are_masked():
    mask = torch.tensor([[True, True, False, False]])
    new = torch.tensor([-1.5, 0.5, 2.5, 4.5])  # bins of width 2 on points of width 1 from -0.5 to 3.5
    found = resample(torch.ones(1, 4), None, mask, torch.arange(4.0), new)
    assert found[2].tolist() == [[False, True, False, False]]
    half = resample(torch.ones(1, 4), None, torch.ones_like(mask), torch.arange(4.0), torch.tensor([-0.5, 1.5]))
    assert half[2].tolist() == [[False, True]]


def test_grids_without_overlap_leave_nothing():
    flux, error, mask = spectra(2, 10)
    for low in (100.0, 9000.0):
        found = resample(flux, error, mask, grid(10, 0), grid(5, 1, low))
        assert not any(bool(part.any()) for part in found if part is not None)
        assert found[0].shape == (2, 5)


def test_a_single_new_point_has_a_bin_of_the_usual_width():
    found = resample(
        torch.tensor([[1.0, 2.0, 4.0]]),
        None,
        torch.ones(1, 3, dtype=torch.bool),
        torch.arange(3.0) * 2,
        torch.tensor([3.0]),
    )
    assert found[0].tolist() == [[3.0]]
    assert found[2].tolist() == [[True]]


def test_no_spectra():
    found = resample(torch.zeros(0, 3), None, torch.zeros(0, 3, dtype=torch.bool), torch.arange(3.0), torch.arange(2.0))
    assert found[0].shape == found[2].shape == (0, 2)


def test_memory_layout_does_not_matter():
    flux, error, mask = spectra(4, 30)
    old = torch.stack([grid(30, seed) for seed in range(4)])
    expected = resample(flux, error, mask, old, grid(20, 7))
    turned = (value.t().contiguous().t() for value in (flux, error, mask, old))
    found = resample(*turned, grid(40, 7)[:40:1].flip(0).flip(0)[:20])  # type: ignore[misc]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_wrong_input_is_refused_by_name():
    flux, error, mask = spectra(2, 5)
    old, new = torch.arange(5.0), torch.arange(3.0)
    with pytest.raises(InputError, match=r"^new_wavelength must rise strictly, but new_wavelength\[1\] is 1 after 2"):
        resample(flux, error, mask, old, new.flip(0))
    with pytest.raises(InputError, match=r"^wavelength must rise strictly, but wavelength\[1, 4\] is 3 after 3"):
        resample(flux, error, mask, torch.stack([old, old.clamp(max=3)]), new)
    with pytest.raises(InputError, match=r"^new_wavelength must be finite"):
        resample(flux, error, mask, old, torch.tensor([1.0, torch.nan]))
    with pytest.raises(InputError, match=r"^wavelength has shape \(4,\)"):
        resample(flux, error, mask, old[:4], new)
    with pytest.raises(InputError, match="at least 2"):
        resample(flux[:, :1], None, mask[:, :1], old[:1], new)
    with pytest.raises(InputError, match=r"^new_wavelength has shape \(1, 3\)"):
        resample(flux, error, mask, old, new[None])
    with pytest.raises(InputError, match=r"^flux has shape \(5,\)"):
        resample(flux[0], None, mask[0], old, new)
    with pytest.raises(InputError, match=r"^error has shape \(2, 4\)"):
        resample(flux, error[:, :4], mask, old, new)
    with pytest.raises(InputTypeError, match=r"^mask has dtype"):
        resample(flux, error, mask.float(), old, new)
    with pytest.raises(InputTypeError, match=r"^flux has dtype"):
        resample(flux.long(), None, mask, old, new)
    with pytest.raises(InputError, match="at least 2 points"):
        bin_edges(torch.tensor([1.0]))
