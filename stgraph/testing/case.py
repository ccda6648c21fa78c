"""What a layer claims: the description that the contract checks work from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["DEFAULT_TOLERANCES", "LayerCase", "first_tensor"]

#: Largest difference from the expected values, relative to one plus the largest of them.
DEFAULT_TOLERANCES: Mapping[torch.dtype, float] = {
    torch.float64: 1e-9,
    torch.float32: 1e-4,
    torch.float16: 2e-2,
    torch.bfloat16: 1e-1,
}

#: Tensors of one call: positional ones as a sequence, or keyword ones by name.
Inputs = Sequence[Tensor] | Mapping[str, Tensor]


def first_tensor(returned: Any) -> Tensor:
    """Return the first tensor of what ``forward`` returned.

    Examples:
        >>> import torch
        >>> first_tensor((None, torch.ones(2)))
        tensor([1., 1.])
    """
    if isinstance(returned, Tensor):
        return returned
    if isinstance(returned, Mapping):
        returned = tuple(returned.values())
    if isinstance(returned, list | tuple):
        for part in returned:
            if isinstance(part, Tensor):
                return part
    raise AssertionError(f"forward returned {type(returned).__name__} without a tensor; expected a tensor or some")


def same_shape(inputs: tuple[Tensor, ...]) -> Sequence[int]:
    """Return the shape of the first input."""
    return inputs[0].shape


@dataclass(frozen=True)
class LayerCase:
    r"""A layer, an input for it, and what it promises.

    All tensors from ``inputs`` begin with the same batch axes and have their tokens (nodes) at ``token_axis``; what is
    shared by the whole batch, such as ``edge_index``, goes to ``keywords``. Small sizes (2 items of 5 tokens with 4
    channels) keep the checks fast.

    Args:
        name: Name of the case in test ids and messages.
        make: Returns a new layer in float32, just as its constructor makes it.
        inputs: Returns the tensors of one call, drawn from the generator, in float32: a tuple of positional arguments,
            or a dictionary of keyword arguments. The first one is ``x``.
        keywords: Further arguments of ``forward``, the same in every call. As in PyG, tensors whose name contains
            ``index`` hold numbers of nodes in their last axis, and other tensors have one row per edge or node.
        node_keywords: Names of the keywords that have one row per token.
        output: Picks the tensor to look at from what ``forward`` returns.
        shape: Expected shape of the output given the tuple of inputs; by default that of ``x``.
        prepare: Changes a made layer before it is checked, to give other values to parameters that begin at a constant
            and would hide something.
        batch_axes: Number of leading axes whose items do not influence each other.
        token_axis: Axis of the tokens in the inputs, counted from the end; ``None`` if there are none.
        output_token_axis: Axis of the tokens in the output, if it is another.
        permutation_equivariant: Tokens in another order give the outputs in that order.
        mask: Name of the argument that takes a mask, ``[..., N]``, True where a token is real.
        mask_dtypes: Dtypes of a mask that are understood.
        graph_batch: A PyG mini-batch of graphs of several sizes, told by ``batch`` where ``forward`` has this argument,
            gives what one graph at a time gives.
        any_dtype: A float32 layer takes input of all ``dtypes`` and computes float64 input in float64.
        constant_inputs: Positions or names of the inputs that get no gradient.
        dtypes: Dtypes that the layer can be used in, with ``layer.to(dtype)``.
        tolerances: Largest difference by dtype, relative to one plus the largest expected value; what is missing is
            taken from :data:`DEFAULT_TOLERANCES`.
        skip: Checks that the layer cannot pass, by name, with the reason.

    Examples:
        >>> import torch
        >>> case = LayerCase(
        ...     name="Linear",
        ...     make=lambda: torch.nn.Linear(4, 4),
        ...     inputs=lambda generator: (torch.randn(2, 5, 4, generator=generator),),
        ...     permutation_equivariant=True,
        ... )
        >>> case
        LayerCase('Linear')
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Inputs]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    node_keywords: Sequence[str] = ()
    output: Callable[[Any], Tensor] = first_tensor
    shape: Callable[[tuple[Tensor, ...]], Sequence[int]] = same_shape
    prepare: Callable[[nn.Module], object] | None = None
    batch_axes: int = 1
    token_axis: int | None = -2
    output_token_axis: int | None = None
    permutation_equivariant: bool = False
    mask: str | None = None
    mask_dtypes: Sequence[torch.dtype] = (torch.bool,)
    graph_batch: bool = False
    any_dtype: bool = False
    constant_inputs: Sequence[int | str] = ()
    dtypes: Sequence[torch.dtype] = (torch.float32, torch.float64, torch.bfloat16)
    tolerances: Mapping[torch.dtype, float] = field(default_factory=dict)
    skip: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse claims that contradict each other."""
        if self.batch_axes < 0:
            raise InputError(f"batch_axes is {self.batch_axes}; expected at least 0")
        for name, axis in (("token_axis", self.token_axis), ("output_token_axis", self.output_token_axis)):
            if axis is not None and axis >= 0:
                raise InputError(f"{name} is {axis}; expected a negative number, counted from the end")
        if self.token_axis is None and (self.permutation_equivariant or self.mask or self.graph_batch):
            raise InputError(f"{self.name} makes claims about tokens but token_axis is None; expected its number")
        unknown = set(self.node_keywords) - set(self.keywords)
        if unknown:
            raise InputError(f"node_keywords names {sorted(unknown)}; expected some of {sorted(self.keywords)}")

    def __repr__(self) -> str:
        """Show the name alone: tests are named by it."""
        return f"LayerCase({self.name!r})"

    @property
    def precise(self) -> torch.dtype:
        """The dtype in which values are compared: float64 where the layer knows it."""
        return torch.float64 if torch.float64 in self.dtypes else self.dtypes[0]

    def tolerance(self, dtype: torch.dtype) -> float:
        """Return the largest relative difference that passes in ``dtype``."""
        return self.tolerances.get(dtype, DEFAULT_TOLERANCES.get(dtype, 1e-4))
