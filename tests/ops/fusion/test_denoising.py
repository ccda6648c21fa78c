from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import boundary_index, denoise_image, denoising, image_noise, neighbor_similarity


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def smooth(bands: int, height: int = 64, width: int = 64) -> Tensor:
    rows, columns = torch.arange(height).double()[:, None], torch.arange(width).double()
    frequency = torch.arange(1, bands + 1).double()[:, None, None] / 40
    return torch.sin(rows * frequency) + torch.cos(columns * frequency)


def blocks(bands: int, count: int = 8, size: int = 8, seed: int = 0) -> Tensor:
    """Squares of one value each."""
    return uniform(bands, count, count, seed=seed).repeat_interleave(size, 1).repeat_interleave(size, 2)


def weight_by_loop(image: Tensor, noise: Tensor, patch: int) -> Tensor:
    """The weight of every pair of pixels, ``[H, W, H, W]``, as the formula says it."""
    bands, height, width = image.shape
    rows = boundary_index(height, patch, "reflect").tolist()
    columns = boundary_index(width, patch, "reflect").tolist()
    weight = torch.zeros(height, width, height, width, dtype=image.dtype)
    pixels = list(itertools.product(range(height), range(width)))
    steps = list(itertools.product(range(2 * patch + 1), repeat=2))
    for (i, j), (k, m) in itertools.product(pixels, pixels):
        distance = 0.0
        for (u, v), band in itertools.product(steps, range(bands)):
            first = image[band, rows[i + u], columns[j + v]]
            second = image[band, rows[k + u], columns[m + v]]
            distance += float((first - second) / noise[band]) ** 2 / (bands * len(steps))
        weight[i, j, k, m] = math.exp(-max(distance - 2, 0))
    return weight


# Noise


@pytest.mark.parametrize("bands", [1, 4])
@pytest.mark.parametrize("deviation", [0.01, 0.3])
def test_white_noise_on_a_smooth_image_is_measured(bands: int, deviation: float) -> None:
    image = smooth(bands) + deviation * normal(bands, 64, 64)
    found = image_noise(image)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, torch.full((bands,), deviation).double(), rtol=0.1, atol=0)


def test_structure_that_the_bands_share_is_no_noise() -> None:
    # Three materials in fine texture: each of the five bands is a mixture of the same three images.
    image = torch.einsum("bk,khw->bhw", uniform(5, 3), uniform(3, 64, 64, seed=1)) + 0.02 * normal(5, 64, 64)
    expected = torch.full((5,), 0.02).double()
    torch.testing.assert_close(image_noise(image), expected, rtol=0.35, atol=0)
    assert bool((image_noise(image[:1]) > 10 * expected[:1]).all())


def test_an_edge_now_and_then_is_no_noise() -> None:
    image = blocks(3) + 0.02 * normal(3, 64, 64)
    torch.testing.assert_close(image_noise(image), torch.full((3,), 0.02).double(), rtol=0.15, atol=0)


def test_the_formula_of_the_regression() -> None:
    image = normal(3, 9, 10) + normal(1, 9, 10, seed=1)
    mask = torch.tensor([1.0, -2.0, 1.0]).double()
    filtered = torch.nn.functional.conv2d(image[:, None], torch.outer(mask, mask)[None, None]).flatten(1) / 6
    alone = filtered.abs().median(dim=1).values / 0.6745
    filtered = filtered / alone[:, None]
    found = image_noise(image)
    for band in range(3):
        others = [other for other in range(3) if other != band]
        coefficients = torch.linalg.lstsq(filtered[others].T, filtered[band, :, None]).solution[:, 0]
        rest = (filtered[band] - coefficients @ filtered[others]) / (1 + coefficients.square().sum()).sqrt()
        expected = torch.minimum(rest.abs().median(), filtered[band].abs().median()) / 0.6745
        torch.testing.assert_close(found[band], alone[band] * expected)


def test_noise_does_not_depend_on_the_units_of_a_band() -> None:
    image, units = blocks(3) + 0.02 * normal(3, 64, 64), torch.tensor([1.0, 100.0, 1e-3])
    torch.testing.assert_close(image_noise(image * units[:, None, None]) / units, image_noise(image))


@pytest.mark.parametrize("factor", [1e-12, 1e9])
def test_noise_scales_with_the_image(factor: float) -> None:
    image = blocks(3) + 0.02 * normal(3, 64, 64)
    torch.testing.assert_close(image_noise(factor * image) / factor, image_noise(image))


def test_flat_blocks_have_no_noise() -> None:
    image = torch.zeros(3, 16, 16)
    image[:, 5:9, 5:9] = torch.tensor([0.2, 0.5, 0.7])[:, None, None]
    assert image_noise(image).tolist() == [0.0] * 3


def test_constant_bands_have_no_noise() -> None:
    assert image_noise(torch.full((3, 8, 8), 0.1)).tolist() == [0.0] * 3
    image = normal(3, 32, 32)
    image[1] = 0.3
    found = image_noise(image)
    assert float(found[1]) == pytest.approx(0.0, abs=1e-12)
    torch.testing.assert_close(found[[0, 2]], torch.ones(2).double(), rtol=0.1, atol=0)


def test_few_pixels_are_not_fitted_by_regression() -> None:
    image = normal(4, 3, 5)
    filtered = (image[:, :, :-2] - 2 * image[:, :, 1:-1] + image[:, :, 2:]).mul(torch.tensor([[1.0], [-2], [1]])).sum(1)
    torch.testing.assert_close(image_noise(image), filtered.abs().median(dim=1).values / (6 * 0.6745))


# Non-local means


@pytest.mark.parametrize(("shape", "search", "patch"), [((2, 5, 4), 2, 1), ((1, 3, 6), 4, 2), ((3, 1, 7), 2, 1)])
def test_non_local_means_equals_the_formula(shape: tuple[int, int, int], search: int, patch: int) -> None:
    image = uniform(*shape)
    noise = 0.15 + 0.1 * uniform(shape[0], seed=1)
    weight = weight_by_loop(image, noise, patch)
    assert bool(((weight > 0.01) & (weight < 0.9)).any())
    rows, columns = torch.arange(shape[1]), torch.arange(shape[2])
    near = ((rows[:, None] - rows).abs() <= search)[:, None, :, None]
    weight = weight * near * ((columns[:, None] - columns).abs() <= search)[None, :, None]
    expected = torch.einsum("ijkl,bkl->bij", weight, image) / weight.sum(dim=(2, 3))
    torch.testing.assert_close(denoise_image(image, noise, search=search, patch=patch), expected)


def test_noise_on_constant_pieces_is_at_least_halved() -> None:
    truth = blocks(4)
    deviation = 10 ** (-30 / 20) * truth.square().mean().sqrt()
    image = truth + deviation * normal(4, 64, 64)
    error = (denoise_image(image, image_noise(image)) - truth).square().mean().sqrt()
    assert float(error) < 0.5 * float(deviation)


def test_a_constant_image_stays_to_the_last_digit() -> None:
    image = torch.full((2, 6, 7), 0.1)
    assert torch.equal(denoise_image(image, torch.tensor([0.1, 0.0])), image)


def test_a_band_may_have_any_unit() -> None:
    image = blocks(2, count=3) + 0.1 * normal(2, 24, 24)
    noise, unit = torch.tensor([0.1, 0.12]).double(), torch.tensor([1e4, 1e-7]).double()
    scaled = denoise_image(unit[:, None, None] * image, unit * noise) / unit[:, None, None]
    torch.testing.assert_close(scaled, denoise_image(image, noise))


def test_an_offset_costs_no_digits() -> None:
    image = (blocks(2, count=3) + 0.1 * normal(2, 24, 24)).mul(2**12).round().div(2**12).float()
    noise = torch.tensor([0.1, 0.1])
    found = denoise_image(image + 1024, noise) - 1024
    torch.testing.assert_close(found, denoise_image(image, noise), rtol=0, atol=1.3e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_transposed_and_strided_images(dtype: torch.dtype) -> None:
    image = (blocks(2, count=3) + 0.1 * normal(2, 24, 24))[:, :, :17].to(dtype)
    noise = torch.tensor([0.1, 0.1], dtype=torch.float64)
    expected = denoise_image(image, noise)
    assert expected.dtype == dtype
    torch.testing.assert_close(denoise_image(image.mT, noise).mT, expected)
    strided = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    torch.testing.assert_close(denoise_image(strided, noise), expected)
    torch.testing.assert_close(image_noise(strided), image_noise(image))
    torch.testing.assert_close(neighbor_similarity(strided, noise), neighbor_similarity(image, noise))


def test_strips_give_what_one_piece_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    image, noise = uniform(2, 11, 6), torch.tensor([0.2, 0.3]).double()
    whole, similarity = denoise_image(image, noise), neighbor_similarity(image, noise)
    monkeypatch.setattr(denoising, "_STRIP_PIXELS", 13)
    torch.testing.assert_close(denoise_image(image, noise), whole)
    torch.testing.assert_close(neighbor_similarity(image, noise), similarity)


def test_without_noise_nothing_is_averaged() -> None:
    image = uniform(2, 8, 8)
    kept = denoise_image(image, torch.zeros(2))
    assert torch.equal(kept, image)
    assert kept.data_ptr() != image.data_ptr()
    # One band without noise tells the pixels apart; the other band alone would be averaged.
    noise = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(denoise_image(image, noise), image)
    assert float((denoise_image(image[1:], noise[1:]) - image[1:]).abs().max()) > 0.1


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 9), (1, 2, 2)])
def test_tiny_images(shape: tuple[int, int, int]) -> None:
    image = uniform(*shape)
    noise = torch.full(shape[:1], 10.0)
    # All pixels look alike: each becomes the mean of its window.
    expected = image.mean(dim=(1, 2), keepdim=True).expand(shape)
    torch.testing.assert_close(denoise_image(image, noise, search=8, patch=2), expected)


def test_values_and_input_are_kept_in_bounds() -> None:
    image = blocks(2, count=3) + 0.1 * normal(2, 24, 24)
    before = image.clone().requires_grad_()
    found = denoise_image(before, torch.tensor([0.1, 0.1]))
    assert not found.requires_grad
    assert torch.equal(before, image)
    assert bool((found <= image.amax() + 1e-9).all())
    assert bool((found >= image.amin() - 1e-9).all())


# Weights of the pixel grid


@pytest.mark.parametrize("shape", [(2, 4, 5), (1, 1, 7), (2, 7, 1)])
def test_similarity_equals_the_formula(shape: tuple[int, int, int]) -> None:
    image = uniform(*shape)
    noise = 0.15 + 0.1 * uniform(shape[0], seed=1)
    weight = weight_by_loop(image, noise, patch=1)
    assert bool(((weight > 0.01) & (weight < 0.9)).any())
    expected = torch.zeros(4, *shape[1:], dtype=torch.float64)
    for edge, (down, right) in enumerate([(0, 1), (1, -1), (1, 0), (1, 1)]):
        for row, column in itertools.product(range(shape[1]), range(shape[2])):
            if row + down < shape[1] and 0 <= column + right < shape[2]:
                expected[edge, row, column] = weight[row, column, row + down, column + right]
    torch.testing.assert_close(neighbor_similarity(image, noise), expected)


def test_similarity_of_constant_and_noise_free_images() -> None:
    weight = neighbor_similarity(torch.full((2, 3, 3), 0.1), torch.zeros(2))
    assert weight.sum(dim=(1, 2)).tolist() == [6.0, 4.0, 6.0, 4.0]
    assert int(neighbor_similarity(uniform(2, 3, 3), torch.zeros(2)).count_nonzero()) == 0


# Errors


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 2, 9), r"at least 3 x 3 pixels to estimate its noise, got 2 x 9"),
        (torch.zeros(5, 5), r"shape \(\.\.\., bands, rows, columns\), got \(5, 5\)"),
        (torch.zeros(1, 2, 5, 5), r"shape \(bands, rows, columns\), got \(1, 2, 5, 5\)"),
        (torch.full((1, 5, 5), math.nan), "image must be finite"),
    ],
)
def test_bad_images(image: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        image_noise(image)


@pytest.mark.parametrize("function", [denoise_image, neighbor_similarity])
@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (torch.zeros(3), r"noise must have the shape \(2,\), one per band, got \(3,\)"),
        (torch.tensor([0.1, -0.1]), "noise must be finite and 0 or more"),
        (torch.tensor([0.1, math.inf]), "noise must be finite and 0 or more"),
    ],
)
def test_bad_noise(function: Callable[..., Tensor], noise: Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        function(torch.zeros(2, 4, 4), noise)
    with pytest.raises(InputTypeError, match="noise must be a tensor of real numbers, got float"):
        function(torch.zeros(2, 4, 4), 0.1)
    with pytest.raises(InputError, match="image must be finite"):
        function(torch.full((2, 4, 4), math.inf), torch.ones(2))


def test_bad_sizes() -> None:
    image, noise = torch.zeros(1, 4, 4), torch.ones(1)
    with pytest.raises(InputError, match="search must be 1 or more, got 0"):
        denoise_image(image, noise, search=0)
    with pytest.raises(InputError, match="patch must be 0 or more, got -1"):
        denoise_image(image, noise, patch=-1)
    with pytest.raises(InputTypeError, match="search must be a whole number of pixels, got float"):
        denoise_image(image, noise, search=2.0)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="image must be a tensor of float32 or float64"):
        image_noise(torch.zeros(1, 4, 4, dtype=torch.int64))
