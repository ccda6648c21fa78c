import os
from pathlib import Path

import numpy as np
import pytest
import torch

from stgraph.data.images import Image, from_image, read_image, to_image
from stgraph.errors import InputError, InputTypeError

CUBE = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
DATA = os.environ.get("STGRAPH_DATA")


def test_every_pixel_is_a_node_with_its_spectrum():
    data = from_image(Image(CUBE.copy(), np.array([400.0, 500.0, 600.0]), {"format": "envi", "map info": ["UTM"]}))
    assert data.num_nodes == 20
    assert data.grid == (4, 5)
    assert data.get("mask") is None
    for node in (0, 7, 19):
        row, column = (int(side) for side in data.pos[node])
        assert node == 5 * row + column
        np.testing.assert_array_equal(data.x[node, :, 0], CUBE[row, column])
    assert data.wavelength.dtype == torch.float64
    assert data.wavelength.tolist() == [400, 500, 600]
    assert data.georeference == {"format": "envi", "map info": ["UTM"]}
    np.testing.assert_array_equal(to_image(data), CUBE)


def test_memory_is_shared_only_where_it_may_be_written():
    values = CUBE.copy()
    assert np.shares_memory(from_image(values).x.numpy(), values)
    assert np.shares_memory(to_image(from_image(values)), values)
    values.flags.writeable = False
    assert not np.shares_memory(from_image(values).x.numpy(), values)
    turned = CUBE.copy().transpose(1, 0, 2)
    np.testing.assert_array_equal(to_image(from_image(turned)), turned)


def test_missing_values_are_refused_with_count_and_place():
    values = CUBE.copy()
    values[2, 1, 0], values[3, 4, 2] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 60 are NaN or infinite, the first at row 2, column 1, band 0 \\(nan\\)"):
        from_image(values)
    data = from_image(values, missing="mask")
    assert (~data.mask).sum() == 2
    assert not data.mask[11, 0, 0]
    assert data.x[11, 0, 0] == 0
    np.testing.assert_array_equal(to_image(data), np.where(np.isfinite(values), values, np.nan))


def test_masked_pixels_may_hold_anything():
    values, mask = CUBE.copy(), np.ones((4, 5), dtype=np.uint8)
    values[2, 1], mask[2, 1] = np.nan, 0
    data = from_image(values, mask=mask)
    assert (~data.mask).sum() == 3
    assert np.isnan(to_image(data)[2, 1]).all()
    values[0, 0, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of 60 .* row 0, column 0, band 1"):
        from_image(values, mask=mask)
    by_band = np.isfinite(values)
    np.testing.assert_array_equal(from_image(values, mask=by_band).mask.numpy().reshape(4, 5, 3), by_band)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((np.ones(3),), {}, "shape \\(H, W, C\\)"),
        ((np.ones((0, 2, 3)),), {}, "shape \\(H, W, C\\)"),
        ((CUBE,), {"mask": np.ones((5, 4))}, "mask must have the shape \\(4, 5\\) or \\(4, 5, 3\\)"),
        ((CUBE,), {"mask": np.zeros((4, 5))}, "missing or masked"),
        ((CUBE,), {"wavelength": [400.0, 500.0]}, "3 bands"),
        ((CUBE,), {"missing": "drop"}, "missing must be"),
    ],
)
def test_bad_images_are_refused(arguments, options, message):
    with pytest.raises(InputError, match=message):
        from_image(*arguments, **options)


def test_wrong_types_are_refused():
    with pytest.raises(InputTypeError, match="real numbers"):
        from_image(CUBE * 1j)
    with pytest.raises(InputTypeError, match="georeference must be a dict"):
        from_image(CUBE, georeference="UTM")


def test_graphs_that_are_no_images_are_refused():
    data = from_image(CUBE)
    data.grid = (4, 4)
    with pytest.raises(InputError, match="4 x 4 must have x of the shape \\(16, C, 1\\), got \\(20, 3, 1\\)"):
        to_image(data)
    data.grid = None
    with pytest.raises(InputError, match="no attribute grid"):
        to_image(data)


@pytest.mark.skipif(DATA is None, reason="STGRAPH_DATA is not set (needs hsi_samson and hsi_gulfport)")
def test_real_images_become_graphs():
    samson = Path(DATA, "hsi_samson", "Samson.mat")
    image = read_image(samson, "Y", layout="bands_pixels", rows=95, columns=95)
    abundances = read_image(samson, "S_GT").values.reshape(-1, 3)
    # Only in the right order of the pixels do the spectra follow the known abundances.
    left = []
    for values in (image.values, image.values.transpose(1, 0, 2)):
        spectra = from_image(values).x[:, :, 0].numpy()
        weights, *_ = np.linalg.lstsq(abundances, spectra, rcond=None)
        left.append(float(np.square(abundances @ weights - spectra).mean()))
    assert left[0] < 0.5 * left[1]
    gulfport = Path(DATA, "hsi_gulfport", "an_hsi_image_sub_for_demo.mat")
    data = from_image(read_image(gulfport, "hsi_img_sub"), mask=read_image(gulfport, "mask_sub").values[:, :, 0])
    assert data.x.shape == (51 * 88, 72, 1)
    assert 0.13 < (~data.mask).float().mean() < 0.14
    assert 367 < data.wavelength[0] < 368
