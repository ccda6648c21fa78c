"""Enlarging the hyperspectral image without looking at the multispectral one."""

from __future__ import annotations

from torch import Tensor

from stgraph.models.fusion.base import ImageFusion
from stgraph.models.fusion.prior import enlarge

__all__ = ["BicubicFusion"]


class BicubicFusion(ImageFusion):
    """Enlarge the low-resolution image by bicubic interpolation, and leave the multispectral image unused.

    The lowest line that a comparison can have: whatever is worse takes harm from the multispectral image.

    Examples:
        >>> import torch
        >>> lr_hsi, hr_msi, srf = torch.full((3, 2, 2), 0.5), torch.zeros(1, 4, 4), torch.full((1, 3), 1 / 3)
        >>> BicubicFusion().fuse(lr_hsi, hr_msi, srf, torch.ones(1, 1), 2).shape
        torch.Size([3, 4, 4])
    """

    needs_psf = False

    def _fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int) -> Tensor:
        return enlarge(lr_hsi, (hr_msi.shape[1], hr_msi.shape[2]), "bicubic")
