"""Galaxies from formulas: a power law with a break, absorption lines of stars and emission lines of gas."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr
from torch_geometric.data import Data

from stgraph.data.simulation.anomalies.observe import observe_galaxies
from stgraph.data.simulation.light_curves.draws import Draws, Floats

__all__ = ["analytic_galaxies"]

_LIGHT = 299792.458  # km / s

# Wavelengths in vacuum, in angstrom: table of spectral lines of the SDSS (DR6, "Algorithms: spectral line list"). The
# second number is the flux relative to H alpha, about that of a star-forming galaxy; lines of the same group keep their
# ratio, because atomic physics fixes it.
_EMISSION = (
    # name, wavelength, flux, group
    ("[OII]", 3728.48, 0.80, 0),  # the middle of a doublet, 3727.09 and 3729.88
    ("[NeIII]", 3869.86, 0.06, 1),
    ("H delta", 4102.89, 0.07, 2),
    ("H gamma", 4341.68, 0.13, 2),
    ("H beta", 4862.68, 0.30, 2),
    ("[OIII]", 4960.30, 0.10, 3),
    ("[OIII]", 5008.24, 0.30, 3),
    ("[OI]", 6302.05, 0.04, 4),
    ("[NII]", 6549.86, 0.12, 5),
    ("H alpha", 6564.61, 1.00, 2),
    ("[NII]", 6585.27, 0.36, 5),
    ("[SII]", 6718.29, 0.20, 6),
    ("[SII]", 6732.67, 0.15, 6),
)
# Equivalent widths of old stars, in angstrom.
_ABSORPTION = (
    ("Ca K", 3934.78, 7.0),
    ("Ca H", 3969.59, 6.0),
    ("G band", 4305.61, 5.0),
    ("H beta", 4862.68, 2.0),
    ("Mg b", 5176.70, 4.5),
    ("Na D", 5895.60, 3.5),
)
_ABSORPTION_WIDTH = 8.0  # angstrom, standard deviation: blends of several lines, wider than those of the gas
_STRONGEST = 60.0  # equivalent width of H alpha, in angstrom
_RATIO_SCATTER = 0.25  # natural logarithm
_BREAK, _BREAK_WIDTH = 4000.0, 40.0  # angstrom


def analytic_galaxies(
    n: int, *, length: int = 1001, seed: int = 0, wavelength_range: tuple[float, float] = (3600, 9800)
) -> Data:
    """Noisy spectra of galaxies made of a power law, the 4000 angstrom break, six absorption and 13 emission lines.

    The emission lines of a galaxy have a common strength, from none to an equivalent width of H alpha of 60 angstrom,
    and ratios that vary by a quarter between galaxies; galaxies with weak emission tend to be red, with a deep break
    and strong absorption. The redshift is 0.02 to 0.3, the noise 2 to 6 % of the median flux.

    A galaxy depends on the seed and its number alone, not on how many others are drawn.

    Args:
        n: Number of galaxies N.
        length: Number of points L, equally spaced in wavelength.
        seed: Seed of all random numbers.
        wavelength_range: First and last observed wavelength, in angstrom.

    Shapes:
        - **output:** ``x``, ``flux_error`` and ``mask`` (True throughout) :math:`(N, L, 1)`, ``wavelength`` :math:`(L)`
          in angstrom, in vacuum, ``redshift`` :math:`(N)`, ``sky`` :math:`(N, 2)` (right ascension and declination in
          degrees), ``pos`` :math:`(N, 3)` (unit vectors), ``no_data`` :math:`(N)` (False throughout), ``node_names``
          and ``metadata`` with ``noise`` (as a share of the median flux) and ``emission`` (equivalent width of H alpha,
          in angstrom)

    Raises:
        InputError: If a number is out of its range.
        InputTypeError: If an argument is of the wrong type.

    Examples:
        >>> galaxies = analytic_galaxies(3, length=200)
        >>> galaxies.x.shape, bool((galaxies.redshift <= 0.3).all())
        (torch.Size([3, 200, 1]), True)
    """
    return observe_galaxies(
        _rest_spectra,
        "analytic galaxy",
        n,
        length=length,
        seed=seed,
        wavelength_range=wavelength_range,
        redshift=(0.02, 0.3),
        noise=(0.02, 0.06),
    )


def _rest_spectra(draws: Draws, edges: Floats) -> tuple[Floats, dict[str, npt.NDArray[Any]]]:
    """Mean flux in each pixel, relative to the continuum, and the strength of the emission."""
    middle = (edges[:, 1:] + edges[:, :-1]) / 2
    width = np.diff(edges, axis=1)
    age = draws.uniform("age")  # 0 for young stars, 1 for old ones; emission follows it loosely
    old = (0.7 * age + 0.3 * draws.uniform("stars"))[:, None]
    emission = _STRONGEST * (1 - age) ** 2 * draws.uniform("emission")
    slope = 1.5 * old - 1.2 + draws.uniform("slope", -0.2, 0.2)[:, None]
    left = 1 / (1.1 + 0.9 * old)  # flux below the break, relative to that above it
    spectrum = (middle / 5500) ** slope * (left + (1 - left) / (1 + np.exp((_BREAK - middle) / _BREAK_WIDTH)))
    for _, line, equivalent_width in _ABSORPTION:
        spectrum *= 1 - equivalent_width * (0.3 + 0.7 * old) * _profile(edges, line, _ABSORPTION_WIDTH) / width
    velocity = draws.uniform("velocity", 80.0, 250.0)[:, None]  # km / s, standard deviation
    groups = 1 + max(group for *_, group in _EMISSION)
    ratios = np.exp(_RATIO_SCATTER * draws.normal("ratios", groups))
    lines = np.zeros_like(spectrum)
    for _, line, flux, group in _EMISSION:
        lines += (emission * flux * ratios[:, group])[:, None] * _profile(edges, line, line * velocity / _LIGHT)
    red = (6564.61 / 5500) ** slope  # the continuum to which the equivalent width of H alpha refers
    return spectrum + red * lines / width, {"emission": emission}


def _profile(edges: Floats, line: float, width: Floats | float) -> Floats:
    """The share of a Gaussian line within each pixel."""
    return np.diff(ndtr((edges - line) / width), axis=1)
