"""A small scene with a known truth, and what methods are given of it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from stgraph.models.fusion import (
    FusionEstimate,
    LatentEstimationFusion,
)
from stgraph.ops.fusion import (
    add_noise,
    apply_response,
    observe,
    psf_kernel,
)

BANDS, RATIO = 12, 4
PSF = psf_kernel("gaussian", 1.5, 3)
CENTRES = {1: [5.5], 2: [3.0, 8.0], 3: [2.0, 6.0, 10.0]}
ALL = (slice(None), slice(None))
SMALL: dict[str, Any] = {"count": 3, "hidden": 8, "epochs": 5}


def response(bands: int) -> Tensor:
    centres = torch.tensor(CENTRES[bands])
    return torch.softmax(-((torch.arange(BANDS) - centres[:, None]) ** 2) / 8, dim=1)


@cache
def truth(height: int = 24, width: int = 20) -> Tensor:
    """Mixtures of four smooth spectra in patches with a little texture, in [0, 1]."""
    generator = torch.Generator().manual_seed(0)
    lines = torch.linspace(0, 3, BANDS) * torch.rand(4, 1, generator=generator) + torch.arange(4)[:, None]
    patches = torch.randint(4, (height // 6 + 2, width // 6 + 2), generator=generator)
    shares = torch.nn.functional.one_hot(patches, 4).permute(2, 0, 1).float()
    shares = shares.repeat_interleave(6, 1).repeat_interleave(6, 2)[:, 2 : height + 2, 3 : width + 3]
    shares = 0.8 * shares + 0.1 * torch.rand(4, height, width, generator=generator)
    return torch.einsum("kc,khw->chw", 0.5 + 0.4 * lines.sin(), shares)


@cache
def images(bands: int = 3, height: int = 24, width: int = 20, dtype: torch.dtype = torch.float32) -> tuple[Any, ...]:
    """What a method is given of the scene."""
    generator, srf = torch.Generator().manual_seed(1), response(bands)
    hr_msi = add_noise(apply_response(truth(height, width), srf), 40.0, generator)
    lr_hsi = add_noise(observe(truth(height, width), PSF, RATIO), 35.0, generator)
    return lr_hsi.to(dtype), hr_msi.to(dtype), srf, PSF, RATIO


def estimate(bands: int = 3, **options: Any) -> FusionEstimate:
    return LatentEstimationFusion(**{**SMALL, **options}).estimate(*images(bands))


def mixtures(found: FusionEstimate) -> Tensor:
    return torch.einsum("kc,khw->chw", found.endmembers, found.latent)


def rmse(image: Tensor, other: Tensor) -> float:
    return float((image - other).square().mean().sqrt())
