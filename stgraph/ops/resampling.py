"""Resampling of spectra from one wavelength grid to another with the flux conserved."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["bin_edges", "resample"]

_CHUNK = 2**16  # overlaps of old and new bins that are held at once: about the cache of a core
_LEAST_COVERED = 0.5  # share of a new bin that good points must exceed


class _Overlaps(NamedTuple):
    """Widths of the overlaps of old and new bins, from left to right, and the numbers of the two bins."""

    width: Tensor
    old: Tensor
    new: Tensor


def bin_edges(wavelength: Tensor) -> Tensor:
    r"""Return the edges of the bins of a grid: midway between its points, the outer two as far out as the next in.

    Args:
        wavelength: Rising points of the grid, at least 2.

    Shapes:
        - **wavelength:** :math:`(*, L)`
        - **output:** :math:`(*, L + 1)`, float64

    Raises:
        InputError: If there are fewer than 2 points.

    Examples:
        >>> bin_edges(torch.tensor([1.0, 2.0, 4.0]))
        tensor([0.5000, 1.5000, 3.0000, 5.0000], dtype=torch.float64)
    """
    if wavelength.dim() < 1 or wavelength.shape[-1] < 2:
        raise InputError(f"wavelength has shape {tuple(wavelength.shape)}; a bin needs at least 2 points to be told")
    points = wavelength.double()
    half = points.diff(dim=-1) / 2
    return torch.cat([points[..., :1] - half[..., :1], points[..., :-1] + half, points[..., -1:] + half[..., -1:]], -1)


def resample(
    flux: Tensor, error: Tensor | None, mask: Tensor, wavelength: Tensor, new_wavelength: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    r"""Resample spectra to another grid so that the flux integrated over wavelength is kept.

    A point stands for a bin that reaches halfway to the points beside it. With the width :math:`w_{ij}` that bin
    :math:`i` of the old grid shares with bin :math:`j` of the new one, over the good points :math:`i`:

    .. math::
        F_j = \frac{\sum_i w_{ij} f_i}{\sum_i w_{ij}}, \qquad
        S_j = \frac{\sqrt{\sum_i w_{ij}^2 s_i^2}}{\sum_i w_{ij}}

    as in `"SpectRes: A Fast Spectral Resampling Tool in Python" <https://arxiv.org/abs/1705.05165>`_. Points that are
    masked or not finite have no weight. A new point is good where good points cover more than half of its bin; flux
    and error are 0 elsewhere. Errors of new points that share an old one are correlated, which is not told.

    Args:
        flux: Flux densities, per unit of wavelength.
        error: Their standard errors, or :obj:`None`.
        mask: True at good points.
        wavelength: Strictly rising wavelengths, of all spectra or of each (padding included).
        new_wavelength: Strictly rising wavelengths to resample to, in the same unit. A single one has a bin as wide as
            the median bin of the old grid.

    Shapes:
        - **flux**, **error**, **mask:** :math:`(N, L)`; **wavelength:** :math:`(L)` or :math:`(N, L)`;
          **new_wavelength:** :math:`(M)`
        - **output:** flux, error (or :obj:`None`) and mask :math:`(N, M)`, flux and error of the type of **flux**

    Raises:
        InputError: If shapes do not fit together, or wavelengths are not finite or do not rise.
        InputTypeError: If flux or error are no floating-point numbers, or the mask is not boolean.

    Examples:
        >>> flux, good = torch.tensor([[1.0, 3.0, 5.0, 5.0]]), torch.tensor([[True, True, True, False]])
        >>> grid, coarse = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.5, 3.5, 5.5])
        >>> new_flux, new_error, new_mask = resample(flux, 2.0 * torch.ones(1, 4), good, grid, coarse)
        >>> new_flux.tolist(), new_mask.tolist()
        ([[2.0, 0.0, 0.0]], [[True, False, False]])
    """
    _check_values(flux, error, mask)
    old, new = _check_grid(wavelength, "wavelength"), _check_grid(new_wavelength, "new_wavelength")
    if old.shape not in (flux.shape, flux.shape[1:]) or old.shape[-1] < 2:
        raise InputError(
            f"wavelength has shape {tuple(old.shape)}; expected [L] or [N, L] for flux {tuple(flux.shape)}, with L "
            "at least 2"
        )
    if new.dim() != 1:
        raise InputError(f"new_wavelength has shape {tuple(new.shape)}; expected [M]")
    new_edges = bin_edges(new) if new.numel() > 1 else new + old.diff().median() * new.new_tensor([-0.5, 0.5])
    rows = max(1, _CHUNK // (flux.shape[1] + new.numel()))
    shared = _overlaps(bin_edges(old.unsqueeze(0)), new_edges) if old.dim() == 1 else None
    size = (flux.shape[0], new.numel())
    result = flux.new_zeros(size), None if error is None else flux.new_zeros(size), mask.new_zeros(size)
    for start in range(0, flux.shape[0], rows):
        part = slice(start, start + rows)
        overlaps = _overlaps(bin_edges(old[part]), new_edges) if shared is None else shared
        _fill(result, part, overlaps, (flux[part], None if error is None else error[part], mask[part]), new_edges)
    return result


def _overlaps(edges: Tensor, new_edges: Tensor) -> _Overlaps:
    """Merge the edges ``[N, L + 1]`` and ``[M + 1]``: between two edges that follow lies one old and one new bin."""
    rows, count = edges.shape[0], new_edges.numel()
    at = torch.searchsorted(edges, new_edges.expand(rows, count).contiguous())
    place = at + torch.arange(count, device=edges.device)
    is_new = torch.zeros(rows, edges.shape[1] + count, dtype=torch.bool, device=edges.device).scatter_(1, place, True)
    merged = torch.empty(is_new.shape, dtype=torch.float64, device=edges.device)
    merged.masked_scatter_(is_new, new_edges.expand(rows, count)).masked_scatter_(~is_new, edges)
    new = is_new.cumsum(dim=1)[:, :-1] - 1
    old = torch.arange(new.shape[1], device=edges.device) - new - 1
    # What lies outside of one of the grids gets no width.
    low, high = edges[:, :1].clamp(min=new_edges[0]), edges[:, -1:].clamp(max=new_edges[-1])
    width = merged.clamp_(low, torch.maximum(low, high)).diff(dim=1)
    return _Overlaps(width, old.clamp_(0, edges.shape[1] - 2), new.clamp_(0, count - 2))


def _fill(
    result: tuple[Tensor, Tensor | None, Tensor],
    part: slice,
    overlaps: _Overlaps,
    given: tuple[Tensor, Tensor | None, Tensor],
    new_edges: Tensor,
) -> None:
    flux, error, mask = given
    good = mask & flux.isfinite() if error is None else mask & flux.isfinite() & error.isfinite()
    shape = (flux.shape[0], overlaps.old.shape[1])
    old, new = overlaps.old.expand(shape), overlaps.new.expand(shape)
    width = overlaps.width * good.gather(1, old)

    def total(values: Tensor) -> Tensor:
        empty = torch.zeros(flux.shape[0], new_edges.numel() - 1, dtype=torch.float64, device=flux.device)
        return empty.scatter_add_(1, new, values)

    covered = total(width)
    enough = covered > _LEAST_COVERED * new_edges.diff()
    result[2][part] = enough
    weight = covered.reciprocal().masked_fill_(~enough, 0.0)
    values = flux.masked_fill(~good, 0.0).double().gather(1, old)
    result[0][part] = (total(width * values) * weight).to(flux.dtype)
    if error is not None and result[1] is not None:
        spread = error.masked_fill(~good, 0.0).double().gather(1, old)
        result[1][part] = (total((width * spread).square_()).sqrt_() * weight).to(flux.dtype)


def _check_values(flux: Tensor, error: Tensor | None, mask: Tensor) -> None:
    if flux.dim() != 2:
        raise InputError(f"flux has shape {tuple(flux.shape)}; expected [N, L]")
    for name, value in (("error", error), ("mask", mask)):
        if value is not None and value.shape != flux.shape:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected that of flux, {tuple(flux.shape)}")
    for name, value in (("flux", flux), ("error", error)):
        if value is not None and not value.is_floating_point():
            raise InputTypeError(f"{name} has dtype {value.dtype}; expected a floating dtype")
    if mask.dtype != torch.bool:
        raise InputTypeError(f"mask has dtype {mask.dtype}; expected torch.bool, True at good points")


def _check_grid(grid: Tensor, name: str) -> Tensor:
    points = grid.detach().double()
    if points.dim() not in (1, 2) or points.shape[-1] == 0:
        raise InputError(f"{name} has shape {tuple(points.shape)}; expected at least one wavelength in a row")
    if not bool(points.isfinite().all()):
        raise InputError(f"{name} must be finite, but {int((~points.isfinite()).sum())} of its entries are not")
    falling = (points.diff(dim=-1) <= 0).nonzero()
    if falling.numel():
        at = tuple(falling[0].tolist())
        step = (*at[:-1], at[-1] + 1)
        raise InputError(
            f"{name} must rise strictly, but {name}[{', '.join(map(str, step))}] is {float(points[step]):g} after "
            f"{float(points[at]):g}"
        )
    return points
