"""Checks of images that are fused, and their sizes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import first_position
from stgraph.errors import InputError

__all__ = ["as_tensor", "check_finite_image", "check_image_values", "check_radiances", "exact_ratio"]

# Noise and bright spots go beyond 0 to 1, images in other units much further.
_LOWEST, _HIGHEST = -0.5, 1.5


def exact_ratio(low: tuple[int, ...], high: tuple[int, ...]) -> int:
    """Return the ratio of the sizes ``(rows, columns, bands)`` of two images.

    Raises:
        InputError: If it is none, as the larger image has to be cut.

    >>> exact_ratio((2, 3, 100), (8, 12, 4))
    4
    """
    ratio = high[0] // low[0]
    if ratio < 1 or high[1] < low[1]:
        raise InputError(
            f"hr_msi has {high[0]} x {high[1]} pixels and lr_hsi {low[0]} x {low[1]}; expected at least as many of "
            "hr_msi: are they the wrong way round?"
        )
    if (high[0], high[1]) != (low[0] * ratio, low[1] * ratio):
        near = max(1, round(high[0] / low[0]))
        rows, columns = (min(sizes[0], sizes[1] // near) for sizes in zip(low[:2], high[:2], strict=True))
        raise InputError(
            f"hr_msi has {high[0]} x {high[1]} pixels, which is no multiple of lr_hsi, {low[0]} x {low[1]}; expected "
            f"the same area in both, as hr_msi {near * rows} x {near * columns} and lr_hsi {rows} x {columns} for a "
            f"ratio of {near}: cut them to it"
        )
    return ratio


def check_image_values(values: npt.NDArray[np.float32], name: str) -> None:
    """Refuse an image ``[H, W, C]`` with missing values or far from the range 0 to 1.

    Raises:
        InputError: If there are; says how many and where the first is.
    """
    check_finite_image(values, name)
    lowest, highest = float(values.min()), float(values.max())
    if lowest < _LOWEST or highest > _HIGHEST:
        far = (values < _LOWEST) | (values > _HIGHEST)
        raise InputError(
            f"{name} has values from {lowest:g} to {highest:g}; expected about 0 to 1, as normalise_image makes them; "
            f"too far from it are {_count_and_place(values, far)}"
        )


def check_radiances(values: npt.NDArray[np.float32], name: str) -> None:
    """Refuse an image ``[H, W, C]`` in units of a sensor with missing or negative values.

    Raises:
        InputError: If there are; says how many and where the first is.
    """
    check_finite_image(values, name)
    negative = values < 0
    if negative.any():
        raise InputError(
            f"{name} has negative radiance: {_count_and_place(values, negative)}; set those that are noise to 0, as "
            "by numpy.maximum(image, 0), or give normalise=false if the images lie in about 0 to 1 already"
        )


def check_finite_image(values: npt.NDArray[np.float32], name: str) -> None:
    """Refuse an image ``[H, W, C]`` with missing values.

    Raises:
        InputError: If there are; says how many and where the first is.
    """
    bad = ~np.isfinite(values)
    if bad.any():
        row, column, band = first_position(bad)
        raise InputError(
            f"{name} holds {int(bad.sum())} NaN or infinite values, the first at row {row}, column {column}, band "
            f"{band}; fill them or cut them away"
        )


def _count_and_place(values: npt.NDArray[np.float32], bad: npt.NDArray[np.bool_]) -> str:
    row, column, band = first_position(bad)
    count = int(bad.sum())
    where = f"{values[row, column, band]:g}, at row {row}, column {column}, band {band}"
    return f"{count} value{'' if count == 1 else 's'}, the first, {where}"


def as_tensor(values: npt.NDArray[np.float32]) -> Tensor:
    """Return an image ``[H, W, C]`` as a tensor ``[C, H, W]``."""
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))
