"""Spectra handed in as NumPy arrays or tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["as_matrix", "as_real_tensor", "check_finite"]


def as_real_tensor(name: str, values: Any, *, boolean: bool = False) -> Tensor:
    """The values as a detached tensor: real numbers, or truth values if ``boolean``.

    Arrays that a tensor cannot share memory with (read-only, reversed or of foreign byte order) are copied.
    """
    wanted = "truth values" if boolean else "real numbers"
    if isinstance(values, np.ndarray) and values.dtype.kind in "bfiu":
        dtype = np.dtype(np.float64) if values.dtype.itemsize > 8 else values.dtype.newbyteorder("=")
        shared = values.dtype == dtype and values.flags.writeable and min(values.strides, default=0) >= 0
        values = torch.from_numpy(values if shared else np.array(values, dtype=dtype, order="C"))
    if not isinstance(values, Tensor):
        came = f"an array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise InputTypeError(f"{name} is {came}; expected a NumPy array or a tensor of {wanted}")
    if values.is_complex() or boolean != (values.dtype == torch.bool):
        raise InputTypeError(f"{name} is a tensor of {values.dtype}; expected {wanted}")
    return values.detach()


def as_matrix(name: str, values: Any, like: Tensor | None = None, *, boolean: bool = False) -> Tensor:
    """The values as a tensor [N, L], of the shape and on the device of ``like``."""
    matrix = as_real_tensor(name, values, boolean=boolean)
    if matrix.ndim != 2:
        raise InputError(f"{name} has shape {tuple(matrix.shape)}; expected two dimensions, spectra and points")
    if like is None:
        return matrix
    if matrix.shape != like.shape:
        raise InputError(f"{name} has shape {tuple(matrix.shape)}; expected {tuple(like.shape)}, as original_fluxes")
    return matrix.to(like.device)


def check_finite(name: str, values: Tensor, mask: Tensor | None) -> None:
    """Raise an error that names the first good point that is not finite."""
    if not values.is_floating_point():
        return
    bad = ~torch.isfinite(values)
    if mask is not None:
        bad &= mask
    if bool(bad.any()):
        spectrum, point = bad.nonzero()[0].tolist()
        raise InputError(
            f"{name} is {float(values[spectrum, point])} at point {point} of spectrum {spectrum}; expected finite "
            "values at good points (bad points are marked False in mask)"
        )
