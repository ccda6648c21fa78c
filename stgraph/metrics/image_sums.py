"""Sums over the pixels of a pair of images from which its measures follow; they add up over images and tiles."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from stgraph.errors import InputError
from stgraph.metrics.image_inputs import Chunks, ImagePair
from stgraph.metrics.image_windows import (
    SSIM_WINDOW,
    UIQI_WINDOW,
    check_size,
    ssim_map,
    uiqi_map,
    whole_windows,
)

__all__ = [
    "angle_measures",
    "angle_sums",
    "error_measures",
    "error_sums",
    "psnr_from_mse",
    "similarity_mean",
    "spectral_angles",
    "ssim_sums",
    "uiqi_sums",
    "window_sums",
]

# torchmetrics has RMSE, PSNR, ERGAS and SAM as well, but without masks, with means of means over images of different
# size, and with NaN for SAM where a spectrum is zero; they are ratios of the few sums below.


def error_sums(pair: ImagePair) -> Tensor:
    """Return the squared errors, the truth and the pixels of each band, summed: ``[3, C]``."""
    sums = torch.zeros(3, pair.bands, dtype=torch.float64, device=pair.device)
    for bands, x, y in pair.chunks():
        sums[0, bands] = (x - y).square().sum((-2, -1))
        sums[1, bands] = y.sum((-2, -1))
    sums[2] = pair.size[0] * pair.size[1] if pair.mask is None else pair.mask.sum()
    return sums


def spectral_angles(pair: ImagePair) -> Tensor:
    """Return the angle between the two spectra of each pixel in degrees, ``[H, W]``; nan where one is zero."""
    product, squares_x, squares_y = torch.zeros(3, *pair.size, dtype=torch.float64, device=pair.device)
    for _, x, y in pair.chunks():
        product += (x * y).sum(0)
        squares_x += x.square().sum(0)
        squares_y += y.square().sum(0)
    # 0 / 0 is the nan of a zero spectrum.
    cosine: Tensor = product / (squares_x.sqrt() * squares_y.sqrt())
    return cosine.clamp(-1, 1).acos().rad2deg()


def angle_sums(pair: ImagePair) -> Tensor:
    """Return the sum of the angles in degrees, the number of angles, and the number of zero spectra, ``[3]``."""
    angles = spectral_angles(pair)
    counted = angles if pair.mask is None else angles[pair.mask]
    known = ~counted.isnan()
    count = known.sum()
    return torch.stack([counted[known].sum(), count.double(), (counted.numel() - count).double()])


def ssim_sums(pair: ImagePair) -> Tensor:
    """Return the sum of the structural similarity of each band and the number of positions, ``[2, C]``.

    Raises:
        InputError: If the images are too small, or no window holds only pixels that count.
    """
    half = SSIM_WINDOW // 2
    check_size(pair.size, half + 1, SSIM_WINDOW, "SSIM")
    if pair.mask is None:
        return window_sums(pair, pair.chunks(), ssim_map)
    reflected = pad(pair.mask.to(torch.float32)[None], [half] * 4, mode="reflect")[0] > 0
    return window_sums(pair, pair.chunks(), ssim_map, _any_window(reflected, SSIM_WINDOW, "SSIM"))


def uiqi_sums(pair: ImagePair) -> Tensor:
    """Return the sum of the universal image quality index of each band and the number of positions, ``[2, C]``.

    Raises:
        InputError: If the images are too small, or no window holds only pixels that count.
    """
    check_size(pair.size, UIQI_WINDOW, UIQI_WINDOW, "UIQI")
    whole = None if pair.mask is None else _any_window(pair.mask, UIQI_WINDOW, "UIQI")
    return window_sums(pair, pair.chunks(), uiqi_map, whole)


def _any_window(mask: Tensor, side: int, name: str) -> Tensor:
    whole = whole_windows(mask, side)
    if not whole.any():
        raise InputError(f"mask leaves no whole window of {side} x {side} pixels; {name} needs at least one")
    return whole


def window_sums(
    pair: ImagePair, chunks: Chunks, similarity: Callable[[Tensor, Tensor], Tensor], whole: Tensor | None = None
) -> Tensor:
    """Return the sum over positions of a similarity of each band and the number of positions, ``[2, C]``."""
    sums = torch.zeros(2, pair.bands, dtype=torch.float64, device=pair.device)
    for bands, x, y in chunks:
        values = similarity(x, y)
        sums[0, bands] = (values if whole is None else torch.where(whole, values, 0.0)).sum((-2, -1))
        sums[1, bands] = values[0].numel() if whole is None else whole.sum()
    return sums


def error_measures(sums: Tensor, ratio: int) -> dict[str, Tensor]:
    """Turn the sums of :func:`error_sums` into RMSE, PSNR and its mean over bands in dB, and ERGAS."""
    squares, totals, count = sums
    mse = squares.sum() / count.sum()
    relative = (squares / count) / (totals / count).square()
    return {
        "rmse": mse.sqrt(),
        "psnr": psnr_from_mse(mse),
        "mpsnr": psnr_from_mse(squares / count).mean(),
        "ergas": 100 / ratio * relative.mean().sqrt(),
    }


def angle_measures(sums: Tensor) -> dict[str, Tensor]:
    """Turn the sums of :func:`angle_sums` into SAM in degrees and the number of zero spectra."""
    total, count, zero = sums
    return {"sam": total / count, "zero_spectra": zero}


def similarity_mean(sums: Tensor) -> Tensor:
    """Turn the sums of each band and their counts, ``[2, C]``, into a mean over positions and bands."""
    return (sums[0] / sums[1]).mean()


def psnr_from_mse(mse: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB for a data range of 1; infinite where there is no error."""
    return -10 * mse.log10()
