"""Light curves in memory become a graph: a star for each node."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.light_curves.cleaning import (
    ClipUnit,
    Duplicates,
    clip_outliers,
    continue_times,
    drop_not_finite,
    named,
    put_in_order,
    warn_of_poor_curves,
)
from stgraph.data.light_curves.metadata import Metadata, as_metadata
from stgraph.data.light_curves.padded import FloatArray, PaddedCurves, common_times, pad_curves
from stgraph.data.light_curves.sky import as_sky, unit_vectors
from stgraph.errors import InputError

__all__ = ["from_light_curves"]

_logger = logging.getLogger("stgraph")
_LEAST_OBSERVED = 0.5  # below this share of observed points the curves hardly have a common sampling


def from_light_curves(
    times: Any,
    fluxes: Any,
    flux_errors: Any = None,
    *,
    names: Iterable[Any] | None = None,
    sky: Any = None,
    metadata: Any = None,
    quality: Any = None,
    shared_time: bool = False,
    sort: bool = False,
    duplicates: Duplicates = "error",
    clip: float | None = 5.0,
    clip_unit: ClipUnit = "iqr",
    skip_bad: bool = False,
) -> Data:
    r"""Build the graph of a set of light curves: each star is a node with its own times.

    Points whose time, flux or error is not finite, and those with a quality flag, are dropped; then, in curves of more
    than 10 points, those at least :obj:`clip` interquartile ranges from the curve's median (a range of 0 clips
    nothing). What is left stands first in its row; rows are padded to the longest, with flux and error 0, mask False
    and times that continue by the curve's median step (one day for a single point), so that each row rises strictly.
    Curves with fewer than 2 points or without variance are kept and named in a warning of the logger ``stgraph``.
    Fluxes keep their unit.

    Args:
        times: Times in days: arrays of different lengths, or padded with NaN; one vector holds for all curves.
        fluxes: Fluxes, as long as the times.
        flux_errors: Their standard errors, not negative.
        names: Names of the stars, distinct. (default: ``"0"``, ``"1"``, ...)
        sky: Right ascension (0 to 360) and declination (-90 to 90) of each star in degrees.
        metadata: Properties: from names to vectors of numbers or text with an entry for each star.
        quality: Flags of the points; those that are not 0 (or not False) are dropped.
        shared_time: Put all curves on one grid, the union of their times (a vector of times is the grid itself): the
            mask is then False where a star was not observed, and there is no ``length``.
        sort: Sort the points of each curve by time instead of refusing unsorted ones.
        duplicates: ``"error"`` refuses times that occur twice in a curve, ``"mean"`` averages their points.
        clip: Distance from the median from which a point is an outlier; :obj:`None` to keep all points.
        clip_unit: ``"iqr"`` for interquartile ranges, ``"std"`` for standard deviations.
        skip_bad: Leave out curves without any good point, naming them in a warning, instead of refusing them.

    Shapes:
        - **times**, **fluxes**, **flux_errors**, **quality:** :math:`N` vectors, or :math:`(N, L)`; **sky:**
          :math:`(N, 2)`
        - **output:** ``x`` :math:`(N, L, 1)` float32, ``mask`` alike, ``time`` :math:`(N, L)` float64, ``flux_error``
          :math:`(N, L, 1)`, ``length`` :math:`(N)`, ``node_names``, ``sky`` :math:`(N, 2)` and ``pos``
          :math:`(N, 3)` on the unit sphere, ``metadata``; with :obj:`shared_time` ``time`` :math:`(T)` and ``x``
          :math:`(N, T, 1)`. What was not given is not there.

    Raises:
        InputError: If lengths do not fit together, times are unsorted or repeated, a curve has no good point, an error
            is negative or a position is not on the sky; names the curve.
        InputTypeError: If something is not numeric.

    Examples:
        >>> data = from_light_curves([[0.0, 1.0, 2.5], [0.5]], [[9.0, float("nan"), 7.0], [8.0]], names=["a", "b"])
        >>> data.x[:, :, 0], data.time, data.length
        (tensor([[9., 7.],
                [8., 0.]]), tensor([[0.0000, 2.5000],
                [0.5000, 1.5000]], dtype=torch.float64), tensor([2, 1]))
    """
    curves = pad_curves(times, fluxes, flux_errors, quality, names)
    positions = None if sky is None else as_sky(sky, curves.names)
    properties = {} if metadata is None else as_metadata(metadata, len(curves.names))
    drop_not_finite(curves)
    kept = _good_curves(curves, skip_bad)
    if not kept.all():
        curves = curves[kept]
        positions = None if positions is None else positions[kept]
        properties = {name: vector[kept] for name, vector in properties.items()}
    if clip is not None:
        clip_outliers(curves, clip, clip_unit)
    curves = put_in_order(curves, sort=sort, duplicates=duplicates)
    warn_of_poor_curves(curves)
    series = _on_grid(curves, _given_grid(times)) if shared_time else _padded(curves)
    return _with_properties(Data(**series), curves.names, positions, properties)


def _good_curves(curves: PaddedCurves, skip_bad: bool) -> npt.NDArray[np.bool_]:
    good = np.asarray(curves.valid.any(axis=1))
    if good.all():
        return good
    if not skip_bad or not good.any():
        hint = "; skip_bad=True leaves such curves out" if good.any() else ""
        raise InputError(
            f"light curves without any point that is finite in time, flux and error and not flagged: "
            f"{named(curves, ~good)}{hint}"
        )
    _logger.warning("light curves without any good point are left out: %s", named(curves, ~good))
    return good


def _padded(curves: PaddedCurves) -> dict[str, Tensor]:
    time = torch.from_numpy(continue_times(curves))
    length = torch.from_numpy(curves.valid.sum(axis=1).astype(np.int64))
    return {**_values(curves.flux, curves.error, curves.valid), "time": time, "length": length}


def _on_grid(curves: PaddedCurves, given: FloatArray | None) -> dict[str, Tensor]:
    grid = np.unique(curves.time[curves.valid]) if given is None else given
    rows, _ = np.nonzero(curves.valid)
    steps = np.searchsorted(grid, curves.time[curves.valid])

    def spread(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        wide = np.zeros((len(curves.names), grid.size), dtype=values.dtype)
        wide[rows, steps] = values[curves.valid]
        return wide

    valid = spread(curves.valid)
    if valid.mean() < _LEAST_OBSERVED:
        _logger.warning(
            "shared_time: a curve has on average only %.1f %% of the %d times of the common grid; do the curves share "
            "a sampling?",
            100 * valid.mean(),
            grid.size,
        )
    error = None if curves.error is None else spread(curves.error)
    return {**_values(spread(curves.flux), error, valid), "time": torch.from_numpy(grid)}


def _given_grid(times: Any) -> FloatArray | None:
    given = common_times(times)
    return None if given is None else np.unique(given[np.isfinite(given)].astype(np.float64))


def _values(flux: FloatArray, error: FloatArray | None, valid: npt.NDArray[np.bool_]) -> dict[str, Tensor]:
    values = {"x": torch.from_numpy(flux).float().unsqueeze(2), "mask": torch.from_numpy(valid).unsqueeze(2)}
    if error is not None:
        values["flux_error"] = torch.from_numpy(error).float().unsqueeze(2)
    return values


def _with_properties(data: Data, names: list[str], sky: FloatArray | None, metadata: Metadata) -> Data:
    data.node_names = names
    if sky is not None:
        data.sky = torch.from_numpy(sky)
        data.pos = unit_vectors(data.sky)
    if metadata:
        data.metadata = metadata
    return data
