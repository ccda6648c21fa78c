"""Products along the edges of a graph without an edge-by-feature tensor.

Attention over a sparse graph needs two products: the inner product of two node features at each edge (a *sampled
dense-dense* product) and the weighted sum of node features over incoming edges (a *sparse-dense* product). Both are
operators of their own here, with a backward pass made of the same two products, so memory is O(N d + E) where gathering
keys and values would take O(E d). They are registered with ``torch.library``, hence usable under ``torch.compile`` and
``torch.export``.
"""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from stgraph.errors import InputError

__all__ = ["EdgeStructure", "edge_softmax", "edge_structure", "neighbor_sum", "sampled_dot"]


class EdgeStructure(NamedTuple):
    """The edges of a graph in the compressed order that :func:`sampled_dot` and :func:`neighbor_sum` work in.

    Edges are sorted by target; ``order`` says where each sorted edge stood in ``edge_index``. The same edges sorted by
    source serve the backward pass; ``order_transposed`` leads there and ``order_back`` leads back.
    """

    crow: Tensor
    col: Tensor
    row: Tensor
    order: Tensor
    crow_transposed: Tensor
    col_transposed: Tensor
    order_transposed: Tensor
    order_back: Tensor
    degree: int | None

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return self.crow.numel() - 1

    @property
    def num_edges(self) -> int:
        """Number of edges E."""
        return self.col.numel()


def edge_structure(edge_index: Tensor, num_nodes: int) -> EdgeStructure:
    """Sort the edges j to i of a graph by target and, for the backward pass, by source.

    Args:
        edge_index: Edges ``[2, E]``; row 0 holds the source j, row 1 the target i.
        num_nodes: Number of nodes N.

    Raises:
        InputError: If ``edge_index`` has a wrong shape.

    Examples:
        >>> import torch
        >>> edge_structure(torch.tensor([[1, 0, 2], [0, 1, 0]]), num_nodes=3).col.tolist()
        [1, 2, 0]
    """
    if edge_index.dim() != 2 or edge_index.shape[0] != 2:
        raise InputError(f"edge_index has shape {tuple(edge_index.shape)}; expected (2, E)")
    source, target = edge_index
    target_sorted, order = target.sort(stable=True)
    col = source[order]
    source_sorted, order_transposed = col.sort(stable=True)
    crow = _compress(target_sorted, num_nodes)
    degrees = crow.diff()
    constant = degrees.numel() > 0 and bool((degrees == degrees[0]).all()) and int(degrees[0]) > 0
    return EdgeStructure(
        crow,
        col,
        target_sorted,
        order,
        _compress(source_sorted, num_nodes),
        target_sorted[order_transposed],
        order_transposed,
        _inverse(order_transposed),
        int(degrees[0]) if constant else None,
    )


def sampled_dot(a: Tensor, b: Tensor, structure: EdgeStructure) -> Tensor:
    """Inner product of target and source features at each edge.

    Args:
        a: Features of the targets ``[..., N, D]``.
        b: Features of the sources ``[..., N, D]``.
        structure: The edges.

    Returns:
        Tensor: ``[..., E]``, the product of ``a[i]`` and ``b[j]`` for each edge j to i in the order of ``structure``.

    Examples:
        >>> import torch
        >>> edges = edge_structure(torch.tensor([[1], [0]]), num_nodes=2)
        >>> sampled_dot(torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]]), edges)
        tensor([11.])
    """
    shape = a.shape[:-2]
    a, b, dtype = _prepare(a, b)
    value: Tensor = torch.ops.stgraph.sampled_dot(_one_batch(a, 2), _one_batch(b, 2), *_arguments(structure))
    return value.reshape(*shape, structure.num_edges).to(dtype)


def neighbor_sum(weight: Tensor, value: Tensor, structure: EdgeStructure) -> Tensor:
    """Weighted sum of the source features over the edges that enter each node.

    Args:
        weight: Edge weights ``[..., E]`` in the order of ``structure``.
        value: Features of the sources ``[..., N, D]``.
        structure: The edges.

    Returns:
        Tensor: ``[..., N, D]``; zero at nodes without incoming edges.

    Examples:
        >>> import torch
        >>> edges = edge_structure(torch.tensor([[1], [0]]), num_nodes=2)
        >>> neighbor_sum(torch.tensor([2.0]), torch.tensor([[1.0], [5.0]]), edges).flatten().tolist()
        [10.0, 0.0]
    """
    shape = value.shape
    weight, value, dtype = _prepare(weight, value)
    total: Tensor = torch.ops.stgraph.neighbor_sum(_one_batch(weight, 1), _one_batch(value, 2), *_arguments(structure))
    return total.reshape(shape).to(dtype)


def edge_softmax(logits: Tensor, structure: EdgeStructure) -> Tensor:
    """Softmax of edge logits ``[..., E]`` over the edges that enter each node.

    >>> import torch
    >>> edges = edge_structure(torch.tensor([[1, 2], [0, 0]]), num_nodes=3)
    >>> edge_softmax(torch.zeros(2), edges)
    tensor([0.5000, 0.5000])
    """
    if structure.degree is not None:
        blocks: Tensor = logits.unflatten(-1, (-1, structure.degree))
        return blocks.softmax(dim=-1).flatten(-2)
    index = structure.row.expand_as(logits)
    per_node = (*logits.shape[:-1], structure.num_nodes)
    highest = logits.new_full(per_node, -torch.inf).scatter_reduce(-1, index, logits.detach(), "amax")
    exponential = (logits - highest.gather(-1, index)).exp()
    total = logits.new_zeros(per_node).scatter_add(-1, index, exponential)
    return exponential / total.gather(-1, index)


def _inverse(order: Tensor) -> Tensor:
    return torch.empty_like(order).scatter_(0, order, torch.arange(order.numel(), device=order.device))


def _compress(sorted_index: Tensor, num_nodes: int) -> Tensor:
    crow = sorted_index.new_zeros(num_nodes + 1)
    crow[1:] = torch.bincount(sorted_index, minlength=num_nodes).cumsum(0)
    return crow


def _one_batch(x: Tensor, kept: int) -> Tensor:
    """Join all leading dimensions into one, also where the tensor is empty."""
    lead = x.shape[: x.dim() - kept]
    return x.reshape(math.prod(lead), *x.shape[x.dim() - kept :])


def _prepare(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, torch.dtype]:
    """Bring both to one dtype that sparse kernels know; half precision is computed in float32."""
    dtype = torch.promote_types(first.dtype, second.dtype)
    work = dtype if dtype in (torch.float32, torch.float64) else torch.float32
    return first.to(work), second.to(work), dtype


def _arguments(structure: EdgeStructure) -> tuple[Tensor, ...]:
    return (
        structure.crow,
        structure.col,
        structure.crow_transposed,
        structure.col_transposed,
        structure.order_transposed,
        structure.order_back,
    )


# A static graph meets the same batch size at every step: the indices of its copies are kept as long as the graph lives.
_repeated: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


@functools.cache
def _silence_beta_warning() -> None:
    # PyTorch tells once per process that CSR tensors are in beta; a library must not pass that on to its users.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1))


def _block_diagonal(crow: Tensor, col: Tensor, values: Tensor) -> Tensor:
    """Put one copy of the graph per leading index of ``values`` [G, E] into one CSR matrix of G N rows."""
    _silence_beta_warning()
    copies = values.shape[0]
    size = copies * (crow.numel() - 1)
    kept = _repeated.get(crow)
    if kept is None or kept[0] != copies:
        kept = (copies, *_repeat(crow, col, copies))
        _repeated[crow] = kept
    return torch.sparse_csr_tensor(kept[1], kept[2], values.flatten(), (size, size))


def _repeat(crow: Tensor, col: Tensor, copies: int) -> tuple[Tensor, Tensor]:
    nodes, edges = crow.numel() - 1, col.numel()
    index = torch.int32 if copies * max(edges, nodes) < 2**31 else torch.int64
    copy = torch.arange(copies, device=crow.device, dtype=index).unsqueeze(-1)
    crow_all = (crow[:-1].to(index) + copy * edges).flatten()
    end = torch.full((1,), copies * edges, dtype=index, device=crow.device)
    return torch.cat([crow_all, end]), (col.to(index) + copy * nodes).flatten()


@torch.library.custom_op("stgraph::sampled_dot", mutates_args=())
def _sampled_dot(
    a: Tensor, b: Tensor, crow: Tensor, col: Tensor, crow_t: Tensor, col_t: Tensor, order_t: Tensor, back: Tensor
) -> Tensor:
    copies, nodes, width = a.shape
    out = a.new_zeros(copies, col.numel())
    if out.numel() == 0 or width == 0:
        return out
    if out.numel() > (copies * nodes) ** 2:
        # Edges that repeat so often that the kernel takes their number for an error.
        row = torch.repeat_interleave(crow.diff())
        return (a[:, row] * b[:, col]).sum(dim=-1)
    pattern = _block_diagonal(crow, col, out)
    flat_a, flat_b = a.reshape(copies * nodes, width), b.reshape(copies * nodes, width)
    with torch.autocast(a.device.type, enabled=False):  # sparse products know no half precision
        product: Tensor = torch.sparse.sampled_addmm(pattern, flat_a, flat_b.t(), beta=0.0)
    return product.values().reshape(out.shape)


@torch.library.custom_op("stgraph::neighbor_sum", mutates_args=())
def _neighbor_sum(
    weight: Tensor,
    value: Tensor,
    crow: Tensor,
    col: Tensor,
    crow_t: Tensor,
    col_t: Tensor,
    order_t: Tensor,
    back: Tensor,
) -> Tensor:
    copies, nodes, width = value.shape
    if weight.numel() == 0 or width == 0:
        return torch.zeros_like(value)
    matrix = _block_diagonal(crow, col, weight)
    with torch.autocast(value.device.type, enabled=False):
        return (matrix @ value.reshape(copies * nodes, width)).reshape(copies, nodes, width)


@_sampled_dot.register_fake
def _(a: Tensor, b: Tensor, crow: Tensor, col: Tensor, *transposed: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], col.shape[0])


@_neighbor_sum.register_fake
def _(weight: Tensor, value: Tensor, crow: Tensor, col: Tensor, *transposed: Tensor) -> Tensor:
    return torch.empty_like(value, memory_format=torch.contiguous_format)


def _save_inputs(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _transpose(edges: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Arguments of the transposed graph; the transpose of that is the graph again."""
    crow, col, crow_t, col_t, order_t, back = edges
    return crow_t, col_t, crow, col, back, order_t


def _sampled_dot_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, b, *edges = ctx.saved_tensors
    need_a, need_b = ctx.needs_input_grad[:2]
    grad_a = torch.ops.stgraph.neighbor_sum(grad, b, *edges) if need_a else None
    grad_b = _transposed_sum(grad, a, tuple(edges)) if need_b else None
    return grad_a, grad_b, *(None for _ in edges)


def _neighbor_sum_backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    weight, value, *edges = ctx.saved_tensors
    need_weight, need_value = ctx.needs_input_grad[:2]
    grad_weight = torch.ops.stgraph.sampled_dot(grad, value, *edges) if need_weight else None
    grad_value = _transposed_sum(weight, grad, tuple(edges)) if need_value else None
    return grad_weight, grad_value, *(None for _ in edges)


def _transposed_sum(weight: Tensor, value: Tensor, edges: tuple[Tensor, ...]) -> Tensor:
    total: Tensor = torch.ops.stgraph.neighbor_sum(weight[:, edges[4]], value, *_transpose(edges))
    return total


_sampled_dot.register_autograd(_sampled_dot_backward, setup_context=_save_inputs)
_neighbor_sum.register_autograd(_neighbor_sum_backward, setup_context=_save_inputs)
