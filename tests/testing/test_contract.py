"""The suite passes correct layers, and each check finds the layer that is broken in its respect and no other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stgraph.nn.spectral.functional_dtype import linear_in_dtype
from stgraph.testing import (
    CHECKS,
    ContractError,
    LayerCase,
    check_layer,
    checks_for,
)


class Mean(nn.Module):
    """Adds the mean over the real tokens of each graph: a correct layer that claims everything."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lin = nn.Linear(channels, channels)
        self.gain = nn.Parameter(torch.empty(()))
        self.dropout = nn.Dropout(0.1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.lin.reset_parameters()
        nn.init.constant_(self.gain, 0.5)

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        if mask is not None:
            x = torch.where(mask.unsqueeze(-1) != 0, x, 0)
        value = torch.tanh(linear_in_dtype(self.lin, x))
        if batch is not None:
            graphs = int(batch[-1]) + 1
            total = value.new_zeros(*value.shape[:-2], graphs, value.shape[-1]).index_add(-2, batch, value)
            mean = (total / batch.bincount().unsqueeze(-1)).index_select(-2, batch)
        elif mask is None:
            mean = value.mean(dim=-2, keepdim=True)
        else:
            keep = (mask != 0).unsqueeze(-1).to(x.dtype)
            mean = (value * keep).sum(dim=-2, keepdim=True) / keep.sum(dim=-2, keepdim=True).clamp(min=1)
        return x + self.dropout(self.gain.to(x.dtype) * mean)


def tokens(*shape: int) -> Callable[[torch.Generator], tuple[Tensor, ...]]:
    return lambda generator: (torch.randn(*shape, generator=generator),)


def mean_case(layer: type[nn.Module] = Mean, **changes: Any) -> LayerCase:
    case = LayerCase(
        name=layer.__name__,
        make=lambda: layer(4),
        inputs=tokens(2, 5, 4),
        mask="mask",
        mask_dtypes=(torch.bool, torch.int64, torch.float32),
        graph_batch=True,
        permutation_equivariant=True,
        any_dtype=True,
    )
    return replace(case, **changes)


def test_a_correct_layer_passes_every_check() -> None:
    case = mean_case()
    assert [name for name, _ in checks_for(case)] == list(CHECKS)
    check_layer(case)


class Shape(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(x, *args, **kwargs).repeat_interleave(2, dim=-1)


class Dtype(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = super().forward(x, *args, **kwargs)
        return out.float() if x.dtype == torch.bfloat16 else out


class AnyDtype(Mean):
    """Rounds float64 input to the dtype of its parameters."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(x.to(self.lin.weight.dtype), *args, **kwargs).to(x.dtype)


class Autocast(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.dtype == torch.float32:
            (x @ x.mT).detach().numpy()  # under autocast the product is in bfloat16, which NumPy lacks
        return super().forward(x, *args, **kwargs)


class Gradient(Mean):
    """Has a parameter that is not used."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.bias = nn.Parameter(torch.zeros(channels))

    def reset_parameters(self) -> None:
        super().reset_parameters()
        if hasattr(self, "bias"):
            nn.init.zeros_(self.bias)


class Gradcheck(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = super().forward(x, *args, **kwargs)
        return out + (out - out.detach())  # twice the gradient


class Gradgradcheck(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = super().forward(x, *args, **kwargs)
        return out.detach() * (2 * out - out.detach())  # the square, with a gradient that is a constant


class BatchEqualsLoop(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        out = super().forward(x, *args, **kwargs)
        return out if x.dim() < 3 else out + 0.1 * (out - out.roll(1, dims=-3))


class LeadingAxes(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if x.dim() > 3:
            raise ValueError("too many axes")
        return super().forward(x, *args, **kwargs)


class EmptyBatch(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(x.reshape(*x.shape[:-2], -1, x.shape[-1]), *args, **kwargs)


class NonContiguous(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(x.view(-1).view(x.shape), *args, **kwargs)


class Mask(Mean):
    """Masks by a factor, so that NaN and infinity stay."""

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        return super().forward(x if mask is None else x * (mask != 0).unsqueeze(-1), mask=None, batch=batch)


class MaskIgnored(Mean):
    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        return super().forward(x, batch=batch)


class MaskedRow(Mean):
    """Divides by the number of tokens, of which a row may have none."""

    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        out = super().forward(x, mask, batch)
        return out if mask is None else out / (mask != 0).any(dim=-1)[..., None, None].to(x.dtype)


class GraphBatch(Mean):
    def forward(self, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
        return super().forward(x, mask=mask)


class PermutationEquivariance(Mean):
    def forward(self, x: Tensor, *args: Any, batch: Tensor | None = None, **kwargs: Any) -> Tensor:
        place = torch.arange(x.shape[-2], dtype=x.dtype).unsqueeze(-1)
        if batch is not None:
            place = torch.cat([place[: int(n)] for n in batch.bincount()])
        return super().forward(x, *args, batch=batch, **kwargs) + place


class StateDict(Mean):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("noise", torch.randn(channels), persistent=False)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return super().forward(x, *args, **kwargs) + self.noise.to(x.dtype)


class Repr(Mean):
    def extra_repr(self) -> str:
        return f"gain={self.gain}"


class ResetParameters(Mean):
    def reset_parameters(self) -> None:
        nn.init.constant_(self.gain, 0.5)


class ResetConstant(Mean):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.reset_parameters = self.lin.reset_parameters


class NoSideEffects(Mean):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        self.calls += 1
        return super().forward(x, *args, **kwargs)


class RandomState(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        torch.rand(1)
        return super().forward(x, *args, **kwargs)


class DeepcopyAndPickle(Mean):
    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.function = lambda x: x


class Compile(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        torch._dynamo.graph_break()
        return super().forward(x, *args, **kwargs)


class Export(Mean):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if torch.compiler.is_exporting():
            raise NotImplementedError("no export")
        return super().forward(x, *args, **kwargs)


#: The broken layer for each check, and what the message says.
BROKEN: dict[str, list[tuple[type[nn.Module], str]]] = {
    "check_shape": [(Shape, r"the shape of the output is \(2, 5, 8\); expected \(2, 5, 4\)")],
    "check_dtype": [
        (Dtype, "the dtype of .* torch.bfloat16 is torch.float32; expected torch.bfloat16"),
        (AnyDtype, "layer in torch.float32 for x in torch.float64 differs by up to"),
    ],
    "check_autocast": [(Autocast, "TypeError: .*BFloat16")],
    "check_gradient": [(Gradient, "the gradient of bias is None; expected values")],
    "check_gradcheck": [
        (Gradcheck, "Jacobian mismatch .*; expected equal ones .*0 is input 0, 1 is gain, 2 is lin.weight")
    ],
    "check_gradgradcheck": [(Gradgradcheck, "Jacobian mismatch .*; expected equal ones")],
    "check_batch_equals_loop": [(BatchEqualsLoop, r"item \(0,\) of the batch, against that item alone, differs by")],
    "check_leading_axes": [(LeadingAxes, "ValueError: too many axes")],
    "check_empty_batch": [(EmptyBatch, "RuntimeError: cannot reshape tensor of 0 elements")],
    "check_non_contiguous": [(NonContiguous, "RuntimeError: view size is not compatible")],
    "check_mask": [
        (Mask, "the output at kept tokens where masked ones hold inf has .* NaN or infinite; expected none"),
        (MaskIgnored, "kept outputs have a gradient for masked tokens; expected zero"),
        (MaskedRow, "the output where a row of the mask is all false has 20 of 40 values that are NaN or infinite"),
    ],
    "check_graph_batch": [(GraphBatch, r"graph 0 \(5 nodes\) of a mini-batch of \[5, 1, 4, 5\], against")],
    "check_permutation_equivariance": [(PermutationEquivariance, "the output for the tokens in the order")],
    "check_state_dict": [(StateDict, "the output of a layer with the loaded state dict differs in 40 of 40 values")],
    "check_repr": [(Repr, "the repr contains")],
    "check_reset_parameters": [
        (ResetParameters, "lin.weight is random in a new layer but reset_parameters did not draw it anew"),
        (ResetConstant, "gain after reset_parameters, against the value that every new layer has, differs"),
    ],
    "check_no_side_effects": [
        (NoSideEffects, "calls after a call in evaluation differs in 1 of 1 values"),
        (RandomState, "the random state after a call in evaluation differs"),
    ],
    "check_deepcopy_and_pickle": [(DeepcopyAndPickle, "Error: .*lambda")],
    "check_compile": [(Compile, "graph_break")],
    "check_export": [(Export, "NotImplementedError: no export")],
}


def test_every_check_has_a_broken_layer() -> None:
    assert set(BROKEN) == set(CHECKS)


@pytest.mark.parametrize(
    ("name", "layer", "message"), [(name, *one) for name, several in BROKEN.items() for one in several]
)
def test_a_broken_layer_fails_its_check_alone(name: str, layer: type[nn.Module], message: str) -> None:
    # Tracing takes longest by far; layers that are broken in other respects are not traced.
    tracing = {"check_compile", "check_export"}
    case = mean_case(layer, skip={} if name in tracing else dict.fromkeys(tracing, "slow"))
    for other, check in checks_for(case):
        if other == name:
            with pytest.raises(ContractError, match=rf"(?s)^{layer.__name__} fails {name}: .*{message}"):
                check(case)
        else:
            check(case)
