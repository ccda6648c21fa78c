"""Checks of compilation and export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stgraph.testing.axes import some_mask
from stgraph.testing.calls import arguments, call, change, close, draw, first, made, projected
from stgraph.testing.case import LayerCase

__all__ = ["check_compile", "check_export"]


def check_compile(case: LayerCase) -> None:
    """``torch.compile`` makes one graph of the layer, masked where it can be, with the same outputs and gradients."""
    torch.compiler.reset()  # graphs of other layers of this class count towards a limit
    layer = made(case)
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    try:
        came, expected = (_with_gradients(case, function, list(layer.parameters())) for function in (compiled, layer))
    finally:
        torch.compiler.reset()
    names = ["output", *(f"gradient {i}" for i in range(len(expected) - 1))]
    for name, a, b in zip(names, came, expected, strict=True):
        close(case, a, b, f"the {name} of the compiled layer")


def check_export(case: LayerCase) -> None:
    """``torch.export`` makes a program of the layer that gives the same outputs."""
    layer, inputs = made(case), draw(case)
    positional, named = arguments(case, inputs)
    program = torch.export.export(layer, positional, named).module()
    close(case, call(case, program, inputs), call(case, layer, inputs), "the output of the exported program")


def _with_gradients(case: LayerCase, layer: Callable[..., Any], parameters: list[Tensor]) -> list[Tensor]:
    """The output and its gradients."""
    inputs = change(draw(case), lambda tensor: tensor.requires_grad_(tensor.is_floating_point()))
    extra = {case.mask: some_mask(case, first(inputs)).to(case.mask_dtypes[0])} if case.mask else {}
    out = call(case, layer, inputs, extra=extra)
    if not out.requires_grad:
        return [out]
    tracked = [tensor for tensor in (*inputs.values(), *parameters) if tensor.requires_grad]
    gradients = torch.autograd.grad(projected(out), tracked, allow_unused=True)
    return [out, *(torch.zeros_like(t) if g is None else g for t, g in zip(tracked, gradients, strict=True))]
