"""What the two images still say of an estimate: the correction by guided back-projection, in spectral components."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.models.fusion.affine import fit_affine
from stgraph.models.fusion.prior import enlarge
from stgraph.ops.fusion import (
    BandEvidence,
    Boundary,
    back_project,
    guided_back_projection,
    neighbor_similarity,
    observe,
    psf_agreement,
)
from stgraph.ops.fusion.radiometry import band_noise

__all__ = [
    "Correction",
    "CorrectionRecord",
    "FusionScene",
    "agreement",
    "back_projection_correction",
    "expected_error",
    "guided_correction",
    "missing_of_mixtures",
]

# Components of the correction: the spectra of a scene vary in fewer ways, and more bring noise in.
_COMPONENTS = 12
# What is left of the noise after denoising is smooth, and its errors add up over neighbours.
_DENOISED_NOISE = 2.0


class FusionScene(NamedTuple):
    """Two images of one place and what links them.

    Attributes:
        lr_hsi: Low-resolution hyperspectral image :math:`(C, h, w)`.
        hr_msi: High-resolution multispectral image :math:`(b, H, W)`, as given.
        clean_msi: The same, denoised (or as given).
        noise: Standard deviation of the noise of its bands :math:`(b)`.
        srf: Spectral response :math:`(b, C)`.
        psf: Point-spread function :math:`(m, m)`.
        ratio: Ratio of the resolutions.
        boundary: Values outside the images.
    """

    lr_hsi: Tensor
    hr_msi: Tensor
    clean_msi: Tensor
    noise: Tensor
    srf: Tensor
    psf: Tensor
    ratio: int
    boundary: Boundary


class CorrectionRecord(NamedTuple):
    """Whether an estimate was corrected.

    Attributes:
        applied: Whether it was.
        reason: Why, in words.
        residual: Root mean square of what the two images differ by through the point-spread function.
        noise: What the noise of the hyperspectral image lets expect of it.
    """

    applied: bool
    reason: str
    residual: float
    noise: float


class Correction(NamedTuple):
    """A correction as maps of components.

    Attributes:
        maps: How much of each component to add :math:`(P, H, W)`.
        components: Their spectra :math:`(P, C)`; ``None`` where the maps are of the bands themselves.
    """

    maps: Tensor
    components: Tensor | None


def guided_correction(scene: FusionScene, latent: Tensor, endmembers: Tensor, missing: Tensor) -> Correction:
    r"""Correct what mixtures of endmembers miss, by :func:`~stgraph.ops.fusion.guided_back_projection`.

    The components are the first principal components of the low-resolution spectra.

    Shapes:
        - **latent:** :math:`(K, H, W)`, **endmembers:** :math:`(K, C)`, **missing:** :math:`(C, h, w)`
    """
    lr_hsi, srf = scene.lr_hsi, scene.srf
    components = _principal_components(lr_hsi, _COMPONENTS)
    component_missing = torch.einsum("pc,chw->phw", components, missing)
    noise = band_noise(lr_hsi)
    component_noise = (components.double().square() @ noise.square()).sqrt()
    bands = BandEvidence(
        srf @ components.T,
        scene.clean_msi - torch.einsum("bk,khw->bhw", srf @ endmembers.T, latent),
        _DENOISED_NOISE * scene.noise,
    )
    similarity = neighbor_similarity(scene.hr_msi, scene.noise)
    maps = guided_back_projection(
        component_missing, component_noise, scene.psf, scene.ratio, similarity, bands=bands, boundary=scene.boundary
    )
    return Correction(maps, components)


def back_projection_correction(scene: FusionScene, latent: Tensor, endmembers: Tensor, missing: Tensor) -> Correction:
    """Correct by one step of plain back-projection, see :func:`~stgraph.ops.fusion.back_project`.

    The correction is held for every band.
    """
    nothing = missing.new_zeros(missing.shape[0], *latent.shape[1:])
    maps = back_project(
        nothing, missing, scene.psf, scene.ratio, upsample="adjoint", boundary=scene.boundary, out=nothing
    )
    return Correction(maps, None)


def agreement(scene: FusionScene) -> CorrectionRecord:
    """Say whether the point-spread function is right enough to correct by it."""
    agrees, reason, residual, noise = psf_agreement(
        scene.lr_hsi, scene.clean_msi, scene.srf, scene.psf, scene.ratio, boundary=scene.boundary
    )
    return CorrectionRecord(agrees, ("corrected: " if agrees else "not corrected: ") + reason, residual, noise)


def expected_error(scene: FusionScene, missing: Tensor) -> Tensor:
    r"""How large the errors of the mixtures are expected to be, root mean square over the bands, ``[H, W]``.

    The squares of two parts are added: what the observation of the mixtures misses of the low-resolution image
    (:func:`missing_of_mixtures`) beyond its noise, enlarged by linear interpolation; and the noise of the multispectral
    bands, carried to the spectra by the affine map that fits them at low resolution.
    """
    noise = band_noise(scene.lr_hsi).square().nan_to_num().mean().to(missing)
    misfit = (missing.square().mean(dim=0) - noise).clamp(min=0).sqrt()
    misfit = enlarge(misfit[None], (scene.hr_msi.shape[1], scene.hr_msi.shape[2]), "bilinear")[0]
    slope, _ = fit_affine(scene.lr_hsi, scene.srf)
    carried = (slope.square() @ scene.noise.to(slope).square()).mean()
    expected: Tensor = (misfit.square() + carried.to(misfit)).sqrt()
    return expected


def missing_of_mixtures(scene: FusionScene, latent: Tensor, endmembers: Tensor) -> Tensor:
    """What the observation of mixtures of endmembers misses of the low-resolution image, ``[C, h, w]``."""
    seen = observe(latent, scene.psf, scene.ratio, scene.boundary)
    missing: Tensor = scene.lr_hsi - torch.einsum("kc,khw->chw", endmembers, seen)
    return missing


def _principal_components(lr_hsi: Tensor, count: int) -> Tensor:
    spectra = lr_hsi.flatten(1).T.double()
    _, _, vectors = torch.linalg.svd(spectra - spectra.mean(dim=0), full_matrices=False)
    components: Tensor = vectors[:count].to(lr_hsi)
    return components
