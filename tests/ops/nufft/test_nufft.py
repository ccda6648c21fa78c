from __future__ import annotations

import importlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.nufft import nufft

ENGINES = ["finufft", "gridding", "direct"]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "finufft":
        pytest.importorskip("finufft")
    return str(request.param)


def fourier_sum(t: Tensor, strengths: Tensor, freqs: Tensor) -> Tensor:
    phase = torch.exp(-2j * math.pi * t.double().unsqueeze(-1) * freqs.double().unsqueeze(-2))
    return strengths.to(torch.complex128) @ phase


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value - expected).norm() / expected.norm())


def problem(seed: int, *shape: int, num_freqs: int, span: float = 30.0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    t = torch.rand(shape[:-2] + shape[-1:], generator=generator, dtype=torch.float64) * span
    strengths = torch.randn(shape, generator=generator, dtype=torch.complex128)
    return t, strengths, torch.rand(num_freqs, generator=generator, dtype=torch.float64) * 8 - 2


@settings(deadline=None, max_examples=25)
@given(
    num_times=st.integers(1, 60),
    num_freqs=st.integers(1, 60),
    transforms=st.integers(1, 3),
    curves=st.integers(1, 3),
    span=st.floats(0.0, 200.0),
    seed=st.integers(0, 1000),
)
def test_torch_engines_agree_with_the_sum(
    num_times: int, num_freqs: int, transforms: int, curves: int, span: float, seed: int
) -> None:
    t, strengths, freqs = problem(seed, curves, transforms, num_times, num_freqs=num_freqs, span=span)
    expected = fourier_sum(t, strengths, freqs)
    scale = float(strengths.norm() * math.sqrt(num_freqs))  # the sum may cancel, errors are those of its terms
    for name in ("gridding", "direct"):
        assert float((nufft(t, strengths, freqs, engine=name) - expected).norm()) <= 1e-9 * scale


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("grid", ["random", "logarithmic", "linear", "falling"])
def test_engines_agree_on_all_grids(engine: str, grid: str, real: bool) -> None:
    t, strengths, freqs = problem(0, 2, 3, 150, num_freqs=200)
    values = strengths.real if real else strengths
    freqs = {
        "random": freqs,
        "logarithmic": torch.logspace(-2, 1, 200, dtype=torch.float64),
        "linear": 0.3 + 0.05 * torch.arange(200, dtype=torch.float64),
        "falling": 1.0 - 0.02 * torch.arange(200, dtype=torch.float64),
    }[grid]
    # finufft bounds the error by a small multiple of eps.
    limit = 1e-8 if engine == "finufft" else 1e-9
    assert relative_error(nufft(t, values, freqs, engine=engine), fourier_sum(t, values, freqs)) <= limit


@pytest.mark.parametrize("eps", [1e-3, 1e-6, 1e-9, 1e-12])
def test_gridding_keeps_the_error_asked_for(eps: float) -> None:
    t, strengths, freqs = problem(1, 2, 400, num_freqs=300)
    expected = fourier_sum(t, strengths, freqs)
    assert relative_error(nufft(t, strengths, freqs, eps=eps, engine="gridding"), expected) <= eps
    linear = 0.2 + 0.03 * torch.arange(300, dtype=torch.float64)
    result = nufft(t, strengths, linear, eps=eps, engine="gridding")
    assert relative_error(result, fourier_sum(t, strengths, linear)) <= eps


def test_regular_times_and_frequencies_are_an_fft(engine: str) -> None:
    x = torch.randn(3, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    freqs = torch.arange(64, dtype=torch.float64) / 64
    result = nufft(torch.arange(64, dtype=torch.float64), x, freqs, engine=engine)
    torch.testing.assert_close(result, torch.fft.fft(x.to(torch.complex128)), rtol=0, atol=1e-7)


def test_a_batch_is_its_rows(engine: str) -> None:
    t, strengths, _ = problem(2, 2, 4, 3, 40, num_freqs=1)
    freqs = torch.rand(2, 4, 21, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    whole = nufft(t, strengths, freqs, engine=engine)
    assert whole.shape == (2, 4, 3, 21)
    assert whole.dtype == torch.complex128
    for i in range(2):
        for j in range(4):
            row = nufft(t[i, j], strengths[i, j], freqs[i, j], engine=engine)
            torch.testing.assert_close(whole[i, j], row, rtol=0, atol=1e-7)


def test_leading_dimensions_are_broadcast(engine: str) -> None:
    t, strengths, freqs = problem(4, 5, 2, 30, num_freqs=11)
    shared = nufft(t[0], strengths, freqs, engine=engine)
    torch.testing.assert_close(shared, fourier_sum(t[:1], strengths, freqs), rtol=0, atol=1e-6)
    one = nufft(t, strengths[0], freqs, engine=engine)
    torch.testing.assert_close(one, fourier_sum(t, strengths[:1], freqs), rtol=0, atol=1e-6)


def test_memory_order_and_type_of_the_inputs_do_not_matter(engine: str) -> None:
    t, strengths, freqs = problem(5, 3, 2, 30, num_freqs=11)
    expected = nufft(t, strengths, freqs, engine=engine)
    strided = strengths.transpose(0, 2).contiguous().transpose(0, 2)
    assert not strided.is_contiguous()
    torch.testing.assert_close(
        nufft(t.t().contiguous().t(), strided, freqs.repeat(2, 1).t()[:, 0], engine=engine), expected
    )
    arrays = t.numpy().astype(">f8"), strengths.numpy(), freqs.numpy()[::-1]
    torch.testing.assert_close(nufft(*arrays, engine=engine).flip(-1), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("num_times", "num_freqs"), [(1, 1), (1, 7), (7, 1)])
def test_single_points(engine: str, num_times: int, num_freqs: int) -> None:
    t, strengths, freqs = problem(6, 2, num_times, num_freqs=num_freqs)
    result = nufft(t, strengths, freqs, engine=engine)
    torch.testing.assert_close(result, fourier_sum(t, strengths, freqs), rtol=0, atol=1e-7)


def test_points_of_strength_zero_do_not_count(engine: str) -> None:
    t, strengths, freqs = problem(7, 2, 30, num_freqs=20)
    padded = nufft(torch.cat([t, t[-1:].expand(6)]), torch.nn.functional.pad(strengths, (0, 6)), freqs, engine=engine)
    torch.testing.assert_close(padded, nufft(t, strengths, freqs, engine=engine), rtol=0, atol=1e-7)


def test_blocks_of_bounded_memory_give_the_same_result(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    t, strengths, freqs = problem(8, 5, 3, 30, num_freqs=40)
    whole = nufft(t, strengths, freqs, engine=engine)
    for module, block in (("direct", 100), ("gridding", 1500), ("gridding", 10)):
        monkeypatch.setattr(importlib.import_module(f"stgraph.ops.nufft.{module}"), "_BLOCK", block)
    torch.testing.assert_close(nufft(t, strengths, freqs, engine=engine), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["gridding", "direct", "auto"])
def test_gradients_are_the_adjoint(name: str) -> None:
    t, strengths, freqs = problem(9, 2, 20, num_freqs=15)
    strengths.requires_grad_()
    out = nufft(t, strengths, freqs, engine=name)
    weights = torch.randn(out.shape, dtype=out.dtype, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((out * weights.conj()).real.sum(), strengths)
    torch.testing.assert_close(gradient, fourier_sum(freqs, weights, -t), rtol=0, atol=1e-7)


def test_finufft_refuses_gradients() -> None:
    pytest.importorskip("finufft")
    t, strengths, freqs = problem(9, 2, 20, num_freqs=15)
    with pytest.raises(InputError, match="no gradients"):
        nufft(t, strengths.requires_grad_(), freqs, engine="finufft")


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(importlib.import_module("sys").modules, "finufft", None)
    with pytest.raises(ImportError, match=r'pip install "stgraph-pyg\[nufft\]"'):
        nufft(torch.zeros(2), torch.ones(1, 2), torch.zeros(1), engine="finufft")


def test_without_the_library_auto_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("importlib.util"), "find_spec", lambda name: None)
    transform = importlib.import_module("stgraph.ops.nufft.transform")
    for limit, span in ((0, 0.01), (0, 1000.0), (1 << 30, 1.0)):
        monkeypatch.setattr(transform, "_DIRECT_PAIRS", limit)
        t, strengths, freqs = problem(10, 2, 20, num_freqs=15, span=span)
        assert relative_error(nufft(t, strengths, freqs), fourier_sum(t, strengths, freqs)) <= 1e-9


def test_an_empty_batch_gives_an_empty_result(engine: str) -> None:
    assert nufft(torch.zeros(0, 3), torch.ones(0, 2, 3), torch.ones(5), engine=engine).shape == (0, 2, 5)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((torch.zeros(3), torch.ones(1, 3), torch.ones(2)), {"engine": "fast"}, "engine is 'fast'"),
        ((torch.zeros(3), torch.ones(1, 3), torch.ones(2)), {"eps": 1e-15}, "eps is 1e-15"),
        ((torch.zeros(3), torch.ones(1, 3), torch.ones(2)), {"eps": math.nan}, "eps is nan"),
        ((torch.zeros(3), torch.ones(3), torch.ones(2)), {}, "strengths has 1 dimensions"),
        ((torch.zeros(3), torch.ones(1, 4), torch.ones(2)), {}, "expected 3 values"),
        ((torch.zeros(2, 3), torch.ones(4, 1, 3), torch.ones(2)), {}, "leading dimensions"),
        ((torch.zeros(3), torch.ones(1, 3), torch.ones(0)), {}, "0 frequencies"),
        ((torch.tensor([0.0, math.nan]), torch.ones(1, 2), torch.ones(2)), {}, "t holds NaN"),
        ((torch.zeros(2), torch.ones(1, 2), torch.tensor([math.inf])), {}, "freqs holds NaN"),
    ],
)
def test_wrong_inputs_are_named(inputs: tuple[Tensor, ...], options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        nufft(*inputs, **options)  # type: ignore[arg-type]


def test_wrong_types_are_named() -> None:
    with pytest.raises(InputTypeError, match="t is complex"):
        nufft(torch.zeros(2, dtype=torch.complex64), torch.ones(1, 2), torch.ones(1))
    with pytest.raises(InputTypeError, match="strengths is of type"):
        nufft(np.zeros(2), np.array([["a", "b"]]), np.ones(1))
    with pytest.raises(InputTypeError, match="freqs is no array"):
        nufft(torch.zeros(2), torch.ones(1, 2), [[1.0], [1.0, 2.0]])  # type: ignore[arg-type]
