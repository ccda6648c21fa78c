import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stgraph.data.light_curves import normalise_spectra, restore_spectra
from stgraph.errors import InputError

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 8))
VALUES = hnp.arrays(np.float64, SHAPES, elements=st.floats(-1e6, 1e6))
SCALES = st.one_of(st.none(), st.floats(1e-3, 1e3))


@given(VALUES, SCALES)
def test_restoring_undoes_the_normalisation(values, scale):
    rows = torch.from_numpy(values)
    normalised = normalise_spectra(rows, scale)
    assert torch.allclose(restore_spectra(*normalised, scale=scale), rows, rtol=1e-9, atol=1e-9)


@given(VALUES, st.floats(1e-3, 1e3))
def test_values_kept_in_float32_are_restored_to_one_in_a_hundred_thousand(values, scale):
    rows = torch.from_numpy(values)
    normalised = normalise_spectra(rows, scale)
    restored = restore_spectra(normalised.values.float(), normalised.mean, normalised.std, scale)
    assert bool(((restored - rows).abs() <= 1e-5 * (rows.abs() + scale)).all())


def test_rows_have_mean_zero_and_standard_deviation_one():
    rows = torch.arange(40.0).reshape(4, 10).exp()
    values, mean, std = normalise_spectra(rows, 2.0)
    assert torch.allclose(values.mean(dim=1), torch.zeros(4, dtype=torch.float64), atol=1e-7)
    assert torch.allclose(values.std(dim=1, correction=0), torch.ones(4, dtype=torch.float64), atol=1e-7)
    compressed = torch.asinh(rows.double() / 2.0)
    assert torch.allclose(mean, compressed.mean(dim=1))
    assert torch.allclose(std, compressed.std(dim=1, correction=0))


def test_a_constant_row_becomes_zero_and_comes_back():
    rows = torch.full((1, 5), 7.0)
    normalised = normalise_spectra(rows)
    assert not normalised.values.any()
    assert torch.allclose(restore_spectra(*normalised), rows.double())


def test_each_row_may_have_its_own_scale_and_nan_stands_for_none():
    rows = torch.tensor([[0.0, 1.0, 50.0], [0.0, 1.0, 50.0], [0.0, 1.0, 50.0]])
    scales = (0.5, 20.0, None)
    parts = [normalise_spectra(rows[i : i + 1], scale) for i, scale in enumerate(scales)]
    values, mean, std = (torch.cat(part) for part in zip(*parts, strict=True))
    restored = restore_spectra(values, mean, std, torch.tensor([0.5, 20.0, torch.nan]))
    assert torch.allclose(restored, rows.double())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scales_must_be_positive(scale):
    with pytest.raises(InputError, match="scale is"):
        normalise_spectra(torch.ones(1, 2), scale)


def test_shapes_must_fit():
    with pytest.raises(InputError, match=r"values must have the shape \(N, F\)"):
        normalise_spectra(torch.ones(3))
    with pytest.raises(InputError, match=r"got \(2, 3\), \(2,\), \(1,\), \(\)"):
        restore_spectra(torch.ones(2, 3), torch.ones(2), torch.ones(1))
