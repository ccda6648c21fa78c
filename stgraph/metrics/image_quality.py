"""Quality of a fused image where the true one is not known: QNR and its two distortions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from stgraph.errors import InputError
from stgraph.metrics.image_inputs import Cube, check_cube, check_finite, check_ratio, native_bands
from stgraph.metrics.image_windows import UIQI_WINDOW, Moments, check_size, uiqi_index

__all__ = ["quality_without_reference"]

# Numbers in the covariances of all pairs of bands that are held at a time, 32 MiB in float64.
_CHUNK = 2**22


def quality_without_reference(fused: Cube, lr_hsi: Cube, hr_msi: Cube, ratio: int) -> dict[str, float]:
    r"""Return how well a fused image keeps the relations among the images it was made from.

    With :math:`Q` the universal image quality index (see :func:`stgraph.metrics.image.uiqi`), :math:`F_c` the bands of
    the fused image, :math:`h_c` those of the low-resolution one, :math:`M_b` those of the multispectral one and
    :math:`m_b` their means over blocks of :math:`r \times r` pixels:

    - ``spectral_distortion``: :math:`D_\lambda`, the mean of :math:`|Q(F_c, F_d) - Q(h_c, h_d)|` over all pairs of
      different bands; 0 where there is one band;
    - ``spatial_distortion``: :math:`D_s`, the mean of :math:`|Q(F_c, M_b) - Q(h_c, m_b)|` over all pairs;
    - ``qnr``: :math:`(1 - D_\lambda)(1 - D_s)`, at best 1.

    With one band :math:`M` these are those of L. Alparone et al., "Multispectral and Panchromatic Data Fusion
    Assessment Without Reference", Photogrammetric Engineering and Remote Sensing 74, 2008, with exponents of 1. The
    windows are of 8 x 8 pixels at both resolutions, at every pixel of the low-resolution image and at every r-th row
    and column of the high-resolution one.

    Args:
        fused: Fused image.
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral or panchromatic image.
        ratio: Ratio r of the two resolutions.

    Shapes:
        - **fused:** :math:`(r h, r w, C)`
        - **lr_hsi:** :math:`(h, w, C)`
        - **hr_msi:** :math:`(r h, r w, b)`

    Raises:
        InputError: If a shape does not fit, the low-resolution image is smaller than 8 x 8, or a value is NaN or
            infinite.
        InputTypeError: If an image is not of float32 or float64, or the ratio not an integer.

    Examples:
        >>> import torch
        >>> low = torch.arange(128.0).view(8, 8, 2) / 128
        >>> quality_without_reference(low, low, low[..., :1], ratio=1)
        {'spectral_distortion': 0.0, 'spatial_distortion': 0.0, 'qnr': 1.0}
    """
    ratio = check_ratio(ratio)
    _check_images(fused, lr_hsi, hr_msi, ratio)
    # torchmetrics weighs windows by a Gaussian, takes one band at a time and wants a panchromatic band for each band.
    device = next((cube.device for cube in (fused, lr_hsi, hr_msi) if isinstance(cube, Tensor)), torch.device("cpu"))
    high, low, detail = (_all_bands(cube, device) for cube in (fused, lr_hsi, hr_msi))
    coarse = avg_pool2d(detail.double(), ratio).to(detail.dtype)
    within = (_mean_index(high, high, ratio) - _mean_index(low, low, 1)).abs()
    across = (_mean_index(high, detail, ratio) - _mean_index(low, coarse, 1)).abs()
    bands = len(within)
    spectral = float(within.sum() - within.trace()) / max(1, bands * (bands - 1))
    spatial = float(across.mean())
    return {
        "spectral_distortion": spectral,
        "spatial_distortion": spatial,
        "qnr": (1 - spectral) * (1 - spatial),
    }


def _check_images(fused: Cube, lr_hsi: Cube, hr_msi: Cube, ratio: int) -> None:
    images = {"fused": fused, "lr_hsi": lr_hsi, "hr_msi": hr_msi}
    for name, image in images.items():
        check_cube(image, name)
    rows, columns, bands = (int(n) for n in lr_hsi.shape)
    expected = (rows * ratio, columns * ratio)
    for name in ("fused", "hr_msi"):
        if tuple(images[name].shape[:2]) != expected:
            raise InputError(
                f"{name} has {images[name].shape[0]} x {images[name].shape[1]} pixels; expected {expected[0]} x "
                f"{expected[1]}, {ratio} times those of lr_hsi"
            )
    if fused.shape[2] != bands:
        raise InputError(f"fused has {fused.shape[2]} bands, lr_hsi {bands}; expected the same number")
    check_size((rows, columns), UIQI_WINDOW, UIQI_WINDOW, "the quality index of lr_hsi")
    for name, image in images.items():
        check_finite(image, name)


def _all_bands(cube: Cube, device: torch.device) -> Tensor:
    return native_bands(cube, slice(None), device)


def _mean_index(x: Tensor, y: Tensor, stride: int) -> Tensor:
    """Return the mean quality index of all pairs of bands of images ``[C, H, W]`` and ``[b, H, W]``, ``[C, b]``.

    The covariances of all pairs within a window are one matrix product.
    """
    windows = [image.unfold(1, UIQI_WINDOW, stride).unfold(2, UIQI_WINDOW, stride) for image in (x, y)]
    rows, columns = windows[0].shape[1:3]
    total = x.new_zeros(len(x), len(y), dtype=torch.float64)
    step = max(1, _CHUNK // (columns * len(x) * max(len(y), UIQI_WINDOW**2)))
    for start in range(0, rows, step):
        a, b = (_pixels(image[:, start : start + step]) for image in windows)
        total += uiqi_index(_pair_moments(a, b)).sum(0)
    return total / (rows * columns)


def _pixels(windows: Tensor) -> Tensor:
    """Turn windows ``[C, rows, columns, 8, 8]`` into ``[windows, C, pixels]``, float64."""
    return windows.flatten(1, 2).flatten(2).transpose(0, 1).double()


def _pair_moments(a: Tensor, b: Tensor) -> Moments:
    mean_a, mean_b = a.mean(-1, keepdim=True), b.mean(-1, keepdim=True)
    a, b = a - mean_a, b - mean_b
    variance_a, variance_b = (c.square().mean(-1, keepdim=True) for c in (a, b))
    covariance = a @ b.transpose(1, 2) / UIQI_WINDOW**2
    return Moments(mean_a, mean_b.transpose(1, 2), variance_a, variance_b.transpose(1, 2), covariance)
