"""Checks of the layer as a module: its state, its repr, what it leaves behind."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import re

import torch
from torch import Tensor, nn

from stgraph.testing.calls import call, change, draw, finite, made, same, seeded
from stgraph.testing.case import LayerCase

__all__ = [
    "check_deepcopy_and_pickle",
    "check_no_side_effects",
    "check_repr",
    "check_reset_parameters",
    "check_state_dict",
]


def check_state_dict(case: LayerCase) -> None:
    """A state dict, saved and loaded with ``weights_only=True``, makes another layer give the same outputs."""
    layer, inputs = made(case), draw(case)
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    other = made(case, seed=1)
    other.load_state_dict(torch.load(file, weights_only=True))
    same(call(case, other, inputs), call(case, layer, inputs), "the output of a layer with the loaded state dict")


def check_repr(case: LayerCase) -> None:
    """The repr tells the class and the settings, on readable lines, and is the same for the same settings."""
    layer = made(case)
    shown, name = repr(layer), type(layer).__name__
    if name not in shown:
        raise AssertionError(f"the repr is {shown!r}; expected the class name {name} in it")
    for pattern in (r"tensor\(", r" at 0x[0-9a-f]+"):
        if re.search(pattern, shown):
            raise AssertionError(f"the repr contains {pattern!r}: {shown[:200]}; expected settings alone")
    required = [
        p.name
        for p in inspect.signature(type(layer)).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if shown == f"{name}()" and required:
        raise AssertionError(f"the repr is {shown}; expected the settings in it ({', '.join(required)})")
    call(case, layer, draw(case))
    same(repr(layer), shown, "the repr after a call")
    same(repr(made(case, seed=1)), shown, "the repr of another layer with the same settings")


def check_reset_parameters(case: LayerCase) -> None:
    """``reset_parameters`` draws random parameters anew and gives the others their first values; shapes stay."""
    first, second = ({name: p.detach() for name, p in _plain(case, seed).named_parameters()} for seed in (0, 1))
    if not first:
        return
    layer = _plain(case, 0)
    reset = getattr(layer, "reset_parameters", None)
    if reset is None:
        raise AssertionError("the layer has parameters but no method reset_parameters; expected one")
    own = dict(layer.named_parameters())
    drawn = []
    for seed in (2, 3):
        with torch.no_grad():
            for parameter in own.values():
                parameter.add_(1)
        with seeded(seed):
            reset()
        drawn.append({name: parameter.detach().clone() for name, parameter in layer.named_parameters()})
    same([*drawn[0]], [*own], "the list of parameters after reset_parameters")
    for name, value in first.items():
        came = drawn[0][name]
        same((came.shape, came.dtype), (value.shape, value.dtype), f"shape and dtype of {name} after reset_parameters")
        finite(came, f"{name} after reset_parameters")
        if torch.equal(value, second[name]):
            same(came, value, f"{name} after reset_parameters, against the value that every new layer has,")
        elif torch.equal(came, drawn[1][name]) or torch.equal(drawn[1][name], came + 1):
            raise AssertionError(f"{name} is random in a new layer but reset_parameters did not draw it anew")


def check_no_side_effects(case: LayerCase) -> None:
    """A call keeps parameters and inputs; in evaluation also buffers and random state, and it is repeatable."""
    for training in (False, True):
        mode = "training" if training else "evaluation"
        layer, inputs = made(case, training=training), draw(case)
        given = change(inputs, torch.Tensor.clone)
        held = dict(layer.named_parameters())
        before = {name: tensor.detach().clone() for name, tensor in _state(layer, buffers=not training).items()}
        with seeded(1):
            state = torch.get_rng_state()
            out = call(case, layer, inputs)
            if not training:
                same(torch.get_rng_state(), state, "the random state after a call in evaluation")
                same(call(case, layer, inputs), out, "the output of a second call in evaluation")
        after = _state(layer, buffers=not training)
        same(sorted(after), sorted(before), f"the list of parameters and buffers after a call in {mode}")
        for name, tensor in before.items():
            same(after[name].detach(), tensor, f"{name} after a call in {mode}")
        if any(held[name] is not parameter for name, parameter in layer.named_parameters()):
            raise AssertionError(f"a call in {mode} put new objects in place of parameters; expected the same objects")
        for key, tensor in inputs.items():
            same(tensor, given[key], f"input {key} after a call in {mode}")
        same(layer.training, training, f"training after a call in {mode}")


def check_deepcopy_and_pickle(case: LayerCase) -> None:
    """Copies of a layer that has been used give the same outputs."""
    layer, inputs = made(case, training=True), draw(case)
    with seeded(1):
        call(case, layer, inputs)
    expected = call(case, layer.eval(), inputs)
    same(call(case, copy.deepcopy(layer), inputs), expected, "the output of a deep copy")
    same(call(case, pickle.loads(pickle.dumps(layer)), inputs), expected, "the output of a pickled copy")


def _plain(case: LayerCase, seed: int) -> nn.Module:
    """A layer as its constructor makes it."""
    with seeded(seed):
        return case.make()


def _state(layer: nn.Module, buffers: bool) -> dict[str, Tensor]:
    return {**dict(layer.named_parameters()), **(dict(layer.named_buffers()) if buffers else {})}
