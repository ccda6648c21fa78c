"""Take some of the stars of a set of light curves or spectra."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.selection import select_nodes
from stgraph.errors import InputError

__all__ = ["select_curves"]


def select_curves(data: Data, index: Any) -> Data:
    """Keep some stars with all that belongs to them, in the order given, and the edges between them.

    Rows keep their width, even where only shorter curves are left. The given graph is not changed.

    Args:
        data: Light curves or spectra of stars.
        index: Positions (negative ones count from the end), names (those of ``data.node_names``), a slice, or a
            boolean mask with one entry for each star.

    Raises:
        InputError: If a star does not exist or is named twice, a mask has the wrong length, or none is left.
        InputTypeError: If the index is none of the above.

    Examples:
        >>> from stgraph.data.light_curves import from_light_curves
        >>> data = from_light_curves([[0.0, 1.0], [0.0, 2.0]], [[1.0, 2.0], [3.0, 4.0]], names=["a", "b"])
        >>> select_curves(data, ["b"]).time
        tensor([[0., 2.]], dtype=torch.float64)
    """
    # A tensor with N rows counts as one of the nodes: positions that go along say which rows were taken.
    numbered = data.__copy__()
    if data.get("frequency") is not None and data.frequency.dim() == 1:
        del numbered["frequency"]
    numbered["_row"] = torch.arange(int(data.x.size(0)))
    result = select_nodes(numbered, index)
    rows: Tensor = result["_row"]
    del result["_row"]
    if data.get("frequency") is not None and data.frequency.dim() == 1:
        result.frequency = data.frequency
    if data.get("mask") is not None:
        result.mask = data.mask[rows.to(data.mask.device)]  # select_nodes drops a mask that hides nothing
    if data.get("metadata") is not None:
        chosen = rows.numpy()
        result.metadata = {name: _of_stars(vector, name, data)[chosen] for name, vector in data.metadata.items()}
    return result


def _of_stars(vector: Any, name: str, data: Data) -> Any:
    array = np.asarray(vector)
    if array.shape[:1] != (data.x.size(0),):
        raise InputError(f"metadata[{name!r}] must hold an entry for each of {data.x.size(0)} stars, got {array.shape}")
    return array
