"""Learning from a set of spectra what is expected of each, and scoring spectra by it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.anomaly.component_scores import component_scores
from stgraph.ops.anomaly.graph_residual import (
    GraphResidual,
    ScaledSpectra,
    column_scale,
    graph_residual,
    scale_spectra,
)
from stgraph.ops.anomaly.merging import merged_records, narrowest_windows
from stgraph.ops.anomaly.nearest import nearest_rows
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.window_scores import default_widths, score_threshold, standardise_windows, window_statistics
from stgraph.ops.anomaly.windows import regions_from_windows, window_bounds
from stgraph.ops.spectral_components import spectral_components

__all__ = [
    "ResidualOptions",
    "ResidualReference",
    "ScoredSpectra",
    "check_spectra",
    "fit_residuals",
    "graph_residual_regions",
    "regions_of",
    "score_residuals",
]

_LEAST_SPECTRA = 3
_FEW_SPECTRA = 20
_ROUNDS = 2

_logger = logging.getLogger("stgraph")


class ResidualOptions(NamedTuple):
    """How spectra are compared with those most like them.

    Args:
        k: Number of neighbours.
        components: Number of principal components in whose coordinates neighbours are near.
        widths: Points of the windows; :func:`default_widths` by default.
        multiplier: Robust standard deviations of the threshold above the median of the logarithms of one plus
            the scores.
        least_neighbors: Share of the neighbours that must be good at a point.
        subtract_components: Whether the components are the first expectation where no other is given.
    """

    k: int = 16
    components: int = 10
    widths: Sequence[int] | None = None
    multiplier: float = 5.0
    least_neighbors: float = 0.5
    subtract_components: bool = True


class ResidualReference(NamedTuple):
    """What was learned from a set of spectra.

    Args:
        mean: Mean spectrum.
        basis: Principal components.
        scores: Coordinates of the spectra in them.
        residual: What a first expectation leaves of the spectra.
        mask: Their good points.
        usual_error: Median over the spectra of their mean error, for spectra that have no noise.
        usable: Spectra that may be neighbours: they have data and were not flagged.
        column_scale: Width of the deviations at each point.
        window_center: Usual power and coherence of each window.
        window_scale: Usual spread of both.
        threshold: Score above which a spectrum is flagged.

    Shapes:
        - **mean**, **column_scale:** :math:`(L)`, **basis:** :math:`(K, L)`, **scores:** :math:`(M, K)`,
          **residual**, **mask:** :math:`(M, L)`, **usable:** :math:`(M)`, **window_center**, **window_scale:**
          :math:`(2, W)`, **usual_error**, **threshold:** scalars
    """

    mean: Tensor
    basis: Tensor
    scores: Tensor
    residual: Tensor
    mask: Tensor
    usual_error: Tensor
    usable: Tensor
    column_scale: Tensor
    window_center: Tensor
    window_scale: Tensor
    threshold: Tensor


class ScoredSpectra(NamedTuple):
    """Scores of spectra and of their windows.

    Args:
        graph: Deviations from what is expected, and where they are known.
        expected: What is expected, in the units of the spectra.
        start: First point of each window.
        end: Its end, exclusive.
        windows: Score of each window.
        spectra: Score of each spectrum, that of its highest window; NaN where no window has enough good points.
    """

    graph: GraphResidual
    expected: Tensor
    start: Tensor
    end: Tensor
    windows: Tensor
    spectra: Tensor


def fit_residuals(
    spectra: ScaledSpectra, options: ResidualOptions, first: Tensor | None = None
) -> tuple[ResidualReference, ScoredSpectra]:
    r"""Learn from spectra what is expected of them, and score each by what the others say.

    The threshold of fewer than 20 spectra tells little about which of them are anomalous; the logger ``stgraph`` then
    warns, and also of spectra that are constant.

    Args:
        spectra: The scaled spectra.
        options: How to compare them.
        first: A first expectation, such as a reconstruction, in scaled units :math:`(N, L)`.

    Raises:
        InputError: If fewer than three spectra have data, or an option is out of range.
    """
    window_bounds(spectra.x.shape[1], _widths(options, spectra))  # that do not fit are refused before the work
    check_spectra(spectra)
    some = spectra.mask.any(dim=1)
    fit = spectral_components(spectra.x, spectra.mask, options.components, error=spectra.error, robust=True)
    mean, basis = fit.mean.to(spectra.x.dtype), fit.components.to(spectra.x.dtype)
    scores = component_scores(spectra.x, spectra.mask, basis, mean, spectra.error)
    first = _first(scores, mean, basis, options) if first is None else first
    usual, nothing = _usual_error(spectra)[some].median(), spectra.x.new_zeros(0)
    reference = ResidualReference(
        mean, basis, scores, _residual(spectra, first), spectra.mask, usual, some, nothing, nothing, nothing, nothing
    )
    for _ in range(_ROUNDS):
        reference, scored = _fit_round(reference, spectra, first, options)
        calm = some & ~(scored.spectra > reference.threshold)
        if int(calm.sum()) >= _LEAST_SPECTRA:
            reference = reference._replace(usable=calm)
    return reference, scored


def score_residuals(
    reference: ResidualReference, spectra: ScaledSpectra, options: ResidualOptions, first: Tensor | None = None
) -> ScoredSpectra:
    """Score other spectra on the same grid by what was learned."""
    scores = component_scores(spectra.x, spectra.mask, reference.basis, reference.mean, spectra.error)
    first = _first(scores, reference.mean, reference.basis, options) if first is None else first
    graph = _compare(reference, spectra, scores, _residual(spectra, first), options, own=False)
    graph = graph._replace(z=graph.z / reference.column_scale)
    statistics = window_statistics(graph.z, graph.mask, _widths(options, spectra))
    windows = standardise_windows(statistics, reference.window_center, reference.window_scale).score
    expected = (graph.expected + first) * spectra.scale + spectra.center
    return ScoredSpectra(graph, expected, statistics.start, statistics.end, windows, _highest(windows))


def regions_of(scored: ScoredSpectra, spectra: ScaledSpectra, threshold: Tensor) -> AnomalousRegions:
    """Flag spectra above a threshold, and in them the windows above it."""
    anomalous = scored.spectra > threshold
    flagged = (scored.windows > threshold) & anomalous[:, None]
    flagged = narrowest_windows(flagged, scored.graph.z, scored.start, scored.end)
    regions = regions_from_windows(flagged, scored.start, scored.end, spectra.x.shape[1])
    return AnomalousRegions(
        regions=regions,
        anomalous=anomalous,
        metadata=merged_records(regions, flagged, scored.windows, scored.start, "graph_residual"),
        score=scored.spectra,
        no_data=~spectra.mask.any(dim=1),
        rule="graph_residual",
        window_size=int((scored.end - scored.start).min()),
        window_start=scored.start,
        window_end=scored.end,
        window_score=scored.windows,
        threshold=float(threshold),
        expected=scored.expected,
        deviation=scored.graph.z,
    )


def graph_residual_regions(
    original: Tensor, expected: Tensor | None, *, mask: Tensor | None, error: Tensor | None, window_size: int
) -> AnomalousRegions:
    """Find what does not fit in spectra with windows of one, two and four times a width.

    Shapes:
        - **original**, **expected**, **mask**, **error:** :math:`(N, L)`

    Raises:
        InputError: If an error is not positive at a good point, or fewer than three spectra have data.
    """
    x = original if original.is_floating_point() and original.dtype.itemsize > 2 else original.float()
    good = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
    if error is not None and bool((good & ~((error > 0) & error.isfinite())).any()):
        raise InputError("error has values at good points that are 0, negative or not finite; expected positive ones")
    spectra = scale_spectra(x.masked_fill(~good, 0.0), good, None if error is None else error.to(x.dtype))
    widths = [width for width in (window_size, 2 * window_size, 4 * window_size) if width <= x.shape[1]]
    first = None if expected is None else ((expected.to(x.dtype) - spectra.center) / spectra.scale)
    reference, scored = fit_residuals(spectra, ResidualOptions(widths=widths), first)
    return regions_of(scored, spectra, reference.threshold)


def check_spectra(spectra: ScaledSpectra) -> None:
    """Refuse spectra that are too few for a fit, and say where they cannot tell much.

    Raises:
        InputError: If fewer than three spectra have data.
    """
    points = spectra.mask.sum(dim=1)
    some = int((points > 0).sum())
    if some < _LEAST_SPECTRA:
        raise InputError(f"{some} spectra have data; expected at least {_LEAST_SPECTRA} to compare")
    if some < _FEW_SPECTRA:
        _logger.warning(
            "only %d spectra have data: what is flagged among fewer than %d says little", some, _FEW_SPECTRA
        )
    # Scaled spectra are less their median, and so 0 throughout.
    constant = int(((points > 1) & ~spectra.x.any(dim=1)).sum())
    if constant:
        _logger.warning("%d of %d spectra with data are constant; they are scaled to 0", constant, some)


def _fit_round(
    reference: ResidualReference, spectra: ScaledSpectra, first: Tensor, options: ResidualOptions
) -> tuple[ResidualReference, ScoredSpectra]:
    """Score the spectra of the reference by each other, and learn from it what deviations and scores are usual."""
    graph = _compare(reference, spectra, reference.scores, reference.residual, options, own=True)
    columns = column_scale(graph.z[reference.usable], graph.mask[reference.usable])
    graph = graph._replace(z=graph.z / columns)
    statistics = window_statistics(graph.z, graph.mask, _widths(options, spectra))
    windows, center, scale = standardise_windows(statistics)
    highest = _highest(windows)
    threshold = score_threshold(highest, options.multiplier)
    reference = reference._replace(column_scale=columns, window_center=center, window_scale=scale, threshold=threshold)
    expected = (graph.expected + first) * spectra.scale + spectra.center
    return reference, ScoredSpectra(graph, expected, statistics.start, statistics.end, windows, highest)


def _compare(
    reference: ResidualReference,
    spectra: ScaledSpectra,
    scores: Tensor,
    residual: Tensor,
    options: ResidualOptions,
    own: bool,
) -> GraphResidual:
    k = min(options.k, int(reference.usable.sum()) - own)
    neighbors = nearest_rows(scores, reference.scores, k, reference.usable, own=own)
    return graph_residual(
        residual,
        spectra.mask,
        spectra.error,
        neighbors,
        (reference.residual, reference.mask),
        least_neighbors=options.least_neighbors,
    )


def _first(scores: Tensor, mean: Tensor, basis: Tensor, options: ResidualOptions) -> Tensor:
    """What the components make expect, or 0."""
    if options.subtract_components:
        return torch.addmm(mean, scores, basis)
    return scores.new_zeros(scores.shape[0], mean.shape[0])


def _residual(spectra: ScaledSpectra, first: Tensor) -> Tensor:
    return (spectra.x - first).masked_fill_(~spectra.mask, 0.0)


def _usual_error(spectra: ScaledSpectra) -> Tensor:
    total: Tensor = torch.where(spectra.mask, spectra.error, 0.0).sum(dim=1)
    return total / spectra.mask.sum(dim=1).clamp(min=1)


def _widths(options: ResidualOptions, spectra: ScaledSpectra) -> Sequence[int]:
    return default_widths(spectra.x.shape[1]) if options.widths is None else options.widths


def _highest(windows: Tensor) -> Tensor:
    best = windows.nan_to_num(-torch.inf).amax(dim=1)
    return torch.where(best.isfinite(), best, torch.nan)
