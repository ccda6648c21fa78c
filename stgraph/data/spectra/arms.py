"""Join the overlapping arms of a spectrograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.checks import as_numeric_array
from stgraph.errors import InputError

__all__ = ["join_arms"]

_FloatArray = npt.NDArray[np.float64]
_TOLERANCE = 1e-6  # relative difference up to which wavelengths are the same


def join_arms(
    wavelengths: Sequence[Any], fluxes: Sequence[Any], ivars: Sequence[Any], masks: Sequence[Any] | None = None
) -> tuple[_FloatArray, _FloatArray, _FloatArray]:
    r"""Join the arms of a spectrograph, such as B, R and Z of DESI, to spectra on one axis.

    Where arms overlap, the flux of a point is the mean of the arms, weighted by their inverse variances :math:`w_a`,

    .. math::
        f = \frac{\sum_a w_a f_a}{\sum_a w_a}, \qquad w = \sum_a w_a,

    which is the combination of independent measurements with the smallest variance, :math:`1 / w`. Bad points, and
    those with a flux that is not finite, have weight 0.

    Args:
        wavelengths: Wavelengths of each arm in angstrom, rising strictly. Wavelengths of two arms are the same if they
            differ by less than a part in a million.
        fluxes: Fluxes of each arm.
        ivars: Their inverse variances, not negative.
        masks: True at good points of each arm. (default: all are)

    Shapes:
        - **wavelengths:** :math:`(L_a)` for each arm; **fluxes**, **ivars**, **masks:** :math:`(N, L_a)` for each
        - **output:** wavelengths :math:`(L)`, fluxes and inverse variances :math:`(N, L)`; both are 0 where no
          arm has a good point

    Raises:
        InputError: If shapes do not fit, wavelengths do not rise, an inverse variance is negative or NaN at a good
            point, or the grids of two arms do not coincide where they overlap.
        InputTypeError: If something is not numeric.

    Examples:
        >>> wavelength, flux, ivar = join_arms([[1.0, 2.0], [2.0, 3.0]], [[[5.0, 4.0]], [[8.0, 9.0]]],
        ...                                    [[[1.0, 3.0]], [[1.0, 1.0]]])
        >>> wavelength, flux, ivar
        (array([1., 2., 3.]), array([[5., 5., 9.]]), array([[1., 4., 1.]]))
    """
    axes = [_as_axis(axis, number) for number, axis in enumerate(wavelengths)]
    given = [fluxes, ivars] if masks is None else [fluxes, ivars, masks]
    if not axes or any(len(values) != len(axes) for values in given):
        raise InputError(
            f"there must be as many fluxes, ivars and masks as arms, got {len(axes)} wavelengths and "
            f"{', '.join(str(len(values)) for values in given)}"
        )
    joined, places = _merge(axes)
    parts = [
        _weighted(*(values[number] for values in given), size=axis.size, number=number)
        for number, axis in enumerate(axes)
    ]
    counts = {len(flux) for flux, _ in parts}
    if len(counts) > 1:
        raise InputError(f"all arms must hold the same spectra, got {', '.join(map(str, sorted(counts)))} of them")
    total, ivar = np.zeros((2, counts.pop(), joined.size))
    for (flux, weight), place in zip(parts, places, strict=True):
        total[:, place] += weight * flux
        ivar[:, place] += weight
    return joined, np.divide(total, ivar, out=np.zeros_like(total), where=ivar > 0), ivar


def _as_axis(value: Any, number: int) -> _FloatArray:
    axis = as_numeric_array(value, f"wavelengths[{number}]").astype(np.float64)
    if axis.ndim != 1 or axis.size == 0 or not bool((axis > 0).all() and (np.diff(axis) > 0).all()):
        raise InputError(
            f"wavelengths[{number}] must be one vector of positive wavelengths that rise strictly, got the shape "
            f"{axis.shape}"
        )
    return axis


def _merge(axes: list[_FloatArray]) -> tuple[_FloatArray, list[slice]]:
    """The wavelengths of all arms, each once, and where those of each arm stand among them."""
    every = np.concatenate(axes)
    order = np.argsort(every, kind="stable")
    ordered = every[order]
    starts = np.diff(ordered, prepend=0.0) > _TOLERANCE * ordered
    group = np.empty(every.size, dtype=np.int64)
    group[order] = np.cumsum(starts) - 1
    places = []
    for number, part in enumerate(np.split(group, np.cumsum([axis.size for axis in axes])[:-1])):
        # Between its ends an arm must have every point that any arm has there.
        if bool((np.diff(part) != 1).any()):
            raise InputError(
                f"the grid of arm {number} does not coincide with those of the other arms where they overlap; put the "
                "arms on a common grid first (resample_spectra)"
            )
        places.append(slice(int(part[0]), int(part[-1]) + 1))
    return ordered[starts], places


def _weighted(flux: Any, ivar: Any, mask: Any = None, *, size: int, number: int) -> tuple[_FloatArray, _FloatArray]:
    """Fluxes and weights of an arm, 0 at bad points."""
    arrays = [as_numeric_array(flux, f"fluxes[{number}]"), as_numeric_array(ivar, f"ivars[{number}]")]
    if mask is not None:
        arrays.append(as_numeric_array(mask, f"masks[{number}]"))
    shape = arrays[0].shape
    if len(shape) != 2 or shape[1] != size or any(array.shape != shape for array in arrays):
        raise InputError(
            f"fluxes, ivars and masks of arm {number} must have the shape (N, {size}) of its wavelengths, got "
            f"{', '.join(str(array.shape) for array in arrays)}"
        )
    good = np.isfinite(arrays[0])
    if mask is not None:
        good &= arrays[2] != 0
    weight = np.where(good, arrays[1], 0.0)
    if not bool((np.isfinite(weight) & (weight >= 0)).all()):
        rows = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)).all(axis=1))
        raise InputError(f"ivars[{number}] must be finite and not negative, but is not in the spectra {rows.tolist()}")
    return np.where(good, arrays[0], 0.0), weight
