"""Metrics of fused images, accumulated over tiles, images and processes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from stgraph.errors import InputError
from stgraph.metrics.image_inputs import Cube, check_ratio, image_pair
from stgraph.metrics.image_sums import (
    angle_measures,
    angle_sums,
    error_measures,
    error_sums,
    similarity_mean,
    ssim_sums,
    uiqi_sums,
)

__all__ = ["ImageFusionMetrics"]


class ImageFusionMetrics(Metric):
    """The metrics of :func:`stgraph.metrics.fusion_metrics` over several images of the same bands, or tiles of one.

    RMSE, PSNR, ERGAS and SAM are ratios of sums over all pixels, so it does not matter how an image is cut into tiles
    or how they are shared among processes. SSIM and UIQI are means over all windows within tiles; windows across the
    borders of tiles are missing, so they come near the values of the whole image, but do not equal them.

    Args:
        bands: Number of bands.
        ratio: Ratio of the resolutions of the two images that were fused.
        windows: Whether to reckon SSIM and UIQI, which need tiles of at least 8 x 8 pixels.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** estimate and truth :math:`(H, W, C)`, mask :math:`(H, W)`
        - **compute:** scalars, float64

    Raises:
        InputError: If the number of bands or the ratio is less than 1.

    Examples:
        >>> metrics = ImageFusionMetrics(bands=2, ratio=4)
        >>> truth = torch.full((16, 8, 2), 0.5)
        >>> for rows in (slice(0, 8), slice(8, 16)):
        ...     metrics.update(truth[rows] + 0.125, truth[rows])
        >>> result = metrics.compute()
        >>> float(result["rmse"]), float(result["ergas"]), round(float(result["psnr"]), 2)
        (0.125, 6.25, 18.06)
    """

    full_state_update = False
    is_differentiable = False
    errors: Tensor
    angles: Tensor
    ssim: Tensor
    uiqi: Tensor

    def __init__(self, bands: int, ratio: int, *, windows: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bands < 1:
            raise InputError(f"bands is {bands}; expected at least 1")
        self.bands, self.ratio, self.windows = bands, check_ratio(ratio), windows
        self.add_state("errors", torch.zeros(3, bands, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("angles", torch.zeros(3, dtype=torch.float64), dist_reduce_fx="sum")
        if windows:
            self.add_state("ssim", torch.zeros(2, bands, dtype=torch.float64), dist_reduce_fx="sum")
            self.add_state("uiqi", torch.zeros(2, bands, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, estimate: Cube, truth: Cube, mask: Cube | None = None) -> None:
        """Add an image or a tile.

        Args:
            estimate: Fused image.
            truth: True image.
            mask: True at the pixels that count.

        Raises:
            InputError: If a shape does not fit, a value that counts is NaN or infinite, or SSIM and UIQI are reckoned
                and the image is too small.
            InputTypeError: If an image is not of float32 or float64, or the mask not bool.
        """
        pair = image_pair(estimate, truth, mask)
        if pair.bands != self.bands:
            raise InputError(f"estimate has {pair.bands} bands; expected {self.bands}")
        # All sums before any is added, so that an image that is refused leaves no trace.
        structure = (ssim_sums(pair), uiqi_sums(pair)) if self.windows else None
        self.errors += error_sums(pair).to(self.errors.device)
        self.angles += angle_sums(pair).to(self.angles.device)
        if structure is not None:
            self.ssim += structure[0].to(self.ssim.device)
            self.uiqi += structure[1].to(self.uiqi.device)

    def compute(self) -> dict[str, Tensor]:
        """Return the metrics over all that was added; nan where nothing was."""
        measures = error_measures(self.errors, self.ratio)
        if self.windows:
            measures |= {"ssim": similarity_mean(self.ssim), "uiqi": similarity_mean(self.uiqi)}
        return measures | angle_measures(self.angles)
