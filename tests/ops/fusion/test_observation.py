from __future__ import annotations

import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import area_downsample, blur, psf_kernel
from stgraph.ops.fusion.observation import check_pair, observation_graph, observe, observe_adjoint

BOUNDARIES = ("reflect", "replicate", "zero")
# Rows, columns, ratio and size of the kernel: multiples of the ratio, sizes that are none, and a kernel over the edge.
CASES = [(12, 8, 4, 5), (13, 11, 3, 3), (6, 5, 1, 3), (5, 7, 5, 15)]


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def lopsided(size: int, dtype: torch.dtype = torch.float64) -> Tensor:
    kernel = random(size, size, seed=1, dtype=dtype)
    return kernel / kernel.sum()


def matrix(height: int, width: int, psf: Tensor, ratio: int, boundary: str) -> Tensor:
    edge_index, edge_weight = observation_graph(height, width, psf, ratio, boundary)  # type: ignore[arg-type]
    dense = torch.zeros((height // ratio) * (width // ratio), height * width, dtype=psf.dtype)
    dense[edge_index[1], edge_index[0]] = edge_weight
    assert int((dense != 0).sum()) == edge_weight.numel()  # each pair of pixels has one edge, and none of weight 0
    return dense


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("height", "width", "ratio", "size"), CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_edges_are_blur_and_downsampling(
    height: int, width: int, ratio: int, size: int, boundary: str, dtype: torch.dtype
) -> None:
    image, psf = random(2, height, width, dtype=dtype), lopsided(size, dtype)
    expected = area_downsample(blur(image, psf, boundary), ratio)  # type: ignore[arg-type]
    by_edges = image.flatten(1) @ matrix(height, width, psf, ratio, boundary).T
    torch.testing.assert_close(by_edges.view_as(expected), expected, atol=1e-6, rtol=0)
    assert torch.equal(observe(image, psf, ratio, boundary), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("height", "width", "ratio", "size"), CASES)
def test_adjoint_is_the_transpose(height: int, width: int, ratio: int, size: int, boundary: str) -> None:
    image, coarse, psf = random(2, height, width), random(2, height // ratio, width // ratio, seed=2), lopsided(size)
    back = observe_adjoint(coarse, psf, ratio, (height, width), boundary)  # type: ignore[arg-type]
    seen = observe(image, psf, ratio, boundary)  # type: ignore[arg-type]
    assert float((seen * coarse).sum()) == pytest.approx(float((image * back).sum()), rel=1e-12)
    by_edges = coarse.flatten(1) @ matrix(height, width, psf, ratio, boundary)
    torch.testing.assert_close(back, by_edges.view_as(back), atol=1e-12, rtol=0)


@pytest.mark.parametrize("boundary", ["reflect", "replicate"])
def test_weights_of_a_coarse_pixel_add_up_to_one(boundary: str) -> None:
    rows = matrix(13, 8, psf_kernel("gaussian", 2.0, 3), 4, boundary).sum(dim=1)
    torch.testing.assert_close(rows, torch.ones(6, dtype=torch.float64))


def test_zeros_outside_take_weight_away() -> None:
    assert bool((matrix(8, 8, psf_kernel("gaussian", 2.0, 3), 4, "zero").sum(dim=1) < 0.99).all())


def test_sharp_blocks_without_blur() -> None:
    edge_index, edge_weight = observation_graph(4, 4, psf_kernel("delta", half_size=2), 2)
    assert edge_index.shape == (2, 16)
    torch.testing.assert_close(edge_weight, torch.full((16,), 0.25, dtype=torch.float64))
    assert edge_index[0, :4].tolist() == [0, 1, 4, 5]


def test_bad_input() -> None:
    psf = lopsided(3)
    with pytest.raises(InputError, match="odd size"):
        observation_graph(8, 8, torch.ones(2, 2), 4)
    with pytest.raises(InputTypeError, match=r"psf .* torch.int64"):
        observation_graph(8, 8, torch.ones(3, 3, dtype=torch.int64), 4)
    with pytest.raises(InputError, match=r"ratio must be 1\.\.8"):
        observation_graph(8, 8, psf, 9)
    with pytest.raises(InputError, match="boundary"):
        observation_graph(8, 8, psf, 4, "wrap")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="image must have 2 x 2 pixels"):
        observe_adjoint(torch.zeros(1, 3, 2), psf, 4, (8, 8))


def test_a_pair_that_does_not_fit() -> None:
    lr_hsi, hr_msi, srf = torch.zeros(5, 2, 3), torch.zeros(2, 8, 12), torch.full((2, 5), 0.2)
    check_pair(lr_hsi, hr_msi, srf, 4)
    with pytest.raises(InputError, match="hr_msi must have 2 times"):
        check_pair(lr_hsi, hr_msi, srf, 2)
    with pytest.raises(InputError, match=r"srf must have the shape \(2, 5\)"):
        check_pair(lr_hsi, hr_msi, srf.T, 4)
    with pytest.raises(InputTypeError, match="one dtype"):
        check_pair(lr_hsi.double(), hr_msi, srf, 4)
    with pytest.raises(InputTypeError, match=r"lr_hsi .* torch.int64"):
        check_pair(lr_hsi.long(), hr_msi, srf, 4)
    with pytest.raises(InputError, match="lr_hsi must have the shape"):
        check_pair(lr_hsi[0], hr_msi, srf, 4)
    with pytest.raises(InputError, match="hr_msi must be finite, got 192"):
        check_pair(lr_hsi, hr_msi.log(), srf, 4)
