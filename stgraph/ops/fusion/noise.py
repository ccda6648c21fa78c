"""White noise of a given signal-to-noise ratio."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import check_image

__all__ = ["add_noise", "check_snr", "noise_deviation"]


def add_noise(image: Tensor, snr_db: float, generator: torch.Generator) -> Tensor:
    r"""Add white Gaussian noise to every band; nothing is clipped.

    Args:
        image: Bands of an image.
        snr_db: Ratio of signal to noise power in dB; infinity means no noise.
        generator: Source of the random numbers. They are drawn on its own device, so that a generator of the CPU gives
            the same noise on every device.

    Shapes:
        - **image**, **output:** :math:`(*, C, H, W)`, float32 or float64

    Raises:
        InputError: If :obj:`snr_db` is NaN or minus infinity.
        InputTypeError: If the image is not of float32 or float64, or :obj:`snr_db` not a number.

    Examples:
        >>> image = torch.ones(1, 2, 2)
        >>> torch.equal(add_noise(image, float("inf"), torch.Generator().manual_seed(0)), image)
        True
    """
    deviation = noise_deviation(image, snr_db)
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=generator.device)
    return image + deviation * noise.to(image.device)


def noise_deviation(image: Tensor, snr_db: float) -> Tensor:
    r"""Standard deviation of the noise in each band, :math:`\sqrt{\overline{x_c^2} / 10^{SNR/10}}`.

    The signal power is the mean square over the pixels of the band, not the variance.

    Args:
        image: Bands of an image.
        snr_db: Ratio of signal to noise power in dB.

    Shapes:
        - **image:** :math:`(*, C, H, W)`, **output:** :math:`(*, C, 1, 1)`

    Raises:
        InputError: If :obj:`snr_db` is NaN or minus infinity.
        InputTypeError: If the image is not of float32 or float64, or :obj:`snr_db` not a number.

    Examples:
        >>> noise_deviation(torch.tensor([[[3.0, 3.0]], [[0.0, 0.0]]]), 20.0).flatten()
        tensor([0.3000, 0.0000])
    """
    check_image(image)
    check_snr(snr_db, "snr_db")
    power = image.square().mean(dim=(-2, -1), keepdim=True)
    return power.sqrt() * 10 ** (-snr_db / 20)


def check_snr(snr_db: float, name: str) -> None:
    """Refuse what is not a number of decibels or infinity."""
    if isinstance(snr_db, bool) or not isinstance(snr_db, int | float):
        raise InputTypeError(f"{name} must be a number of decibels or infinity, got {type(snr_db).__name__}")
    if math.isnan(snr_db) or snr_db == -math.inf:
        raise InputError(f"{name} must be a number of decibels or infinity, got {snr_db}")
