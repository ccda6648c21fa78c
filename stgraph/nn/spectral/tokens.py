"""Tokens as layers get them: checked, masked, in ragged mini-batches of graphs, or on the cells of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.nn.dense_batch import DenseBatch

__all__ = [
    "check_tokens",
    "keep_mask",
    "mix_tokens",
    "over_graphs",
    "over_grid",
    "over_padded_graphs",
    "refuse_both",
]

#: A layer's work on tokens ``[..., N, D]`` alone.
Mixer = Callable[[Tensor], Tensor]


def check_tokens(x: Tensor, channels: int, name: str = "hidden_dim") -> None:
    """Require a floating tensor ``[..., N, channels]``.

    Raises:
        InputTypeError: If the dtype is not floating.
        InputError: If the number of channels is another.

    Examples:
        >>> check_tokens(torch.zeros(2, 5, 3), 4)
        Traceback (most recent call last):
        stgraph.errors.InputError: x has shape (2, 5, 3), so 3 channels; expected (..., N, 4) since hidden_dim is 4
    """
    if not x.is_floating_point():
        raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
    if x.dim() < 2 or x.shape[-1] != channels:
        raise InputError(
            f"x has shape {tuple(x.shape)}, so {x.shape[-1] if x.dim() else 0} channels; "
            f"expected (..., N, {channels}) since {name} is {channels}"
        )


def keep_mask(mask: Tensor, x: Tensor) -> Tensor:
    """Bring a mask ``[..., N]`` of any dtype, non-zero where a token is real, to bool; axes of size 1 may be missing.

    Raises:
        InputError: If it does not fit the tokens ``x`` ``[..., N, D]``.
    """
    fits = mask.dim() <= x.dim() - 1 and all(
        own in (1, other) for own, other in zip(mask.shape[::-1], x.shape[-2::-1], strict=False)
    )
    if mask.dim() == 0 or not fits or mask.shape[-1] != x.shape[-2]:
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected {tuple(x.shape[:-1])}")
    return mask if mask.dtype == torch.bool else mask != 0


def refuse_both(mask: Tensor | None, batch: Tensor | None) -> None:
    """Require that tokens come with a mask or with a ``batch`` vector, or with neither."""
    if mask is not None and batch is not None:
        raise InputError("both mask and batch are given; expected one of them")


def mix_tokens(function: Mixer, x: Tensor, mask: Tensor | None = None, batch: Tensor | None = None) -> Tensor:
    """Apply ``function`` to tokens ``[..., N, D]`` so that padding has no influence and graphs stay apart.

    Tokens that ``mask`` drops enter as 0 and leave as 0. With a PyG ``batch`` vector each graph is a sequence of its
    own length.
    """
    refuse_both(mask, batch)
    if batch is not None:
        return over_graphs(function, x, batch)
    if mask is None:
        return function(x)
    keep = keep_mask(mask, x).unsqueeze(-1)
    return torch.where(keep, function(torch.where(keep, x, 0)), 0)


def over_graphs(function: Mixer, x: Tensor, batch: Tensor) -> Tensor:
    """Apply ``function`` to each graph of a mini-batch, ``[..., N, D]`` with ``batch`` ``[N]``.

    Graphs of one size are computed together, so the result is that of one graph at a time and nothing is padded.

    Raises:
        InputError: If ``batch`` does not fit.
    """
    graphs = DenseBatch.of(batch, x.shape[-2])
    counts = graphs.mask.sum(dim=-1)
    sizes, kind = counts.unique(return_inverse=True)
    of_node = kind.repeat_interleave(counts)
    return _by_kind(function, x, of_node, [(int(size),) for size in sizes])


def over_padded_graphs(function: Callable[[Tensor, Tensor], Tensor], x: Tensor, batch: Tensor) -> Tensor:
    """Apply ``function(x [..., G, M, D], mask [G, M])`` to the graphs of a mini-batch, side by side with padding."""
    graphs = DenseBatch.of(batch, x.shape[-2])
    if graphs.mask.numel() == 0:
        return function(x, x.new_ones(0, dtype=torch.bool))
    return graphs.unpad(function(graphs.pad(x), graphs.mask))


def over_grid(function: Mixer, x: Tensor, grid: Any, layer: str, channels_last: bool = False) -> Tensor:
    """Apply a layer for images to node features ``[..., N, C]`` of a grid, row-major.

    Args:
        function: Takes and returns images ``[..., C, H, W]``, or ``[..., H, W, C]`` with ``channels_last``.
        x: Node features.
        grid: ``(H, W)``, a list of such for a mini-batch of grids, or the graph whose ``grid`` says it.
        layer: Name of the layer, for the message.
        channels_last: Which images the function takes.

    Raises:
        InputError: If the graph has no grid or the grid has another number of cells.
    """
    shapes = _grid_shapes(grid, layer)
    sizes = [height * width for height, width in shapes]
    if sum(sizes) != x.shape[-2]:
        raise InputError(
            f"grid is {shapes if len(shapes) > 1 else shapes[0]}; expected {x.shape[-2]} cells, as x has nodes"
        )
    distinct = list(dict.fromkeys(shapes))

    def on_images(images: Tensor) -> Tensor:
        if channels_last:
            return function(images)
        return function(images.movedim(-1, -3)).movedim(-3, -1)

    if len(distinct) == 1:
        return _folded(on_images, x, distinct[0])
    kind = torch.tensor([distinct.index(shape) for shape in shapes], device=x.device)
    of_node = kind.repeat_interleave(torch.tensor(sizes, device=x.device))
    return _by_kind(on_images, x, of_node, distinct)


def _by_kind(function: Mixer, x: Tensor, of_node: Tensor, shapes: Sequence[tuple[int, ...]]) -> Tensor:
    """Apply ``function`` to ``[..., G, *shape, D]`` for the graphs of each shape, and put the nodes back in place."""
    if len(shapes) == 1:
        return _folded(function, x, shapes[0])
    nodes = [(of_node == i).nonzero().squeeze(-1) for i in range(len(shapes))]
    parts = [_folded(function, x.index_select(-2, own), shape) for own, shape in zip(nodes, shapes, strict=True)]
    if not parts:
        return x
    return torch.cat(parts, dim=-2).index_select(-2, torch.cat(nodes).argsort())


def _folded(function: Mixer, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    folded = x.unflatten(-2, (-1, *shape))
    return function(folded).flatten(-1 - len(shape) - 1, -2)


def _grid_shapes(grid: Any, layer: str) -> list[tuple[int, int]]:
    if hasattr(grid, "to_dict") and hasattr(grid, "get"):  # a PyG graph
        grid = grid.get("grid")
        if grid is None:
            raise InputError(
                f"the graph has no attribute grid, and {layer} needs nodes on a regular grid; "
                "GraphFourierMixing serves any graph"
            )
    try:
        pairs = [grid] if isinstance(grid[0], int) else list(grid)
        shapes = [(int(height), int(width)) for height, width in pairs]
    except (TypeError, ValueError, IndexError) as error:
        raise InputTypeError(f"grid is {grid!r}; expected (H, W), a list of them, or a graph that has one") from error
    if any(height < 1 or width < 1 for height, width in shapes):
        raise InputError(f"grid is {grid}; expected positive sizes")
    return shapes
