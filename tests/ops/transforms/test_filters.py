from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.ops.transforms.filters import circular_filter, hermitian_half, resample_circular, resample_half


def response(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (5, 6), (8, 7), (8, 8)])
def test_only_the_hermitian_half_acts(shape: tuple[int, int]) -> None:
    h, x = response(*shape), torch.randn(*shape, dtype=torch.float64)
    expected = torch.fft.ifft2(h * torch.fft.fft2(x)).real
    torch.testing.assert_close(torch.fft.irfft2(hermitian_half(h, (0, 1)) * torch.fft.rfft2(x), s=shape), expected)
    expected = torch.fft.ifft(h * torch.fft.fft(x, dim=0), dim=0).real
    half = hermitian_half(h, (0,)) * torch.fft.rfft(x, dim=0)
    torch.testing.assert_close(torch.fft.irfft(half, n=shape[0], dim=0), expected)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40))
def test_resampling_keeps_zero_frequency_and_bounds(size: int, new_size: int) -> None:
    half = hermitian_half(response(size), (0,))
    out = resample_half(half, size, new_size, 0)
    assert out.shape == (new_size // 2 + 1,)
    torch.testing.assert_close(out[0], half[0])
    assert bool(out.isfinite().all())
    assert out.abs().max() <= half.abs().max() + 1e-9
    if new_size % 2 == 0:
        assert out[-1].imag.abs() < 1e-12
    whole = response(size)
    around = resample_circular(whole, new_size, 0)
    torch.testing.assert_close(around[0], whole[0])
    assert around.abs().max() <= whole.abs().max() + 1e-9


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(1, 4))
def test_a_multiple_length_keeps_the_bins(size: int, factor: int) -> None:
    half = hermitian_half(response(size), (0,))
    out = resample_half(half, size, factor * size, 0)
    kept = len(half) - (1 if size % 2 == 0 and factor == 1 else 0)
    torch.testing.assert_close(out[::factor][:kept], half[:kept])
    torch.testing.assert_close(resample_half(out, factor * size, size, 0).real, half.real)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(1, 20))
def test_circular_resampling_keeps_symmetry(size: int, new_size: int) -> None:
    h = response(size)
    index = -torch.arange(size) % size
    hermitian = (h + h[index].conj()) / 2
    out = resample_circular(hermitian, new_size, 0)
    torch.testing.assert_close(out[-torch.arange(new_size) % new_size].conj(), out)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward", None])
@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (5, 4), (2, 6)])
def test_filter_and_its_gradients_equal_those_of_the_transforms(norm: str | None, shape: tuple[int, int]) -> None:
    x = torch.randn(3, *shape, dtype=torch.float64).requires_grad_()
    for dim in ((-2,), (-2, -1)):
        half = hermitian_half(response(*shape), dim).requires_grad_()
        sizes = shape if len(dim) == 2 else shape[:1]
        plain = torch.fft.irfftn(half * torch.fft.rfftn(x, dim=dim), s=sizes, dim=dim)
        out = circular_filter(x, half, dim, norm)
        torch.testing.assert_close(out, plain)
        found, expected = (torch.autograd.grad(y.sin().sum(), (x, half)) for y in (out, plain))
        torch.testing.assert_close(found[0], expected[0])
        torch.testing.assert_close(torch.view_as_real(found[1]), torch.view_as_real(expected[1]))
        assert torch.autograd.gradcheck(lambda x, h, dim=dim: circular_filter(x, h, dim, norm), (x, half))
        assert torch.autograd.gradgradcheck(lambda x, h, dim=dim: circular_filter(x, h, dim, norm), (x, half))
