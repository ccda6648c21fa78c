"""Galaxies as random combinations of the principal components of real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies.observe import observe_galaxies
from stgraph.data.simulation.light_curves.draws import Draws, Floats
from stgraph.errors import InputError

__all__ = ["eigenspectrum_galaxies"]

_RANGE = (3600.0, 9800.0)  # angstrom, observed
_REDSHIFT = (0.01, 0.3)
# Coefficients relative to the first. With 2.2 of the second component the emission lines of the first vanish (galaxies
# without gas); the less of it, the stronger are the lines.
_NO_EMISSION, _EMISSION_SCATTER = 2.2, 4.0
_OTHER_SCATTER = (6.0, 8.0)
_FLOOR = 0.05  # the least flux, relative to that of the first component


def eigenspectrum_galaxies(
    eigenspectra: npt.ArrayLike | Tensor,
    wavelength: npt.ArrayLike | Tensor,
    n: int,
    *,
    length: int = 1001,
    seed: int = 0,
) -> Data:
    """Noisy spectra of galaxies that are random combinations of the four galaxy eigenspectra of the SDSS.

    The first component dominates, with a positive coefficient. The second, which takes the emission lines away, has
    2.2 - 4 abs(g) times that coefficient, the third and the fourth 6 g and 8 g times, where every g is a standard
    normal number; the three shrink together where the flux would otherwise fall below 5 % of the first component's. The
    redshift is 0.01 to 0.3, the noise 2 to 8 % of the median flux.

    Source of the eigenspectra: ``spEigenGal`` of the SDSS spectroscopic pipeline (Bolton et al. 2012, "Spectral
    Classification and Redshift Measurement for the SDSS-III Baryon Oscillation Spectroscopic Survey", AJ 144, 144).

    Args:
        eigenspectra: The four eigenspectra.
        wavelength: Their wavelengths at rest, increasing, in angstrom.
        n: Number of galaxies N.
        length: Number of points L, from 3600 to 9800 angstrom, equally spaced.
        seed: Seed of all random numbers.

    Shapes:
        - **eigenspectra:** :math:`(4, M)`, **wavelength:** :math:`(M)`
        - **output:** As :func:`~stgraph.data.simulation.anomalies.analytic_galaxies`, but ``metadata`` has ``noise``
          and ``coefficient_2`` to ``coefficient_4``, relative to the first

    Raises:
        InputError: If the shapes do not fit, the wavelengths do not cover what is observed at these redshifts, the
            first eigenspectrum is not positive there, or a number is out of its range.
        InputTypeError: If an argument is of the wrong type.

    Examples:
        >>> wavelength = torch.linspace(2000, 10500, 900)
        >>> components = torch.stack([wavelength, wavelength.sin(), wavelength.cos(), 1 / wavelength])
        >>> eigenspectrum_galaxies(components, wavelength, 3, length=50).x.shape
        torch.Size([3, 50, 1])
    """
    components, grid = _check(eigenspectra, wavelength)
    steps = np.diff(grid) * (components[:, 1:] + components[:, :-1]) / 2
    integral = np.concatenate([np.zeros((4, 1)), np.cumsum(steps, axis=1)], axis=1)

    def rest_spectra(draws: Draws, edges: Floats) -> tuple[Floats, dict[str, npt.NDArray[Any]]]:
        if edges.min() < grid[0] or edges.max() > grid[-1]:
            raise InputError(
                f"wavelength runs from {grid[0]:g} to {grid[-1]:g} angstrom; galaxies at these redshifts need "
                f"{edges.min():g} to {edges.max():g}"
            )
        width = np.diff(edges, axis=1)
        parts = [np.diff(np.interp(edges, grid, one), axis=1) / width for one in integral]
        return _combine(draws, parts)

    return observe_galaxies(
        rest_spectra,
        "eigenspectrum galaxy",
        n,
        length=length,
        seed=seed,
        wavelength_range=_RANGE,
        redshift=_REDSHIFT,
        noise=(0.02, 0.08),
    )


def _combine(draws: Draws, parts: list[Floats]) -> tuple[Floats, dict[str, npt.NDArray[Any]]]:
    """The combination with random coefficients, and these."""
    first = parts[0]
    if not (first > 0).all():
        raise InputError("eigenspectra[0] is not positive throughout; expected the first component of galaxies")
    normal = draws.normal("coefficients", 3)
    coefficients = np.stack(
        [
            _NO_EMISSION - _EMISSION_SCATTER * np.abs(normal[:, 0]),
            _OTHER_SCATTER[0] * normal[:, 1],
            _OTHER_SCATTER[1] * normal[:, 2],
        ]
    )
    rest = sum(c[:, None] * part for c, part in zip(coefficients, parts[1:], strict=True))
    deepest = (rest / first).min(axis=1)
    shrink = np.minimum(1.0, (1 - _FLOOR) / np.maximum(-deepest, 1e-12))
    coefficients *= shrink
    named = {f"coefficient_{number}": c for number, c in enumerate(coefficients, start=2)}
    return first + shrink[:, None] * rest, named


def _check(eigenspectra: npt.ArrayLike | Tensor, wavelength: npt.ArrayLike | Tensor) -> tuple[Floats, Floats]:
    components, grid = (
        np.asarray(value.numpy(force=True) if isinstance(value, torch.Tensor) else value, dtype=np.float64)
        for value in (eigenspectra, wavelength)
    )
    if components.ndim != 2 or len(components) != 4 or grid.shape != components.shape[1:]:
        raise InputError(
            f"eigenspectra has the shape {components.shape} and wavelength {grid.shape}; expected (4, M) and (M,)"
        )
    if not np.isfinite(components).all():
        raise InputError("eigenspectra holds values that are not finite")
    if not (np.diff(grid) > 0).all():
        raise InputError("wavelength does not increase throughout")
    return components, grid
