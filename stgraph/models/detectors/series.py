"""Anomalies in the series of networks of sensors and of grids."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.detectors.base import Detector, Deviation
from stgraph.models.detectors.series_expectation import Residuals, SeriesExpectation
from stgraph.models.detectors.series_input import judged_series, names_of_nodes, series_rows
from stgraph.models.detectors.series_neighbors import Edges, series_neighbors
from stgraph.models.detectors.series_season import season_features, season_used
from stgraph.models.detectors.series_windows import (
    SeriesWindowScores,
    WindowScores,
    highest_scores,
    node_scores,
    window_records,
)
from stgraph.ops.anomaly.calibration import conformal_pvalues
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.series_statistics import largest_over_windows, robust_scale, window_folds
from stgraph.ops.anomaly.windows import regions_from_windows

__all__ = ["SeriesResidualDetector"]

_PASSES = 4
_FIFTHS = 5
_SUSPICIOUS = 2.5  # score above which a step is hidden from the neighbours


class _Rows(NamedTuple):
    values: Tensor
    observed: Tensor
    season: Tensor


class SeriesResidualDetector(Detector):
    r"""Find spikes, drifts, stuck and swapped sensors in the series of a network or a grid.

    Ridge regressions in closed form expect each series from the season (sines and cosines of the day, of the weekend's
    day and of the year) and from its neighbours' values at the same step and those next to it, never from its own. The
    residuals are divided by the size they usually have when the neighbours are as unsettled as they are. Windows of
    several widths are scored by :class:`~stgraph.models.detectors.series_windows.SeriesWindowScores`; everything that
    a score is compared with comes from fifths of the training period that were left out of the regressions. Values
    that look wrong, more so than those of the neighbours, are then hidden from the neighbours, and the scores are
    computed again.

    A score is minus the decimal logarithm of a probability, that in the worst fifth of the training period (or of that
    of :meth:`calibrate`). A window is flagged above ``-log10(false_alarm_rate)``: about that share of windows, or less,
    in data like those. Where the effective number of independent windows is too small to tell probabilities, they fall
    with a power of the statistic only, and long windows need large deviations to be flagged. A node is flagged by a
    score higher than the highest of ``1 - node_false_alarm_rate`` of normal nodes, extrapolated from the highest of
    each node in a fifth. Where the data of a node have several channels, that of the most improbable one counts, its
    probability times their number.

    Series with too little data outside one fifth of the training period, so that the regressions would expect a flat
    line there, are not judged in it nor later: the scores of their nodes are NaN, and they are never flagged. Too
    little is less than two observations for each weight, or at less than half of the steps in a short period.

    Args:
        edges: ``"own"`` takes ``edge_index`` as neighbours (those of the largest ``edge_weight`` first), ``"position"``
            the nearest by ``pos`` or on a grid, ``"correlation"`` those of the largest correlation in the training
            period; ``"auto"`` takes positions on grids and correlations elsewhere, even if the data have edges: what
            the edges of a network mean (roads, say) need not be which sensors tell most of each other.
        neighbors: Largest number of neighbours.
        short_widths: Steps of the windows for spikes.
        long_widths: Steps of the windows for drifts, stuck and swapped sensors, at least 4.
        causal: Whether no step after a window is used, as monitoring without delay needs. Otherwise the two after it
            are, by which spikes are told from steps; a window can then be judged 2 steps after its end.
        false_alarm_rate: Share of flagged windows in normal data, of each width.
        node_false_alarm_rate: Probability of flagging a normal node.
        period: Length of a season where ``time`` is no calendar, in its unit.

    Shapes:
        - **data:** ``x`` :math:`(N, T, C)`, ``mask`` alike, ``time`` :math:`(T)`

    Raises:
        InputError: If an option is out of range.

    Examples:
        >>> steps = torch.arange(600.0)
        >>> common = torch.sin(steps / 9) + torch.sin(steps / 31)
        >>> noise = torch.sin(torch.outer(torch.arange(2.0, 8.0), steps.square())) / 10
        >>> x = (common + noise).unsqueeze(-1)
        >>> detector = SeriesResidualDetector(long_widths=[8, 16]).fit(Data(x=x[:, :400]))
        >>> later = x[:, 400:].clone()
        >>> later[2, 100] += 3.0
        >>> found = detector.detect(Data(x=later))
        >>> int(found.score.argmax()), bool(found.regions[2, 100])
        (2, True)
    """

    def __init__(
        self,
        *,
        edges: Edges = "auto",
        neighbors: int = 12,
        short_widths: Sequence[int] = (1, 2, 3),
        long_widths: Sequence[int] = (8, 16, 32, 64),
        causal: bool = False,
        false_alarm_rate: float = 1e-3,
        node_false_alarm_rate: float = 0.05,
        period: float | None = None,
    ) -> None:
        super().__init__()
        if edges not in get_args(Edges):
            raise InputError(f"edges is {edges!r}; expected one of {', '.join(get_args(Edges))}")
        if neighbors < 1:
            raise InputError(f"neighbors is {neighbors}; expected at least 1")
        for name, rate in (("false_alarm_rate", false_alarm_rate), ("node_false_alarm_rate", node_false_alarm_rate)):
            if not 0 < rate < 1:
                raise InputError(f"{name} is {rate}; expected a number between 0 and 1")
        for name, widths, least in (("short_widths", short_widths, 1), ("long_widths", long_widths, 4)):
            if any(width < least for width in widths):
                raise InputError(f"{name} is {list(widths)}; expected numbers of at least {least}")
        if not [*short_widths, *long_widths]:
            raise InputError("short_widths and long_widths are both empty; expected at least one width")
        if period is not None and period <= 0:
            raise InputError(f"period is {period}; expected a number above 0")
        self.edges, self.neighbors, self.causal, self.period = edges, neighbors, causal, period
        self.false_alarm_rate, self.node_false_alarm_rate = false_alarm_rate, node_false_alarm_rate
        self.expectation = SeriesExpectation(causal)
        self.windows = SeriesWindowScores(short_widths, long_widths, causal)
        self.register_state("center", "scale", "season", "index", "exists", "usual_peak", "calibration")
        self.index: Tensor
        self.exists: Tensor
        self.node_names: list[str] | None = None

    def get_extra_state(self) -> list[str] | None:
        """Return the names of the nodes, which are saved with the rest."""
        return self.node_names

    def set_extra_state(self, state: list[str] | None) -> None:
        """Take the names of the nodes from a saved detector."""
        self.node_names = state

    def fit(self, data: Data) -> SeriesResidualDetector:
        """Learn from a period that is mostly normal."""
        self._learn(data)
        return self

    @torch.no_grad()
    def fit_detect(self, data: Data) -> AnomalousRegions:
        """Learn from a period, and return what does not fit into the rest of it: each fifth is left out for itself."""
        rows, residuals, scores = self._learn(data)
        return self._result(data, rows, residuals, scores)

    @torch.no_grad()
    def calibrate(self, data: Data) -> SeriesResidualDetector:
        """Take what false alarms are from a normal period that was not used to fit, long enough to tell.

        The p-value of a node then is the share of nodes whose highest score in that period was at least as high; the
        period should be as long as those that are judged.
        """
        rows = self._rows(data)
        scores = self.windows.compare_with(self._score(rows)[0], rows.observed)
        self.calibration = highest_scores(self._learn_peak(scores, data))
        return self

    @torch.no_grad()
    def deviation(self, data: Data) -> Deviation:
        """Return what neighbours and season expect, and the standardised residuals."""
        rows = self._rows(data)
        return self._deviation(data, rows, self._score(rows)[0])

    @torch.no_grad()
    def detect(self, data: Data) -> AnomalousRegions:
        """Return what does not fit in another period of the same nodes."""
        rows = self._rows(data)
        return self._result(data, rows, *self._score(rows))

    @torch.no_grad()
    def _learn(self, data: Data) -> tuple[_Rows, Residuals, WindowScores]:
        values, observed = series_rows(data)
        self._check_length(values)
        self.center, self.scale = robust_scale(values, observed)
        self.season = season_used(data.get("time"))
        scaled = ((values - self.center[:, None]) / self.scale[:, None]).masked_fill(~observed, 0.0)
        self.index, self.exists = series_neighbors(data, scaled, self.edges, self.neighbors)
        self.calibration = values.new_zeros(0)
        self.node_names = names_of_nodes(data)
        rows = self._rows(data)
        residuals = self.expectation(*rows, self.index, self.exists, learn=True)
        weights = self.expectation.neighbor_weights(self.exists).clamp(min=int(self.season.count_nonzero()))
        judged = rows.observed & judged_series(rows.observed, weights, data.x.shape[2])[:, None]
        residuals = residuals._replace(change_known=residuals.change_known & judged)
        scores = self.windows(residuals, judged, learn=True)
        self._learn_peak(scores, data)
        return rows, residuals, scores

    def _rows(self, data: Data) -> _Rows:
        """Standardised series of all nodes and channels, one after another, 0 where nothing was observed."""
        if not self.center.numel():
            raise InputError("the detector was not fitted; call fit first")
        values, observed = series_rows(data)
        if len(values) != len(self.center):
            raise InputError(f"x has {len(values)} series (N times C); expected the {len(self.center)} of the fit")
        for number, (here, there) in enumerate(zip(names_of_nodes(data) or [], self.node_names or [], strict=False)):
            if here != there:
                raise InputError(f"node {number} of the data is {here!r}; expected {there!r}, as in the fit")
        self._check_length(values)
        scaled = ((values - self.center[:, None]) / self.scale[:, None]).masked_fill(~observed, 0.0)
        season = season_features(data.get("time"), values.shape[1], self.period) * self.season
        return _Rows(scaled, observed, season)

    def _check_length(self, values: Tensor) -> None:
        longest = max(self.windows.short_widths + self.windows.long_widths)
        if values.shape[1] < longest:
            raise InputError(
                f"the series have {values.shape[1]} steps; expected {longest}, the longest window, or more"
            )

    def _score(self, rows: _Rows) -> tuple[Residuals, WindowScores]:
        doubtful: Tensor | None = None
        for number in range(_PASSES):
            residuals = self.expectation(*rows, self.index, self.exists, doubtful)
            scores = self.windows(residuals, rows.observed)
            if number < _PASSES - 1:
                doubtful = self._doubtful(scores, residuals.size, doubtful)
        return residuals, scores

    def _doubtful(self, scores: WindowScores, size: Tensor, before: Tensor | None) -> Tensor:
        """Steps with a high score, and a residual not below that of any neighbour in sight, which it would raise too.

        Those hidden before stay so while their score is high, and are nobody's excuse any more.
        """
        step = largest_over_windows(scores.score, scores.start, scores.end, size.shape[1]).nan_to_num(0.0)
        high = step > _SUSPICIOUS
        if not self.index.shape[1]:
            return high
        seen = size if before is None else size.masked_fill(before, 0.0)
        near = seen[self.index].masked_fill(~self.exists[..., None], 0.0).amax(dim=1)
        worst = size >= near
        return high & (worst if before is None else worst | before)

    def _learn_peak(self, scores: WindowScores, data: Data) -> Tensor:
        """Learn how high the nodes' highest scores in the worst fifth of a period are; returns the scores of nodes.

        What is kept: their median, how far they are above it on average where they are, and the steps of a fifth.
        """
        steps = data.x.shape[1]
        window = node_scores(scores.score, data.x.shape[2])
        fold = window_folds(scores.start, scores.end, steps, _FIFTHS)
        peaks = torch.stack([highest_scores(window[:, fold == number]) for number in fold.unique().tolist()])
        median = peaks.nanmedian(dim=1, keepdim=True).values
        excess = (peaks - median).masked_fill(peaks <= median, float("nan")).nanmean(dim=1).nan_to_num(0.0)
        highest = [median.nan_to_num(0.0).amax(), excess.amax().clamp(max=1 / math.log(10.0))]
        self.usual_peak = torch.stack([*highest, window.new_tensor(steps / _FIFTHS)])
        return window

    def _node_threshold(self, steps: int) -> float:
        """Score that the highest of a node exceeds with the stated probability.

        The highest score in a fifth of the training period exceeds the median of such scores with probability 1/2, and
        a higher one with a probability that falls exponentially, tenfold for each unit or faster.
        """
        median, excess, fifth = self.usual_peak.tolist()
        return float(median + excess * math.log(max(1.0, steps / fifth) / (2 * self.node_false_alarm_rate)))

    def _deviation(self, data: Data, rows: _Rows, residuals: Residuals) -> Deviation:
        expected = residuals.expected * self.scale[:, None] + self.center[:, None]
        values = (expected, residuals.z, rows.observed)
        return Deviation(*(value.unflatten(0, (len(data.x), -1)).transpose(1, 2) for value in values))

    def _result(self, data: Data, rows: _Rows, residuals: Residuals, scores: WindowScores) -> AnomalousRegions:
        nodes, steps, channels = data.x.shape
        window = node_scores(scores.score, channels)
        score = highest_scores(window)
        threshold = -math.log10(self.false_alarm_rate)
        flagged = window > threshold
        deviation = self._deviation(data, rows, residuals)
        channel = deviation.z.abs().argmax(dim=2, keepdim=True)  # that of the largest deviation stands for all
        expected, z = (value.gather(2, channel).squeeze(2) for value in deviation[:2])
        best = scores.score.unflatten(0, (nodes, channels)).nan_to_num(nan=-1.0).argmax(dim=1, keepdim=True)
        reason = scores.reason.unflatten(0, (nodes, channels)).gather(1, best).squeeze(1)
        return AnomalousRegions(
            regions=regions_from_windows(flagged, scores.start, scores.end, steps),
            anomalous=score > max(threshold, self._node_threshold(steps)),
            metadata=window_records(flagged, window, reason, scores),
            score=score,
            no_data=~rows.observed.unflatten(0, (nodes, channels)).any(dim=2).any(dim=1),
            rule="series_residual",
            window_size=int((scores.end - scores.start).min()),
            window_start=scores.start,
            window_end=scores.end,
            window_score=window,
            threshold=threshold,
            expected=expected,
            deviation=z,
            p_value=conformal_pvalues(score, self.calibration) if self.calibration.numel() else None,
        )
