"""Activation functions by name."""

from __future__ import annotations

from torch import nn

from stgraph.errors import InputError

__all__ = ["ACTIVATIONS", "activation_module"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}


def activation_module(name: str, among: tuple[str, ...] = tuple(ACTIVATIONS)) -> nn.Module:
    """Make the activation called ``name``.

    Examples:
        >>> activation_module("swish")
        SiLU()

    Raises:
        InputError: If the name is not ``among`` those allowed.
    """
    if name not in among:
        raise InputError(f"activation is {name!r}; expected one of {list(among)}")
    return ACTIVATIONS[name]()
