"""What all detectors of anomalies have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.ops.anomaly.result import AnomalousRegions

__all__ = ["Detector", "Deviation", "LearnedState"]


class Deviation(NamedTuple):
    """How far each value is from what was expected of it.

    Args:
        expected: What a detector expected, in the units of the data.
        z: Deviation from it in standard deviations, 0 at bad points.
        mask: True at good points.

    Shapes:
        - **expected**, **z**, **mask:** :math:`(N, L, C)`
    """

    expected: Tensor
    z: Tensor
    mask: Tensor


class LearnedState(nn.Module):
    """A module with tensors whose shapes come with the data: empty before a fit, and saved with the rest."""

    def register_state(self, *names: str) -> None:
        """Add such tensors."""
        for name in names:
            self.register_buffer(name, torch.empty(0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            if buffer is not None and prefix + name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[prefix + name], device=buffer.device))
        super()._load_from_state_dict(state_dict, prefix, *args)


class Detector(LearnedState):
    r"""Base class of detectors: they learn what is normal from data and say of other data, or of the same, what is not.

    Data are spectra on a common grid of wavelengths, or series of a network of sensors or of a grid: ``x``
    :math:`(N, L, C)`, ``mask`` alike, and ``flux_error`` :math:`(N, L, C)` where errors are known.
    """

    def fit(self, data: Data) -> Detector:
        """Learn what is normal, and the threshold that goes with it; returns the detector."""
        raise NotImplementedError

    def calibrate(self, data: Data) -> Detector:
        r"""Keep the scores of normal data that were not used to fit, for p-values; returns the detector.

        Normal data that are like these, and were not used to fit either, then get a p-value of at most :math:`\alpha`
        from :meth:`detect` with a probability of at most :math:`\alpha`.
        """
        raise NotImplementedError

    def deviation(self, data: Data) -> Deviation:
        """Return what was expected of data, and how far they are from it."""
        raise NotImplementedError

    def detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit in data that were not used to fit."""
        raise NotImplementedError

    def fit_detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit into the rest of the data themselves; each spectrum is left out for itself."""
        raise NotImplementedError
