"""Fusion of real cubes: the published network against its measured numbers, and what is added to it."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.io import loadmat
from torch import Tensor

from stgraph.data.simulation.fusion import FusionPair, simulate_pair
from stgraph.metrics import fusion_metrics
from stgraph.models.fusion import AffineFusion, BicubicFusion, ImageFusion, LatentEstimationFusion

FOLDER = os.environ.get("STGRAPH_DATA")
# Cubes, as rows and columns, file, edge of the part that is used, and folder.
FILES = {
    "samson": ("hsi_samson", "Samson.mat", 95, 88),
    "jasper": ("hsi_jasper", "jasperRidge2_R198.mat", 100, 96),
}
# The data are there or the tests are skipped; on a busy core the longest takes minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

#: Cube, ratio, bands, and whether the response is of the true wavelengths or of those stretched over the bands.
Case = tuple[str, int, int, bool]
SAMSON: Case = ("samson", 4, 4, False)


@cache
def make_pair(case: Case) -> FusionPair:
    name, ratio, bands, true_wavelengths = case
    folder, file, edge, size = FILES[name]
    if FOLDER is None or not Path(FOLDER, folder).is_dir():
        pytest.skip(f"needs {folder} in the folder STGRAPH_DATA")
    found = loadmat(Path(FOLDER, folder, file))
    cube = found["Y"].T.reshape(edge, edge, -1, order="F")[:size, :size].astype(np.float32)
    wavelengths: Any = "stretched"
    if true_wavelengths:
        wavelengths = np.linspace(401, 889, 156)
    if true_wavelengths and name == "jasper":
        wavelengths = np.linspace(380, 2500, 224)[found["SlectBands"].ravel() - 1]
    return simulate_pair(cube, ratio=ratio, bands=bands, wavelengths=wavelengths, boundary="zero", crop=False)


def arguments(case: Case) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    pair = make_pair(case)
    lr_hsi, hr_msi = (image.permute(2, 0, 1).contiguous() for image in (pair.lr_hsi, pair.hr_msi))
    return lr_hsi, hr_msi, pair.srf, pair.psf, pair.ratio


def quality(image: Tensor, case: Case, text: str) -> tuple[float, float]:
    """PSNR in dB and SAM in degrees as in published tables."""
    found = fusion_metrics(image.permute(1, 2, 0).clamp(0, 1), make_pair(case).truth, case[1], compat=True)
    print(f"{case} {text}: {found['psnr']:.2f} dB, {found['sam']:.2f} degrees")
    return found["psnr"], found["sam"]


@cache
def plain(method: type[ImageFusion], case: Case) -> tuple[float, float]:
    return quality(method().fuse(*arguments(case)), case, method.__name__)


@cache
def published(case: Case, **options: Any) -> tuple[float, float]:
    method = LatentEstimationFusion.published(**options)
    found = method.estimate(*arguments(case))
    if method.correction is not None:
        assert found.correction_record.applied
    return quality(found.image(), case, f"{options}, trained for {found.records[0].seconds:.0f} s")


@pytest.mark.parametrize(
    ("case", "bicubic", "affine"),
    [
        (SAMSON, (22.84, 5.73), (40.65, 2.68)),
        (("samson", 8, 4, False), (22.13, 6.78), (40.50, 2.74)),
        (("samson", 8, 3, False), (22.13, 6.78), (39.65, 3.29)),
        (("samson", 8, 8, False), (22.12, 6.82), (42.07, 2.86)),
        (("samson", 8, 1, False), (22.13, 6.79), (21.20, 20.0)),
        (("jasper", 4, 4, False), (18.38, 10.9), (34.21, 3.90)),
        (("jasper", 4, 4, True), (18.38, 10.9), (25.59, 6.63)),
        (("jasper", 4, 8, True), (18.38, 10.9), (28.35, 6.31)),
    ],
)
def test_baselines_have_their_numbers(case: Case, bicubic: tuple[float, float], affine: tuple[float, float]) -> None:
    for method, (psnr, sam) in ((BicubicFusion, bicubic), (AffineFusion, affine)):
        found = plain(method, case)
        assert found[0] == pytest.approx(psnr, abs=0.5)
        assert found[1] == pytest.approx(sam, abs=0.2)


def test_the_published_network_reaches_its_numbers() -> None:
    psnr, sam = published(SAMSON, count=9, epochs=2500)
    assert psnr >= 40.8
    assert sam <= 2.6


def test_few_epochs_are_level_with_the_affine_fit() -> None:
    psnr, _ = published(SAMSON, count=9, epochs=300)
    assert psnr >= 39.5
    assert psnr == pytest.approx(plain(AffineFusion, SAMSON)[0], abs=1)


@pytest.mark.parametrize(
    ("case", "count", "epochs"),
    [
        (SAMSON, 9, 2500),
        (("samson", 8, 4, False), 5, 2500),
        (("samson", 8, 3, False), 5, 2500),
        (("samson", 8, 8, False), 5, 2500),
        (("jasper", 4, 4, False), 9, 1000),
        (("jasper", 4, 4, True), 9, 1000),
        (("jasper", 4, 8, True), 9, 1000),
    ],
)
def test_the_network_has_smaller_angles_than_the_affine_fit(case: Case, count: int, epochs: int) -> None:
    found, affine = published(case, count=count, epochs=epochs), plain(AffineFusion, case)
    assert found[1] < affine[1]
    if case[:3] == ("samson", 8, 3):
        assert found[0] > affine[0]


ONE_BAND: Case = ("samson", 8, 1, False)


def test_with_one_band_the_prior_helps() -> None:
    without = published(ONE_BAND, count=9, epochs=500)
    assert published(ONE_BAND, count=9, epochs=500, prior=True)[0] >= without[0] + 3


@pytest.mark.parametrize(
    "options", [{"correction": "back_projection"}, {"correction": "guided"}, {"prior": None, "spatial": "mgat"}]
)
def test_with_one_band_space_helps(options: dict[str, Any]) -> None:
    without = published(ONE_BAND, count=9, epochs=500)
    assert published(ONE_BAND, count=9, epochs=500, **options)[0] >= without[0] + 5


def test_constraints_cost_what_is_published() -> None:
    psnr = [published(SAMSON, count=9, epochs=1000, constraint=name)[0] for name in (None, "nonnegative", "simplex")]
    assert psnr[0] > psnr[1] + 1 > psnr[2] + 2


@pytest.mark.parametrize("case", [SAMSON, ("jasper", 4, 4, True), ONE_BAND])
def test_any_batch_size_and_a_repeat_give_the_same(case: Case) -> None:
    images = [
        LatentEstimationFusion(epochs=30, boundary="zero", inference_batch_size=size).fuse(*arguments(case))
        for size in (None, None, 777, 50, 16384)
    ]
    assert torch.equal(images[1], images[0])
    for image in images[2:]:
        print(case, "another batch size:", float((image - images[0]).abs().max()))
        torch.testing.assert_close(image, images[0], atol=1e-5, rtol=0)


def test_true_and_stretched_wavelengths_are_decibels_apart() -> None:
    stretched, true = (published(("jasper", 4, 4, kind), count=9, epochs=1000)[0] for kind in (False, True))
    assert 5 < stretched - true < 8


@pytest.mark.parametrize("case", [SAMSON, ("jasper", 4, 4, True), ("jasper", 4, 8, True), ONE_BAND])
def test_the_whole_method_is_better_than_the_published_network(case: Case) -> None:
    found = LatentEstimationFusion(boundary="zero").estimate(*arguments(case))
    assert found.correction_record.applied
    psnr, sam = quality(found.image(), case, "the whole method")
    alone = published(case, count=9, epochs=1000, prior=case[2] == 1)
    assert psnr > alone[0] + 0.5
    assert psnr > plain(AffineFusion, case)[0] + 0.5
    assert sam < alone[1]
