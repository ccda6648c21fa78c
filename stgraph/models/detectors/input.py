"""What detectors take from a graph."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.graph_residual import ScaledSpectra, scale_spectra

__all__ = ["check_same_grid", "common_grid", "single_channel", "spectra_like"]

_SAME_WAVELENGTH = 1e-6  # relative difference


def single_channel(data: Data) -> tuple[Tensor, Tensor, Tensor | None]:
    r"""Values, mask and errors of spectra, the values 0 at bad points.

    Shapes:
        - **output:** three tensors :math:`(N, L)`, the last one :obj:`None` where errors are not known

    Raises:
        InputError: If the shape is not :math:`(N, L, 1)`, a good value is not finite, its error not positive, or the
            spectra have no common grid.
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
    _check_grid(data, good)
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


def common_grid(data: Data) -> Tensor:
    r"""Wavelengths that all spectra share, float64; empty where they are not known.

    Shapes:
        - **output:** :math:`(L)` or (0)
    """
    wavelength = data.get("wavelength")
    if not isinstance(wavelength, Tensor) or not wavelength.numel():
        return torch.empty(0, dtype=torch.float64, device=data.x.device)
    return (wavelength if wavelength.dim() == 1 else wavelength[0]).double()


def check_same_grid(data: Data, wavelength: Tensor) -> None:
    """Refuse spectra on another grid than that of the fit, where both are known.

    Raises:
        InputError: If they are.
    """
    grid = common_grid(data)
    if not grid.numel() or not wavelength.numel():
        return
    known = wavelength.to(grid.device)
    if grid.shape != known.shape or bool(((grid - known).abs() > _SAME_WAVELENGTH * known).any()):
        raise InputError(
            f"data have {_limits(grid)}, the spectra of the fit {_limits(known)}; resample them to the same grid "
            "(stgraph.data.spectra.resample_spectra or to_rest_frame)"
        )


def spectra_like(data: Data, mean: Tensor, wavelength: Tensor, usual_error: Tensor | None = None) -> ScaledSpectra:
    """Scale spectra that are to be compared with those of a fit.

    Args:
        data: The spectra.
        mean: Mean spectrum of the fit, empty before a fit; its type is what is computed in.
        wavelength: Grid of the fit, empty where it is not known.
        usual_error: Error of spectra without any noise, where errors are not given.

    Raises:
        InputError: If there was no fit, the grid is another one, or the spectra cannot be used.
    """
    if not mean.numel():
        raise InputError("the detector was not fitted; call fit first")
    x, mask, error = single_channel(data)
    if x.shape[1] != mean.numel():
        raise InputError(
            f"data have {x.shape[1]} points, the spectra of the fit {mean.numel()}; resample them to the same grid "
            "(stgraph.data.spectra.resample_spectra)"
        )
    check_same_grid(data, wavelength)
    return scale_spectra(x.to(mean.dtype), mask, None if error is None else error.to(mean.dtype), usual_error)


def _limits(grid: Tensor) -> str:
    return f"{grid.numel()} points from {float(grid[0]):g} to {float(grid[-1]):g} angstrom"


def _check_grid(data: Data, good: Tensor) -> None:
    """Refuse spectra whose good points are at different wavelengths in the same column."""
    wavelength = data.get("wavelength")
    if not isinstance(wavelength, Tensor):
        return
    if wavelength.shape not in (good.shape, good.shape[1:]):
        raise InputError(
            f"wavelength has shape {tuple(wavelength.shape)}; expected (L,) or (N, L) for x {tuple(data.x.shape)}"
        )
    if wavelength.dim() == 1 or not len(wavelength):
        return
    away = (wavelength - wavelength[0]).abs() > _SAME_WAVELENGTH * wavelength[0]
    rows = (away & good).any(dim=1).nonzero()
    if rows.numel():
        raise InputError(
            f"wavelength of spectrum {int(rows[0])} is not that of the first; put the spectra on a common grid "
            "(stgraph.data.spectra.resample_spectra or to_rest_frame)"
        )
