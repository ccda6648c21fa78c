"""Gram-Schmidt adaptive pan-sharpening of groups of bands."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.models.fusion.base import ImageFusion
from stgraph.models.fusion.prior import enlarge
from stgraph.ops.fusion.blur import Boundary, blur
from stgraph.ops.fusion.downsample import area_downsample

__all__ = ["GSA"]

# Directions below this share of the largest second moment are noise of rounding.
_RANK_TOLERANCE = 1e-12


class GSA(ImageFusion):
    r"""Gram-Schmidt adaptive sharpening (Aiazzi, Baronti and Selva, IEEE TGRS 45(10), 2007), band group by band group.

    Each band of the hyperspectral image belongs to the multispectral band with which it correlates most at low
    resolution (hypersharpening: Selva et al., IEEE JSTARS 8(6), 2015; Yokoya, Grohnfeldt and Chanussot, IEEE GRSM
    5(2), 2017). For the group G of multispectral band p:

    - an intensity :math:`I = w_0 + \sum_{c \in G} w_c\, y_c` with the weights that fit the blurred and downsampled
      band p best (least squares; of least norm where they are not unique);
    - :math:`\hat{x}_c = \tilde{y}_c + g_c\, (p - \tilde{I})` with the gain
      :math:`g_c = \mathrm{cov}(\tilde{I}, \tilde{y}_c) / \mathrm{var}(\tilde{I})`,

    where the tilde stands for bicubic enlargement. The response is not used.

    Args:
        boundary: What lies beyond the edge in the blur of the bands, see :func:`~stgraph.ops.fusion.blur`.

    Examples:
        >>> lr_hsi, hr_msi = torch.linspace(0, 1, 54).view(6, 3, 3), torch.linspace(0, 1, 72).view(2, 6, 6)
        >>> GSA().fuse(lr_hsi, hr_msi, torch.full((2, 6), 1 / 6), torch.ones(1, 1), 2).shape
        torch.Size([6, 6, 6])
    """

    def __init__(self, boundary: Boundary = "reflect") -> None:
        self.boundary = boundary

    def _fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int) -> Tensor:
        size = (hr_msi.shape[1], hr_msi.shape[2])
        blurred = blur(hr_msi, psf, self.boundary)
        bands = area_downsample(blurred, ratio).flatten(1).double()
        spectra = lr_hsi.flatten(1).double()
        group = _correlation(spectra, bands).argmax(dim=1)
        weights, offset = _intensity_weights(spectra, bands, group)
        fused = enlarge(lr_hsi, size, "bicubic").flatten(1)
        intensity = offset.to(fused)[:, None] + weights.to(fused) @ fused
        centred = intensity - intensity.mean(dim=1, keepdim=True)
        covariance = ((fused - fused.mean(dim=1, keepdim=True)) @ centred.T)[torch.arange(len(group)), group]
        # A flat intensity has no details to add.
        variance = centred.square().sum(dim=1)[group]
        gain = torch.where(variance > 0, covariance / variance.clamp(min=torch.finfo(fused.dtype).tiny), 0)
        details = hr_msi.flatten(1) - intensity
        return (fused + gain[:, None] * details[group]).view(-1, *size)


def _correlation(spectra: Tensor, bands: Tensor) -> Tensor:
    """Correlation ``[C, b]`` over the pixels; 0 where a band is flat."""
    spectra, bands = (values - values.mean(dim=1, keepdim=True) for values in (spectra, bands))
    norms = torch.outer(spectra.norm(dim=1), bands.norm(dim=1))
    return spectra @ bands.T / norms.clamp(min=torch.finfo(norms.dtype).tiny)


def _intensity_weights(spectra: Tensor, bands: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Weights ``[b, C]``, 0 outside the group of each band, and offsets ``[b]``."""
    mean, band_mean = spectra.mean(dim=1, keepdim=True), bands.mean(dim=1, keepdim=True)
    centred = spectra - mean
    member = (group == torch.arange(bands.shape[0], device=group.device)[:, None]).to(spectra)
    # One system for each group, of the moments of all bands with those outside the group set to 0.
    moments = (centred @ centred.T) * member[:, :, None] * member[:, None, :]
    toward = ((bands - band_mean) @ centred.T * member)[..., None]
    weights = (torch.linalg.pinv(moments, rtol=_RANK_TOLERANCE, hermitian=True) @ toward).squeeze(-1)
    return weights, (band_mean - weights @ mean).squeeze(1)
