"""A set of spectra on another wavelength grid."""

from __future__ import annotations

import logging
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.checks import as_finite_array
from stgraph.data.graph import series_of
from stgraph.errors import InputError
from stgraph.ops.resampling import resample

__all__ = [
    "Spacing",
    "common_wavelengths",
    "good_points",
    "redshift_factor",
    "resample_from",
    "resample_spectra",
    "wavelengths_of",
]

Spacing = Literal["log", "linear"]

_logger = logging.getLogger("stgraph")


def resample_spectra(data: Data, wavelength_grid: Any) -> Data:
    r"""Resample all spectra to one wavelength grid; what else belongs to the graph is kept.

    Fluxes and errors are those of :func:`stgraph.ops.resampling.resample`, which keeps the integrated flux. A point of
    ``anomaly_mask``, where there is one, is True where anomalous points fill more than half of the covered bin.

    Args:
        data: Spectra with ``x``, ``mask`` and ``wavelength``. Not changed.
        wavelength_grid: Strictly rising wavelengths in angstrom.

    Shapes:
        - **wavelength_grid:** :math:`(M)`
        - **output:** ``x``, ``mask``, ``flux_error`` and ``anomaly_mask`` :math:`(N, M, 1)`, ``wavelength``
          :math:`(M)` float64, ``no_data`` :math:`(N)`: the spectra without any good point on the grid

    Raises:
        InputError: If the spectra have no wavelengths or more than one channel, or a grid does not rise strictly.
        InputTypeError: If the grid is not numeric.

    Examples:
        >>> data = Data(x=torch.tensor([[[1.0], [3.0], [5.0], [7.0]]]), wavelength=torch.tensor([1.0, 2.0, 3.0, 4.0]))
        >>> resample_spectra(data, [1.5, 3.5]).x.flatten().tolist()
        [2.0, 6.0]
    """
    return resample_from(data, wavelengths_of(data), wavelength_grid)


def resample_from(data: Data, wavelength: Tensor, wavelength_grid: Any) -> Data:
    """Resample spectra as :func:`resample_spectra` does, from the given wavelengths instead of those of the graph."""
    grid = torch.from_numpy(as_finite_array(wavelength_grid, "wavelength_grid"))
    if grid.dim() != 1 or grid.numel() == 0 or bool((grid.diff() <= 0).any()):
        raise InputError(
            f"wavelength_grid must be a vector of wavelengths that rise strictly, got the shape {tuple(grid.shape)}"
        )
    x = series_of(data)
    if x.shape[2] != 1:
        raise InputError(f"x has {x.shape[2]} channels; spectra have 1")
    good, error = good_points(data), data.get("flux_error")
    grid = grid.to(x.device)
    flux, new_error, new_mask = resample(x[..., 0], None if error is None else error[..., 0], good, wavelength, grid)
    result = data.__copy__()
    result.x, result.mask, result.wavelength = flux.unsqueeze(2), new_mask.unsqueeze(2), grid
    if new_error is not None:
        result.flux_error = new_error.unsqueeze(2)
    if data.get("anomaly_mask") is not None:
        marked = data.anomaly_mask[..., 0].to(flux.dtype)
        share = resample(marked, None, torch.ones_like(good), wavelength, grid)[0]
        result.anomaly_mask = (share > 0.5).unsqueeze(2)
    if data.get("length") is not None:
        del result["length"]  # rows are no longer padded
    result.no_data = ~new_mask.any(dim=1)
    lost = int((result.no_data & good.any(dim=1)).sum())
    if lost:
        _logger.warning("%d of %d spectra have no good point left on the new wavelength grid", lost, x.shape[0])
    return result


def common_wavelengths(
    data: Data, spacing: Spacing = "log", rest_frame: bool = False, points: int | None = None
) -> Tensor:
    r"""Return a wavelength grid that covers the good points of all spectra.

    Its first and last point are the lowest and highest wavelength of a good point, and its step is the median over the
    spectra of their median step, as nearly as a whole number of steps allows.

    Args:
        data: Spectra with ``x`` and ``wavelength``.
        spacing: ``"log"`` for equal steps of the logarithm of wavelength, with which a redshift is a shift;
            ``"linear"`` for equal steps of wavelength.
        rest_frame: Divide the wavelengths of each spectrum by :math:`1 + z` first (z is ``redshift``, 0 if unknown).
        points: Number of points M, instead of that of the median step.

    Shapes:
        - **output:** :math:`(M)`, float64, in angstrom

    Raises:
        InputError: If the spectra have no wavelengths or no good point, are in the rest frame already, or an option is
            not one of those above.

    Examples:
        >>> data = Data(x=torch.ones(1, 3, 1), wavelength=torch.tensor([4000.0, 4001.0, 4002.0]))
        >>> common_wavelengths(data, spacing="linear").tolist()
        [4000.0, 4001.0, 4002.0]
    """
    if spacing not in get_args(Spacing):
        raise InputError(f"spacing is {spacing!r}; expected one of {', '.join(get_args(Spacing))}")
    if points is not None and points < 2:
        raise InputError(f"points is {points}; expected at least 2")
    wavelength = wavelengths_of(data).double()
    factor = redshift_factor(data) if rest_frame else wavelength.new_ones(series_of(data).shape[0])
    good = good_points(data)
    some = good.any(dim=1)
    if not bool(some.any()):
        raise InputError("data has no good point in any spectrum; no wavelengths can be told")
    good, factor = good[some], factor[some]
    rows = wavelength.expand(some.shape[0], -1)[some]
    first = good.int().argmax(dim=1, keepdim=True)
    last = good.shape[1] - 1 - good.flip(1).int().argmax(dim=1, keepdim=True)
    low, high = ((rows.gather(1, at).squeeze(1) / factor) for at in (first, last))
    ends = torch.stack([low.min(), high.max()])
    if bool(ends[0] == ends[1]):
        raise InputError(f"all good points are at {float(ends[0]):g} angstrom; a grid needs more than one wavelength")
    if spacing == "log":
        if bool(ends[0] <= 0):
            raise InputError(f"wavelength has {float(ends[0]):g} angstrom; spacing='log' needs positive wavelengths")
        ends = ends.log()
    if points is None:
        steps = _median_steps(wavelength if wavelength.dim() == 1 else rows, first, last, spacing)
        step = (steps if spacing == "log" else steps / factor).nanmedian()
        if bool(step.isnan()):
            raise InputError("no spectrum has two good points, so that no step can be told; give points")
        points = max(2, int(((ends[1] - ends[0]) / step).round()) + 1)
    grid = torch.linspace(float(ends[0]), float(ends[1]), points, dtype=torch.float64, device=wavelength.device)
    return grid.exp() if spacing == "log" else grid


def wavelengths_of(data: Data) -> Tensor:
    """Return the wavelengths ``[L]`` or ``[N, L]`` of spectra, with an error where there are none."""
    x, wavelength = series_of(data), data.get("wavelength")
    if not isinstance(wavelength, Tensor):
        raise InputError("data has no wavelength; spectra need the wavelengths of their points, in angstrom")
    if wavelength.shape not in (x.shape[1:2], x.shape[:2]):
        raise InputError(
            f"wavelength has shape {tuple(wavelength.shape)}; expected [L] or [N, L] for x {tuple(x.shape)}"
        )
    return wavelength


def good_points(data: Data) -> Tensor:
    """Return True ``[N, L]`` at the points of spectra that may be used; all of them where there is no mask."""
    mask = data.get("mask")
    return torch.ones_like(data.x[..., 0], dtype=torch.bool) if mask is None else mask[..., 0]


def redshift_factor(data: Data) -> Tensor:
    """Return 1 + z ``[N]`` of spectra in the observed frame, 1 where the redshift is unknown."""
    if data.get("frame") == "rest":
        raise InputError("data is in the rest frame already")
    redshift, count = data.get("redshift"), series_of(data).shape[0]
    if not isinstance(redshift, Tensor) or redshift.shape != (count,) or bool(redshift.isnan().all()):
        raise InputError(f"data has no known redshift; the rest frame needs a redshift [N] = [{count}]")
    bad = (redshift <= -1) | redshift.isinf()
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise InputError(f"redshift[{row}] is {float(redshift[row])}; expected a finite number above -1")
    return 1 + redshift.double().nan_to_num(0.0)


def _median_steps(wavelength: Tensor, first: Tensor, last: Tensor, spacing: Spacing) -> Tensor:
    """Median step within the good range, of each row ``[N]`` or of the one grid ``[1]``; NaN for single points."""
    rows = wavelength if wavelength.dim() == 2 else wavelength.unsqueeze(0)
    if wavelength.dim() == 1:
        first, last = first.min().view(1, 1), last.max().view(1, 1)
    steps = (rows.log() if spacing == "log" else rows).diff(dim=1)
    at = torch.arange(steps.shape[1], device=steps.device)
    return steps.masked_fill((at < first) | (at >= last), torch.nan).nanmedian(dim=1).values
