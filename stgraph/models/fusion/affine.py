"""The closed-form fit of spectra to multispectral bands."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.models.fusion.base import ImageFusion

__all__ = ["AffineFusion", "fit_affine"]


class AffineFusion(ImageFusion):
    r"""Predict the spectrum of each pixel by an affine map of its bands, fitted at low resolution by least squares.

    .. math::
        \min_{A, \mathbf{c}} \sum_i \lVert \mathbf{y}_i - A R \mathbf{y}_i - \mathbf{c} \rVert^2

    over the spectra y of the low-resolution pixels with the response R; then :math:`A \mathbf{x} + \mathbf{c}` of the
    bands x of every high-resolution pixel. It is exact where the spectra of the scene lie in an affine subspace of b
    dimensions that the bands tell apart. The floor that a network has to beat: with four and more bands it is within
    a decibel of published ones. The PSF is not used.

    Examples:
        >>> lr_hsi = torch.tensor([[[0.0, 1.0]], [[0.0, 2.0]]])
        >>> hr_msi = torch.tensor([[[0.0, 0.75, 1.5, 3.0]] * 2])
        >>> AffineFusion().fuse(lr_hsi, hr_msi, torch.tensor([[0.5, 0.5]]), None, 2)[:, 0].round(decimals=3)
        tensor([[0.0000, 0.5000, 1.0000, 2.0000],
                [0.0000, 1.0000, 2.0000, 4.0000]])
    """

    needs_psf = False

    def _fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int) -> Tensor:
        slope, offset = fit_affine(lr_hsi, srf)
        fused = slope.to(hr_msi) @ hr_msi.flatten(1)
        fused += offset.to(hr_msi)
        return fused.view(-1, *hr_msi.shape[1:])


def fit_affine(lr_hsi: Tensor, srf: Tensor) -> tuple[Tensor, Tensor]:
    """Fit the spectra of an image ``[C, h, w]`` to its bands: slope ``[C, b]`` and offset ``[C, 1]``, float64."""
    spectra = lr_hsi.flatten(1).double()
    bands = srf.double() @ spectra
    mean, band_mean = spectra.mean(dim=1, keepdim=True), bands.mean(dim=1, keepdim=True)
    # The pseudoinverse takes bands in that depend on each other.
    slope = (spectra - mean) @ torch.linalg.pinv(bands - band_mean)
    return slope, mean - slope @ band_mean
