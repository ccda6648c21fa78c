from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion import PSF_NAMES, normalise_kernel, psf_kernel

CENTERS = {
    "gaussian": 0.01454,
    "kolmogorov": 0.02549,
    "airy": 0.10835,
    "moffat": 0.06940,
    "sinc": 0.15434,
    "lorentzian2": 0.01960,
    "hermite": 0.0,
    "parabolic": 0.05460,
    "delta": 1.0,
}


def expected(name: str, x: float, y: float, sigma: float) -> float:
    """Value before normalisation, one pixel at a time."""
    rho = math.hypot(x, y)
    z = 3.8317 * rho / sigma
    values = {
        "gaussian": lambda: math.exp(-(rho**2) / (2 * sigma**2)),
        "kolmogorov": lambda: math.exp(-((rho / sigma) ** (5 / 3))),
        "airy": lambda: (2 * special.j1(z) / z) ** 2 if rho else 1.0,
        "moffat": lambda: (1 + (rho / sigma) ** 2) ** -3.5,
        "sinc": lambda: math.sin(math.pi * rho / sigma) / (math.pi * rho / sigma) if rho else 1.0,
        "lorentzian2": lambda: 1 / (1 + (rho / sigma) ** 4),
        "hermite": lambda: math.exp(-(rho**2) / (2 * sigma**2)) * 2 * rho / sigma,
        "parabolic": lambda: max(0.0, 1 - (rho / sigma) ** 2),
        "gabor": lambda: math.exp(-0.5 * (x**2 + 0.25 * y**2) / sigma**2) * math.cos(2 * math.pi * x),
        "delta": lambda: float(rho == 0),
    }
    return values[name]()


def test_there_are_ten_functions() -> None:
    assert len(PSF_NAMES) == 10


@pytest.mark.parametrize(("name", "center"), CENTERS.items())
def test_centers_at_the_defaults(name: str, center: float) -> None:
    assert float(psf_kernel(name)[7, 7]) == pytest.approx(center, abs=5e-6)


@pytest.mark.parametrize("name", PSF_NAMES)
@pytest.mark.parametrize(("sigma", "half_size"), [(3.4, 7), (1.3, 2)])
def test_values_follow_the_formulas(name: str, sigma: float, half_size: int) -> None:
    offsets = range(-half_size, half_size + 1)
    values = np.array([[expected(name, x, y, sigma) for x in offsets] for y in offsets])
    kernel = psf_kernel(name, sigma, half_size)
    np.testing.assert_allclose(kernel.numpy(), values / values.sum(), atol=1e-12)
    assert float(kernel.sum()) == pytest.approx(1)


def test_sinc_has_negative_lobes() -> None:
    assert float(psf_kernel("sinc").min()) == pytest.approx(-0.0333, abs=5e-5)


def test_compatible_airy_is_a_ring_with_a_hole() -> None:
    kernel = psf_kernel("airy", compat=True)
    assert float(kernel[7, 7]) == pytest.approx(0.02033, abs=5e-6)
    neighbors = kernel[[6, 8, 7, 7], [7, 7, 6, 8]]
    np.testing.assert_allclose(neighbors.numpy(), 0.19964, atol=5e-6)


def test_airy_vanishes_at_its_width() -> None:
    kernel = psf_kernel("airy", sigma=3.0, half_size=3)
    assert float(kernel[3, 6] / kernel[3, 3]) == pytest.approx(0, abs=1e-9)


def test_moffat_takes_its_exponent() -> None:
    kernel = psf_kernel("moffat", 2.0, 1, beta=1.0)
    assert float(kernel[1, 2] / kernel[1, 1]) == pytest.approx(1 / (1 + 0.25))


def test_hermite_takes_its_order() -> None:
    kernel = psf_kernel("hermite", 2.0, 2, order=2)
    ratio = float(kernel[2, 4] / kernel[2, 2])
    assert ratio == pytest.approx(math.exp(-0.5) * (4 - 2) / -2)  # H_2(t) = 4 t^2 - 2


def test_gabor_is_an_anisotropic_gaussian_at_the_defaults() -> None:
    kernel = psf_kernel("gabor", 2.0, 3)
    along, across = float(kernel[3, 6] / kernel[3, 3]), float(kernel[6, 3] / kernel[3, 3])
    assert along == pytest.approx(math.exp(-9 / 8))
    assert across == pytest.approx(math.exp(-9 / 32))


def test_gabor_turns_with_its_angle() -> None:
    turned = psf_kernel("gabor", 2.0, 3, theta=math.pi / 2)
    np.testing.assert_allclose(turned.numpy(), psf_kernel("gabor", 2.0, 3).T.numpy(), atol=1e-12)


def test_gabor_takes_wavelength_phase_and_aspect() -> None:
    kernel = psf_kernel("gabor", 2.0, 1, wavelength=4.0, psi=0.3, gamma=1.0)
    ratio = float(kernel[1, 2] / kernel[1, 1])
    assert ratio == pytest.approx(math.exp(-1 / 8) * math.cos(math.pi / 2 + 0.3) / math.cos(0.3))


def test_half_size_zero_is_a_point() -> None:
    assert psf_kernel("gaussian", half_size=0).tolist() == [[1.0]]


def test_unknown_name_lists_the_ten() -> None:
    with pytest.raises(InputError, match=r"gaussian, kolmogorov, airy, .*delta, got 'box'"):
        psf_kernel("box")


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_bad_sigma(sigma: float) -> None:
    with pytest.raises(InputError, match="sigma must be a positive"):
        psf_kernel("gaussian", sigma)


def test_bad_half_size() -> None:
    with pytest.raises(InputError, match="half_size must be 0 or more"):
        psf_kernel("gaussian", half_size=-1)
    with pytest.raises(InputTypeError, match="half_size must be a whole number"):
        psf_kernel("gaussian", half_size=2.5)  # type: ignore[arg-type]


def test_unknown_parameter_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'moffat' has no parameter 'order'; expected beta"):
        psf_kernel("moffat", order=2)
    with pytest.raises(InputError, match="expected no further parameters"):
        psf_kernel("delta", beta=2)


@pytest.mark.parametrize("order", [-1, 1.5])
def test_bad_hermite_order(order: float) -> None:
    with pytest.raises(InputError, match="order of the psf 'hermite'"):
        psf_kernel("hermite", order=order)


def test_sum_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match=r"'hermite' adds up to 0"):
        psf_kernel("hermite", half_size=0)
    with pytest.raises(InputError, match=r"'gabor' adds up to"):
        psf_kernel("gabor", psi=math.pi / 2)


def test_own_kernel_is_divided_by_its_sum() -> None:
    kernel = normalise_kernel(np.array([[0, 2, 0], [1, 3, 1], [0, 1, 0]], dtype=np.uint8))
    assert float(kernel.sum()) == pytest.approx(1)
    assert float(kernel[0, 1]) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(3), "two-dimensional"),
        (np.ones((3, 5)), "square"),
        (np.ones((4, 4)), "odd size"),
        (np.array([[1.0, np.nan, 1.0]] * 3), "3 values that are NaN"),
        (np.array([[1.0, -2.0, 1.0]] * 3), "adds up to 0"),
    ],
)
def test_bad_own_kernels(values: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        normalise_kernel(values)


def test_kernel_of_text_is_refused() -> None:
    with pytest.raises(InputTypeError, match="psf must be an array of real numbers"):
        normalise_kernel(np.array([["a"]]))
