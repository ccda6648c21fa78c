"""Read the cube that a pair is made from: check it, scale it and find its wavelengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.checks import as_finite_array, as_numeric_array
from stgraph.errors import InputError, InputTypeError

__all__ = ["as_wavelengths", "percentile_limits", "read_cube", "scaled"]

_PERCENTILES = (1.0, 99.0)


def read_cube(cube: Any) -> Tensor:
    """The cube as a tensor ``[H, W, C]`` of float32 or float64, without NaN, infinity or negative radiance.

    It may share memory with what was given.
    """
    values = _from_graph(cube) if isinstance(cube, Data) else _from_array(cube)
    if values.dim() != 3 or values.numel() == 0:
        raise InputError(f"cube must have the shape (rows, columns, bands), got {tuple(values.shape)}")
    _refuse(values, ~torch.isfinite(values), "NaN or infinite values", "fill them or cut them away")
    _refuse(values, values < 0, "negative values", "set those that are noise to 0, as by numpy.maximum(cube, 0)")
    return values


def percentile_limits(values: Tensor) -> tuple[float, float]:
    """The 1st and the 99th percentile of all values."""
    # On the CPU: the same constants whatever the device, and torch.quantile refuses more than 2^24 values.
    low, high = (float(limit) for limit in np.percentile(values.cpu().numpy(), _PERCENTILES))
    if not low < high:
        raise InputError(f"cube must not be constant: its 1st and 99th percentile are both {low:g}")
    return low, high


def scaled(values: Tensor, low: float, high: float) -> Tensor:
    """A copy, clipped to ``low`` and ``high``, which become 0 and 1."""
    clipped = values.clamp(low, high).contiguous()
    return clipped.sub_(low).div_(high - low).clamp_(0, 1)


def as_wavelengths(wavelengths: Any, cube: Any, channels: int) -> Tensor | None:
    """Wavelengths in nm ``[C]`` as float64: those given, else those of a graph, else none."""
    if wavelengths is None and isinstance(cube, Data):
        wavelengths = cube.get("wavelength")
    if wavelengths is None:
        return None
    values = torch.from_numpy(as_finite_array(wavelengths, "wavelengths"))
    if values.shape != (channels,):
        raise InputError(
            f"wavelengths must hold one value in nm for each of the {channels} bands of the cube, got the shape "
            f"{tuple(values.shape)}"
        )
    return values


def _from_array(cube: Any) -> Tensor:
    if isinstance(cube, Tensor):
        if cube.is_complex() or cube.dtype == torch.bool:
            raise InputTypeError(f"cube must hold real numbers, got {cube.dtype}")
        values = cube.detach()
        return values if values.dtype == torch.float64 else values.to(torch.float32)
    array = as_numeric_array(cube, "cube")
    if array.dtype.kind == "b":
        raise InputTypeError("cube must hold real numbers, got bool")
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(np.float64), np.nan)
    native = np.float64 if array.dtype.itemsize == 8 and array.dtype.kind == "f" else np.float32
    return torch.from_numpy(np.require(array, native, ["C", "W"]))


def _from_graph(data: Data) -> Tensor:
    x, grid, mask = data.get("x"), data.get("grid"), data.get("mask")
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != 1 or grid is None:
        found = f"x of the shape {tuple(x.shape)}" if isinstance(x, Tensor) else "no x"
        raise InputError(
            f"cube must be a graph of pixels with x (N, bands, 1) and grid (H, W), got {found}, grid {grid}"
        )
    height, width = grid
    if height * width != x.shape[0]:
        raise InputError(f"cube must have as many pixels as its grid {height} x {width}, got {x.shape[0]}")
    values = _from_array(x[..., 0])
    if mask is not None:
        values = values.masked_fill(~mask[..., 0], torch.nan)
    return values.reshape(height, width, -1)


def _refuse(values: Tensor, bad: Tensor, what: str, remedy: str) -> None:
    if not bool(bad.any()):
        return
    flat = int(bad.flatten().to(torch.uint8).argmax())
    row, column, band = (int(i) for i in np.unravel_index(flat, tuple(values.shape)))
    raise InputError(
        f"cube holds {int(bad.sum())} {what}, the first, {float(values[row, column, band]):g}, at row {row}, column "
        f"{column}, band {band}; {remedy}"
    )
