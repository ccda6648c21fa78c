"""Spectra in the rest frame of their objects, where the same feature has the same wavelength, and the way back."""

from __future__ import annotations

import logging
from typing import Any

from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.spectra.resampling import (
    common_wavelengths,
    good_points,
    redshift_factor,
    resample_from,
    wavelengths_of,
)
from stgraph.errors import InputError
from stgraph.ops.resampling import bin_edges

__all__ = ["observed_range", "observed_wavelengths", "to_rest_frame"]

_logger = logging.getLogger("stgraph")


def to_rest_frame(data: Data, wavelength_grid: Any = None) -> Data:
    r"""Divide the wavelengths of each spectrum by :math:`1 + z` and resample all spectra to one grid.

    A line then is in the same column of ``x`` in all spectra. Flux densities stay those per unit of *observed*
    wavelength: bins are stretched with what they hold, there is no factor :math:`1 + z`. A spectrum whose redshift is
    unknown is taken as it is, z = 0, with one warning of the logger ``stgraph`` for all.

    Args:
        data: Spectra with ``x``, ``mask``, ``wavelength`` and ``redshift`` (NaN where unknown). Not changed.
        wavelength_grid: Strictly rising rest wavelengths in angstrom; by default
            :func:`common_wavelengths` with equal steps of the logarithm.

    Shapes:
        - **wavelength_grid:** :math:`(M)`
        - **output:** as for :func:`resample_spectra`, and ``frame``, which is ``"rest"``

    Raises:
        InputError: If no redshift is known or one is not above -1, the spectra are in the rest frame already, or
            :func:`resample_spectra` refuses them.

    Examples:
        >>> import torch
        >>> line = torch.tensor([[[0.0], [0.0], [5.0], [0.0]]])
        >>> data = Data(x=line, wavelength=torch.tensor([2.0, 4.0, 6.0, 8.0]), redshift=torch.tensor([1.0]))
        >>> rest = to_rest_frame(data, [1.0, 2.0, 3.0, 4.0])
        >>> rest.x.flatten().tolist(), rest.frame
        ([0.0, 0.0, 5.0, 0.0], 'rest')
    """
    wavelength, factor = wavelengths_of(data).double(), redshift_factor(data)
    if wavelength_grid is None:
        wavelength_grid = common_wavelengths(data, "log", rest_frame=True)
    unknown = int((data.redshift.isnan() & good_points(data).any(dim=1)).sum())
    if unknown:
        _logger.warning(
            "the redshift of %d of %d spectra is unknown; they are taken as z = 0", unknown, factor.shape[0]
        )
    result = resample_from(data, wavelength / factor.unsqueeze(1), wavelength_grid)
    result.frame = "rest"
    return result


def observed_wavelengths(data: Data, row: int) -> Tensor:
    r"""Return the observed wavelengths of the points of one spectrum, whichever frame the spectra are in.

    Args:
        data: Spectra with ``wavelength``; in the rest frame if :func:`to_rest_frame` made them.
        row: Position of the spectrum.

    Shapes:
        - **output:** :math:`(L)`, float64, in angstrom

    Raises:
        InputError: If the spectrum does not exist or the spectra have no wavelengths.

    Examples:
        >>> import torch
        >>> data = Data(x=torch.zeros(1, 2, 1), wavelength=torch.tensor([4000.0, 5000.0]), redshift=torch.tensor([0.5]))
        >>> data.frame = "rest"
        >>> observed_wavelengths(data, 0).tolist()
        [6000.0, 7500.0]
    """
    wavelength = wavelengths_of(data).double()
    count = data.x.shape[0]
    if not -count <= row < count:
        raise InputError(f"row is {row}; there are {count} spectra")
    rest = wavelength if wavelength.dim() == 1 else wavelength[row]
    redshift: Tensor | None = data.get("redshift")
    if data.get("frame") != "rest" or redshift is None:
        return rest
    return rest * (1 + redshift[row].double().nan_to_num(0.0))


def observed_range(data: Data, row: int, start: int, end: int) -> tuple[float, float]:
    """Return the observed wavelengths between which a region of a spectrum lies, in angstrom.

    They are edges of bins, so that regions that follow each other share one.

    Args:
        data: Spectra with at least 2 points.
        row: Position of the spectrum.
        start: First point of the region.
        end: The point after its last.

    Raises:
        InputError: If the spectrum or the region does not exist, or the spectra have no wavelengths.

    Examples:
        >>> import torch
        >>> data = Data(x=torch.zeros(1, 3, 1), wavelength=torch.tensor([4000.0, 4002.0, 4004.0]))
        >>> observed_range(data, 0, 1, 3)
        (4001.0, 4005.0)
    """
    edges = bin_edges(observed_wavelengths(data, row))
    if not 0 <= start < end < edges.numel():
        raise InputError(f"the region {start} to {end} is not within the {edges.numel() - 1} points of a spectrum")
    return float(edges[start]), float(edges[end])
