"""``fuse``: two images in memory become a grid graph and an array."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stgraph.data.images import from_image
from stgraph.data.simulation.fusion import simulate_pair
from stgraph.errors import InputError
from stgraph.models.fusion import AffineFusion
from stgraph.models.fusion.latent_fusion import LatentEstimationFusion
from stgraph.tasks import FusionResult, fuse
from tests.tasks.small_fusions import WAVELENGTHS, make_cube

SMALL = {"count": 3, "hidden": 8, "epochs": 3}


@pytest.fixture(scope="module")
def pair():
    """A pair of images as arrays, with what made them."""
    return simulate_pair(make_cube(), sigma=2.0, half_size=4, wavelengths=WAVELENGTHS)


@pytest.fixture(scope="module")
def fused(pair):
    """What the default method makes of them."""
    return fuse(pair.lr_hsi, pair.hr_msi, pair.srf, pair.psf, 4, wavelengths=WAVELENGTHS, **SMALL)


def test_the_result_is_that_of_the_method_as_a_graph_and_an_array(pair, fused):
    assert isinstance(fused, FusionResult)
    images = pair.lr_hsi.permute(2, 0, 1), pair.hr_msi.permute(2, 0, 1)
    wanted = LatentEstimationFusion(**SMALL).fuse(*images, pair.srf, pair.psf, 4)
    np.testing.assert_allclose(fused.image, wanted.permute(1, 2, 0), atol=1e-5)
    assert torch.equal(fused.graph.x[:, :, 0], torch.from_numpy(fused.image).reshape(-1, 12))
    assert (fused.graph.grid, fused.graph.wavelength.tolist()) == ((32, 32), WAVELENGTHS.tolist())
    assert fused.graph.pos[33].tolist() == [1.0, 1.0]
    assert fused.graph.x.data_ptr() == fused.image.ctypes.data  # held once


def test_the_parts_belong_together(fused):
    assert fused.uncertainty.shape == (32, 32)
    assert fused.latent.shape == (32, 32, 3)
    assert fused.endmembers.shape == (3, 12)
    assert fused.record["parameters"] == 5 * 8 + 9 * 3
    assert len(fused.record["members"]) == 1


def test_arrays_tensors_and_graphs_give_the_same_bits(pair, fused):
    arrays = [image.numpy() for image in (pair.lr_hsi, pair.hr_msi, pair.srf, pair.psf)]
    again = fuse(*arrays, **SMALL)
    np.testing.assert_array_equal(again.image, fused.image)
    sharp = from_image(arrays[1], georeference={"format": "geotiff"})
    graphs = fuse(from_image(arrays[0], wavelength=WAVELENGTHS), sharp, pair.srf, pair.psf, **SMALL)
    np.testing.assert_array_equal(graphs.image, fused.image)
    assert graphs.graph.georeference == {"format": "geotiff"}
    assert graphs.graph.wavelength.tolist() == WAVELENGTHS.tolist()


def test_the_kernel_is_divided_by_its_sum_or_estimated(pair, fused):
    scaled = fuse(pair.lr_hsi, pair.hr_msi, pair.srf, 3 * pair.psf, **SMALL)
    np.testing.assert_allclose(scaled.image, fused.image, atol=1e-5)
    unknown = fuse(pair.lr_hsi, pair.hr_msi, pair.srf, **SMALL)
    assert unknown.record["psf_estimate"]["sigma1"] == pytest.approx(2.0, abs=0.5)


def test_methods_without_a_network_have_an_image_alone(pair):
    found = fuse(pair.lr_hsi, pair.hr_msi, pair.srf, pair.psf, method="affine")
    images = pair.lr_hsi.permute(2, 0, 1), pair.hr_msi.permute(2, 0, 1)
    wanted = AffineFusion().fuse(*images, pair.srf, pair.psf, 4).clamp(0, 1)
    np.testing.assert_allclose(found.image, wanted.permute(1, 2, 0), atol=1e-5)
    assert (found.uncertainty, found.endmembers, found.latent) == (None, None, None)


def test_masked_pixels_are_refused(pair):
    mask = np.ones((8, 8), dtype=bool)
    mask[2, 3] = False
    with pytest.raises(InputError, match="lr_hsi has a mask, in which 12 of 768 values are missing"):
        fuse(from_image(pair.lr_hsi.numpy(), mask=mask), pair.hr_msi, pair.srf)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"srf": np.eye(12)[:3]}, r"srf has the shape \(3, 12\); expected \(4, 12\)"),
        ({"srf": 2 * np.eye(12)[:4]}, "sums from 2 to 2; expected 1 each, as stgraph.ops.fusion.normalise_response"),
        ({"psf": np.ones((4, 4))}, "odd"),
        ({"psf": np.ones((3, 5))}, "square"),
        ({"hr_msi": np.zeros((30, 32, 4))}, "no multiple of lr_hsi"),
        ({"hr_msi": np.full((32, 32, 4), 800.0)}, "hr_msi has values from 800 to 800; expected about 0 to 1"),
        ({"lr_hsi": np.full((8, 8, 12), np.nan)}, "lr_hsi holds 768 NaN .* row 0, column 0, band 0"),
        ({"lr_hsi": np.full((8, 8, 12), -2.0)}, "too far from it are 768 values, the first, -2, at row 0, column 0"),
        ({"ratio": 2}, "ratio"),
        ({"count": 13}, "count|endmembers"),
        ({"epochs": 0}, "epochs is 0"),
        ({"method": "magic"}, "magic"),
        ({"epoch": 5}, "has no argument 'epoch'; it takes count, endmembers"),
    ],
)
def test_what_cannot_be_fused_is_refused(pair, changed, message):
    arguments = {"lr_hsi": pair.lr_hsi, "hr_msi": pair.hr_msi, "srf": pair.srf, "psf": pair.psf, **changed}
    with pytest.raises(InputError, match=message):
        fuse(**arguments)
