"""An image becomes the graph of a grid, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.checks import as_numeric_array, first_position
from stgraph.data.graph import series_of
from stgraph.data.images.image import Image, as_band_wavelengths, as_cube, as_float32
from stgraph.errors import InputError, InputTypeError

__all__ = ["from_image", "to_image"]


def from_image(
    values: Any,
    *,
    wavelength: Any = None,
    mask: Any = None,
    georeference: Mapping[str, Any] | None = None,
    missing: Literal["error", "mask"] = "error",
) -> Data:
    r"""Build the graph of an image: every pixel is a node, row by row, and its series is its spectrum.

    The graph has no edges; :class:`~stgraph.data.GridStencilGraph` or :class:`~stgraph.data.KNNGraph` adds them. Where
    the image is a writable array of float32 without missing values, the graph shares its memory.

    Args:
        values: The image, an array or an :class:`Image`, whose wavelengths and georeference are taken over.
        wavelength: Wavelengths of the bands in nm.
        mask: True (or not 0) where the image is good; values elsewhere may be anything and become 0.
        georeference: Where the image lies on the Earth, as plain values.
        missing: ``"error"`` refuses NaN and infinity where the image should be good, ``"mask"`` masks them.

    Shapes:
        - **values:** :math:`(H, W, C)`, or :math:`(H, W)` for one band
        - **mask:** :math:`(H, W)` for all bands, or :math:`(H, W, C)`
        - **output:** ``x`` :math:`(H W, C, 1)`, ``pos`` :math:`(H W, 2)` (row, column), ``grid`` :math:`(H, W)`,
          ``mask`` like ``x`` (only where something is missing), ``wavelength`` :math:`(C)`, ``georeference``; what is
          not known is not there

    Raises:
        InputError: If shapes do not fit, values are not finite (says how many and the first of them), or no value is
            good.
        InputTypeError: If something is not numeric.

    Examples:
        >>> data = from_image([[[1.0, 2.0], [3.0, float("nan")]]], wavelength=[500.0, 600.0], missing="mask")
        >>> data.x[1, :, 0], data.mask[1, :, 0], data.pos[1]
        (tensor([3., 0.]), tensor([ True, False]), tensor([0., 1.]))
    """
    if missing not in ("error", "mask"):
        raise InputError(f"missing must be 'error' or 'mask', got {missing!r}")
    if isinstance(values, Image):
        wavelength = values.wavelength if wavelength is None else wavelength
        georeference = values.georeference if georeference is None else georeference
        values = values.values
    if georeference is not None and not isinstance(georeference, Mapping):
        raise InputTypeError(f"georeference must be a dict of plain values, got {type(georeference).__name__}")
    cube = as_float32(as_cube(values, "values"))
    height, width, bands = cube.shape
    good = _good(cube, mask, missing)
    if not good.all():
        cube = np.where(good, cube, np.float32(0))
    elif not cube.flags.writeable or not cube.flags.c_contiguous:
        cube = cube.copy()
    rows, columns = torch.arange(height, dtype=torch.float32), torch.arange(width, dtype=torch.float32)
    data = Data(
        x=torch.from_numpy(cube.reshape(height * width, bands, 1)),
        pos=torch.cartesian_prod(rows, columns),
        grid=(height, width),
    )
    if not good.all():
        data.mask = torch.from_numpy(np.ascontiguousarray(good).reshape(height * width, bands, 1))
    if wavelength is not None:
        data.wavelength = torch.from_numpy(as_band_wavelengths(wavelength, bands))
    if georeference is not None:
        data.georeference = dict(georeference)
    return data


def _good(cube: npt.NDArray[np.float32], mask: Any, missing: Literal["error", "mask"]) -> npt.NDArray[np.bool_]:
    """Where the image is good [H, W, C]."""
    finite = np.isfinite(cube)
    good = finite
    if mask is not None:
        given = as_numeric_array(mask, "mask")
        if given.shape not in (cube.shape[:2], cube.shape):
            raise InputError(f"mask must have the shape {cube.shape[:2]} or {cube.shape}, got {given.shape}")
        chosen = (given != 0) if given.ndim == 3 else np.broadcast_to((given != 0)[:, :, None], cube.shape)
        good = finite & chosen
        finite = finite | ~chosen
    if missing == "error" and not finite.all():
        count, first = int(finite.size - finite.sum()), first_position(~finite)
        raise InputError(
            f"values must be finite, but {count} of {finite.size} are NaN or infinite, the first at row {first[0]}, "
            f"column {first[1]}, band {first[2]} ({cube[first]}); missing='mask' masks them"
        )
    if not good.any():
        raise InputError("values must hold something, but all of it is missing or masked")
    return good


def to_image(data: Data) -> npt.NDArray[np.float32]:
    r"""The image of a graph, the inverse of :func:`from_image`.

    Args:
        data: The graph of a grid with a series of one channel.

    Shapes:
        - **output:** :math:`(H, W, C)`, NaN where the graph is masked; shares the memory of ``data.x`` where this lies
          on the CPU in float32 and nothing is masked

    Raises:
        InputError: If the graph is no grid, or its nodes do not fill it, or they have several channels.

    Examples:
        >>> to_image(from_image([[1.0, 2.0]]))[:, :, 0]
        array([[1., 2.]], dtype=float32)
    """
    x = series_of(data)
    grid = data.get("grid")
    if grid is None:
        raise InputError("data must be the graph of a grid, but has no attribute grid")
    height, width = (int(side) for side in grid)
    if x.shape[0] != height * width or x.shape[2] != 1:
        raise InputError(
            f"data of a grid of {height} x {width} must have x of the shape ({height * width}, C, 1), got "
            f"{tuple(x.shape)}"
        )
    values: Tensor = x.detach()
    if data.get("mask") is not None:
        values = values.masked_fill(~data.mask, float("nan"))
    image: npt.NDArray[np.float32] = values.cpu().float().numpy()
    return image.reshape(height, width, x.shape[1])
