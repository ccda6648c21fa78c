"""Spectra in memory become a graph: an object for each node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import Data

from stgraph.data.checks import as_names, as_numeric_array
from stgraph.data.light_curves.metadata import as_metadata
from stgraph.data.light_curves.sky import as_sky, unit_vectors
from stgraph.data.spectra.axis import as_wavelengths
from stgraph.data.spectra.rows import as_rows, check_lengths, lengths_of, listed, pad_rows
from stgraph.errors import InputError

__all__ = ["as_redshift", "from_spectra"]

_BoolArray = npt.NDArray[np.bool_]


def from_spectra(
    wavelengths: Any,
    fluxes: Any,
    errors: Any = None,
    *,
    ivar: Any = None,
    mask: Any = None,
    names: Iterable[Any] | None = None,
    sky: Any = None,
    redshift: Any = None,
    metadata: Any = None,
) -> Data:
    r"""Build the graph of a set of spectra: each object is a node, its series the flux along the wavelength.

    A point is good unless :obj:`mask` is False there, its flux is not finite, its inverse variance is 0, or its error
    is 0, NaN or infinite; flux and error of other points are 0. Spectra without any good point are kept and marked
    ``no_data``. Rows are padded to the longest spectrum, with mask False and wavelengths that continue by the
    spectrum's last step. Fluxes keep their unit.

    Args:
        wavelengths: Wavelengths in angstrom, rising strictly: one vector for all spectra, or those of each, also of
            different lengths. NaN at the end of a row is padding.
        fluxes: Fluxes, as long as the wavelengths.
        errors: Their standard errors, not negative.
        ivar: Their inverse variances, not negative, instead of :obj:`errors`.
        mask: True (or not 0) at good points.
        names: Names of the objects, distinct. (default: ``"0"``, ``"1"``, ...)
        sky: Right ascension (0 to 360) and declination (-90 to 90) of each object in degrees.
        redshift: Redshift of each object, above -1; NaN where it is not known.
        metadata: Properties: from names to vectors of numbers or text with an entry for each object.

    Shapes:
        - **wavelengths:** :math:`(L)`, :math:`(N, L)` or :math:`N` vectors; **fluxes**, **errors**, **ivar**,
          **mask:** :math:`(N, L)` or :math:`N` vectors; **sky:** :math:`(N, 2)`; **redshift:** :math:`(N)`
        - **output:** ``x`` :math:`(N, L, 1)` float32, ``mask`` and ``flux_error`` alike, ``wavelength`` :math:`(L)`
          or :math:`(N, L)` float64, ``no_data`` :math:`(N)`, ``node_names``, ``sky`` :math:`(N, 2)` and ``pos``
          :math:`(N, 3)` on the unit sphere, ``redshift`` :math:`(N)` float64, ``metadata``. What was not given is not
          there.

    Raises:
        InputError: If lengths do not fit together, wavelengths do not rise, an inverse variance or error is negative
            (or an inverse variance NaN) at a point that is not masked otherwise, or a position or redshift cannot be;
            names the spectra.
        InputTypeError: If something is not numeric.

    Examples:
        >>> fluxes = [[1.0, float("nan"), 3.0], [4.0, 5.0, 6.0]]
        >>> data = from_spectra([4000.0, 4001.0, 4002.0], fluxes, ivar=[[4.0, 4.0, 4.0], [0.0, 0.0, 0.0]])
        >>> data.x[:, :, 0], data.flux_error[0, :, 0], data.no_data
        (tensor([[1., 0., 3.],
                [0., 0., 0.]]), tensor([0.5000, 0.0000, 0.5000]), tensor([False,  True]))
    """
    if errors is not None and ivar is not None:
        raise InputError("errors and ivar say the same; give one of them")
    rows = as_rows(fluxes, "fluxes")
    if len(rows) == 0:
        raise InputError("fluxes must hold at least one spectrum, got none")
    known = [str(i) for i in range(len(rows))] if names is None else as_names(names, "names", len(rows))
    lengths = lengths_of(rows)
    if (lengths == 0).any():
        raise InputError(
            f"fluxes must hold at least one point for each spectrum; empty are {listed(known, lengths == 0)}"
        )
    axis, good = as_wavelengths(wavelengths, lengths, known)
    flux = pad_rows(rows, lengths, np.float32)
    good &= np.isfinite(flux)
    if mask is not None:
        good &= _padded(mask, "mask", lengths, known, np.bool_)
    error = _errors(errors, ivar, good, lengths, known)
    if error is not None:
        good &= np.isfinite(error) & (error > 0)
        error[~good] = 0
    flux[~good] = 0
    data = Data(x=_series(flux), mask=_series(good), wavelength=torch.from_numpy(axis))
    if error is not None:
        data.flux_error = _series(error)
    data.no_data = torch.from_numpy(~good.any(axis=1))
    return _with_properties(data, known, sky, redshift, metadata)


def _series(values: npt.NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values).unsqueeze(2)


def _padded(
    value: Any, name: str, lengths: npt.NDArray[np.int64], names: list[str], dtype: npt.DTypeLike
) -> npt.NDArray[Any]:
    rows = as_rows(value, name)
    check_lengths(rows, name, lengths, names)
    return pad_rows(rows, lengths, dtype)


def _errors(
    errors: Any, ivar: Any, good: _BoolArray, lengths: npt.NDArray[np.int64], names: list[str]
) -> npt.NDArray[np.float32] | None:
    """Standard errors in float32, infinite where the inverse variance is 0."""
    if errors is None and ivar is None:
        return None
    name = "ivar" if errors is None else "errors"
    values = _padded(ivar if errors is None else errors, name, lengths, names, np.float64)
    negative = (good & (values < 0)).any(axis=1)
    if negative.any():
        raise InputError(f"{name} must not be negative, but is in {listed(names, negative)}")
    if errors is None:
        bad = (good & ~np.isfinite(values)).any(axis=1)
        if bad.any():
            raise InputError(
                f"ivar must be finite (0 marks a bad point), but is NaN or infinite in {listed(names, bad)}"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            values = 1 / np.sqrt(values)
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _with_properties(data: Data, names: list[str], sky: Any, redshift: Any, metadata: Any) -> Data:
    data.node_names = names
    if sky is not None:
        data.sky = torch.from_numpy(as_sky(sky, names))
        data.pos = unit_vectors(data.sky)
    if redshift is not None:
        data.redshift = torch.from_numpy(as_redshift(redshift, names))
    properties = {} if metadata is None else as_metadata(metadata, len(names))
    if properties:
        data.metadata = properties
    return data


def as_redshift(value: Any, names: list[str]) -> npt.NDArray[np.float64]:
    """Redshifts in float64, NaN where they are not known.

    Raises:
        InputError: If the shape does not fit the objects, or one is infinite or not above -1; names the objects.
        InputTypeError: If they are not numeric.
    """
    array = as_numeric_array(value, "redshift")
    if array.shape != (len(names),):
        raise InputError(f"redshift must have the shape ({len(names)},), one for each spectrum, got {array.shape}")
    redshift = np.array(np.ma.filled(array.astype(np.float64), np.nan))
    bad = (redshift <= -1) | np.isinf(redshift)
    if bad.any():
        raise InputError(
            f"redshift must be finite and above -1 (NaN where it is not known), but is {redshift[bad][0]} in "
            f"{listed(names, bad)}"
        )
    return redshift
