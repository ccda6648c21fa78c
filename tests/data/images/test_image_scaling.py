import numpy as np
import pytest

from stgraph.data.images import normalise_image, rgb_preview
from stgraph.errors import InputError

CUBE = np.random.default_rng(0).normal(size=(20, 10, 4)).astype(np.float32)


def test_percentiles_become_zero_and_one():
    scaled, low, high = normalise_image(CUBE)
    assert (low, high) == pytest.approx(tuple(np.percentile(CUBE, [1, 99])))
    np.testing.assert_allclose(scaled, ((CUBE - low) / (high - low)).clip(0, 1), atol=1e-6)
    assert scaled.dtype == np.float32
    assert (scaled.min(), scaled.max()) == (0, 1)


def test_missing_and_masked_values_do_not_count():
    values, mask = CUBE.copy(), np.ones((20, 10))
    values[0, 0, 0] = np.nan
    values[1], mask[1] = 1e6, 0
    scaled, low, high = normalise_image(values, mask=mask)
    assert (low, high) == pytest.approx(tuple(np.percentile(np.delete(CUBE, 1, axis=0).ravel()[1:], [1, 99])))
    assert np.isnan(scaled[0, 0, 0])
    assert np.isnan(scaled).sum() == 1


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (np.ones((3, 3, 2)), {}, "percentiles 1 and 99 are both 1"),
        (CUBE, {"low": 50, "high": 50}, "0 <= low < high <= 100"),
        (CUBE, {"mask": np.zeros((20, 10))}, "NaN or masked"),
        (CUBE, {"mask": np.ones((10, 20))}, "mask must have the shape"),
        (np.where(CUBE > 2, np.inf, CUBE), {}, "must not be infinite"),
    ],
)
def test_images_that_cannot_be_scaled(values, options, message):
    with pytest.raises(InputError, match=message):
        normalise_image(values, **options)


def test_preview_takes_the_bands_nearest_to_the_colours():
    ramp = np.linspace(0, 1, 101, dtype=np.float32)[:, None]
    cube = np.stack([ramp, 1 - ramp, 0 * ramp, ramp**2], axis=2)
    shown = rgb_preview(cube, [560.0, 470.0, 900.0, 630.0])
    assert shown.shape == (101, 1, 3)
    # Red from the last band, green from the first, blue from the second, each stretched between percentiles.
    expected = 255 * ((ramp[:, 0] - 0.02) / 0.96).clip(0, 1)
    np.testing.assert_allclose(shown[:, 0, 1], expected, atol=0.51)
    np.testing.assert_allclose(shown[:, 0, 2], expected[::-1], atol=0.51)
    assert (shown[50, 0, 0], shown[-1, 0, 0]) == (np.rint(255 * (0.25 - 0.0004) / (0.9604 - 0.0004)), 255)


@pytest.mark.parametrize(("bands", "chosen"), [(1, [0, 0, 0]), (3, [2, 1, 0]), (9, [7, 4, 1])])
@pytest.mark.parametrize("infrared", [False, True])
def test_preview_takes_thirds_of_the_bands_without_colours(bands, chosen, infrared):
    cube = np.zeros((bands, 1, bands))
    cube[np.arange(bands), 0, np.arange(bands)] = 1  # band i is bright in row i
    cube = np.concatenate([cube, np.zeros((1, 1, bands))])
    wavelength = np.linspace(1000, 2000, bands) if infrared else None
    np.testing.assert_array_equal(rgb_preview(cube, wavelength)[:bands, 0].argmax(axis=0), chosen)


def test_preview_shows_missing_values_black_and_constant_bands_grey():
    cube = np.ones((2, 2, 1))
    cube[0, 0] = np.nan
    assert rgb_preview(cube)[:, :, 0].tolist() == [[0, 128], [128, 128]]
    with pytest.raises(InputError, match="none is finite"):
        rgb_preview(np.full((2, 2, 1), np.nan))
