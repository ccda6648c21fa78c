"""What all ways of fusing images without a network have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.psf_estimation import estimate_psf

__all__ = ["ImageFusion"]

# How far a response or a kernel may be from the sum 1.
_SUM_TOLERANCE = 1e-3


class ImageFusion:
    r"""Base class of methods that make a sharp hyperspectral image (HSI) from a blurred one and a multispectral one.

    The model of all: pixels of the low-resolution HSI are means of :math:`r \times r` blocks of the sharp one after
    the blur with the point-spread function (PSF); bands of the multispectral image (MSI) are weighted means of its
    bands by the spectral response function (SRF). Results are not clipped. Each method gives equal bits on repeat.
    """

    #: Whether the rows and columns of the MSI have to be exactly r times those of the HSI.
    needs_exact_ratio: bool = False
    #: Whether the PSF is used, and so estimated where it is not given.
    needs_psf: bool = True

    def fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor | None, ratio: int) -> Tensor:
        r"""Return the high-resolution hyperspectral image.

        Args:
            lr_hsi: Low-resolution HSI.
            hr_msi: High-resolution MSI of the same place.
            srf: Response of each MSI band to the HSI bands; rows sum to 1.
            psf: Blur of the HSI on the pixels of the MSI, sum 1 (``torch.ones(1, 1)`` for no blur beside the means of
                blocks). Methods that need it estimate it from the images where it is ``None``, by
                :func:`~stgraph.ops.fusion.estimate_psf`.
            ratio: High-resolution pixels along the edge of a low-resolution one.

        Shapes:
            - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`, **psf:**
              :math:`(m, m)` with odd m
            - **output:** :math:`(C, H, W)`

        Raises:
            InputError: If shapes do not fit, a value is not finite, or the SRF or the PSF has another sum.
            InputTypeError: If the images are not both float32 or both float64, or another dtype is not floating.
        """
        self.check(lr_hsi, hr_msi, srf, psf, ratio)
        if psf is None:
            needed = self.needs_psf
            psf = estimate_psf(lr_hsi, hr_msi, srf, ratio).kernel if needed else torch.ones(1, 1)
        return self._fuse(lr_hsi, hr_msi, srf.to(lr_hsi), psf.to(lr_hsi), ratio)

    def check(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor | None, ratio: int) -> None:
        """Refuse what :meth:`fuse` cannot use, without any work.

        Raises:
            InputError: As :meth:`fuse`.
            InputTypeError: As :meth:`fuse`.
        """
        _check_types(lr_hsi=lr_hsi, hr_msi=hr_msi, srf=srf, psf=psf)
        _check_images(lr_hsi, hr_msi, ratio, exact=self.needs_exact_ratio)
        _check_response(srf, lr_hsi, hr_msi)
        if psf is not None:
            _check_kernel(psf)

    def _fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int) -> Tensor:
        raise NotImplementedError


def _check_types(**tensors: Tensor | None) -> None:
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    for name, tensor in given.items():
        if not tensor.is_floating_point():
            raise InputTypeError(f"{name} has dtype {tensor.dtype}; expected a floating dtype")
        bad = int((~tensor.isfinite()).sum())
        if bad:
            raise InputError(f"{bad} values of {name} are not finite; expected finite values only")
    dtypes = given["lr_hsi"].dtype, given["hr_msi"].dtype
    if dtypes not in ((torch.float32,) * 2, (torch.float64,) * 2):
        raise InputTypeError(
            f"lr_hsi and hr_msi have dtypes {dtypes}; expected torch.float32 or torch.float64 for both"
        )


def _check_images(lr_hsi: Tensor, hr_msi: Tensor, ratio: int, exact: bool) -> None:
    for name, image in (("lr_hsi", lr_hsi), ("hr_msi", hr_msi)):
        if image.dim() != 3 or 0 in image.shape:
            raise InputError(f"{name} has shape {tuple(image.shape)}; expected (bands, rows, columns), none empty")
    if ratio < 1:
        raise InputError(f"ratio is {ratio}; expected at least 1")
    low, high = tuple(lr_hsi.shape[1:]), tuple(hr_msi.shape[1:])
    if low != (high[0] // ratio, high[1] // ratio):
        raise InputError(
            f"lr_hsi has {low} rows and columns and hr_msi {high}; expected {ratio} times as many, the ratio"
        )
    if exact and (high[0] % ratio or high[1] % ratio):
        raise InputError(f"hr_msi has {high} rows and columns; expected multiples of the ratio {ratio}: crop it")


def _check_response(srf: Tensor, lr_hsi: Tensor, hr_msi: Tensor) -> None:
    expected = (hr_msi.shape[0], lr_hsi.shape[0])
    if srf.shape != expected:
        raise InputError(f"srf has shape {tuple(srf.shape)}; expected {expected}, bands of hr_msi and of lr_hsi")
    sums = srf.detach().double().sum(dim=1)
    if (sums - 1).abs().max() > _SUM_TOLERANCE:
        raise InputError(f"rows of srf have sums from {sums.min():.4g} to {sums.max():.4g}; expected 1 each")


def _check_kernel(psf: Tensor) -> None:
    if psf.dim() != 2 or psf.shape[0] != psf.shape[1] or psf.shape[0] % 2 == 0:
        raise InputError(f"psf has shape {tuple(psf.shape)}; expected a square with an odd edge")
    total = float(psf.detach().double().sum())
    if abs(total - 1) > _SUM_TOLERANCE:
        raise InputError(f"psf has the sum {total:.4g}; expected 1")
