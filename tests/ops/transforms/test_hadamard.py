from __future__ import annotations

import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.transforms.hadamard import fwht, ifwht

SIZES = [1, 2, 4, 32, 64, 128, 2048, 8192]


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [1, 2, 4, 16, 64, 128, 512])
def test_equals_scipy_matrix(size: int) -> None:
    matrix = torch.as_tensor(scipy.linalg.hadamard(size), dtype=torch.float64)
    torch.testing.assert_close(fwht(torch.eye(size, dtype=torch.float64), norm=None), matrix, rtol=0, atol=0)
    torch.testing.assert_close(fwht(torch.eye(size, dtype=torch.float64)), matrix * size**-0.5)


@pytest.mark.parametrize("size", SIZES)
def test_any_axis_and_own_inverse(size: int) -> None:
    x = random(2, 3, size)
    y = fwht(x)
    torch.testing.assert_close(fwht(x.movedim(-1, 0), dim=0).movedim(0, -1), y)
    torch.testing.assert_close(fwht(x.transpose(1, 2), dim=1).transpose(1, 2), y)
    torch.testing.assert_close(fwht(y), x)
    torch.testing.assert_close(ifwht(fwht(x, norm=None), norm=None), x)
    torch.testing.assert_close(y.norm(), x.norm())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 9), st.integers(0, 2**9 - 1))
def test_a_dyadic_shift_changes_signs_only(bits: int, shift: int) -> None:
    size = 1 << bits
    x = random(size)
    moved = x[torch.arange(size) ^ (shift % size)]
    torch.testing.assert_close(fwht(moved).abs(), fwht(x).abs())


def test_gradients_complex_half_empty_and_compile() -> None:
    x = random(2, 8, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fwht(x, dim=1), x)
    assert torch.autograd.gradgradcheck(lambda x: fwht(x, dim=1).square(), x)
    z = torch.complex(random(4, 8), random(4, 8).flip(0))
    torch.testing.assert_close(fwht(z), torch.complex(fwht(z.real), fwht(z.imag)))
    assert fwht(random(3, 128).bfloat16()).dtype == torch.bfloat16
    assert fwht(random(0, 4)).shape == (0, 4)
    compiled = torch.compile(lambda x: fwht(x, dim=1), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), fwht(x, dim=1))


@pytest.mark.parametrize("size", [0, 3, 12, 100])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(InputError, match=rf"{size} points along axis -1; expected a power of 2"):
        fwht(torch.zeros(2, size))


def test_bad_input() -> None:
    with pytest.raises(InputError, match="norm is 'forward'"):
        fwht(torch.zeros(2), norm="forward")
    with pytest.raises(InputTypeError, match="fwht got float"):
        fwht(1.0)
