"""Further metrics of a fused image against the true one: SCC, RASE, MS-SSIM and VIF."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    spatial_correlation_coefficient,
    visual_information_fidelity,
)

from stgraph.metrics.image_inputs import Cube, ImagePair, image_pair
from stgraph.metrics.image_sums import error_sums
from stgraph.metrics.image_windows import check_size

__all__ = ["extended_metrics"]

_SCC_WINDOW = 8
# The least sides of an image: 11 pixels must be left after four halvings; windows of 17, 9, 5 and 3, three halvings.
_MS_SSIM_LEAST = 176
_VIF_LEAST = 41
# The noise of VIF, 2, is meant for values from 0 to 255.
_LEVELS = 255.0


def extended_metrics(estimate: Cube, truth: Cube) -> dict[str, float]:
    r"""Return less common metrics, each a mean over the bands but for ``rase``.

    - ``scc``: spatial correlation coefficient, the correlation of the images' details (Laplacian) within windows of
      8 x 8 (J. Zhou, D. L. Civco and J. A. Silander, International Journal of Remote Sensing 19, 1998);
    - ``rase``: relative average spectral error in per cent, :math:`100 / \bar x \cdot \sqrt{\overline{(x - y)^2}}` (T.
      Ranchin and L. Wald, Photogrammetric Engineering and Remote Sensing 66, 2000);
    - ``ms_ssim``: structural similarity at five scales (Z. Wang, E. P. Simoncelli and A. C. Bovik, Asilomar Conference
      on Signals, Systems and Computers, 2003); nan for images with a side of less than 176 pixels;
    - ``vif``: visual information fidelity in the pixel domain (H. R. Sheikh and A. C. Bovik, IEEE Transactions on Image
      Processing 15, 2006), values times 255; nan for images with a side of less than 41 pixels.

    SCC, MS-SSIM and VIF are those of torchmetrics, in float32.

    Args:
        estimate: Fused image.
        truth: True image.

    Shapes:
        - **estimate**, **truth:** :math:`(H, W, C)`

    Raises:
        InputError: If shapes differ, a value is NaN or infinite, or the image is smaller than 8 x 8.
        InputTypeError: If an image is not of float32 or float64.

    Examples:
        >>> import torch
        >>> result = extended_metrics(torch.full((8, 8, 2), 1.5), torch.ones(8, 8, 2))
        >>> result["rase"], result["ms_ssim"]
        (50.0, nan)
    """
    pair = image_pair(estimate, truth)
    check_size(pair.size, _SCC_WINDOW, _SCC_WINDOW, "SCC")
    return {
        "scc": _mean(pair, lambda x, y: spatial_correlation_coefficient(x, y, reduction="none")),
        "rase": _relative_error(pair),
        "ms_ssim": _mean(pair, _multiscale) if min(pair.size) >= _MS_SSIM_LEAST else float("nan"),
        "vif": _mean(pair, _information) if min(pair.size) >= _VIF_LEAST else float("nan"),
    }


def _mean(pair: ImagePair, similarity: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Return the mean over bands of a similarity that takes bands for images ``[k, 1, H, W]``."""
    values = [similarity(x.float().unsqueeze(1), y.float().unsqueeze(1)) for _, x, y in pair.chunks()]
    return float(torch.cat(values).double().mean())


def _relative_error(pair: ImagePair) -> float:
    # torchmetrics divides the mean of a window by the number of its pixels once more, and so is 64 times as large.
    squares, totals, count = error_sums(pair)
    return float(100 * (squares / count).mean().sqrt() / (totals / count).mean())


def _multiscale(x: Tensor, y: Tensor) -> Tensor:
    return multiscale_structural_similarity_index_measure(x, y, data_range=1.0, reduction="none")


def _information(x: Tensor, y: Tensor) -> Tensor:
    return visual_information_fidelity(x * _LEVELS, y * _LEVELS, reduction="none")
