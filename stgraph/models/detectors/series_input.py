"""Series of the nodes of a network as rows."""

from __future__ import annotations

import logging

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.ops.anomaly.neighbor_regression import time_folds

__all__ = ["judged_series", "names_of_nodes", "series_rows"]

_logger = logging.getLogger("stgraph")

_FIFTHS = 5
_PER_WEIGHT = 2  # observations that a weight of a regression takes at least


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


def judged_series(observed: Tensor, weights: Tensor, channels: int) -> Tensor:
    r"""Which series have two observations for each weight of their regression outside every fifth of the period.

    In short periods observations at half of the steps are enough. The logger ``stgraph`` warns of the number of nodes
    with a series that has data, but too little.

    Shapes:
        - **observed:** :math:`(M, T)`, **weights:** :math:`(M)`, **output:** :math:`(M)`

    Raises:
        InputError: If no series has enough.

    Examples:
        >>> observed = torch.ones(2, 100, dtype=torch.bool)
        >>> observed[1, 20:] = False
        >>> judged_series(observed, torch.tensor([15, 15]), channels=1)
        tensor([ True, False])
    """
    steps = observed.shape[1]
    fold = time_folds(steps, _FIFTHS)
    count = torch.stack([observed[:, fold == number].sum(dim=1) for number in range(_FIFTHS)])
    half = (steps - steps // _FIFTHS) // 2
    enough: Tensor = count.sum(dim=0) - count.amax(dim=0) >= (_PER_WEIGHT * weights).clamp(max=half)
    if not bool(enough.any()):
        raise InputError("x has too little data outside one fifth of the steps in every series; none can be judged")
    left = int((observed.any(dim=1) & ~enough).view(-1, channels).any(dim=1).sum())
    if left:
        text = "%d of %d nodes have too little data outside one fifth of the period to be judged%s"
        _logger.warning(text, left, len(observed) // channels, "" if channels == 1 else " in each channel")
    return enough


def names_of_nodes(data: Data) -> list[str] | None:
    """Names of the nodes as text, where the data have them."""
    names = data.get("node_names")
    return None if names is None else [str(name) for name in names]
