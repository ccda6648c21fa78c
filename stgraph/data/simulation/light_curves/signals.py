"""The flux of a star without noise, class by class, vectorised over curves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stgraph.data.simulation.light_curves.draws import Draws, Floats
from stgraph.data.simulation.light_curves.rotation import rotation

__all__ = ["PARAMETERS", "clean_flux", "damped_random_walk"]

#: Names of the true parameters; NaN where a class has none. Times are in days, angles in radians.
PARAMETERS = (
    *(f"{name}{suffix}" for suffix in ("", "_2", "_3", "_4") for name in ("period", "amplitude", "phase")),
    "components",
    "tau",
    "sigma",
    "q",
    "rotation_period",
    "inclination",
    "shear",
    "spot_lifetime",
)


def clean_flux(draws: Draws, kind: npt.NDArray[np.str_], time: Floats) -> tuple[Floats, dict[str, Floats]]:
    r"""Draw the parameters of each curve and compute its flux without noise and offset.

    Args:
        draws: Random numbers of the curves.
        kind: Class of each curve.
        time: Times in days, not decreasing.

    Shapes:
        - **kind:** :math:`(n)`, **time:** :math:`(n, L)`
        - **output:** :math:`(n, L)`, and :math:`(n)` for each of ``PARAMETERS``
    """
    flux = np.empty_like(time)
    parameters = {name: np.full(len(draws), np.nan) for name in PARAMETERS}
    for key in np.unique(kind):
        rows = kind == key
        flux[rows], known = _SIGNALS[key](draws[rows], time[rows])
        for name, values in known.items():
            parameters[name][rows] = values
    return flux, parameters


def damped_random_walk(time: Floats, tau: Floats, sigma: Floats, normal: Floats) -> Floats:
    r"""Damped random walks at given times.

    :math:`f_1 = 0` and :math:`f_i = f_{i-1} e^{-\delta_i/\tau} + \sigma \sqrt{1 - e^{-2\delta_i/\tau}} \epsilon_i` with
    the step :math:`\delta_i`, as a cumulative sum: the increments of :math:`f_i e^{t_i/\tau}` are independent.

    Shapes:
        - **time:** :math:`(n, L)`, **tau**, **sigma:** :math:`(n, 1)`, **normal:** :math:`(n, L - 1)`
        - **output:** :math:`(n, L)`
    """
    kick = np.zeros_like(time)
    kick[:, 1:] = np.sqrt(-np.expm1(-2 * np.diff(time, axis=1) / tau)) * normal
    growth = np.exp((time - time[:, :1]) / tau)
    return sigma * np.cumsum(kick * growth, axis=1) / growth


def _sinusoid(draws: Draws, time: Floats) -> tuple[Floats, dict[str, Floats]]:
    period = draws.uniform("period", 2.0, 100.0)
    amplitude = draws.uniform("amplitude", 0.5, 2.0)
    phase = draws.uniform("phase", 0.0, 2 * np.pi)
    flux = amplitude[:, None] * np.sin(2 * np.pi * time / period[:, None] + phase[:, None])
    return flux, {"period": period, "amplitude": amplitude, "phase": phase, "rotation_period": period}


def _multiperiodic(draws: Draws, time: Floats) -> tuple[Floats, dict[str, Floats]]:
    components = draws.integers("components", 2, 4)
    # Sinusoids that are not there have the amplitude 0 and stand last.
    there = np.arange(4) < components[:, None]
    amplitude = np.where(there, draws.uniform("amplitudes", 0.3, 1.5, count=4), 0.0)
    order = np.argsort(-amplitude, axis=1)
    amplitude = np.take_along_axis(amplitude, order, axis=1)
    period = draws.uniform("periods", 5.0, 100.0, count=4)
    phase = draws.uniform("phases", 0.0, 2 * np.pi, count=4)
    flux = np.zeros_like(time)
    for wave in range(4):
        column = slice(wave, wave + 1)
        flux += amplitude[:, column] * np.sin(2 * np.pi * time / period[:, column] + phase[:, column])
    values = {"period": period, "amplitude": amplitude, "phase": phase}
    known = {
        f"{name}{suffix}": np.where(there[:, wave], values[name][:, wave], np.nan)
        for wave, suffix in enumerate(("", "_2", "_3", "_4"))
        for name in values
    }
    return flux, {**known, "components": components.astype(np.float64)}


def _drw(draws: Draws, time: Floats) -> tuple[Floats, dict[str, Floats]]:
    tau, sigma = draws.uniform("tau", 5.0, 50.0), draws.uniform("sigma", 0.5, 2.0)
    normal = draws.normal("walk", time.shape[1] - 1)
    return damped_random_walk(time, tau[:, None], sigma[:, None], normal), {"tau": tau, "sigma": sigma}


def _qpo(draws: Draws, time: Floats) -> tuple[Floats, dict[str, Floats]]:
    period, q = draws.uniform("period", 10.0, 50.0), draws.uniform("q", 5.0, 20.0)
    amplitude = draws.uniform("amplitude", 0.5, 2.0)
    walk = np.zeros_like(time)
    variance = (2 * np.pi / (q * period))[:, None] * np.diff(time, axis=1)
    walk[:, 1:] = np.cumsum(np.sqrt(variance) * draws.normal("walk", time.shape[1] - 1), axis=1)
    flux = amplitude[:, None] * np.sin(2 * np.pi * time / period[:, None] + walk)
    return flux, {"period": period, "amplitude": amplitude, "q": q, "rotation_period": period}


_SIGNALS: dict[str, Callable[[Draws, Floats], tuple[Floats, dict[str, Floats]]]] = {
    "sinusoid": _sinusoid,
    "multiperiodic": _multiperiodic,
    "drw": _drw,
    "qpo": _qpo,
    "rotation": rotation,
}
