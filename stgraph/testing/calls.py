"""Making the layer of a case, drawing its inputs, calling it, comparing what came."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.testing.case import LayerCase

__all__ = ["Arguments", "call", "change", "close", "draw", "finite", "in_dtype", "made", "projected", "same", "seeded"]

#: The tensors of one call by position or by name; the first is x.
Arguments = dict[int | str, Tensor]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run the block with the given seed and put the state of the random generator back after it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def in_dtype(tensor: Any, dtype: torch.dtype) -> Any:
    """Cast a floating or complex tensor; leave everything else as it is. No complex dtype goes with half precision."""
    if not isinstance(tensor, Tensor):
        return tensor
    if tensor.is_complex():
        return tensor.to(torch.complex128 if dtype == torch.float64 else torch.complex64)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def made(case: LayerCase, dtype: torch.dtype | None = None, seed: int = 0, training: bool = False) -> nn.Module:
    """Return the case's layer, prepared, in ``dtype``, by default the one for comparisons."""
    with seeded(seed):
        layer = case.make()
        if case.prepare is not None:
            case.prepare(layer)
    target = dtype or case.precise
    layer._apply(lambda tensor: in_dtype(tensor, target))  # Module.to would make complex real
    return layer.train(training)


def draw(case: LayerCase, dtype: torch.dtype | None = None, seed: int = 0) -> Arguments:
    """Return inputs of the case in ``dtype``; the same for the same seed."""
    drawn = case.inputs(torch.Generator().manual_seed(seed))
    items: dict[Any, Tensor] = dict(drawn) if isinstance(drawn, Mapping) else dict(enumerate(drawn))
    if not items:
        raise AssertionError("inputs returned nothing; expected at least x")
    return {key: in_dtype(tensor, dtype or case.precise) for key, tensor in items.items()}


def call(
    case: LayerCase,
    layer: Callable[..., Any],
    inputs: Arguments,
    keywords: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Tensor:
    """Call the layer and return the tensor that the case looks at.

    Args:
        case: The case.
        layer: Its layer, or what was made of it.
        inputs: Tensors of the call.
        keywords: Keywords in place of those of the case; floating ones get the dtype of x.
        extra: More keywords, such as a mask, given as they are.
    """
    positional, named = arguments(case, inputs, keywords)
    out = case.output(layer(*positional, **named, **(extra or {})))
    if not isinstance(out, Tensor):
        raise AssertionError(f"output picked {type(out).__name__}; expected a tensor")
    return out


def arguments(
    case: LayerCase, inputs: Arguments, keywords: Mapping[str, Any] | None = None
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Return positional and keyword arguments of ``forward``."""
    dtype = first(inputs).dtype
    shared = case.keywords if keywords is None else keywords
    positional = tuple(tensor for key, tensor in inputs.items() if isinstance(key, int))
    named = {key: tensor for key, tensor in inputs.items() if isinstance(key, str)}
    return positional, {**named, **{key: in_dtype(value, dtype) for key, value in shared.items()}}


def first(inputs: Arguments) -> Tensor:
    """Return x."""
    return next(iter(inputs.values()))


def part(inputs: Arguments, index: tuple[Any, ...]) -> Arguments:
    """Pick the same part of every input, contiguous in memory."""
    return change(inputs, lambda tensor: tensor[index].contiguous())


def change(inputs: Arguments, function: Callable[[Tensor], Tensor]) -> Arguments:
    """Apply ``function`` to every input."""
    return {key: function(tensor) for key, tensor in inputs.items()}


def projected(out: Tensor) -> Tensor:
    """A scalar on which all entries of ``out`` act differently, so that no symmetry hides a gradient."""
    weight = torch.linspace(0.5, 1.5, max(out.numel(), 1), dtype=torch.float64, device=out.device).cos()
    real = torch.view_as_real(out).sum(dim=-1) if out.is_complex() else out
    return (real * weight[: out.numel()].reshape(out.shape).to(real.dtype)).sum()


def finite(tensor: Tensor, what: str) -> None:
    """Fail unless all values are finite."""
    bad = int((~torch.isfinite(tensor.detach())).sum())
    if bad:
        raise AssertionError(f"{what} has {bad} of {tensor.numel()} values that are NaN or infinite; expected none")


def same(came: Any, expected: Any, what: str) -> None:
    """Fail unless both are equal: tensors bit for bit, NaN included."""
    if isinstance(came, Tensor) and isinstance(expected, Tensor):
        if came.dtype == expected.dtype and came.shape == expected.shape:
            if torch.equal(came, expected) or torch.allclose(came, expected, rtol=0, atol=0, equal_nan=True):
                return
            count = int((came != expected).sum())
            raise AssertionError(f"{what} differs in {count} of {came.numel()} values; expected exactly equal ones")
        came, expected = (f"{tuple(tensor.shape)} {tensor.dtype}" for tensor in (came, expected))
    if came != expected:
        raise AssertionError(f"{what} is {came}; expected {expected}")


def close(case: LayerCase, came: Tensor, expected: Tensor, what: str, dtype: torch.dtype | None = None) -> None:
    """Fail unless both agree to the tolerance of ``dtype``, by default that of ``came``."""
    if came.shape != expected.shape:
        raise AssertionError(f"{what} has shape {tuple(came.shape)}; expected {tuple(expected.shape)}")
    if not came.numel():
        return
    wide = torch.complex128 if expected.is_complex() else torch.float64
    came, expected, dtype = came.detach().to(wide), expected.detach().to(wide), dtype or came.dtype
    finite(came, what)
    difference = (came - expected).abs().max().item()
    allowed = case.tolerance(dtype) * (1 + expected.abs().max().item())
    if not difference <= allowed:
        raise AssertionError(f"{what} differs by up to {difference:.3g}; expected at most {allowed:.3g} in {dtype}")
