from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest
import torch

import stgraph.ops.multitaper as package
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.multitaper import multitaper

T = torch.arange(20, dtype=torch.float64)
X = torch.sin(T)
BATCH = X.repeat(3, 1)


def changed(values: torch.Tensor, *index: int, to: float) -> torch.Tensor:
    values = values.clone()
    values[index] = to
    return values


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((T[:8], X[:8]), {}, r"x of curve 0 has fewer than 9 real points"),
        ((T, BATCH), {"mask": torch.arange(20) < torch.tensor([[20], [8], [3]])}, r"x of curves 1, 2 has fewer than 9"),
        ((T, changed(BATCH, 2, 4, to=math.nan)), {}, r"x of curve 2 holds NaN or infinite"),
        ((T, changed(X, 4, to=math.inf)), {}, r"x of curve 0 holds NaN or infinite"),
        ((T, torch.stack([X, X * math.nan])), {}, r"x of curve 1 has no finite value"),
        ((changed(T, 4, to=math.nan), X), {}, r"t of curve 0 holds NaN"),
        ((torch.stack([T, changed(T, 4, to=3.0)]), BATCH[:2]), {}, r"t of curve 1 is not strictly increasing"),
        ((T.flip(0), X), {}, r"t of curve 0 is not strictly increasing"),
        ((T[:5], X), {}, r"t is of shape \(5,\)"),
        ((T.repeat(2, 1), BATCH), {}, r"t is of shape \(2, 20\)"),
        ((T, X), {"mask": torch.ones(5, dtype=torch.bool)}, r"mask is of shape \(5,\)"),
        ((T, X[None, None]), {}, r"x is of shape \(1, 1, 20\)"),
        ((T, X[:0]), {}, r"x is of shape \(0,\)"),
        ((T, X), {"NW": 0.4}, "NW is 0.4"),
        ((T, X), {"NW": math.nan}, "NW is nan"),
        ((T, X), {"K": 0}, "K is 0"),
        ((T, X), {"K": 1}, "F-test needs at least 2"),
        ((T, X), {"K": 3, "jackknife": True}, "jackknife needs at least 4"),
        ((T[:10], X[:10]), {"NW": 4.9, "K": 11}, "more tapers than points in curve 0"),
        ((T, X), {"oversample": 0}, "oversample is 0"),
        ((T, X), {"oversample": 1.5}, "oversample is 1.5"),
        ((T, BATCH), {"freqs": torch.ones(2, 4)}, r"freqs is of shape \(2, 4\)"),
        ((T, X), {"freqs": torch.ones(1, 4)}, r"freqs is of shape \(1, 4\)"),
        ((T, X), {"freqs": torch.ones(0)}, r"freqs is of shape \(0,\)"),
        ((T, X), {"freqs": torch.tensor([math.nan])}, "freqs holds NaN"),
        ((T, X), {"engine": "fast"}, "engine is 'fast'"),
    ],
)
def test_values_that_cannot_be_used_are_named(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        multitaper(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((T, X + 0j), {}, "x is complex"),
        ((np.array(["a"] * 20), X), {}, "t is of type"),
        ((T, X > 0), {}, "x is of type bool"),
        ((T, X), {"mask": torch.ones(20)}, "mask is of type"),
        ((T, X), {"K": 7.0}, "K is 7.0"),
        ((T, X), {"NW": "4"}, "NW is '4'"),
    ],
)
def test_wrong_types_are_named(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        multitaper(*arguments, **options)


@pytest.mark.parametrize(
    ("num_points", "options", "message"),
    [
        (9, {"NW": 5, "K": 7}, "NW is 5, half or more of the number of points in curve 0"),
        (20, {"NW": 2, "K": 6}, "K is 6 with NW 2"),
        (1200, {"NW": 501, "K": 2}, "NW is 501; above 500"),
    ],
)
def test_doubtful_parameters_warn_and_work(num_points: int, options: dict[str, Any], message: str) -> None:
    x = torch.randn(num_points, generator=torch.Generator().manual_seed(0))
    with pytest.warns(UserWarning, match=message):
        result = multitaper(np.arange(num_points), x, freqs=[0.1, 0.2], **options)
    assert torch.isfinite(result.psd).all()


def test_the_limits_themselves_are_accepted_in_silence() -> None:
    x = np.random.default_rng(0).normal(size=9)
    result = multitaper(np.arange(9), x, NW=0.5, K=2)
    assert torch.isfinite(result.psd).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64, ">f8", np.int64])
def test_arrays_and_tensors_of_any_number_type_are_accepted(kind: Any) -> None:
    values = np.random.default_rng(0).integers(0, 9, 40)
    result = multitaper(np.arange(40).astype(kind), values.astype(kind)[::1])
    expected = multitaper(torch.arange(40), torch.from_numpy(values))
    torch.testing.assert_close(result.psd, expected.psd)
    assert result.psd.dtype == torch.float64


def test_read_only_arrays_are_accepted_and_inputs_are_left_alone() -> None:
    t, x = np.arange(40.0), np.random.default_rng(0).normal(size=40)
    copies = t.copy(), x.copy()
    for array in (t, x):
        array.setflags(write=False)
    multitaper(t, x)
    np.testing.assert_array_equal(t, copies[0])
    tensors = torch.from_numpy(copies[0].copy()), torch.from_numpy(copies[1].copy())
    multitaper(*tensors)
    np.testing.assert_array_equal(tensors[1].numpy(), copies[1])


def test_functions_are_not_hidden_by_modules_of_their_name() -> None:
    for name in ("correlation", "harmonic", "spectrum", "tapers", "weights"):
        importlib.import_module(f"stgraph.ops.multitaper.{name}")
    for name in ("multitaper", "autocorrelation", "autocorrelation_timescale", "MultitaperSpectrum"):
        assert callable(getattr(package, name))
    assert dir(package) == sorted(package.__all__)
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        _ = package.unknown
