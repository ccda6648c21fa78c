"""Anomalies of spectra by one score of each as a whole: its principal components, or optimal transport."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.detectors.base import Deviation
from stgraph.models.detectors.input import common_grid, single_channel, spectra_like
from stgraph.models.detectors.spectral import SpectralDetector
from stgraph.ops.anomaly.calibration import robust_threshold
from stgraph.ops.anomaly.component_scores import component_scores
from stgraph.ops.anomaly.graph_residual import ScaledSpectra, scale_spectra
from stgraph.ops.anomaly.latent import latent_score
from stgraph.ops.anomaly.nearest import nearest_rows
from stgraph.ops.anomaly.residual_fit import check_spectra
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.transport import neighborhood_transport_score
from stgraph.ops.spectral_components import spectral_components

__all__ = ["LatentDetector", "ScoreDetector", "TransportDetector"]


class ScoreDetector(SpectralDetector):
    """Base class of detectors with one score of each spectrum: its region, where it is flagged, is all of it.

    Spectra are scaled by median and interquartile range and fitted by the principal components of those of the fit.

    Args:
        k: Number of neighbours.
        components: Number of principal components.
        multiplier: Robust standard deviations of the threshold above the median of the scores.

    Raises:
        InputError: If an argument is out of range or fewer than 3 spectra have data.
    """

    rule: str
    mean: Tensor
    basis: Tensor
    latents: Tensor
    threshold: Tensor

    def __init__(self, k: int = 16, components: int = 10, multiplier: float = 5.0) -> None:
        super().__init__(k, components, multiplier)
        self.k, self.components, self.multiplier = k, components, multiplier
        self.register_state("mean", "basis", "latents", "threshold")

    def fit(self, data: Data) -> ScoreDetector:
        """Learn from spectra what is usual, and the threshold."""
        self.fit_detect(data)
        return self

    def fit_detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit into the rest of the spectra."""
        spectra = scale_spectra(*single_channel(data))
        check_spectra(spectra)
        fit = spectral_components(spectra.x, spectra.mask, self.components, error=spectra.error, robust=True)
        self.mean, self.basis, self.wavelength = fit.mean, fit.components, common_grid(data)
        self.latents = self._latents(spectra)
        score = self._own_scores(spectra, spectra.mask.any(dim=1))
        self.threshold = self._threshold(score)
        self.calibration = score.new_zeros(0)
        return self._result(spectra, self.latents, score)

    def detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit in other spectra on the same grid, with p-values if the detector is calibrated."""
        spectra = spectra_like(data, self.mean, self.wavelength)
        latents = self._latents(spectra)
        return self._with_p_values(self._result(spectra, latents, self._scores(spectra, latents)))

    def calibrate(self, data: Data) -> ScoreDetector:
        """Keep the scores of normal spectra that were not used to fit, for p-values."""
        spectra = spectra_like(data, self.mean, self.wavelength)
        self._keep_calibration(self._scores(spectra, self._latents(spectra)))
        return self

    def deviation(self, data: Data) -> Deviation:
        """Return what the principal components make of other spectra, and how far these are from it in their errors."""
        spectra = spectra_like(data, self.mean, self.wavelength)
        expected, z = self._fit(spectra, self._latents(spectra))
        return Deviation(*(value.unsqueeze(2) for value in (expected, z, spectra.mask)))

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"k={self.k}, components={self.components}, multiplier={self.multiplier}"

    def _latents(self, spectra: ScaledSpectra) -> Tensor:
        """Coordinates in the principal components; NaN without data."""
        found = component_scores(spectra.x, spectra.mask, self.basis, self.mean, spectra.error)
        return found.masked_fill(~spectra.mask.any(dim=1, keepdim=True), torch.nan)

    def _fit(self, spectra: ScaledSpectra, latents: Tensor) -> tuple[Tensor, Tensor]:
        """What the principal components make of spectra, in their units, and the deviation from it in their errors."""
        expected = torch.addmm(self.mean, latents.nan_to_num(0.0), self.basis)
        z = ((spectra.x - expected) / spectra.error).masked_fill(~spectra.mask, 0.0)
        return expected * spectra.scale + spectra.center, z

    def _own_scores(self, spectra: ScaledSpectra, some: Tensor) -> Tensor:
        """Scores of the spectra of the fit, each left out for itself."""
        raise NotImplementedError

    def _scores(self, spectra: ScaledSpectra, latents: Tensor) -> Tensor:
        """Scores of other spectra."""
        raise NotImplementedError

    def _threshold(self, score: Tensor) -> Tensor:
        return robust_threshold(score, self.multiplier)

    def _result(self, spectra: ScaledSpectra, latents: Tensor, score: Tensor) -> AnomalousRegions:
        length = spectra.x.shape[1]
        anomalous = score > self.threshold
        expected, z = self._fit(spectra, latents)
        whole = {"range_start": 0, "range_end": length, "reason_type": self.rule}
        flags = zip(anomalous.tolist(), score.tolist(), strict=True)
        return AnomalousRegions(
            regions=spectra.mask & anomalous[:, None],
            anomalous=anomalous,
            metadata=[[{**whole, "trigger_value": value}] if flag else [] for flag, value in flags],
            score=score,
            no_data=~spectra.mask.any(dim=1),
            rule=self.rule,
            window_size=length,
            window_start=torch.zeros(1, dtype=torch.int64),
            window_end=torch.full((1,), length),
            window_score=score[:, None],
            threshold=float(self.threshold),
            expected=expected,
            deviation=z,
        )


class LatentDetector(ScoreDetector):
    r"""Find spectra that are unusual in the space of principal components.

    The score is a robust Mahalanobis distance, or the mean distance to the nearest others,
    :func:`~stgraph.ops.anomaly.latent_score`. It finds objects of a rare kind, hardly ever a feature in a usual one.

    Args:
        k: Number of neighbours, for ``method="knn"``.
        components: Number of principal components.
        multiplier: Robust standard deviations of the threshold above the median of the scores.
        method: ``"mahalanobis"`` or ``"knn"``.

    Shapes:
        - **data:** ``x`` :math:`(N, L, 1)`, ``mask`` alike, ``flux_error`` alike or absent

    Raises:
        InputError: If an argument is out of range or fewer than 3 spectra have data.

    Examples:
        >>> step = torch.linspace(0, 6, 60)
        >>> flux = torch.sin(step) + 0.3 * torch.linspace(-1, 1, 40)[:, None] * torch.cos(step)
        >>> flux[7] = torch.cos(5 * step)
        >>> found = LatentDetector(components=2).fit_detect(Data(x=flux.unsqueeze(2)))
        >>> int(found.score.argmax())
        7
    """

    rule = "latent"

    def __init__(
        self,
        k: int = 16,
        components: int = 10,
        multiplier: float = 5.0,
        method: Literal["mahalanobis", "knn"] = "mahalanobis",
    ) -> None:
        super().__init__(k, components, multiplier)
        if method not in ("mahalanobis", "knn"):
            raise InputError(f"method is {method!r}; expected 'mahalanobis' or 'knn'")
        self.method: Literal["mahalanobis", "knn"] = method

    def _own_scores(self, spectra: ScaledSpectra, some: Tensor) -> Tensor:
        return latent_score(self.latents, method=self.method, k=min(self.k, int(some.sum()) - 1))

    def _scores(self, spectra: ScaledSpectra, latents: Tensor) -> Tensor:
        usable = int(self.latents.isfinite().all(dim=1).sum())
        return latent_score(latents, self.latents, method=self.method, k=min(self.k, usable))


class TransportDetector(ScoreDetector):
    r"""Find spectra that are farther from those most like them than these are from theirs, by optimal transport.

    The score is :func:`~stgraph.ops.anomaly.neighborhood_transport_score` on the graph of the :math:`k` spectra that
    are nearest in the space of principal components. A line at a slightly different place costs little, one that is
    missing or added much; noise is averaged out.

    Args:
        k: Number of neighbours.
        components: Number of principal components.
        multiplier: Robust standard deviations of the threshold above the median of the logarithms of the scores,
            which are ratios.

    Shapes:
        - **data:** ``x`` :math:`(N, L, 1)`, ``mask`` alike, ``flux_error`` alike or absent

    Raises:
        InputError: If an argument is out of range or fewer than 3 spectra have data.

    Examples:
        >>> flux = torch.sin(torch.linspace(0, 6, 60)) * torch.linspace(1, 2, 12)[:, None]
        >>> flux[7, 20:30] += 2.0
        >>> found = TransportDetector(k=4, components=1).fit_detect(Data(x=flux.unsqueeze(2)))
        >>> int(found.score.argmax())
        7
    """

    rule = "transport"
    reference: Tensor
    reference_mask: Tensor
    reference_error: Tensor

    def __init__(self, k: int = 16, components: int = 10, multiplier: float = 5.0) -> None:
        super().__init__(k, components, multiplier)
        self.register_state("reference", "reference_mask", "reference_error")

    def _own_scores(self, spectra: ScaledSpectra, some: Tensor) -> Tensor:
        self.reference, self.reference_mask, self.reference_error = spectra.x, spectra.mask, spectra.error
        return neighborhood_transport_score(
            spectra.x, self._edges(some), mask=spectra.mask, error=spectra.error, position=self._position()
        )

    def _scores(self, spectra: ScaledSpectra, latents: Tensor) -> Tensor:
        some = self.reference_mask.any(dim=1)
        near = nearest_rows(latents.nan_to_num(0.0), self.latents.nan_to_num(0.0), min(self.k, int(some.sum())), some)
        first, own = len(self.reference), torch.arange(len(near), device=near.device)
        outer = torch.stack([near.flatten(), first + own.repeat_interleave(near.shape[1])])
        score = neighborhood_transport_score(
            torch.cat([self.reference, spectra.x]),
            torch.cat([self._edges(some), outer], dim=1),
            mask=torch.cat([self.reference_mask, spectra.mask]),
            error=torch.cat([self.reference_error, spectra.error]),
            position=self._position(),
        )
        return score[first:]

    def _threshold(self, score: Tensor) -> Tensor:
        return robust_threshold(score.log(), self.multiplier).exp()

    def _edges(self, some: Tensor) -> Tensor:
        """Edges from the nearest spectra of the fit to each of them."""
        latents = self.latents.nan_to_num(0.0)
        near = nearest_rows(latents, latents, min(self.k, int(some.sum()) - 1), some, own=True)
        target = torch.arange(len(near), device=near.device).repeat_interleave(near.shape[1])
        return torch.stack([near.flatten(), target])[:, some[target]]

    def _position(self) -> Tensor | None:
        return self.wavelength.log() if self.wavelength.numel() else None
