"""Fusion by the latent estimation network, from the two images to the estimate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.models.fusion.base import ImageFusion
from stgraph.models.fusion.correction import (
    Correction,
    CorrectionRecord,
    FusionScene,
    agreement,
    back_projection_correction,
    expected_error,
    guided_correction,
    missing_of_mixtures,
)
from stgraph.models.fusion.endmembers import make_endmembers
from stgraph.models.fusion.estimate import FusionEstimate
from stgraph.models.fusion.latent_estimation import CONSTRAINTS
from stgraph.models.fusion.members import FEWEST_BANDS, Training, train_member
from stgraph.ops.fusion import Boundary, denoise_image, estimate_psf, image_noise
from stgraph.ops.fusion.blur import check_boundary

__all__ = ["LatentEstimationFusion"]

_METHODS = ("nmf", "vca", "nfindr", "atgp", "pca")
_UPSAMPLINGS = ("nearest", "bilinear", "bicubic")
_CORRECTIONS: dict[str, Callable[[FusionScene, Tensor, Tensor, Tensor], Correction]] = {
    "guided": guided_correction,
    "back_projection": back_projection_correction,
}
EpochCallback = Callable[[int, int, float], None]


class LatentEstimationFusion(ImageFusion):
    r"""Mix endmembers as a network says that was trained on the scene itself, and correct the mixtures.

    The steps, each of which can be left out:

    1. the multispectral image is denoised (:func:`~stgraph.ops.fusion.denoise_image`);
    2. endmembers are made of the low-resolution spectra (:func:`make_endmembers`);
    3. a :class:`LatentEstimationNetwork` learns at low resolution which mixture has which bands
       (:func:`fit_network`; the method of SpectraMorph, arXiv:2510.20814) and says it of every high-resolution pixel;
       with one or two bands it also reads coarse spectra and the neighbours of the pixel
       (:class:`SpatialEstimationNetwork`), or the coarse spectral prior alone as published (:func:`coarse_prior`);
    4. what the mixtures miss of both images is added by guided back-projection
       (:func:`~stgraph.ops.fusion.guided_back_projection`), if the point-spread function, given or estimated, explains
       how the two images differ (:func:`~stgraph.ops.fusion.psf_agreement`).

    :meth:`published` gives the method without what is not in the paper. Values of the images should lie in [0, 1],
    like the result.

    Args:
        count: Number of endmembers K, at most the number of bands and of low-resolution pixels.
        endmembers: How to make them, see :func:`make_endmembers`, or the endmembers themselves :math:`(K, C)`.
        hidden: Width of the network.
        constraint: What the latent estimate is held to, see :class:`LatentEstimationNetwork`.
        epochs: Number of passes over the low-resolution pixels.
        init_lr: First learning rate.
        max_lr: Highest learning rate.
        final_lr: Last learning rate.
        schedule: ``"one_cycle"``, or ``"flat"`` for :obj:`max_lr` throughout.
        batch_size: Number of pixels in a step, drawn at random. (default: all)
        tile: Edge of square tiles to take in raster order instead, one per step, as published.
        prior: Whether the network of pixels reads the coarse spectral prior. (default: with fewer than 3 bands)
        prior_factor: Scale of the prior in training. (default: 4, and 2 with ``spatial`` and fewer than 3 bands)
        prior_upsample: How it is enlarged: ``"nearest"``, ``"bilinear"`` or ``"bicubic"``.
        spatial: ``"mgat"`` for a network that sees neighbours, which has the prior in itself, enlarged bilinearly.
        held_out: Share of the low-resolution pixels that is not trained on, in blocks.
        patience: Epochs without a lower held-out loss after which training stops at the lowest. (default: all epochs;
            with the prior, the epoch with the lowest held-out loss of all)
        members: Number of networks whose mean is taken; their differences are part of the uncertainty.
        denoise: Whether to denoise the multispectral image.
        correction: ``"guided"``, ``"back_projection"`` for one plain step, or ``None``.
        boundary: Values outside the images, see :func:`~stgraph.ops.fusion.blur`.
        inference_batch_size: Number of pixels at once in inference; ``None`` for all.
        seed: Seed of the endmembers, the weights, the held-out blocks and the batches.

    Raises:
        InputError: If an option is out of range or unknown.
        InputTypeError: If a number that counts something is not whole.

    Examples:
        >>> lr_hsi, hr_msi = torch.linspace(0, 1, 96).view(6, 4, 4), torch.linspace(0, 1, 192).view(3, 8, 8)
        >>> srf = torch.eye(3).repeat_interleave(2, dim=1) / 2
        >>> method = LatentEstimationFusion(count=2, hidden=8, epochs=5)
        >>> method.fuse(lr_hsi, hr_msi, srf, torch.ones(1, 1), 2).shape
        torch.Size([6, 8, 8])
    """

    def __init__(
        self,
        count: int = 9,
        endmembers: str | Tensor = "nmf",
        hidden: int = 1024,
        constraint: str | None = None,
        epochs: int = 1000,
        init_lr: float = 1e-3,
        max_lr: float = 1e-2,
        final_lr: float = 1e-6,
        schedule: Literal["one_cycle", "flat"] = "one_cycle",
        batch_size: int | None = None,
        tile: int | None = None,
        prior: bool | None = None,
        prior_factor: int | None = None,
        prior_upsample: str = "nearest",
        spatial: Literal["auto", "mgat"] | None = "auto",
        held_out: float = 0.1,
        patience: int | None = None,
        members: int = 1,
        denoise: bool = True,
        correction: Literal["guided", "back_projection"] | None = "guided",
        boundary: Boundary = "reflect",
        inference_batch_size: int | None = 16384,
        seed: int = 42,
    ) -> None:
        _check_sizes(count=count, hidden=hidden, epochs=epochs, members=members)
        optional = {"batch_size": batch_size, "tile": tile, "patience": patience, "prior_factor": prior_factor}
        optional["inference_batch_size"] = inference_batch_size
        _check_sizes(**{name: value for name, value in optional.items() if value is not None})
        check_boundary(boundary)
        if not isinstance(endmembers, Tensor):
            _check_choice("endmembers", endmembers, _METHODS)
        _check_choice("prior_upsample", prior_upsample, _UPSAMPLINGS)
        _check_choice("schedule", schedule, ("one_cycle", "flat"))
        _check_choice("spatial", spatial, (None, "auto", "mgat"))
        _check_choice("correction", correction, (None, *_CORRECTIONS))
        _check_choice("constraint", constraint, CONSTRAINTS)
        if batch_size is not None and tile is not None:
            raise InputError(f"batch_size is {batch_size} and tile {tile}; expected one of them")
        if not 0 <= held_out < 1:
            raise InputError(f"held_out is {held_out}; expected a share from 0 to below 1")
        if patience is not None and held_out == 0:
            raise InputError(f"patience is {patience} and held_out 0; expected a held-out share to stop on")
        if spatial == "mgat" and (prior is False or batch_size is not None or tile is not None):
            raise InputError("spatial is given with prior=False, batch_size or tile; expected none of them with it")
        self.count, self.endmembers, self.members, self.denoise = count, endmembers, members, denoise
        self.correction, self.boundary, self.seed = correction, boundary, seed
        self.prior, self.spatial = prior, spatial
        self.training = Training(
            hidden, constraint, epochs, init_lr, max_lr, final_lr, schedule, batch_size, tile, prior_factor,
            prior_upsample, held_out, patience, inference_batch_size,
        )  # fmt: skip
        self.training.learning_rates()  # refuses bad rates

    @classmethod
    def published(cls, **options: Any) -> LatentEstimationFusion:
        """The method as published: no denoising, no correction, nothing held out, zeros beyond the border.

        Examples:
            >>> LatentEstimationFusion.published(count=9).training.epochs
            2500
        """
        own = {"count": 7, "epochs": 2500, "prior": False, "held_out": 0.0, "denoise": False}
        return cls(**{**own, "correction": None, "spatial": None, "boundary": "zero", **options})

    def estimate(
        self,
        lr_hsi: Tensor,
        hr_msi: Tensor,
        srf: Tensor,
        psf: Tensor | None,
        ratio: int,
        on_epoch: EpochCallback | None = None,
    ) -> FusionEstimate:
        """Fuse without computing the image, any part of which can then be asked for; no gradient flows through.

        Args:
            lr_hsi: As in :meth:`fuse`, like the other arguments.
            hr_msi: High-resolution multispectral image.
            srf: Spectral response.
            psf: Point-spread function.
            ratio: Ratio of the resolutions.
            on_epoch: Called after every epoch with the index of the network, that of the epoch, and its loss.

        Raises:
            InputError: As :meth:`fuse`.
            InputTypeError: As :meth:`fuse`.
        """
        self.check(lr_hsi, hr_msi, srf, psf, ratio)
        lr_hsi, hr_msi, srf, found = lr_hsi.detach(), hr_msi.detach(), srf.detach().to(lr_hsi), None
        endmembers = self._endmembers(lr_hsi)
        noise = image_noise(hr_msi) if self.denoise or self.correction == "guided" else hr_msi.new_zeros(len(hr_msi))
        clean = denoise_image(hr_msi, noise) if self.denoise else hr_msi
        if psf is None:
            found = estimate_psf(lr_hsi, clean, srf, ratio, boundary=self.boundary)
            psf = found.kernel
        scene = FusionScene(lr_hsi, hr_msi, clean, noise.to(hr_msi), srf, psf.detach().to(lr_hsi), ratio, self.boundary)
        few = hr_msi.shape[0] < FEWEST_BANDS
        prior = few if self.prior is None else self.prior
        trained = [
            train_member(
                scene,
                endmembers,
                self.training,
                prior,
                self._spatial(few),
                self.seed + member,
                None if on_epoch is None else _of_member(on_epoch, member),
            )
            for member in range(self.members)
        ]
        maps = torch.stack([part.latent for part in trained])
        latent = maps.mean(dim=0)
        missing = missing_of_mixtures(scene, latent, endmembers)
        record = CorrectionRecord(False, "not corrected: the correction is None", float("nan"), float("nan"))
        if self.correction is not None:
            record = agreement(scene)
        correction = None
        if record.applied and self.correction is not None:
            correction = _CORRECTIONS[self.correction](scene, latent, endmembers, missing)
        return FusionEstimate(
            endmembers=endmembers,
            members=maps,
            correction=correction,
            correction_record=record,
            expected_error=expected_error(scene, missing),
            records=[part.record for part in trained],
            psf=scene.psf,
            psf_estimate=found,
            noise_msi=noise,
            parameters=trained[0].parameters,
            multiply_adds=trained[0].multiply_adds,
        )

    def fuse(self, lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, psf: Tensor | None, ratio: int) -> Tensor:
        """Return the high-resolution hyperspectral image in [0, 1]; see :meth:`ImageFusion.fuse`."""
        return self.estimate(lr_hsi, hr_msi, srf, psf, ratio).image()

    def _spatial(self, few_bands: bool) -> str | None:
        if self.spatial != "auto":
            return self.spatial
        pixels = self.prior is not None or self.training.batch_size is not None or self.training.tile is not None
        return "mgat" if few_bands and not pixels else None

    def _endmembers(self, lr_hsi: Tensor) -> Tensor:
        if not isinstance(self.endmembers, Tensor):
            return make_endmembers(lr_hsi.flatten(1).T, self.count, self.endmembers, self.seed)
        if self.endmembers.dim() != 2 or self.endmembers.shape[1] != lr_hsi.shape[0]:
            raise InputError(
                f"endmembers have shape {tuple(self.endmembers.shape)}; expected (endmembers, {lr_hsi.shape[0]})"
            )
        return self.endmembers.detach().to(lr_hsi)


def _of_member(on_epoch: EpochCallback, member: int) -> Callable[[int, float], None]:
    return lambda epoch, loss: on_epoch(member, epoch, loss)


def _check_sizes(**sizes: Any) -> None:
    for name, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputTypeError(f"{name} is {value!r}; expected a whole number")
        if value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} is {value!r}; expected one of {list(choices)}")
