"""Checks of axes: batches, masks, mini-batches of graphs, the order of the tokens."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stgraph.testing.calls import Arguments, call, change, close, draw, finite, first, made, part, projected, same
from stgraph.testing.case import LayerCase

__all__ = [
    "check_batch_equals_loop",
    "check_empty_batch",
    "check_graph_batch",
    "check_leading_axes",
    "check_mask",
    "check_non_contiguous",
    "check_permutation_equivariance",
]


def check_batch_equals_loop(case: LayerCase) -> None:
    """A batch gives what its items give one by one."""
    layer, inputs = made(case), draw(case)
    together = call(case, layer, inputs)
    sizes = first(inputs).shape[: case.batch_axes]
    for index in itertools.product(*map(range, sizes)):
        own = tuple(slice(i, i + 1) for i in index)
        alone = call(case, layer, part(inputs, own))
        close(case, together[own], alone, f"item {index} of the batch, against that item alone,")


def check_leading_axes(case: LayerCase) -> None:
    """One more leading axis, or none of them, changes nothing."""
    layer, draws = made(case), [draw(case, seed=seed) for seed in (0, 1)]
    stacked = call(case, layer, {key: torch.stack([one[key] for one in draws]) for key in draws[0]})
    for i, one in enumerate(draws):
        close(case, stacked[i], call(case, layer, one), f"item {i} of inputs with one more leading axis")
    if case.batch_axes:
        index, kept = (0,) * case.batch_axes, (slice(1),) * case.batch_axes
        alone = call(case, layer, part(draws[0], index))
        expected = call(case, layer, part(draws[0], kept))[index]
        close(case, alone, expected, "the output without the batch axes, against a batch of one,")


def check_empty_batch(case: LayerCase) -> None:
    """A batch of no items gives an output of no items, and a backward pass without NaN."""
    layer, inputs = made(case), draw(case)
    full = call(case, layer, inputs)
    out = call(case, layer, part(inputs, (slice(0),)))
    same(tuple(out.shape), (0, *full.shape[1:]), "the shape of the output of an empty batch")
    same(out.dtype, full.dtype, "the dtype of the output of an empty batch")
    if out.requires_grad:
        out.real.sum().backward() if out.is_complex() else out.sum().backward()
        for name, parameter in layer.named_parameters():
            if parameter.grad is not None:
                finite(parameter.grad, f"the gradient of {name} after an empty batch")


def check_non_contiguous(case: LayerCase) -> None:
    """Inputs with other strides in memory, also with strides of 0, give the same."""
    layer, inputs = made(case), draw(case)
    turned = change(inputs, lambda tensor: tensor.transpose(0, -1).contiguous().transpose(0, -1))
    spread = change(inputs, lambda tensor: torch.stack([tensor, tensor + 1], dim=-1)[..., 0])
    expected = call(case, layer, inputs)
    close(case, call(case, layer, turned), expected, "the output for transposed memory")
    close(case, call(case, layer, spread), expected, "the output for spaced memory")
    expanded = change(inputs, lambda tensor: tensor[:1].expand_as(tensor))
    expected = call(case, layer, change(expanded, torch.Tensor.contiguous))
    close(case, call(case, layer, expanded), expected, "the output for expanded memory")


def check_mask(case: LayerCase) -> None:
    """An all-true mask changes nothing; what masked tokens hold has no influence; a row without tokens is finite."""
    layer, inputs = made(case), draw(case)
    name, x = str(case.mask), first(inputs)
    mask = some_mask(case, x)
    expected = call(case, layer, inputs)
    for dtype in case.mask_dtypes:
        given = {name: torch.ones_like(mask, dtype=dtype)}
        close(case, call(case, layer, inputs, extra=given), expected, f"the output for an all-true {dtype} mask")
    expected, gradients = _kept(case, layer, inputs, mask)
    for dtype in case.mask_dtypes:
        came, _ = _kept(case, layer, inputs, mask, dtype)
        close(case, came, expected, f"the output at kept tokens for a {dtype} mask, against {case.mask_dtypes[0]},")
    dropped = _like(~mask, x, case.token_axis)
    if gradients["input"][dropped].any():
        raise AssertionError("kept outputs have a gradient for masked tokens; expected zero")
    for value in (1e6, math.inf, math.nan):
        filled = {**inputs, next(iter(inputs)): torch.where(dropped, value, x)}
        came, own = _kept(case, layer, filled, mask)
        close(case, came, expected, f"the output at kept tokens where masked ones hold {value}")
        for parameter, gradient in gradients.items():
            what = f"the gradient of {parameter} where masked tokens hold {value}"
            close(case, own[parameter], gradient, what)
    _check_row_without_tokens(case, layer, inputs, mask)


def check_graph_batch(case: LayerCase) -> None:
    """A PyG mini-batch gives what its graphs give one by one."""
    layer = made(case)
    flat: list[bool] = [True, False] if case.batch_axes else [False]
    for strip in flat:
        graphs = _graphs(case, strip)
        counts = [first(inputs).shape[_axis(case)] for inputs, _ in graphs]
        inputs = {key: torch.cat([one[key] for one, _ in graphs], dim=_axis(case)) for key in graphs[0][0]}
        batch = torch.arange(len(graphs)).repeat_interleave(torch.tensor(counts))
        extra = {"batch": batch} if _takes_batch(case, layer) else {}
        together = call(case, layer, inputs, _collate(case, [own for _, own in graphs], counts), extra=extra)
        own_axis = case.output_token_axis or _axis(case)
        same(together.shape[own_axis], sum(counts), "the number of nodes in the output")
        parts = together.split(counts, dim=own_axis)
        for i, ((inputs, keywords), piece) in enumerate(zip(graphs, parts, strict=True)):
            what = f"graph {i} ({counts[i]} nodes) of a mini-batch of {counts}, against that graph alone,"
            close(case, piece, call(case, layer, inputs, keywords), what)


def check_permutation_equivariance(case: LayerCase) -> None:
    """Tokens in another order give the outputs in that order."""
    layer, inputs = made(case), draw(case)
    axis, count = _axis(case), first(inputs).shape[_axis(case)]
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).roll(1)
    if torch.equal(order, torch.arange(count)):
        order = order.flip(0)
    keywords = dict(case.keywords)
    for name, value in case.keywords.items():
        if name in case.node_keywords:
            keywords[name] = value[order]
        elif isinstance(value, Tensor) and "index" in name:
            keywords[name] = order.argsort()[value]
    came = call(case, layer, change(inputs, lambda tensor: tensor.index_select(axis, order)), keywords)
    own_axis = case.output_token_axis or axis
    expected = call(case, layer, inputs).index_select(own_axis, order)
    close(case, came, expected, f"the output for the tokens in the order {order.tolist()}, against its own reordering,")


def _axis(case: LayerCase) -> int:
    assert case.token_axis is not None  # LayerCase has made sure
    return case.token_axis


def some_mask(case: LayerCase, x: Tensor) -> Tensor:
    """Masks that differ between rows and drop tokens at the end and in the middle; each row keeps some."""
    shape = x.shape[: x.dim() + _axis(case) + 1]
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.6
    mask[..., 0], mask[..., -1] = True, False
    return mask


def _like(mask: Tensor, tensor: Tensor, axis: int | None) -> Tensor:
    """Give a mask ``[..., N]`` the axes of a tensor that has its tokens at ``axis``."""
    assert axis is not None
    return mask.reshape(*mask.shape, *(1,) * (-axis - 1)).expand_as(tensor)


def _kept(
    case: LayerCase, layer: nn.Module, inputs: Arguments, mask: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Outputs at kept tokens, and their gradients for x and the parameters."""
    key = next(iter(inputs))
    x = inputs[key].detach().clone().requires_grad_()
    out = call(case, layer, {**inputs, key: x}, extra={str(case.mask): mask.to(dtype or case.mask_dtypes[0])})
    kept = out[_like(mask, out, case.output_token_axis or case.token_axis)]
    tracked = {"input": x} | {name: p for name, p in layer.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(projected(kept), list(tracked.values()), allow_unused=True)
    return kept.detach(), {
        name: torch.zeros_like(tracked[name]) if gradient is None else gradient
        for name, gradient in zip(tracked, gradients, strict=True)
    }


def _check_row_without_tokens(case: LayerCase, layer: nn.Module, inputs: Arguments, mask: Tensor) -> None:
    mask = mask.clone()
    mask.reshape(-1, mask.shape[-1])[0] = False
    out = call(case, layer, inputs, extra={str(case.mask): mask.to(case.mask_dtypes[0])})
    finite(out, "the output where a row of the mask is all false")
    _, gradients = _kept(case, layer, inputs, mask)
    for name, gradient in gradients.items():
        finite(gradient, f"the gradient of {name} where a row of the mask is all false")


def _takes_batch(case: LayerCase, layer: nn.Module) -> bool:
    parameters = inspect.signature(layer.forward).parameters.values()
    takes = any(p.name == "batch" or p.kind == p.VAR_KEYWORD for p in parameters)
    if not takes and not any("index" in name for name in case.keywords):
        raise AssertionError("forward has no argument batch, nor edges that keep graphs apart; expected one of them")
    return takes


def _graphs(case: LayerCase, strip: bool) -> list[tuple[Arguments, dict[str, Any]]]:
    """Graphs of several sizes, one size twice; of one size where a graph's edges are given."""
    keywords = dict(case.keywords)
    count = first(draw(case)).shape[_axis(case)]
    fixed = any(isinstance(value, Tensor) and "index" in name for name, value in keywords.items())
    graphs = []
    for seed, size in enumerate([count] * 3 if fixed else [count, 1, max(count - 1, 1), count]):
        drawn = draw(case, seed=seed)
        if strip:
            drawn = part(drawn, (0,) * case.batch_axes)
        own = {name: value[:size] if name in case.node_keywords else value for name, value in keywords.items()}
        nodes = (..., slice(size), *(slice(None),) * (-_axis(case) - 1))
        graphs.append((part(drawn, nodes), own))
    return graphs


def _collate(case: LayerCase, graphs: Sequence[dict[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Join keywords as PyG joins the attributes of graphs."""
    joined: dict[str, Any] = {}
    starts = [sum(counts[:i]) for i in range(len(counts))]
    for name, value in graphs[0].items():
        if not isinstance(value, Tensor) or not value.dim():
            joined[name] = value
        elif "index" in name:
            parts = [own[name] + start for own, start in zip(graphs, starts, strict=True)]
            joined[name] = torch.cat(parts, dim=-1)
        else:
            joined[name] = torch.cat([own[name] for own in graphs])
    return joined
