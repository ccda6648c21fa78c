"""Checked pairs of image cubes, read a few bands at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = [
    "Chunks",
    "Cube",
    "ImagePair",
    "band_chunks",
    "check_cube",
    "check_finite",
    "check_ratio",
    "image_pair",
    "native_bands",
    "read_bands",
]

Cube = Tensor | npt.NDArray[Any]
#: Which bands, and those of the estimate and the truth.
Chunks = Iterator[tuple[slice, Tensor, Tensor]]

# Numbers of one image held at a time in float64, 16 MiB; a dozen such arrays are alive at once.
_CHUNK = 2**21


@dataclass(frozen=True)
class ImagePair:
    """An estimate and a truth of the same shape ``[H, W, C]``, and the pixels that count, ``[H, W]`` or all."""

    estimate: Cube
    truth: Cube
    mask: Tensor | None
    device: torch.device

    @property
    def size(self) -> tuple[int, int]:
        """Return the number of rows and columns."""
        return int(self.truth.shape[0]), int(self.truth.shape[1])

    @property
    def bands(self) -> int:
        """Return the number of bands."""
        return int(self.truth.shape[2])

    def chunks(self) -> Chunks:
        """Yield which bands, and those of the estimate and the truth as float64 ``[k, H, W]``, 0 where masked."""
        for bands in band_chunks(self.size, self.bands):
            x, y = (read_bands(cube, bands, self.device) for cube in (self.estimate, self.truth))
            if self.mask is not None:
                x, y = (torch.where(self.mask, image, 0.0) for image in (x, y))
            yield bands, x, y


def image_pair(estimate: Cube, truth: Cube, mask: Cube | None = None) -> ImagePair:
    """Check two image cubes and a mask.

    Args:
        estimate: Image to be judged.
        truth: Image it should equal.
        mask: True at the pixels that count; the others may hold anything, NaN included.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`
        - **mask:** :math:`(H, W)`

    Raises:
        InputError: If a shape does not fit, a pixel that counts is NaN or infinite, or no pixel counts.
        InputTypeError: If an image is not an array or tensor of floating-point numbers, or the mask is not bool.
    """
    check_cube(estimate, "estimate")
    check_cube(truth, "truth")
    if tuple(estimate.shape) != tuple(truth.shape):
        raise InputError(
            f"estimate has shape {tuple(estimate.shape)}, truth {tuple(truth.shape)}; expected the same (H, W, C)"
        )
    device = next((cube.device for cube in (estimate, truth) if isinstance(cube, Tensor)), torch.device("cpu"))
    good = None if mask is None else _check_mask(mask, tuple(truth.shape[:2])).to(device)
    check_finite(estimate, "estimate", good)
    check_finite(truth, "truth", good)
    return ImagePair(estimate, truth, good, device)


def band_chunks(size: tuple[int, int], bands: int) -> Iterator[slice]:
    """Yield slices of bands that are worked on at once, so that memory does not grow with the number of bands."""
    step = max(1, _CHUNK // (size[0] * size[1]))
    for start in range(0, bands, step):
        yield slice(start, min(start + step, bands))


def read_bands(cube: Cube, bands: slice, device: torch.device) -> Tensor:
    """Return some bands of a cube ``[H, W, C]`` as float64 ``[k, H, W]``."""
    return native_bands(cube, bands, device).double()


def native_bands(cube: Cube, bands: slice, device: torch.device) -> Tensor:
    """Return some bands of a cube ``[H, W, C]`` as ``[k, H, W]`` in its own type."""
    if isinstance(cube, Tensor):
        return cube[..., bands].detach().movedim(-1, 0).to(device).contiguous()
    # Copied in the machine's byte order, since a read-only or a big-endian array cannot become a tensor.
    native = cube.dtype.newbyteorder("=")
    return torch.from_numpy(np.array(np.moveaxis(cube[..., bands], -1, 0), dtype=native, order="C")).to(device)


def check_cube(cube: Cube, name: str) -> None:
    """Check the type and the shape ``[H, W, C]`` of a cube.

    Raises:
        InputError: If it has not three dimensions, or one is empty.
        InputTypeError: If it is not an array or tensor of floating-point numbers.
    """
    if isinstance(cube, Tensor):
        floating = cube.dtype in (torch.float32, torch.float64)
    elif isinstance(cube, np.ndarray):
        floating = cube.dtype.kind == "f" and cube.dtype.itemsize in (4, 8)
    else:
        raise InputTypeError(f"{name} is a {type(cube).__name__}; expected a NumPy array or a tensor")
    if not floating:
        raise InputTypeError(f"{name} is of type {cube.dtype}; expected float32 or float64")
    if cube.ndim != 3 or 0 in cube.shape:
        raise InputError(f"{name} has shape {tuple(cube.shape)}; expected (H, W, C), none of them 0")


def check_finite(cube: Cube, name: str, mask: Tensor | None = None) -> None:
    """Check that pixels that count hold no NaN or infinity.

    Raises:
        InputError: If one does; it says how many values and which is the first in the order of rows, columns, bands.
    """
    rows = max(1, _CHUNK // (int(cube.shape[1]) * int(cube.shape[2])))
    count, first = 0, None
    for start in range(0, int(cube.shape[0]), rows):
        part = cube[start : start + rows]
        bad = ~part.isfinite().cpu() if isinstance(part, Tensor) else torch.from_numpy(np.array(~np.isfinite(part)))
        if mask is not None:
            bad &= mask[start : start + rows].cpu().unsqueeze(-1)
        found = int(bad.sum())
        if found and first is None:
            row, column, band = (int(i) for i in bad.nonzero()[0])
            first = (start + row, column, band)
        count += found
    if count:
        raise InputError(
            f"{name} holds {count} NaN or infinite values, the first at (row, column, band) {first}; "
            "expected finite values, or a mask that leaves those pixels out"
        )


def check_ratio(ratio: int) -> int:
    """Return the ratio of the resolutions.

    Raises:
        InputError: If it is less than 1.
        InputTypeError: If it is not an integer.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, int | np.integer):
        raise InputTypeError(f"ratio is {ratio!r}; expected an integer")
    if ratio < 1:
        raise InputError(f"ratio is {ratio}; expected at least 1")
    return int(ratio)


def _check_mask(mask: Cube, size: tuple[int, ...]) -> Tensor:
    if not isinstance(mask, Tensor | np.ndarray):
        raise InputTypeError(f"mask is a {type(mask).__name__}; expected a NumPy array or a tensor")
    if mask.dtype not in (torch.bool, np.bool_):
        raise InputTypeError(f"mask is of type {mask.dtype}; expected bool")
    if tuple(mask.shape) != size:
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected (H, W) = {size}")
    good = mask if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
    if not good.any():
        raise InputError("mask is False at every pixel; expected at least one pixel that counts")
    return good
