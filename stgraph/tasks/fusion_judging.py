"""How good the image of a fusion run is, and how good those of the two simplest methods are beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stgraph.metrics import quality_without_reference
from stgraph.metrics.image import fusion_metrics, image_and_band_metrics
from stgraph.models.fusion import get_fusion
from stgraph.tasks.fusion_input import FusionInput

__all__ = ["BASELINES", "judge_baselines", "judge_image"]

#: Every method is shown beside these: what has no sharp image at all, and the closed-form fit that is hard to beat.
BASELINES = ("bicubic", "affine")
# Windows of the metrics.
_SMALLEST_SIDE = 8
_SMALLEST_SIDE_PUBLISHED = 11
# Bands, evenly spread, by which an image without a truth is judged.
_JUDGED_BANDS = 32

_Image = Tensor | npt.NDArray[np.float32]
_Judged = dict[str, Any]


def judge_image(image: _Image, pair: FusionInput) -> tuple[_Judged, dict[str, Tensor] | None]:
    """Compare an image with the truth, or with the two images that it was made from where there is none.

    Args:
        image: The image.
        pair: What it was made from.

    Shapes:
        - **image:** :math:`(H, W, C)`

    Returns:
        tuple: ``metrics``, ``published_metrics`` and ``quality_without_reference``, each None where it is not known or
        the image is too small for it; and the metrics of each band.
    """
    judged: _Judged = {"metrics": None, "published_metrics": None, "quality_without_reference": None}
    bands = None
    if pair.truth is None:
        if min(pair.lr_hsi.shape[1:]) >= _SMALLEST_SIDE:
            judged["quality_without_reference"] = _quality(image, pair)
        return judged, bands
    side = min(image.shape[:2])
    if side >= _SMALLEST_SIDE:
        judged["metrics"], bands = image_and_band_metrics(image, pair.truth, pair.ratio)
    if side >= _SMALLEST_SIDE_PUBLISHED:
        judged["published_metrics"] = fusion_metrics(image, pair.truth, pair.ratio, compat=True)
    return judged, bands


def judge_baselines(
    method: str, judged: _Judged, pair: FusionInput, on_judged: Callable[[], None]
) -> dict[str, _Judged] | None:
    """Judge the images of the baselines, of which one at a time is held.

    Args:
        method: Name of the method of the run, which is not judged again if it is a baseline.
        judged: What :func:`judge_image` says of its image.
        pair: The two images.
        on_judged: Called after each of them.

    Returns:
        dict: The same for each baseline by its name; None where the image is too small for all of it.
    """
    if all(values is None for values in judged.values()):
        return None
    results = {}
    for name in BASELINES:
        results[name] = judged if name == method else judge_image(_baseline(name, pair), pair)[0]
        on_judged()
    return results


def _baseline(name: str, pair: FusionInput) -> Tensor:
    """The image ``[H, W, C]`` of a baseline, none of which needs the point-spread function."""
    image = get_fusion(name)().fuse(pair.lr_hsi, pair.hr_msi, pair.srf, pair.psf, pair.ratio)
    return image.clamp_(0, 1).permute(1, 2, 0)


def _quality(image: _Image, pair: FusionInput) -> dict[str, float]:
    # Every pair of bands is compared, which takes long for many.
    bands = np.unique(np.linspace(0, image.shape[2] - 1, _JUDGED_BANDS).round().astype(int))
    low, high = (np.ascontiguousarray(one.permute(1, 2, 0).numpy()) for one in (pair.lr_hsi, pair.hr_msi))
    return quality_without_reference(image[..., bands], low[..., bands], high, pair.ratio)
