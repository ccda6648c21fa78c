"""Correct layers of other kinds, and the functions around the checks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.nn import GraphConv

from stgraph.errors import InputError
from stgraph.testing import (
    CHECKS,
    Check,
    ContractError,
    LayerCase,
    check_layer,
    checks_for,
    first_tensor,
    parametrize_with_checks,
)


def tokens(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda generator: (torch.randn(*shape, generator=generator),)


ALL = LayerCase(
    "ReLU",
    nn.ReLU,
    tokens(2, 5, 4),
    mask="mask",
    graph_batch=True,
    permutation_equivariant=True,
)


class Image(nn.Module):
    """A correct layer over images, with another number of channels, that returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, kernel_size=3, padding=1)
        self.reset_parameters = self.conv.reset_parameters

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"size": torch.tensor(image.shape[-2:]), "image": self.conv(image)}


class Spectrum(nn.Module):
    """A correct layer without parameters and with complex output."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-2)


class Complex(nn.Module):
    """A correct layer with a complex parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3, 4, dtype=torch.complex64))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        work = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.fft.irfft(torch.fft.rfft(work, dim=-2) * self.weight, n=x.shape[-2], dim=-2).to(x.dtype)


CORRECT = [
    LayerCase("Embedding", lambda: nn.Embedding(7, 4), lambda g: (torch.randint(7, (2, 5), generator=g),),
              shape=lambda inputs: (*inputs[0].shape, 4), token_axis=-1, output_token_axis=-2,
              permutation_equivariant=True),
    LayerCase("Image", Image, tokens(2, 2, 4, 3), output=lambda out: out["image"], token_axis=None,
              shape=lambda inputs: (2, 3, 4, 3), skip={"check_leading_axes": "Conv2d takes three or four axes"}),
    LayerCase("Spectrum", Spectrum, tokens(2, 5, 4), shape=lambda inputs: (2, 3, 4),
              skip={"check_empty_batch": "some FFTs of torch take no empty batch"}),
    LayerCase("Complex", Complex, tokens(2, 5, 4), batch_axes=0),
    LayerCase("GraphConv", lambda: GraphConv(4, 3), lambda g: {"x": torch.randn(5, 4, generator=g)}, batch_axes=0,
              keywords={"edge_index": torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]), "edge_weight": torch.rand(4)},
              shape=lambda inputs: (5, 3), permutation_equivariant=True, graph_batch=True,
              dtypes=(torch.float32, torch.float64)),
]  # fmt: skip


@parametrize_with_checks(CORRECT)
def test_correct_layers_pass(case: LayerCase, check: Check) -> None:
    check(case)


def test_only_what_is_claimed_is_checked() -> None:
    everything = ALL
    assert [name for name, _ in checks_for(everything)] == list(CHECKS)
    nothing = replace(everything, mask=None, graph_batch=False, permutation_equivariant=False, batch_axes=0)
    nothing = replace(nothing, dtypes=(torch.bfloat16,), skip={"check_repr": "none"})
    left_out = set(CHECKS) - set(dict(checks_for(nothing)))
    assert left_out == {
        "check_autocast", "check_batch_equals_loop", "check_empty_batch", "check_gradcheck", "check_gradgradcheck",
        "check_graph_batch", "check_mask", "check_permutation_equivariance", "check_repr",
    }  # fmt: skip
    assert "check_repr" in dict(checks_for(nothing, skipped=True))


class Both(nn.Module):
    """Another shape, and a repr that shows a tensor."""

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(2, dim=-1)

    def extra_repr(self) -> str:
        return str(torch.zeros(2))


def test_check_layer_names_all_that_failed() -> None:
    case = LayerCase("Both", Both, tokens(2, 5, 4), skip=dict.fromkeys(("check_compile", "check_export"), "slow"))
    with pytest.raises(ContractError, match=r"(?s)^Both fails 2 of 15 checks:\n- Both fails check_shape: .*\n- .*repr"):
        check_layer(case)
    check_layer(replace(case, make=nn.ReLU))


def test_pytest_shows_names_and_reasons() -> None:
    mark = parametrize_with_checks([replace(ALL, skip={"check_export": "a reason"})])
    (arguments, parameters), _ = mark.args, mark.kwargs
    assert arguments == ("case", "check")
    assert [one.id for one in parameters] == [f"ReLU-{name}" for name in CHECKS]
    marks = {one.id: one.marks for one in parameters if one.marks}
    assert list(marks) == ["ReLU-check_export"]
    assert marks["ReLU-check_export"][0].kwargs == {"reason": "a reason"}


def test_random_numbers_of_the_caller_stay() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    CHECKS["check_gradgradcheck"](ALL)
    assert torch.equal(torch.rand(3), expected)


def test_importing_the_suite_does_not_import_pytest() -> None:
    code = "import sys, stgraph.testing; assert 'pytest' not in sys.modules and 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, cwd=Path(__file__).parents[2])


def test_the_first_tensor() -> None:
    one = torch.ones(2)
    assert first_tensor(one) is one
    assert first_tensor([None, one]) is one
    assert first_tensor({"a": "b", "c": one}) is one
    for nothing in (None, (), "abc"):
        with pytest.raises(AssertionError, match="without a tensor"):
            first_tensor(nothing)


def test_bad_cases() -> None:
    for changes, message in (
        ({"batch_axes": -1}, "batch_axes is -1"),
        ({"token_axis": 1}, "token_axis is 1; expected a negative number"),
        ({"output_token_axis": 0}, "output_token_axis is 0"),
        ({"token_axis": None}, "makes claims about tokens but token_axis is None"),
        ({"node_keywords": ("pos",)}, "node_keywords names"),
    ):
        with pytest.raises(InputError, match=message):
            replace(ALL, **changes)
    with pytest.raises(InputError, match=r"skips .*check_all"):
        checks_for(replace(ALL, skip={"check_all": "no such check"}))
