"""From spectra of galaxies at rest to a graph of noisy spectra as a telescope records them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import Data

from stgraph.data.light_curves.sky import unit_vectors
from stgraph.data.simulation.light_curves.curves import blocks, concatenate
from stgraph.data.simulation.light_curves.draws import Draws, Floats
from stgraph.data.simulation.light_curves.recipe import check_count, check_number
from stgraph.errors import InputError

__all__ = ["RestSpectra", "observe_galaxies"]

#: From random numbers and the borders of the pixels at rest [n, L + 1], in angstrom, to the mean flux within each pixel
#: [n, L], which is positive, and properties [n] each.
RestSpectra: TypeAlias = Callable[[Draws, Floats], tuple[Floats, dict[str, npt.NDArray[Any]]]]

_BRIGHTNESS = (3.0, 30.0)  # median flux in 1e-17 erg / s / cm^2 / angstrom, as of galaxies that SDSS and DESI observe


def observe_galaxies(
    rest_spectra: RestSpectra,
    kind: str,
    n: int,
    *,
    length: int,
    seed: int,
    wavelength_range: tuple[float, float],
    redshift: tuple[float, float],
    noise: tuple[float, float],
) -> Data:
    """Place galaxies at random redshifts and points of the sky and record their spectra with Gaussian noise.

    Args:
        rest_spectra: The spectra at rest.
        kind: Name of the kind of galaxy, on which the random numbers depend.
        n: Number of galaxies.
        length: Number of points, equally spaced in wavelength.
        seed: Seed of all random numbers.
        wavelength_range: First and last observed wavelength, in angstrom.
        redshift: Lowest and highest redshift, between which all are equally likely.
        noise: Lowest and highest noise, as a share of the median flux.
    """
    check_count("n", n, 1, 2**31)
    check_count("length", length, 2, 2**31)
    check_count("seed", seed, 0, 2**63 - 1)
    wavelength = np.linspace(*_check_range(wavelength_range), length)
    middle = (wavelength[1:] + wavelength[:-1]) / 2
    edges = np.concatenate([[2 * wavelength[0] - middle[0]], middle, [2 * wavelength[-1] - middle[-1]]])
    flux = np.empty((n, length), dtype=np.float32)
    parts = []
    for block in blocks(n):  # small blocks fit the processor's cache
        draws = Draws.of(seed, kind, np.arange(block.start, block.stop))
        shift = draws.uniform("redshift", *redshift)
        clean, properties = rest_spectra(draws, edges / (1 + shift[:, None]))
        brightness = np.exp(draws.uniform("brightness", *np.log(_BRIGHTNESS)))
        clean *= (brightness / np.median(clean, axis=1))[:, None]
        relative = draws.uniform("noise level", *noise)
        flux[block] = clean + (relative * brightness)[:, None] * draws.normal("noise", length)
        ra, sine = draws.uniform("right ascension", 0.0, 360.0), draws.uniform("declination", -1.0, 1.0)
        drawn = {"redshift": shift, "error": relative * brightness, "ra": ra, "dec": np.degrees(np.arcsin(sine))}
        parts.append(drawn | {"noise": relative} | properties)
    return _as_data(flux, wavelength, concatenate(parts))


def _as_data(flux: npt.NDArray[np.float32], wavelength: Floats, drawn: dict[str, npt.NDArray[Any]]) -> Data:
    error = torch.from_numpy(drawn.pop("error").astype(np.float32))
    sky = torch.from_numpy(np.stack([drawn.pop("ra"), drawn.pop("dec")], axis=1))
    x = torch.from_numpy(flux).unsqueeze(-1)
    return Data(
        x=x,
        mask=torch.ones(x.shape, dtype=torch.bool),
        flux_error=error[:, None, None].repeat(1, x.size(1), 1),
        wavelength=torch.from_numpy(wavelength),
        redshift=torch.from_numpy(drawn.pop("redshift")),
        sky=sky,
        pos=unit_vectors(sky),
        node_names=[f"galaxy {number}" for number in range(len(flux))],
        no_data=torch.zeros(len(flux), dtype=torch.bool),
        metadata=drawn,
    )


def _check_range(value: Any) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise InputError(f"wavelength_range is {value!r}; expected the first and the last wavelength, in angstrom")
    for wavelength in value:
        check_number("wavelength_range", wavelength, 1.0, 1e9)
    low, high = float(value[0]), float(value[1])
    if not low < high:
        raise InputError(f"wavelength_range is {value!r}; expected the shorter wavelength first")
    return low, high
