"""Anomalies of spectra, against what an autoencoder reconstructs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.autoencoders.spectral_cnn import SpectralCNNAutoencoder
from stgraph.models.detectors.base import Deviation
from stgraph.models.detectors.graph_residual import GraphResidualDetector
from stgraph.models.detectors.input import check_same_grid, common_grid, single_channel
from stgraph.ops.anomaly.graph_residual import ScaledSpectra, scale_spectra
from stgraph.ops.anomaly.residual_fit import ResidualOptions
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.rules import detect_anomalous_regions

__all__ = ["AutoencoderDetector", "SpectraScaling"]

SpectraScaling: TypeAlias = Literal["minmax", "robust"]

_BATCH = 256
#: Arguments of :func:`detect_anomalous_regions` that the rules "percentile" and "fixed" have.
_RULE_ARGUMENTS = (
    *("window_size", "percentile_threshold", "abs_residual_threshold", "rel_residual_threshold"),
    *("range_mismatch_factor", "overall_anomaly_threshold", "coverage", "cover_tail"),
)


class AutoencoderDetector(GraphResidualDetector):
    r"""Find what does not fit in spectra, from the residuals of an autoencoder.

    The rule ``"graph_residual"`` takes the reconstruction as the first expectation of
    :class:`~stgraph.models.detectors.GraphResidualDetector`: residuals count against those of the spectra most like
    them, against noise and spread. ``"percentile"`` and ``"fixed"`` are the documented rules of
    :func:`~stgraph.ops.anomaly.detect_anomalous_regions`, on scaled spectra; thresholds that are percentiles are those
    of the spectra of the fit.

    Args:
        network: The autoencoder, trained, or the arguments of a :class:`SpectralCNNAutoencoder`, whose weights come
            with the state.
        scaling: How spectra are scaled for the network: ``"minmax"`` to 0 to 1, ``"robust"`` by median and
            interquartile range; over good points.
        rule: The decision rule.
        rule_arguments: Arguments of the rule ``"percentile"`` or ``"fixed"``.
        k: Number of neighbours; this and the four below are for the rule ``"graph_residual"``.
        components: Number of principal components in whose coordinates neighbours are near.
        widths: Points of the windows.
        multiplier: Robust standard deviations of the threshold above the median.
        least_neighbors: Share of the neighbours that must be good at a point.

    Shapes:
        - **data:** ``x`` :math:`(N, L, 1)`, ``mask`` alike, ``flux_error`` alike or absent

    Raises:
        InputError: If an argument is out of range, or the rule does not have it.

    Examples:
        >>> detector = AutoencoderDetector({"widths": [4]}, scaling="minmax", rule="percentile")
        >>> found = detector.fit_detect(Data(x=torch.arange(300.0).view(3, 100, 1)))
        >>> found.rule, found.regions.shape
        ('percentile', torch.Size([3, 100]))
    """

    limits: Tensor

    def __init__(
        self,
        network: nn.Module | Mapping[str, Any],
        scaling: SpectraScaling = "robust",
        rule: Literal["graph_residual", "percentile", "fixed"] = "graph_residual",
        rule_arguments: Mapping[str, Any] | None = None,
        k: int = 16,
        components: int = 10,
        widths: int | Sequence[int] | None = None,
        multiplier: float = 5.0,
        *,
        least_neighbors: float = 0.5,
    ) -> None:
        super().__init__(k, components, widths, multiplier, least_neighbors=least_neighbors)
        if scaling not in get_args(SpectraScaling):
            raise InputError(f"scaling is {scaling!r}; expected 'minmax' or 'robust'")
        if rule not in ("graph_residual", "percentile", "fixed"):
            raise InputError(f"rule is {rule!r}; expected 'graph_residual', 'percentile' or 'fixed'")
        if rule == "graph_residual" and rule_arguments:
            raise InputError(f"rule_arguments has {list(rule_arguments)}; the rule 'graph_residual' takes none of them")
        if rule != "graph_residual" and self.options != ResidualOptions():
            raise InputError(f"k, components, widths, multiplier and least_neighbors are not used by the rule {rule!r}")
        unknown = sorted(set(rule_arguments or {}) - set(_RULE_ARGUMENTS))
        if unknown:
            raise InputError(f"rule_arguments has {unknown[0]!r}; expected {', '.join(_RULE_ARGUMENTS)}")
        self.network = SpectralCNNAutoencoder(**network) if isinstance(network, Mapping) else network
        self.scaling, self.rule, self.rule_arguments = scaling, rule, dict(rule_arguments or {})
        self.register_state("limits")

    def fit_detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit in the spectra, and keep the thresholds that go with it."""
        if self.rule == "graph_residual":
            return super().fit_detect(data)
        found = self._by_rule(data, {"rule": self.rule, **self.rule_arguments})
        if bool(found.no_data.all()):
            raise InputError("no spectrum has data; expected some to learn from")
        self.limits = torch.tensor([found.abs_residual_threshold, found.rel_residual_threshold], dtype=torch.float64)
        self.calibration, self.wavelength = found.score.new_zeros(0), common_grid(data)
        return found

    def detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit in other spectra on the same grid, with p-values if the detector is calibrated."""
        if self.rule == "graph_residual":
            return super().detect(data)
        return self._with_p_values(self._with_limits(data))

    def calibrate(self, data: Data) -> AutoencoderDetector:
        """Keep the scores of normal spectra that were not used to fit, for p-values."""
        if self.rule == "graph_residual":
            super().calibrate(data)
        else:
            self._keep_calibration(self._with_limits(data).score)
        return self

    @torch.no_grad()
    def reconstruct(self, data: Data) -> Tensor:
        r"""Return what the network makes of spectra, in their units.

        Shapes:
            - **output:** :math:`(N, L)`
        """
        x, mask, _ = single_channel(data)
        low, width = self._scale(x, mask)
        scaled = ((x - low) / width).masked_fill(~mask, 0.0).unsqueeze(2)
        scaled = scaled.to(next((weight.dtype for weight in self.network.parameters()), scaled.dtype))
        inputs = (
            torch.cat([scaled, (~mask).unsqueeze(2)], dim=2) if getattr(self.network, "mask_channel", False) else scaled
        )
        training = self.network.training
        self.network.eval()
        parts = [self.network(part)["reconstructed"] for part in inputs.split(_BATCH)]
        self.network.train(training)
        reconstructed = torch.cat(parts)[..., 0].to(x.dtype)
        bad = (mask & ~reconstructed.isfinite()).any(dim=1)
        if bool(bad.any()):
            row = int(bad.nonzero()[0, 0])
            raise InputError(f"what the network makes of spectrum {row} is not finite; train it first, or anew")
        return reconstructed * width + low

    def deviation(self, data: Data) -> Deviation:
        """Return the reconstruction of other spectra and how far they are from it; in scaled units by a simple rule."""
        if self.rule == "graph_residual":
            return super().deviation(data)
        x, mask, _ = single_channel(data)
        width = self._scale(x, mask)[1]
        expected = self.reconstruct(data)
        z = ((x - expected) / width).masked_fill(~mask, 0.0)
        return Deviation(expected.unsqueeze(2), z.unsqueeze(2), mask.unsqueeze(2))

    def extra_repr(self) -> str:
        """Show the arguments."""
        return f"scaling={self.scaling!r}, rule={self.rule!r}, {super().extra_repr()}"

    def _first_expectation(self, data: Data, spectra: ScaledSpectra) -> Tensor:
        return (self.reconstruct(data) - spectra.center) / spectra.scale

    def _scale(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """What is subtracted from each spectrum and what it is divided by, ``[N, 1]``."""
        if self.scaling == "robust":
            spectra = scale_spectra(x, mask)
            return spectra.center, spectra.scale
        some = mask.any(dim=1, keepdim=True)
        low = x.masked_fill(~mask, torch.inf).amin(dim=1, keepdim=True)
        width = x.masked_fill(~mask, -torch.inf).amax(dim=1, keepdim=True) - low
        return torch.where(some, low, 0.0), torch.where(some & (width > 0), width, 1.0)

    def _with_limits(self, data: Data) -> AnomalousRegions:
        if not self.limits.numel():
            raise InputError("the detector was not fitted; call fit first")
        check_same_grid(data, self.wavelength)
        arguments = {name: value for name, value in self.rule_arguments.items() if not name.endswith("_threshold")}
        if "overall_anomaly_threshold" in self.rule_arguments:
            arguments["overall_anomaly_threshold"] = self.rule_arguments["overall_anomaly_threshold"]
        absolute, relative = self.limits.tolist()
        arguments |= {"abs_residual_threshold": absolute, "rel_residual_threshold": relative}
        return dataclasses.replace(self._by_rule(data, {"rule": "fixed", **arguments}), rule=self.rule)

    def _by_rule(self, data: Data, arguments: dict[str, Any]) -> AnomalousRegions:
        x, mask, _ = single_channel(data)
        low, width = self._scale(x, mask)
        expected = self.reconstruct(data)
        scaled = ((x - low) / width).masked_fill(~mask, 0.0)
        reconstructed = (expected - low) / width
        found = detect_anomalous_regions(scaled, reconstructed, mask=mask, **arguments)
        deviation = (scaled - reconstructed).masked_fill(~mask, 0.0)
        return dataclasses.replace(found, expected=expected, deviation=deviation)
