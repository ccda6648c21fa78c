"""Series of the nodes of a network as rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError

__all__ = ["names_of_nodes", "series_rows"]


def series_rows(data: Data) -> tuple[Tensor, Tensor]:
    r"""Values (float32) and mask, one row for each node and channel, one node after another.

    Shapes:
        - **output:** two tensors :math:`(N C, T)`

    Raises:
        InputError: If the shapes do not fit, or a value where the mask says good is not finite.
    """
    x, mask = data.get("x"), data.get("mask")
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[1] < 2:
        found = tuple(x.shape) if isinstance(x, Tensor) else None
        raise InputError(f"data must have series x of the shape (N, T, C) with at least 2 steps, got {found}")
    if mask is not None and mask.shape != x.shape:
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected that of x, {tuple(x.shape)}")
    observed = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.bool()
    bad = observed & ~x.isfinite()
    if bool(bad.any()):
        node, step, channel = (int(i) for i in bad.nonzero()[0])
        raise InputError(f"x is {float(x[node, step, channel])} at node {node}, step {step}, where the mask says good")
    time = data.get("time")
    if time is not None and time.shape != x.shape[1:2]:
        raise InputError(f"time has shape {tuple(time.shape)}; expected ({x.shape[1]},), common to all nodes")
    rows = x.float().masked_fill(~observed, 0.0).transpose(1, 2).flatten(0, 1)
    return rows, observed.transpose(1, 2).flatten(0, 1)


def names_of_nodes(data: Data) -> list[str] | None:
    """Names of the nodes as text, where the data have them."""
    names = data.get("node_names")
    return None if names is None else [str(name) for name in names]
