from __future__ import annotations

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.transforms.cosine import _MATRIX_POINTS, _Orthonormal, dct, dst, idct, idst

SIZES = [1, 2, 3, 4, 5, 31, 63, 64, 65, 66, 67, 100, 129]
SCIPY = {dct: scipy.fft.dct, idct: scipy.fft.idct, dst: scipy.fft.dst, idst: scipy.fft.idst}


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("norm", ["ortho", None])
@pytest.mark.parametrize("type", [2, 3, 4])
@pytest.mark.parametrize("function", list(SCIPY), ids=lambda f: f.__name__)
def test_equals_scipy_along_any_axis(function, type: int, norm: str | None, size: int) -> None:
    for shape, dim in (((2, 3, size), -1), ((2, size, 3), 1), ((size, 2, 3), -3)):
        x = random(*shape)
        expected = SCIPY[function](x.numpy(), type=type, axis=dim, norm=norm)
        np.testing.assert_allclose(function(x, type, dim, norm).numpy(), expected, atol=1e-10)


@pytest.mark.parametrize("sine", [False, True])
@pytest.mark.parametrize("type", [2, 3, 4])
@pytest.mark.parametrize("size", [1, 2, 7, 16, 31, 64])
def test_fourier_algorithm_equals_the_matrix(size: int, type: int, sine: bool) -> None:
    x = random(3, size)
    function = dst if sine else dct
    assert size <= _MATRIX_POINTS
    torch.testing.assert_close(_Orthonormal.apply(x, type, -1, sine), function(x, type), rtol=0, atol=1e-12)


def test_type_2_is_its_definition() -> None:
    x = random(7)
    j = torch.arange(7, dtype=torch.float64)
    for k in range(7):
        cosine = (x * torch.cos(torch.pi * (2 * j + 1) * k / 14)).sum()
        sine = (x * torch.sin(torch.pi * (k + 1) * (2 * j + 1) / 14)).sum()
        torch.testing.assert_close(dct(x)[k], cosine * (1 / 7 if k == 0 else 2 / 7) ** 0.5)
        torch.testing.assert_close(dst(x)[k], sine * (1 / 7 if k == 6 else 2 / 7) ** 0.5)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200), st.sampled_from([2, 3, 4]), st.sampled_from([(dct, idct), (dst, idst)]))
def test_keeps_energy_and_inverts(size: int, type: int, pair) -> None:
    forward, inverse = pair
    x = random(size)
    y = forward(x, type)
    torch.testing.assert_close(y.norm(), x.norm())
    torch.testing.assert_close(inverse(y, type), x)
    torch.testing.assert_close(inverse(forward(x, type, norm=None), type, norm=None), x)


@pytest.mark.parametrize("function", [dct, idct, dst, idst])
@pytest.mark.parametrize("size", [5, 65])
def test_gradients(function, size: int) -> None:
    x = random(1, size)[:, :size].requires_grad_()
    for type in (2, 3, 4):
        assert torch.autograd.gradcheck(lambda x, t=type: function(x, t), x)
    assert torch.autograd.gradgradcheck(lambda x: function(x).square()[..., :3], x)


@pytest.mark.parametrize("size", [8, 100])
def test_complex_strided_empty_and_half(size: int) -> None:
    x, z = random(4, size), torch.complex(random(4, size), random(4, size).flip(0))
    np.testing.assert_allclose(dct(z).numpy(), scipy.fft.dct(z.numpy(), norm="ortho"), atol=1e-10)
    torch.testing.assert_close(dct(x.T.contiguous().T), dct(x))
    assert dct(x[:0]).shape == (0, size)
    half = dst(x.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.double(), dst(x.bfloat16().double()), rtol=0.01, atol=0.01)
    torch.testing.assert_close(dct(x.float()), dct(x).float(), rtol=0, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(dct(x.float()), dct(x).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [4096, 4097])
def test_stays_orthogonal_in_float32_at_large_sizes(size: int) -> None:
    x = random(2, size)
    for forward, inverse in ((dct, idct), (dst, idst)):
        torch.testing.assert_close(inverse(forward(x.float())).double(), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [12, 80])
def test_compile_export_and_vmap(size: int) -> None:
    x = random(3, size)

    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return idst(dct(x, 4), 2) + dct(x)

    expected = Module()(x)
    torch.testing.assert_close(torch.compile(Module(), backend="aot_eager", fullgraph=True)(x), expected)
    torch.testing.assert_close(torch.export.export(Module(), (x,)).module()(x), expected)
    torch.testing.assert_close(torch.vmap(Module())(x), expected)


def test_tables_made_in_inference_mode_can_be_trained_with() -> None:
    with torch.inference_mode():
        dct(random(2, 21))
    x = random(2, 21).requires_grad_()
    dct(x).sum().backward()
    assert x.grad is not None


def test_bad_input() -> None:
    with pytest.raises(InputError, match="type is 5; expected one of"):
        dct(torch.zeros(3), 5)
    with pytest.raises(InputError, match="type is 1"):
        idst(torch.zeros(3), 1)
    with pytest.raises(InputError, match="norm is 'backward'"):
        dst(torch.zeros(3), norm="backward")
    with pytest.raises(InputError, match="no points along axis -1"):
        dct(torch.zeros(3, 0))
    with pytest.raises(InputTypeError, match="dct got list; expected a tensor"):
        dct([1.0, 2.0])


def test_integers_are_transformed_as_numbers() -> None:
    torch.testing.assert_close(dct(torch.arange(5)), dct(torch.arange(5.0)))
