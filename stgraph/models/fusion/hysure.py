"""Fusion in a subspace with a total variation that all its coefficients share."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.models.fusion.base import ImageFusion
from stgraph.ops.fusion.blur import Boundary, boundary_index

__all__ = ["HySure"]


class HySure(ImageFusion):
    r"""Hyperspectral super-resolution with vector total variation (Simões et al., IEEE TGRS 53(6), 2015).

    The spectra lie in the span E of the leading ``count`` singular vectors of the low-resolution image. Their
    coefficients minimise

    .. math::
        \tfrac12 \lVert Y_h - E X B M \rVert^2 + \tfrac{\lambda_m}{2} \lVert Y_m - R E X \rVert^2
        + \lambda_\varphi \sum_i \sqrt{\sum_k (X D_h)_{ki}^2 + (X D_v)_{ki}^2}

    with the blur B (of the PSF and of the mean of blocks), the choice M of every r-th row and column, the response R,
    and differences :math:`D_h, D_v` to the next column and row. The alternating direction method of multipliers
    splits X into :math:`X B`, X, :math:`X D_h` and :math:`X D_v`; each iteration then has closed forms, that of X by
    the fast Fourier transform, because the image is taken as periodic: the last row lies before the first. Since it
    is not, the multispectral image is continued beyond its edges as far as the PSF reaches, where nothing is asked of
    the hyperspectral one. The result is :math:`E X`.

    Args:
        count: Number p of dimensions of the subspace, at most the number of bands and of low-resolution pixels.
        iterations: Number of iterations.
        smoothness: :math:`\lambda_\varphi`, the weight of the total variation.
        band_weight: :math:`\lambda_m`, the weight of the multispectral image.
        penalty: Penalty of the splitting, which sets its speed and not its limit. The default is a tenth of the
            authors', with which 200 iterations come closer to the limit.
        boundary: How the multispectral image goes on beyond its edges, see :func:`~stgraph.ops.fusion.blur`.

    Raises:
        InputError: If a number is below its least value, the subspace is too large, or the rows and columns are no
            multiples of the ratio.

    Examples:
        >>> lr_hsi, hr_msi = torch.linspace(0, 1, 54).view(6, 3, 3), torch.linspace(0, 1, 72).view(2, 6, 6)
        >>> HySure(count=2, iterations=3).fuse(lr_hsi, hr_msi, torch.full((2, 6), 1 / 6), torch.ones(1, 1), 2).shape
        torch.Size([6, 6, 6])
    """

    needs_exact_ratio = True

    def __init__(
        self,
        count: int = 10,
        iterations: int = 200,
        smoothness: float = 5e-4,
        band_weight: float = 1.0,
        penalty: float = 5e-3,
        boundary: Boundary = "reflect",
    ) -> None:
        for name, value in (("count", count), ("iterations", iterations)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if not smoothness >= 0 or not band_weight > 0 or not penalty > 0:
            raise InputError(
                f"smoothness, band_weight and penalty are {smoothness}, {band_weight} and {penalty}; expected at "
                "least 0, above 0 and above 0"
            )
        self.count, self.iterations = count, iterations
        self.smoothness, self.band_weight, self.penalty = smoothness, band_weight, penalty
        self.boundary = boundary

    def _fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor, ratio: int) -> Tensor:
        bands, size = lr_hsi.shape[0], hr_msi.shape[1:]
        largest = min(bands, lr_hsi[0].numel())
        if self.count > largest:
            raise InputError(f"count is {self.count}; expected at most {largest}, for lr_hsi {tuple(lr_hsi.shape)}")
        spectra = lr_hsi.flatten(1)
        # The leading eigenvectors of the second moments are the leading left singular vectors.
        basis = torch.linalg.eigh(spectra.double() @ spectra.double().T)[1][:, -self.count :].to(lr_hsi)
        # Whole low-resolution pixels, so that those inside keep their places.
        border = -(-(psf.shape[0] // 2) // ratio)
        inner = slice(border * ratio, border * ratio + size[0]), slice(border * ratio, border * ratio + size[1])
        padded = _pad(hr_msi, border * ratio, self.boundary)
        weight = F.pad(torch.ones_like(lr_hsi[0]), (border,) * 4)
        seen = F.pad(torch.einsum("cp,chw->phw", basis, lr_hsi), (border,) * 4)
        transfer = _transfer(psf, ratio, padded.shape[1:], lr_hsi)
        coefficients = self._solve(seen, weight, padded, srf @ basis, transfer, ratio)
        return torch.einsum("cp,phw->chw", basis, coefficients[:, inner[0], inner[1]])

    def _solve(
        self, seen: Tensor, weight: Tensor, hr_msi: Tensor, bands: Tensor, transfer: Tensor, ratio: int
    ) -> Tensor:
        """Coefficients ``[p, H, W]`` by the alternating direction method of multipliers, with scaled multipliers.

        The basis is orthonormal, so its products with the low-resolution spectra, ``seen``, are all that is needed.
        """
        penalty, size = self.penalty, (hr_msi.shape[1], hr_msi.shape[2])
        identity = torch.eye(self.count, dtype=bands.dtype, device=bands.device)
        toward = self.band_weight * torch.einsum("bp,bhw->phw", bands, hr_msi)
        inverse = torch.linalg.inv(self.band_weight * bands.T @ bands + penalty * identity)
        filters = torch.stack([transfer, torch.ones_like(transfer), *_differences(size, transfer)])
        normal = filters.abs().square().sum(dim=0)
        split = seen.new_zeros(4, self.count, *size)
        multiplier = torch.zeros_like(split)
        estimate = split[0]
        for _ in range(self.iterations):
            spectrum = (torch.fft.rfft2(split + multiplier) * filters.conj()[:, None]).sum(dim=0) / normal
            parts = torch.fft.irfft2(spectrum * filters[:, None], s=size)
            estimate = parts[1]
            target = parts - multiplier
            split = target.clone()
            sampled = target[0, :, ::ratio, ::ratio]
            split[0, :, ::ratio, ::ratio] = (seen + penalty * sampled) / (weight + penalty)
            split[1] = torch.einsum("pq,qhw->phw", inverse, toward + penalty * target[1])
            norm = target[2:].square().sum(dim=(0, 1)).sqrt()
            shrunk = (norm - self.smoothness / penalty).clamp(min=0)
            split[2:] = target[2:] * (shrunk / norm.clamp(min=torch.finfo(norm.dtype).tiny))
            multiplier = split - target
        return estimate


def _transfer(psf: Tensor, ratio: int, size: torch.Size, like: Tensor) -> Tensor:
    """Transfer function of the PSF and of the mean over the block that begins at each pixel, on a periodic image."""
    height, width = size
    block = like.new_zeros(height, width)
    block[:ratio, :ratio] = 1 / ratio**2
    # Pixel i takes in i, i + 1, ..., which is a correlation.
    transfer: Tensor = torch.fft.rfft2(block).conj()
    offsets = torch.arange(psf.shape[0], device=psf.device) - psf.shape[0] // 2
    # A kernel larger than the image goes round it more than once.
    index = (offsets[:, None] % height) * width + offsets % width
    kernel = like.new_zeros(height * width).index_add(0, index.flatten(), psf.flatten())
    return transfer.mul_(torch.fft.rfft2(kernel.view(height, width)))


def _pad(image: Tensor, half_size: int, boundary: Boundary) -> Tensor:
    if boundary == "zero":
        return F.pad(image, (half_size,) * 4)
    rows, columns = (boundary_index(length, half_size, boundary, image.device) for length in image.shape[1:])
    return image[:, rows[:, None], columns]


def _differences(size: tuple[int, int], like: Tensor) -> tuple[Tensor, Tensor]:
    """Transfer functions of the differences to the next column and row."""
    rows = torch.fft.fftfreq(size[0], device=like.device, dtype=like.real.dtype)[:, None].expand(like.shape)
    columns = torch.fft.rfftfreq(size[1], device=like.device, dtype=like.real.dtype).expand(like.shape)
    return torch.expm1(2j * torch.pi * columns), torch.expm1(2j * torch.pi * rows)
