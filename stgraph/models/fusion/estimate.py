"""A fused image that is computed where it is asked for, so that it never has to be held whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from stgraph.models.fusion.correction import Correction, CorrectionRecord
from stgraph.models.fusion.training import FitRecord
from stgraph.ops.fusion.psf_estimation import PSFEstimate

__all__ = ["FusionEstimate", "Window"]

Window = tuple[slice, slice]


@dataclass
class FusionEstimate:
    r"""What a fusion found: maps of mixtures and of corrections, from which any part of the image can be computed.

    Attributes:
        endmembers: Spectra that are mixed :math:`(K, C)`.
        members: The latent maps of each network of the ensemble :math:`(M, K, H, W)`.
        correction: What is added to the mixtures; ``None`` for nothing.
        correction_record: Whether the mixtures were corrected, and why.
        expected_error: How large errors are expected to be beside the differences of the ensemble, root mean square
            over the bands :math:`(H, W)`.
        records: How the training of each network went.
        psf: The point-spread function that was used :math:`(m, m)`.
        psf_estimate: How it was estimated; ``None`` where it was given.
        noise_msi: Standard deviation of the noise of each multispectral band :math:`(b)`, 0 where not estimated.
        parameters: Number of parameters of a network.
        multiply_adds: Multiplications, each with its addition, of the linear layers of a network and of the mixing
            over all pixels.
    """

    endmembers: Tensor
    members: Tensor
    correction: Correction | None
    correction_record: CorrectionRecord
    expected_error: Tensor
    records: list[FitRecord]
    psf: Tensor
    psf_estimate: PSFEstimate | None
    noise_msi: Tensor
    parameters: int
    multiply_adds: int

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return self.members.shape[2], self.members.shape[3]

    @property
    def bands(self) -> int:
        """Number of bands C of the image."""
        return self.endmembers.shape[1]

    @property
    def latent(self) -> Tensor:
        """The abundance-like latent estimates, mean over the ensemble, ``[K, H, W]``."""
        return self.members[0] if self.members.shape[0] == 1 else self.members.mean(dim=0)

    def spectra(self, window: Window) -> Tensor:
        """Return the part ``[C, rows, columns]`` of the image, in [0, 1]."""
        part = (slice(None), *window)
        mixtures = self.members[(slice(None), *part)].mean(dim=0)
        image = torch.einsum("kc,khw->chw", self.endmembers, mixtures)
        if self.correction is not None:
            maps, components = self.correction.maps[part], self.correction.components
            image += maps if components is None else torch.einsum("pc,phw->chw", components, maps)
        return image.clamp_(0, 1)

    def uncertainty(self, window: Window) -> Tensor:
        r"""Return how large errors are expected to be, root mean square over the bands, ``[rows, columns]``.

        :math:`\sqrt{v + u^2 + n^2}` with the variance v of the spectra over the ensemble (0 for one network), what u
        the observation of the mixtures misses of the low-resolution image beyond noise, and the noise n of the
        multispectral bands, carried to the spectra. It tells where errors are larger, and is not calibrated.
        """
        expected = self.expected_error[window]
        count = self.members.shape[0]
        if count == 1:
            return expected.clone()
        members = self.members[(slice(None), slice(None), *window)]
        spread = members - members.mean(dim=0)
        gram = self.endmembers @ self.endmembers.T / self.bands
        variance = torch.einsum("mkhw,kl,mlhw->hw", spread, gram, spread) / (count - 1)
        return (variance.clamp(min=0) + expected.square()).sqrt()

    def image(self) -> Tensor:
        """Return the whole image ``[C, H, W]``."""
        return self.spectra((slice(None), slice(None)))
