"""Anomalies of spectra, against what the spectra most like them make expect."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.detectors.base import Deviation
from stgraph.models.detectors.input import common_grid, single_channel, spectra_like
from stgraph.models.detectors.spectral import SpectralDetector
from stgraph.ops.anomaly.graph_residual import ScaledSpectra, scale_spectra
from stgraph.ops.anomaly.residual_fit import (
    ResidualOptions,
    ResidualReference,
    ScoredSpectra,
    fit_residuals,
    regions_of,
    score_residuals,
)
from stgraph.ops.anomaly.result import AnomalousRegions

__all__ = ["GraphResidualDetector"]


class GraphResidualDetector(SpectralDetector):
    r"""Find what does not fit in spectra, from the residuals of the spectra that are most like them.

    Spectra on a common grid (of rest wavelengths, where redshifts are known) are scaled by median and interquartile
    range. Their first principal components, fitted robustly and with weights from the errors, give the coordinates in
    which each spectrum has its :math:`k` neighbours, and a first expectation; the median of the neighbours' residuals
    from it is the second. What is left is divided by spread and noise, :func:`~stgraph.ops.anomaly.graph_residual`,
    and by its usual width at each wavelength. A window has two scores, the root mean square of these deviations, which
    noise raises, and their absolute sum over the root of their number, which a line or a step raises; both are
    standardised by median and median absolute deviation over all windows of one width, and the larger counts. The score
    of a spectrum is that of its highest window. It is flagged if the logarithm of one plus its score is above the
    median of those of all by more than :obj:`multiplier` times 1.4826 median absolute deviations. Flagged spectra are
    then no neighbours any more, and everything after the components is repeated once.

    Without a first expectation (``subtract_components=False``) the detector is the median of the neighbours alone.

    Args:
        k: Number of neighbours.
        components: Number of principal components.
        widths: Points of the windows; 10, 20, 40, ... up to a tenth of the spectrum by default.
        multiplier: Robust standard deviations of the threshold above the median.
        subtract_components: Whether the components are also a first expectation.
        least_neighbors: Share of the neighbours that must be good at a point.

    Shapes:
        - **data:** ``x`` :math:`(N, L, 1)`, ``mask`` alike, ``flux_error`` alike or absent

    Raises:
        InputError: If an argument is out of range or fewer than 3 spectra have data. With fewer than 20 the logger
            ``stgraph`` warns, as their threshold says little.

    Examples:
        >>> import torch
        >>> flux = torch.sin(torch.linspace(0, 6, 60)) * torch.linspace(1, 2, 40)[:, None]
        >>> flux = flux + 0.05 * torch.sin(torch.arange(2400.0).view(40, 60) ** 2)
        >>> flux[7, 20:30] += 2.0
        >>> found = GraphResidualDetector(k=8, components=2).fit_detect(Data(x=flux.unsqueeze(2)))
        >>> found.anomalous.nonzero().flatten()
        tensor([7])
    """

    mean: Tensor
    threshold: Tensor
    usual_error: Tensor

    def __init__(
        self,
        k: int = 16,
        components: int = 10,
        widths: int | Sequence[int] | None = None,
        multiplier: float = 5.0,
        *,
        subtract_components: bool = True,
        least_neighbors: float = 0.5,
    ) -> None:
        super().__init__(k, components, multiplier)
        if not 0 <= least_neighbors <= 1:
            raise InputError(f"least_neighbors is {least_neighbors}; expected a share from 0 to 1")
        given = [widths] if isinstance(widths, int) else None if widths is None else list(widths)
        if given is not None and not (given and all(isinstance(width, int) and width >= 2 for width in given)):
            raise InputError(f"widths is {widths!r}; expected whole numbers of at least 2 points, one or several")
        self.options = ResidualOptions(k, components, given, multiplier, least_neighbors, subtract_components)
        self.register_state(*ResidualReference._fields)

    def fit(self, data: Data) -> GraphResidualDetector:
        """Learn from spectra what is expected, and the threshold."""
        self.fit_detect(data)
        return self

    def fit_detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit into the rest of the spectra; no spectrum is a neighbour of its own."""
        spectra = scale_spectra(*single_channel(data))
        reference, scored = fit_residuals(spectra, self.options, self._first_expectation(data, spectra))
        for name, value in reference._asdict().items():
            setattr(self, name, value)
        self.calibration, self.wavelength = spectra.x.new_zeros(0), common_grid(data)
        return regions_of(scored, spectra, reference.threshold)

    def detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit in other spectra on the same grid, with p-values if the detector is calibrated."""
        spectra, scored = self._score(data)
        return self._with_p_values(regions_of(scored, spectra, self.threshold))

    def calibrate(self, data: Data) -> GraphResidualDetector:
        """Keep the scores of normal spectra that were not used to fit, for p-values."""
        self._keep_calibration(self._score(data)[1].spectra)
        return self

    def deviation(self, data: Data) -> Deviation:
        """Return what is expected of other spectra on the same grid, and how far they are from it."""
        scored = self._score(data)[1]
        return Deviation(*(value.unsqueeze(2) for value in (scored.expected, scored.graph.z, scored.graph.mask)))

    def extra_repr(self) -> str:
        """Show the arguments."""
        return ", ".join(f"{name}={value}" for name, value in self.options._asdict().items())

    def _first_expectation(self, data: Data, spectra: ScaledSpectra) -> Tensor | None:
        """A first expectation in scaled units ``[N, L]``, where it is not that of the components."""
        return None

    def _score(self, data: Data) -> tuple[ScaledSpectra, ScoredSpectra]:
        spectra = spectra_like(data, self.mean, self.wavelength, self.usual_error)
        reference = ResidualReference(*(getattr(self, name) for name in ResidualReference._fields))
        return spectra, score_residuals(reference, spectra, self.options, self._first_expectation(data, spectra))
