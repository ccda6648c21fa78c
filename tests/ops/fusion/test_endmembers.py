"""Endmembers from the geometry of spectra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.endmembers import extract_endmembers

GEOMETRIC = ("vca", "nfindr", "atgp")


def planted(count: int = 4, bands: int = 12, pixels: int = 60, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pure spectra, and mixtures of them with each pure one at a random place."""
    generator = torch.Generator().manual_seed(seed)
    pure = torch.rand(count, bands, generator=generator, dtype=torch.float64)
    weights = torch.rand(pixels, count, generator=generator, dtype=torch.float64)
    weights = weights / weights.sum(dim=1, keepdim=True)
    weights[torch.randperm(pixels, generator=generator)[:count]] = torch.eye(count, dtype=torch.float64)
    return pure, weights @ pure


def in_order(spectra: Tensor) -> Tensor:
    return spectra[spectra[:, 0].argsort()]


@pytest.mark.parametrize("method", GEOMETRIC)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pure_pixels_are_found(method: str, seed: int) -> None:
    pure, spectra = planted(seed=seed)
    assert torch.allclose(in_order(extract_endmembers(spectra, 4, method, seed)), in_order(pure), rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", GEOMETRIC)
def test_the_order_of_the_pixels_does_not_matter(method: str) -> None:
    _, spectra = planted()
    shuffled = spectra[torch.randperm(len(spectra), generator=torch.Generator().manual_seed(3))]
    assert torch.allclose(extract_endmembers(spectra, 3, method), extract_endmembers(shuffled, 3, method), atol=1e-12)


def test_nfindr_has_the_largest_simplex_of_single_swaps() -> None:
    generator = torch.Generator().manual_seed(4)
    # In two bands the principal components are a rotation, so areas can be compared directly.
    spectra = torch.rand(40, 3, generator=generator, dtype=torch.float64)
    spectra[:, 2] = 0.5
    found = extract_endmembers(spectra, 3, "nfindr")

    def area(corners: Tensor) -> Tensor:
        edges = corners[1:, :2] - corners[0, :2]
        return (edges[0, 0] * edges[1, 1] - edges[0, 1] * edges[1, 0]).abs()

    for corner in range(3):
        for pixel in spectra:
            swapped = found.clone()
            swapped[corner] = pixel
            assert area(swapped) <= area(found) * (1 + 1e-5)


def test_atgp_starts_from_the_brightest_and_continues_orthogonally() -> None:
    spectra = torch.tensor([[0.9, 0.0, 0.0], [0.8, 0.3, 0.0], [0.7, 0.0, 0.2]])
    assert torch.equal(extract_endmembers(spectra, 3, "atgp"), spectra[[0, 1, 2]])


def test_pca_spans_the_spectra() -> None:
    _, spectra = planted()
    found = extract_endmembers(spectra, 4, "pca")
    assert torch.allclose(found[0], spectra.mean(dim=0))
    scores = (spectra - found[0]) @ torch.linalg.pinv(found[1:])
    assert torch.allclose(scores @ found[1:] + found[0], spectra, atol=1e-10)
    assert torch.allclose(scores.std(dim=0, correction=0), torch.ones(3, dtype=torch.float64))
    assert (found[1:].gather(1, found[1:].abs().argmax(dim=1, keepdim=True)) > 0).all()


@pytest.mark.parametrize("method", [*GEOMETRIC, "pca"])
def test_a_single_endmember(method: str) -> None:
    _, spectra = planted()
    found = extract_endmembers(spectra, 1, method)
    expected = spectra.mean(dim=0) if method == "pca" else spectra
    assert ((found - expected).abs().sum(dim=-1) < 1e-12).any()


def test_values_are_clipped() -> None:
    spectra = torch.tensor([[2.0, -1.0, 0.0], [-0.5, 1.5, 0.0], [0.5, 0.5, 0.0]])
    found = extract_endmembers(spectra, 2, "atgp")
    assert torch.equal(in_order(found), torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_dtype_stays(dtype: torch.dtype) -> None:
    assert extract_endmembers(planted()[1].to(dtype), 3).dtype == dtype


@pytest.mark.parametrize("count", [0, 13, 61])
def test_an_impossible_count(count: int) -> None:
    with pytest.raises(InputError, match=f"count is {count}; expected 1 to 12"):
        extract_endmembers(planted()[1], count)


@pytest.mark.parametrize("method", GEOMETRIC)
def test_too_few_dimensions(method: str) -> None:
    with pytest.raises(InputError, match="span 4 dimensions; expected at least 5"):
        extract_endmembers(planted()[1], 5, method)


def test_bad_input() -> None:
    spectra = planted()[1]
    with pytest.raises(InputError, match="method is 'nmf'"):
        extract_endmembers(spectra, 2, "nmf")
    with pytest.raises(InputError, match="2 values of spectra are not finite"):
        extract_endmembers(spectra.index_fill(0, torch.tensor([1]), torch.nan)[:, :2], 2)
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        extract_endmembers(torch.zeros(3), 1)
    with pytest.raises(InputTypeError, match=r"torch\.int64"):
        extract_endmembers(torch.zeros(3, 3, dtype=torch.long), 1)
