"""What detectors take from a graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError

__all__ = ["single_channel"]


def single_channel(data: Data) -> tuple[Tensor, Tensor, Tensor | None]:
    r"""Values, mask and errors of spectra, the values 0 at bad points.

    Shapes:
        - **output:** three tensors :math:`(N, L)`, the last one :obj:`None` where errors are not known

    Raises:
        InputError: If the shape is not :math:`(N, L, 1)`, a good value is not finite, or its error not positive.
        InputTypeError: If the values are no floating-point numbers, or the mask is not boolean.
    """
    x = data.get("x")
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[2] != 1 or x.shape[1] < 2:
        found = tuple(x.shape) if isinstance(x, Tensor) else None
        raise InputError(f"data must have spectra x of the shape (N, L, 1) with at least 2 points, got {found}")
    if not x.is_floating_point():
        raise InputTypeError(f"x has dtype {x.dtype}; expected a floating dtype")
    mask, error = data.get("mask"), data.get("flux_error")
    for name, value in (("mask", mask), ("flux_error", error)):
        if value is not None and value.shape != x.shape:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected that of x, {tuple(x.shape)}")
    if mask is not None and mask.dtype != torch.bool:
        raise InputTypeError(f"mask has dtype {mask.dtype}; expected torch.bool, True at good points")
    good = torch.ones_like(x[..., 0], dtype=torch.bool) if mask is None else mask[..., 0]
    flux = x[..., 0]
    flux = flux if flux.dtype == torch.float64 else flux.float()
    bad = good & ~flux.isfinite()
    if bool(bad.any()):
        row, point = (int(i) for i in bad.nonzero()[0])
        raise InputError(f"x is {float(flux[row, point])} in spectrum {row} at point {point}, where the mask says good")
    if error is None:
        return flux.masked_fill(~good, 0.0), good, None
    sigma = error[..., 0].to(flux.dtype)
    bad = good & ~((sigma > 0) & sigma.isfinite())
    if bool(bad.any()):
        row, point = (int(i) for i in bad.nonzero()[0])
        raise InputError(
            f"flux_error is {float(sigma[row, point])} in spectrum {row} at point {point}, where the mask says good; "
            "expected a positive number"
        )
    return flux.masked_fill(~good, 0.0), good, sigma.masked_fill(~good, 0.0)
