"""Point-spread functions: how a sensor spreads the light of one point over its neighbours."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from scipy import special
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["PSF_NAMES", "normalise_kernel", "psf_kernel"]

_SMALLEST_SUM = 1e-8
_FIRST_ZERO_OF_J1 = 3.8317
_FIRST_ZERO_OF_AIRY_FUNCTION = 2.33811


def psf_kernel(name: str, sigma: float = 3.4, half_size: int = 7, **parameters: Any) -> Tensor:
    r"""One of ten point-spread functions on a grid of :math:`(2k+1)^2` pixels, divided by its sum.

    With the distance :math:`\rho = \sqrt{x^2 + y^2}` in pixels, x along the columns and y along the rows,
    :math:`-k \le x, y \le k`, the values before the division are

    ================  ==================================================================================
    ``gaussian``      :math:`e^{-\rho^2 / 2\sigma^2}`
    ``kolmogorov``    :math:`e^{-(\rho/\sigma)^{5/3}}`, the form of the long-exposure transfer function
    ``airy``          :math:`(2 J_1(z)/z)^2`, :math:`z = 3.8317\,\rho/\sigma`: zero at :math:`\rho = \sigma`
    ``moffat``        :math:`(1 + (\rho/\sigma)^2)^{-\beta}`; ``beta`` = 3.5
    ``sinc``          :math:`\sin(\pi\rho/\sigma) / (\pi\rho/\sigma)`
    ``lorentzian2``   :math:`1 / (1 + (\rho/\sigma)^4)`
    ``hermite``       :math:`e^{-\rho^2/2\sigma^2} H_n(\rho/\sigma)`, physicists' polynomial; ``order`` n = 1
    ``parabolic``     :math:`\max(0, 1 - (\rho/\sigma)^2)`
    ``gabor``         :math:`e^{-(x'^2 + \gamma^2 y'^2)/2\sigma^2} \cos(2\pi x'/\lambda + \psi)` with
                      :math:`x' = x\cos\theta + y\sin\theta`, :math:`y' = y\cos\theta - x\sin\theta`;
                      ``theta`` = 0 and ``psi`` = 0 in radians, ``wavelength`` :math:`\lambda` = 1 pixel,
                      ``gamma`` = 0.5
    ``delta``         1 at the centre; :math:`\sigma` is not used
    ================  ==================================================================================

    Args:
        name: Name of the function.
        sigma: Width :math:`\sigma` in pixels.
        half_size: Pixels k on either side of the centre.
        **parameters: Further parameters of ``airy`` (``compat=True`` replaces :math:`J_1` by the modified Bessel
            function :math:`K_1` and 3.8317 by 2.33811, which published tables of image fusion were computed with: a
            ring with a hole), ``moffat``, ``hermite`` and ``gabor``.

    Shapes:
        - **output:** :math:`(2k+1, 2k+1)`, float64

    Raises:
        InputError: If the name or a parameter is unknown, :obj:`sigma` is not positive, :obj:`half_size` is negative,
            or the values add up to nothing.

    Examples:
        >>> psf_kernel("parabolic", sigma=1.5, half_size=1).mul(33).round()
        tensor([[1., 5., 1.],
                [5., 9., 5.],
                [1., 5., 1.]], dtype=torch.float64)
    """
    function = _FUNCTIONS.get(name) if isinstance(name, str) else None
    if function is None:
        raise InputError(f"psf must be one of {', '.join(PSF_NAMES)}, got {name!r}")
    if isinstance(sigma, bool) or not isinstance(sigma, int | float):
        raise InputTypeError(f"sigma must be a number of pixels, got {type(sigma).__name__}")
    if not (math.isfinite(sigma) and sigma > 0):
        raise InputError(f"sigma must be a positive number of pixels, got {sigma}")
    if isinstance(half_size, bool) or not isinstance(half_size, int):
        raise InputTypeError(f"half_size must be a whole number of pixels, got {type(half_size).__name__}")
    if half_size < 0:
        raise InputError(f"half_size must be 0 or more pixels, got {half_size}")
    known = list(inspect.signature(function).parameters)[3:]
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        expected = ", ".join(known) or "no further parameters"
        raise InputError(f"the psf {name!r} has no parameter {unknown[0]!r}; expected {expected}")
    offsets = torch.arange(-half_size, half_size + 1, dtype=torch.float64)
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    return _divided_by_sum(function(x, y, float(sigma), **parameters), f"the psf {name!r}")


def normalise_kernel(values: Any) -> Tensor:
    r"""A point-spread function of one's own, checked and divided by its sum.

    Args:
        values: Array or tensor.

    Shapes:
        - **values**, **output:** :math:`(m, m)` with odd m; the output is float64

    Raises:
        InputError: If it is not two-dimensional, not square, of even size, not finite or adds up to nothing.

    Examples:
        >>> normalise_kernel([[0, 1, 0], [1, 4, 1], [0, 1, 0]])[1]
        tensor([0.1250, 0.5000, 0.1250], dtype=torch.float64)
    """
    try:
        kernel = torch.as_tensor(values).to(torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputTypeError(f"psf must be an array of real numbers: {error}") from error
    check_kernel(kernel, "psf")
    return _divided_by_sum(kernel, "the psf")


def check_kernel(kernel: Tensor, name: str) -> None:
    """Refuse what is not a finite square matrix of odd size."""
    if kernel.dim() != 2:
        raise InputError(f"{name} must be two-dimensional, got the shape {tuple(kernel.shape)}")
    if kernel.shape[0] != kernel.shape[1]:
        raise InputError(f"{name} must be square, got the shape {tuple(kernel.shape)}")
    if kernel.shape[0] % 2 == 0:
        raise InputError(f"{name} must have an odd size, so that it has a centre, got {tuple(kernel.shape)}")
    if not bool(torch.isfinite(kernel).all()):
        count = int((~torch.isfinite(kernel)).sum())
        raise InputError(f"{name} must be finite, got {count} values that are NaN or infinite")


def _divided_by_sum(kernel: Tensor, name: str) -> Tensor:
    total = float(kernel.sum())
    if abs(total) < _SMALLEST_SUM:
        raise InputError(f"{name} adds up to {total:.3g}, so it cannot be divided by its sum")
    return kernel / total


def _gaussian(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    return torch.exp((x**2 + y**2) / (-2 * sigma**2))


def _kolmogorov(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    return torch.exp(-((torch.hypot(x, y) / sigma) ** (5 / 3)))


def _airy(x: Tensor, y: Tensor, sigma: float, compat: bool = False) -> Tensor:
    # SciPy's functions, as those of torch are right to seven digits only.
    scale, bessel = (_FIRST_ZERO_OF_AIRY_FUNCTION, special.k1) if compat else (_FIRST_ZERO_OF_J1, special.j1)
    z = scale * torch.hypot(x, y) / sigma
    centre = z == 0
    z = z.masked_fill(centre, 1.0)
    amplitude: Tensor = 2 * torch.from_numpy(bessel(z.numpy())) / z
    return torch.where(centre, 1.0, amplitude**2)


def _moffat(x: Tensor, y: Tensor, sigma: float, beta: float = 3.5) -> Tensor:
    return (1 + (x**2 + y**2) / sigma**2) ** -beta


def _sinc(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    return torch.sinc(torch.hypot(x, y) / sigma)


def _lorentzian2(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    return 1 / (1 + (x**2 + y**2) ** 2 / sigma**4)


def _hermite(x: Tensor, y: Tensor, sigma: float, order: int = 1) -> Tensor:
    if isinstance(order, bool) or not isinstance(order, int) or order < 0:
        raise InputError(f"order of the psf 'hermite' must be a whole number of 0 or more, got {order!r}")
    polynomial: Tensor = torch.special.hermite_polynomial_h(torch.hypot(x, y) / sigma, order)
    return _gaussian(x, y, sigma) * polynomial


def _parabolic(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    return (1 - (x**2 + y**2) / sigma**2).clamp(min=0)


def _gabor(
    x: Tensor,
    y: Tensor,
    sigma: float,
    theta: float = 0.0,
    wavelength: float = 1.0,
    gamma: float = 0.5,
    psi: float = 0.0,
) -> Tensor:
    along = x * math.cos(theta) + y * math.sin(theta)
    across = y * math.cos(theta) - x * math.sin(theta)
    envelope = torch.exp((along**2 + (gamma * across) ** 2) / (-2 * sigma**2))
    return envelope * torch.cos(2 * math.pi * along / wavelength + psi)


def _delta(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    return ((x == 0) & (y == 0)).to(x.dtype)


_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "gaussian": _gaussian,
    "kolmogorov": _kolmogorov,
    "airy": _airy,
    "moffat": _moffat,
    "sinc": _sinc,
    "lorentzian2": _lorentzian2,
    "hermite": _hermite,
    "parabolic": _parabolic,
    "gabor": _gabor,
    "delta": _delta,
}

#: Names of the point-spread functions.
PSF_NAMES = tuple(_FUNCTIONS)
