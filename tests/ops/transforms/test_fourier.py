from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.transforms.fourier import ADJOINT_NORM, hartley, irfft, real_fft, rfft

SHAPES = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 5), (7, 31), (8, 6), (8, 7)]
NORMS = ["ortho", "backward", "forward", None]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("norm", NORMS)
def test_equals_numpy(shape: tuple[int, int], norm: str | None) -> None:
    x = random(3, *shape)
    full = np.fft.fft2(x.numpy(), norm=norm)
    np.testing.assert_allclose(rfft(x, (-2, -1), norm).numpy(), np.fft.rfft2(x.numpy(), norm=norm), atol=1e-12)
    np.testing.assert_allclose(rfft(x, 1, norm).numpy(), np.fft.rfft(x.numpy(), axis=1, norm=norm), atol=1e-12)
    np.testing.assert_allclose(real_fft(x, (-2, -1), norm).numpy(), full.real, atol=1e-12)
    np.testing.assert_allclose(hartley(x, (-2, -1), norm).numpy(), full.real - full.imag, atol=1e-12)
    along = np.fft.fft(x.numpy(), axis=-2, norm=norm)
    np.testing.assert_allclose(real_fft(x, -2, norm).numpy(), along.real, atol=1e-12)
    np.testing.assert_allclose(hartley(x, -2, norm).numpy(), along.real - along.imag, atol=1e-12)
    torch.testing.assert_close(irfft(rfft(x, (-2, -1), norm), shape, (-2, -1), norm), x)
    torch.testing.assert_close(irfft(rfft(x, 1, norm), shape[0], 1, norm), x)


def test_three_axes_equal_numpy() -> None:
    x = random(3, 4, 5)
    full = np.fft.fftn(x.numpy(), norm="ortho")
    np.testing.assert_allclose(real_fft(x, (-3, -2, -1)).numpy(), full.real, atol=1e-12)
    np.testing.assert_allclose(hartley(x, (0, 1, 2)).numpy(), full.real - full.imag, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (3, 5), (4, 6)])
@pytest.mark.parametrize("norm", NORMS)
def test_gradients(shape: tuple[int, int], norm: str | None) -> None:
    x = random(*shape).requires_grad_()
    both = (-2, -1)
    for function in (
        lambda x: torch.view_as_real(rfft(x, both, norm)),
        lambda x: irfft(rfft(x, both, norm) * (1 + 2j), shape, both, norm),
        lambda x: irfft(rfft(x, -2, norm).square(), shape[0], -2, norm),
        lambda x: real_fft(x, both, norm),
        lambda x: hartley(x, -2, norm),
    ):
        assert torch.autograd.gradcheck(function, x)
    assert torch.autograd.gradgradcheck(lambda x: irfft(rfft(x, both, norm).square(), shape, both, norm), x)
    assert torch.autograd.gradgradcheck(lambda x: real_fft(x, both, norm).square(), x)


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("bins", [1, 3, 4, 5, 9])
def test_short_and_long_half_spectra(size: int, bins: int) -> None:
    spectrum = torch.complex(random(2, bins), random(2, bins).flip(0)).requires_grad_()
    expected = torch.fft.irfft(spectrum, n=size, norm="ortho")
    out = irfft(spectrum, size)
    torch.testing.assert_close(out, expected)
    grads = [torch.autograd.grad(y.sin().sum(), spectrum)[0] for y in (out, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("norm", ["ortho", "backward", "forward"])
def test_adjoint_norm(norm: str) -> None:
    x, y = random(6), torch.complex(random(6), random(6).flip(0))
    left = torch.vdot(y, torch.fft.fft(x.to(y.dtype), norm=norm))
    right = torch.vdot(torch.fft.ifft(y, norm=ADJOINT_NORM[norm]), x.to(y.dtype))
    torch.testing.assert_close(left, right)


def test_hartley_is_an_orthogonal_involution() -> None:
    x = random(4, 9, 6)
    y = hartley(x, (-2, -1))
    torch.testing.assert_close(hartley(y, (-2, -1)), x)
    torch.testing.assert_close(y.square().sum((-2, -1)), x.square().sum((-2, -1)))


def test_compile_export_vmap_and_strides() -> None:
    x = random(3, 8, 6)

    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return irfft(rfft(x, -2) * 2, x.shape[-2], -2) + real_fft(x, (-2, -1)) + hartley(x, -1)

    expected = Module()(x)
    torch.testing.assert_close(torch.compile(Module(), backend="aot_eager", fullgraph=True)(x), expected)
    torch.testing.assert_close(torch.export.export(Module(), (x,)).module()(x), expected)
    torch.testing.assert_close(torch.vmap(Module())(x), expected)
    torch.testing.assert_close(Module()(x.transpose(0, 2).contiguous().transpose(0, 2)), expected)
    compiled = torch.compile(Module(), backend="aot_eager", fullgraph=True)
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for function, leaf in zip((compiled, Module()), leaves, strict=True):
        function(leaf).sin().sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_empty_batches() -> None:
    for shape, dim in (((0, 8), -1), ((2, 8, 0), 1), ((0, 8, 6), (-2, -1))):
        x = torch.zeros(shape, requires_grad=True)
        sizes = 8 if isinstance(dim, int) else (8, 6)
        out = irfft(rfft(x, dim), sizes, dim) + hartley(x, dim)
        assert out.shape == shape
        out.sum().backward()
    with pytest.raises(RuntimeError, match="at least one point"):
        rfft(torch.zeros(3, 0))


def test_bad_norm() -> None:
    with pytest.raises(InputError, match="norm is 'unitary'"):
        rfft(torch.zeros(3), norm="unitary")
