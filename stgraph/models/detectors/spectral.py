"""What the detectors of spectra have in common."""

from __future__ import annotations

import dataclasses
import math

from torch import Tensor

from stgraph.errors import InputError
from stgraph.models.detectors.base import Detector
from stgraph.ops.anomaly.calibration import conformal_pvalues
from stgraph.ops.anomaly.result import AnomalousRegions

__all__ = ["SpectralDetector"]


class SpectralDetector(Detector):
    """Base class of detectors of spectra, which keep the scores of normal spectra for p-values.

    Args:
        k: Number of neighbours.
        components: Number of principal components.
        multiplier: Robust standard deviations of the threshold above the median.

    Raises:
        InputError: If an argument is out of range.
    """

    calibration: Tensor
    wavelength: Tensor

    def __init__(self, k: int, components: int, multiplier: float) -> None:
        super().__init__()
        for name, value in (("k", k), ("components", components)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InputError(f"{name} is {value!r}; expected a whole number of at least 1")
        if not 0 <= multiplier < math.inf:
            raise InputError(f"multiplier is {multiplier}; expected a finite number of at least 0")
        self.register_state("calibration", "wavelength")

    def _keep_calibration(self, score: Tensor) -> None:
        known = score[score.isfinite()]
        if not known.numel():
            raise InputError(f"none of the {score.numel()} spectra has a score; expected normal spectra with data")
        self.calibration = known

    def _with_p_values(self, found: AnomalousRegions) -> AnomalousRegions:
        """Add p-values if the detector is calibrated."""
        if not self.calibration.numel():
            return found
        return dataclasses.replace(found, p_value=conformal_pvalues(found.score, self.calibration))
