"""Anomalies with known place and kind in a set of spectra."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies.choices import check_kinds, choose_nodes, deal, place_windows
from stgraph.data.simulation.anomalies.shapes import REGIONAL, Regions, draw_widths, least_length, reshape
from stgraph.data.simulation.light_curves.draws import Bools, Draws, Floats, Ints
from stgraph.data.simulation.light_curves.recipe import check_count
from stgraph.errors import InputError, InputTypeError

__all__ = ["SPECTRUM_ANOMALIES", "good_points", "inject"]

#: All kinds that :func:`inject` knows.
SPECTRUM_ANOMALIES = (*REGIONAL, "swapped")


def inject(
    data: Data,
    kinds: Sequence[str] = ("line", "bump", "noisy", "gap", "step"),
    fraction: float = 0.1,
    seed: int = 0,
) -> Data:
    r"""Return a copy of a set of spectra, some of which have an anomaly of known kind and place.

    ``round(fraction * N)`` spectra get one anomaly each; every kind is dealt equally often, up to one. With the
    standard deviation :math:`\sigma` and the minimum of the good fluxes of a spectrum, the kinds are:

    =================  ==============================================================================================
    kind               what happens
    =================  ==============================================================================================
    ``"line"``         a narrow emission line, a Gaussian 2--5 :math:`\sigma` high with a standard deviation of 0.4 %
                       of the length; its region is where it exceeds 1 % of its height
    ``"bump"``         a smooth rise (a squared sine) of 1--3 :math:`\sigma`
    ``"noisy"``        added noise with a standard deviation of 0.8--2 :math:`\sigma`
    ``"gap"``          a drop to 0.1--0.5 :math:`\sigma` below the minimum
    ``"step"``         a shift by 1--3 :math:`\sigma`, up or down
    ``"dead_pixels"``  exact zeros or an exact constant (the mean of the region), still claimed to be good
    ``"swapped"``      two spectra (the last three, if their number is odd) change places: fluxes, errors and masks
                       belong to another object than redshift, sky position and name. The region is the whole spectrum
    =================  ==============================================================================================

    A region is 4--12 % of the length (at least 3 points), except for lines and swapped spectra, lies where the spectrum
    has the most good points (all, where that is possible), and consists of good points. Errors and masks are left as
    they are, except for swapped spectra. All channels change.

    Args:
        data: The spectra. Without ``mask``, all finite values are good points.
        kinds: Kinds of anomalies.
        fraction: Share of all spectra that become anomalous, more than 0 and at most 1; spectra without a good point,
            and so the rest if there are too few others, never do.
        seed: Seed of all random numbers; the global generators are left alone.

    Shapes:
        - **data:** ``x`` :math:`(N, L, C)`, ``mask`` and ``flux_error`` likewise, if there are any
        - **output:** a copy with ``anomaly_mask`` :math:`(N, L, 1)`, ``anomalous`` :math:`(N)` and
          ``metadata["anomaly_kind"]`` :math:`(N)`, text, empty where there is none

    Raises:
        InputError: If a kind is unknown, the fraction is out of range or none of the spectra, or the spectra are
            shorter than a region.
        InputTypeError: If an argument is of the wrong type.

    Examples:
        >>> from stgraph.data.simulation.anomalies import analytic_galaxies
        >>> galaxies = analytic_galaxies(10, length=200)
        >>> injected = inject(galaxies, kinds=("step", "swapped"), fraction=0.4)
        >>> int(injected.anomalous.sum()), injected.anomaly_mask.any(dim=1)[:, 0].equal(injected.anomalous)
        (4, True)
        >>> (injected.x != galaxies.x).any(dim=1)[:, 0].equal(injected.anomalous)
        True
    """
    names = check_kinds(kinds, SPECTRUM_ANOMALIES)
    check_count("seed", seed, 0, 2**63 - 1)
    good = good_points(data)
    count, length = good.shape[:2]
    if length < least_length(length):
        raise InputError(f"data.x has {length} points; expected at least {least_length(length)}, the width of a region")
    able: Bools = np.any(good, axis=(1, 2))
    rows = choose_nodes(Draws.of(seed, "anomaly", np.arange(count)), able, fraction)
    dealt = deal(names, len(rows))
    x = data.x.clone()
    result = _copy(data, x)
    region = np.zeros((count, length), dtype=np.bool_)
    kind_of = np.full(count, "", dtype=f"U{max(map(len, names))}")
    for position in np.unique(dealt):
        kind, chosen = names[position], rows[dealt == position]
        kind_of[chosen] = kind
        if kind == "swapped":
            region[chosen] = _swap(result, chosen, good)
        else:
            flux = data.x.numpy(force=True)[chosen].astype(np.float64)
            changed, region[chosen] = _change(kind, Draws.of(seed, kind, chosen), flux, good[chosen])
            result.x[torch.from_numpy(chosen)] = torch.from_numpy(changed).to(x)
    result.anomaly_mask = torch.from_numpy(region).unsqueeze(-1).to(x.device)
    result.anomalous = torch.from_numpy(kind_of != "").to(x.device)
    result.metadata = dict(data.get("metadata") or {}) | {"anomaly_kind": kind_of}
    return result


def good_points(data: Any) -> Bools:
    """The values [N, L, C] of a graph that are finite and that its mask, if it has one, calls good.

    Raises:
        InputError: If the graph has no ``x`` [N, L, C], or a mask of another shape.
        InputTypeError: If it is no graph, or ``x`` holds no floating-point numbers.
    """
    if not isinstance(data, Data):
        raise InputTypeError(f"data is a {type(data).__name__}; expected a Data")
    if not isinstance(data.x, Tensor) or data.x.dim() != 3 or data.x.numel() == 0:
        shape = tuple(data.x.shape) if isinstance(data.x, Tensor) else data.x
        raise InputError(f"data.x has the shape {shape}; expected [nodes, points, channels], none of them 0")
    if not data.x.is_floating_point():
        raise InputTypeError(f"data.x is of type {data.x.dtype}; expected floating-point numbers")
    good = data.x.isfinite()
    mask = data.get("mask")
    if mask is not None:
        if mask.shape != data.x.shape:
            raise InputError(f"data.mask has the shape {tuple(mask.shape)}, data.x {tuple(data.x.shape)}")
        good &= mask.bool()
    array: Bools = good.numpy(force=True)
    return array


def _copy(data: Data, x: Tensor) -> Data:
    """A copy that shares what is not changed."""
    result = copy.copy(data)
    result.x = x
    return result


def _change(kind: str, draws: Draws, flux: Floats, good: Bools) -> tuple[Floats, Bools]:
    """Fluxes with an anomaly in each spectrum, and its region [k, L]."""
    count = np.maximum(good.sum(axis=1, keepdims=True), 1)
    clean = np.where(good, flux, 0.0)
    mean = clean.sum(axis=1, keepdims=True) / count
    deviation = np.sqrt((np.where(good, flux - mean, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    # A constant spectrum has no deviation by which an anomaly could be measured.
    unit = np.where(deviation > 0, deviation, np.where(mean != 0, np.abs(mean), 1.0))
    least = np.where(good, flux, np.inf).min(axis=1, keepdims=True)
    width = draw_widths(kind, draws, flux.shape[1])
    usable: Bools = np.any(good, axis=2)
    begin, _ = place_windows(usable, width, draws.uniform("begin"))
    place = np.arange(flux.shape[1]) - begin[:, None]
    inside = ((place >= 0) & (place < width[:, None]))[..., None] & good
    changed = reshape(kind, draws, flux, Regions(begin, width, inside, unit, np.where(np.isfinite(least), least, 0.0)))
    region: Bools = np.any(inside, axis=2)
    return changed, region


def _swap(result: Data, chosen: Ints, good: Bools) -> Bools:
    """Exchange what was measured of pairs of spectra, in place; return the good points [k, L] they have then."""
    partner = np.arange(len(chosen)) ^ 1
    if len(chosen) % 2:  # the last three take turns
        partner[-3:] = np.arange(len(chosen))[[-2, -1, -3]]
    source = chosen[partner]
    to, of = torch.from_numpy(chosen), torch.from_numpy(source)
    for name in ("x", "mask", "flux_error", "wavelength"):
        values = result.get(name)
        if isinstance(values, Tensor) and values.dim() > 1:  # a wavelength grid that all share is [L]
            swapped = values.clone()
            swapped[to] = values[of]
            result[name] = swapped
    region: Bools = good[source].any(axis=2)
    return region
