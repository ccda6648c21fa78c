"""Endmembers by non-negative matrix factorisation, and by name."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import NMF
from torch import Tensor

from stgraph.errors import InputError
from stgraph.models.fusion import make_endmembers
from stgraph.ops.fusion.endmembers import extract_endmembers


def mixed_spectra(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    weights, pure = (torch.rand(*shape, generator=generator) for shape in ((40, 3), (3, 10)))
    return (weights @ pure / 2 + 0.01 * torch.randn(40, 10, generator=generator)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nmf_is_that_of_scikit_learn(dtype: torch.dtype) -> None:
    spectra = mixed_spectra(dtype)
    spectra[0, 0], spectra[1, 1] = -0.5, 1.5
    expected = NMF(3, init="nndsvda", solver="cd", max_iter=5000, tol=1e-4, random_state=42)
    expected.fit(spectra.clamp(0, 1).numpy())
    found = make_endmembers(spectra, 3)
    assert found.dtype == dtype
    assert torch.equal(found, torch.from_numpy(expected.components_))


def test_nmf_of_a_half_precision_type() -> None:
    found = make_endmembers(mixed_spectra(torch.bfloat16), 2)
    assert found.dtype == torch.bfloat16
    assert (found >= 0).all()


@pytest.mark.parametrize("method", ["vca", "nfindr", "atgp", "pca"])
def test_the_other_methods_are_those_of_geometry(method: str) -> None:
    spectra = mixed_spectra()
    assert torch.equal(make_endmembers(spectra, 3, method, 7), extract_endmembers(spectra, 3, method, 7))


def test_bad_input() -> None:
    with pytest.raises(InputError, match="method is 'vac'"):
        make_endmembers(mixed_spectra(), 2, "vac")
    with pytest.raises(InputError, match="count is 11"):
        make_endmembers(mixed_spectra(), 11)
