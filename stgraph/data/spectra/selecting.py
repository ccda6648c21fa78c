"""Take some of the objects of a set of spectra."""

from __future__ import annotations

from typing import Any

from torch_geometric.data import Data

from stgraph.data.light_curves.selection import select_curves

__all__ = ["select_spectra"]


def select_spectra(data: Data, index: Any) -> Data:
    """Keep some objects with all that belongs to them, in the order given, and the edges between them.

    Rows keep their width. The given graph is not changed.

    Args:
        data: Spectra as :func:`from_spectra` gives them.
        index: Positions (negative ones count from the end), names (those of ``data.node_names``), a slice, or a
            boolean mask with one entry for each object.

    Raises:
        InputError: If an object does not exist or is named twice, a mask has the wrong length, or none is left.
        InputTypeError: If the index is none of the above.

    Examples:
        >>> from stgraph.data.spectra import from_spectra
        >>> data = from_spectra([4000.0, 4001.0], [[1.0, 2.0], [3.0, 4.0]], names=["a", "b"])
        >>> select_spectra(data, ["b"]).x[:, :, 0]
        tensor([[3., 4.]])
    """
    axis = data.get("wavelength")
    if axis is None or axis.dim() != 1:
        return select_curves(data, index)
    # An axis of N wavelengths would count as a property of the N nodes.
    without = data.__copy__()
    del without["wavelength"]
    result = select_curves(without, index)
    result.wavelength = axis
    return result
