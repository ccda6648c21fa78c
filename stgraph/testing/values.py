"""Checks of values: shapes, dtypes, gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from stgraph.testing.calls import Arguments, call, close, draw, finite, made, projected, same, seeded
from stgraph.testing.case import LayerCase

__all__ = [
    "check_autocast",
    "check_dtype",
    "check_gradcheck",
    "check_gradgradcheck",
    "check_gradient",
    "check_shape",
]


def check_shape(case: LayerCase) -> None:
    """The output has the expected shape and finite values, in evaluation and in training."""
    inputs = draw(case)
    expected = tuple(case.shape(tuple(inputs.values())))
    for training in (False, True):
        with seeded(1):
            out = call(case, made(case, training=training), inputs)
        same(tuple(out.shape), expected, "the shape of the output")
        finite(out, "the output")


def check_dtype(case: LayerCase) -> None:
    """The output has the dtype of the input and, within tolerance, the values of the most precise dtype."""
    expected = call(case, made(case), draw(case))
    pairs = [(dtype, dtype) for dtype in case.dtypes]
    if case.any_dtype:
        pairs += [(torch.float32, dtype) for dtype in case.dtypes if dtype != torch.float32]
    for own, dtype in pairs:
        came = call(case, made(case, own), draw(case, dtype))
        what = f"the output of the layer in {own} for x in {dtype}"
        real = came.real.dtype if came.is_complex() else came.dtype
        wanted = torch.float32 if came.is_complex() and dtype != torch.float64 else dtype
        same(real, wanted, f"the dtype of {what}")
        close(case, came, expected, what, dtype)


def check_autocast(case: LayerCase) -> None:
    """Under autocast to bfloat16 a float32 layer runs forward and backward, with values near those without."""
    layer, inputs = made(case, torch.float32), draw(case, torch.float32)
    expected = call(case, layer, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        out = call(case, layer, inputs)
    close(case, out, expected, "the output under autocast", torch.bfloat16)
    if out.requires_grad:
        projected(out).backward()
        for name, parameter in layer.named_parameters():
            if parameter.grad is not None:
                finite(parameter.grad, f"the gradient of {name} under autocast")


def check_gradient(case: LayerCase) -> None:
    """In training x and each parameter get a finite gradient that is not zero everywhere."""
    layer, inputs = made(case, training=True), draw(case)
    tracked = {f"input {key}": tensor.requires_grad_() for key, tensor in _differentiable(case, inputs).items()}
    tracked |= {name: parameter for name, parameter in layer.named_parameters() if parameter.requires_grad}
    with seeded(1):
        out = call(case, layer, inputs)
    if not tracked:
        return
    if not out.requires_grad:
        raise AssertionError(f"the output is detached; expected gradients for {', '.join(tracked)}")
    gradients = torch.autograd.grad(projected(out), list(tracked.values()), allow_unused=True)
    for name, gradient in zip(tracked, gradients, strict=True):
        if gradient is None or not gradient.any():
            raise AssertionError(f"the gradient of {name} is {'None' if gradient is None else 'zero'}; expected values")
        finite(gradient, f"the gradient of {name}")


def check_gradcheck(case: LayerCase) -> None:
    """Gradients for inputs and parameters equal finite differences, in float64 and evaluation."""
    _compare_with_differences(case, torch.autograd.gradcheck)


def check_gradgradcheck(case: LayerCase) -> None:
    """Second derivatives equal finite differences of the gradients, in float64 and evaluation."""
    _compare_with_differences(case, torch.autograd.gradgradcheck)


def _differentiable(case: LayerCase, inputs: Arguments) -> Arguments:
    return {
        key: tensor
        for key, tensor in inputs.items()
        if key not in case.constant_inputs and (tensor.is_floating_point() or tensor.is_complex())
    }


def _compare_with_differences(case: LayerCase, compare: Callable[..., bool]) -> None:
    """Apply gradcheck or gradgradcheck to the layer as a function of its inputs and parameters."""
    layer, inputs = made(case, torch.float64), draw(case, torch.float64)
    free = _differentiable(case, inputs)
    parameters = {name: p.detach() for name, p in layer.named_parameters() if p.requires_grad}

    def function(*tensors: Tensor) -> Tensor:
        given = inputs | dict(zip(free, tensors, strict=False))
        state = dict(zip(parameters, tensors[len(free) :], strict=True))
        return call(case, lambda *a, **k: torch.func.functional_call(layer, state, a, k), given)

    tensors = tuple(tensor.clone().requires_grad_() for tensor in (*free.values(), *parameters.values()))
    if not tensors:
        return
    try:
        compare(function, tensors, atol=1e-4, fast_mode=True)
    except GradcheckError as error:
        names = [f"input {key}" for key in free] + list(parameters)
        listed = ", ".join(f"{i} is {name}" for i, name in enumerate(names))
        raise AssertionError(f"{str(error).split(chr(10) * 2)[0]}; expected equal ones ({listed})") from error
