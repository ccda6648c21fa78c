from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage, signal
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import blur, boundary_index, psf_kernel, tiles

# What scipy.ndimage calls the boundaries.
MODES = {"reflect": "mirror", "replicate": "nearest", "zero": "constant"}


def lopsided(size: int) -> Tensor:
    kernel = torch.rand(size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return kernel / kernel.sum()


def random_image(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_like_scipy_on_every_boundary(boundary: str, dtype: torch.dtype) -> None:
    image, kernel = random_image(3, 17, 13, dtype=dtype), lopsided(5)
    expected = [
        ndimage.convolve(band.double().numpy(), kernel.numpy(), mode=MODES[boundary], cval=0.0) for band in image
    ]
    blurred = blur(image, kernel, boundary)
    assert blurred.dtype == dtype
    np.testing.assert_allclose(blurred.numpy(), np.stack(expected), atol=1e-6 if dtype == torch.float32 else 1e-12)


def test_like_convolve2d_with_zeros() -> None:
    image, kernel = random_image(1, 12, 16), lopsided(7)
    expected = signal.convolve2d(image[0].numpy(), kernel.numpy(), mode="same")
    np.testing.assert_allclose(blur(image, kernel, "zero")[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_point_becomes_the_kernel_and_not_its_mirror_image(dtype: torch.dtype) -> None:
    image = torch.zeros(1, 9, 9, dtype=dtype)
    image[0, 4, 4] = 1
    kernel = lopsided(3).to(dtype)
    torch.testing.assert_close(blur(image, kernel)[0, 3:6, 3:6], kernel)


@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_a_constant_stays_up_to_the_border(boundary: str) -> None:
    image = torch.full((2, 10, 10), 0.7)
    torch.testing.assert_close(blur(image, psf_kernel("gaussian"), boundary), image)


def test_zeros_outside_darken_the_border() -> None:
    blurred = blur(torch.ones(1, 30, 30), psf_kernel("gaussian"), "zero")
    assert float(blurred[0, 0, 0]) < 0.5
    assert float(blurred[0, 15, 15]) == pytest.approx(1)


def test_an_image_smaller_than_the_kernel_is_mirrored_repeatedly() -> None:
    image, kernel = random_image(1, 3, 2), lopsided(15)
    expected = ndimage.convolve(image[0].numpy(), kernel.numpy(), mode="mirror")
    np.testing.assert_allclose(blur(image, kernel)[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("boundary", MODES)
def test_boundary_index_agrees_with_numpy_pad(boundary: str) -> None:
    mode = {"reflect": "reflect", "replicate": "edge", "zero": "constant"}[boundary]
    options = {"constant_values": -1} if boundary == "zero" else {}
    for size, half_size in ((5, 3), (3, 7), (1, 2)):
        expected = np.pad(np.arange(size), half_size, mode=mode, **options)
        assert boundary_index(size, half_size, boundary).tolist() == expected.tolist()


def test_leading_dimensions_and_strides_do_not_matter() -> None:
    image, kernel = random_image(2, 3, 8, 6, dtype=torch.float32), lopsided(3)
    single = torch.stack([blur(part, kernel) for part in image])
    torch.testing.assert_close(blur(image, kernel), single)
    last = image.permute(0, 2, 3, 1).contiguous()
    torch.testing.assert_close(blur(last.permute(0, 3, 1, 2), kernel), single)


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [8, 5, 1])
def test_tiles_give_what_one_piece_gives(boundary: str, dtype: torch.dtype, size: int) -> None:
    image, kernel = random_image(2, 20, 11, dtype=dtype), lopsided(7)
    whole = blur(image, kernel, boundary)
    assembled = torch.full_like(whole, torch.nan)
    for tile in tiles(20, 11, size, halo=3):
        assembled[(..., *tile.inner)] = blur(image[(..., *tile.outer)], kernel, boundary)[(..., *tile.local)]
    assert float((assembled - whole).abs().max()) < 1e-6


def test_tiles_cover_every_pixel_once() -> None:
    count = torch.zeros(10, 7)
    for tile in tiles(10, 7, 4, halo=2):
        count[tile.inner] += 1
        outer = torch.arange(70).view(10, 7)[tile.outer]
        assert torch.equal(outer[tile.local], torch.arange(70).view(10, 7)[tile.inner])
    assert bool((count == 1).all())


@pytest.mark.parametrize("arguments", [(0, 3, 2, 0), (3, 3, 0, 0), (3, 3, 2, -1)])
def test_bad_tiles(arguments: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="must be positive and halo 0 or more"):
        tiles(*arguments)


@pytest.mark.parametrize("boundary", MODES)
def test_gradients(boundary: str) -> None:
    image, kernel = random_image(2, 5, 4).requires_grad_(), lopsided(3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, k: blur(x, k, boundary), (image, kernel))


def test_gradients_of_both_ways_agree() -> None:
    single = random_image(2, 9, 9, dtype=torch.float32).requires_grad_()
    double = single.detach().double().requires_grad_()
    for image in (single, double):
        blur(image, lopsided(5)).square().sum().backward()
    torch.testing.assert_close(single.grad, double.grad.float())


def test_bad_inputs() -> None:
    image, kernel = torch.zeros(1, 4, 4), torch.ones(3, 3)
    with pytest.raises(InputError, match="reflect, replicate, zero, got 'wrap'"):
        blur(image, kernel, "wrap")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="odd size"):
        blur(image, torch.ones(2, 2))
    with pytest.raises(InputError, match="bands, rows, columns"):
        blur(image[0], kernel)
    with pytest.raises(InputTypeError, match=r"float32 or float64, got torch\.int64"):
        blur(image.long(), kernel)
