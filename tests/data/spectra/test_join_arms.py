import numpy as np
import pytest

from stgraph.data.spectra import join_arms
from stgraph.errors import InputError

BLUE, RED = [1.0, 2.0, 3.0], [2.0 + 1e-9, 3.0, 4.0]


def test_overlap_is_the_mean_by_inverse_variance():
    wavelength, flux, ivar = join_arms([BLUE, RED], [[[1, 2, 3]], [[4, 6, 8]]], [[[1, 1, 3]], [[3, 1, 1]]])
    np.testing.assert_allclose(wavelength, [1, 2, 3, 4], rtol=1e-8)
    np.testing.assert_allclose(flux, [[1, (2 + 3 * 4) / 4, (3 * 3 + 6) / 4, 8]])
    np.testing.assert_array_equal(ivar, [[1, 4, 4, 1]])


def test_bad_points_of_an_arm_have_no_weight():
    fluxes = [[[1, 2, np.nan]], [[4, 6, 8]]]
    _, flux, ivar = join_arms([BLUE, RED], fluxes, [[[1, 1, 1]], [[1, 1, -5]]], [[[1, 1, 1]], [[0, 1, 0]]])
    np.testing.assert_array_equal(flux, [[1, 2, 6, 0]])
    np.testing.assert_array_equal(ivar, [[1, 1, 1, 0]])


def test_order_of_the_arms_does_not_matter():
    fluxes, ivars = [[[1, 2, 3]], [[4, 6, 8]]], [[[1, 1, 3]], [[3, 1, 1]]]
    there = join_arms([BLUE, RED], fluxes, ivars)
    back = join_arms([RED, BLUE], fluxes[::-1], ivars[::-1])
    for one, other in zip(there, back, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arms_with_a_gap_between_them():
    wavelength, flux, _ = join_arms([[1.0, 2.0], [8.0]], [[[1, 2]], [[3]]], [[[1, 1]], [[1]]])
    assert wavelength.tolist() == [1, 2, 8]
    assert flux.tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([BLUE, [2.5, 3.5]], [np.ones((1, 3)), np.ones((1, 2))], [np.ones((1, 3)), np.ones((1, 2))]), "resample_spec"),
        (([BLUE], [np.ones((1, 2))], [np.ones((1, 2))]), "arm 0 must have the shape"),
        (([BLUE], [np.ones((1, 3))], [-np.ones((1, 3))]), "not negative, but is not in the spectra \\[0\\]"),
        (([BLUE], [np.ones((1, 3))], []), "as many fluxes"),
        (([[3.0, 2.0]], [np.ones((1, 2))], [np.ones((1, 2))]), "rise strictly"),
        (([BLUE, RED], [np.ones((1, 3)), np.ones((2, 3))], [np.ones((1, 3)), np.ones((2, 3))]), "the same spectra"),
    ],
)
def test_bad_arms_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        join_arms(*arguments)
