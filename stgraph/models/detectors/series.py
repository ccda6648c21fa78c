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
from stgraph.models.detectors.series_neighbors import Edges, series_neighbors
from stgraph.models.detectors.series_season import season_features, season_used
from stgraph.models.detectors.series_windows import REASONS, SeriesWindowScores, WindowScores
from stgraph.ops.anomaly.calibration import conformal_pvalues
from stgraph.ops.anomaly.result import AnomalousRegions, RegionRecord
from stgraph.ops.anomaly.series_statistics import Tail, fit_tail, largest_over_windows, robust_scale, surprise
from stgraph.ops.anomaly.windows import regions_from_windows

__all__ = ["SeriesResidualDetector"]

_PASSES = 4
_SUSPICIOUS = 3.5  # score above which a step is hidden from the neighbours


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

    A score is minus the decimal logarithm of a probability: a window is flagged above
    ``-log10(false_alarm_rate)``, the share of windows that are flagged in data like those of the training period (or
    of :meth:`calibrate`, which should be preferred where there are normal data that were not used to fit). A node is
    flagged by a window above ``-log10(node_false_alarm_rate / W)``, W its number of windows. Where the data of a node
    have several channels, a window has the largest of their scores.

    Args:
        edges: ``"own"`` takes ``edge_index`` as neighbours (those of the largest ``edge_weight`` first), ``"position"``
            the nearest by ``pos`` or on a grid, ``"correlation"`` those of the largest correlation in the training
            period; ``"auto"`` takes positions on grids and correlations elsewhere.
        neighbors: Largest number of neighbours.
        short_widths: Steps of the windows for spikes.
        long_widths: Steps of the windows for drifts, stuck and swapped sensors, at least 4.
        causal: Whether no step after a window is used, as monitoring without delay needs. Otherwise the two after it
            are, by which spikes are told from steps; a window can then be judged 2 steps after its end.
        false_alarm_rate: Share of flagged windows in normal data.
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
        node_false_alarm_rate: float = 0.01,
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
        if not short_widths and not long_widths:
            raise InputError("short_widths and long_widths are both empty; expected at least one width")
        if period is not None and period <= 0:
            raise InputError(f"period is {period}; expected a number above 0")
        self.edges, self.neighbors, self.causal, self.period = edges, neighbors, causal, period
        self.false_alarm_rate, self.node_false_alarm_rate = false_alarm_rate, node_false_alarm_rate
        self.expectation = SeriesExpectation(causal)
        self.windows = SeriesWindowScores(short_widths, long_widths, causal)
        self.register_state("center", "scale", "season", "index", "exists", "knots", "tail_shape", "calibration")
        self.index: Tensor
        self.exists: Tensor
        self.knots: Tensor
        self.tail_shape: Tensor

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
        """Take what false alarms are from a normal period that was not used to fit.

        The p-value of a node then is the share of nodes whose highest score in that period was at least as high; the
        period should be as long as those that are judged.
        """
        rows = self._rows(data)
        scores = self._score(rows)[1]
        self._compare_with(scores.score)
        self.calibration = _highest(_of_nodes(self._final(scores.score), data.x.shape[2]))
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
        values, observed = _series(data)
        self._check_length(values)
        self.center, self.scale = robust_scale(values, observed)
        self.season = season_used(data.get("time"))
        scaled = ((values - self.center[:, None]) / self.scale[:, None]).masked_fill(~observed, 0.0)
        self.index, self.exists = series_neighbors(data, scaled, self.edges, self.neighbors)
        self.calibration = values.new_zeros(0)
        rows = self._rows(data)
        residuals = self.expectation(*rows, self.index, self.exists, learn=True)
        scores = self.windows(residuals, rows.observed, learn=True)
        self._compare_with(scores.score)
        return rows, residuals, scores

    def _rows(self, data: Data) -> _Rows:
        """Standardised series of all nodes and channels, one after another, 0 where nothing was observed."""
        if not self.center.numel():
            raise InputError("the detector was not fitted; call fit first")
        values, observed = _series(data)
        if len(values) != len(self.center):
            raise InputError(
                f"data hold {len(values)} series (nodes times channels); expected the {len(self.center)} of the fit"
            )
        self._check_length(values)
        scaled = ((values - self.center[:, None]) / self.scale[:, None]).masked_fill(~observed, 0.0)
        season = season_features(data.get("time"), values.shape[1], self.period) * self.season
        return _Rows(scaled, observed, season)

    def _check_length(self, values: Tensor) -> None:
        longest = max(self.windows.short_widths + self.windows.long_widths)
        if values.shape[1] < longest:
            raise InputError(
                f"the series have {values.shape[1]} steps; expected at least {longest}, the longest window"
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

    def _compare_with(self, score: Tensor) -> None:
        self.knots, self.tail_shape = fit_tail(score)

    def _final(self, score: Tensor) -> Tensor:
        """Scores that say how improbable the most improbable of a window's statistics is."""
        return surprise(Tail(self.knots, self.tail_shape), score)

    def _deviation(self, data: Data, rows: _Rows, residuals: Residuals) -> Deviation:
        expected = residuals.expected * self.scale[:, None] + self.center[:, None]
        nodes = data.x.shape[0]
        return Deviation(*(v.unflatten(0, (nodes, -1)).transpose(1, 2) for v in (expected, residuals.z, rows.observed)))

    def _result(self, data: Data, rows: _Rows, residuals: Residuals, scores: WindowScores) -> AnomalousRegions:
        nodes, steps, channels = data.x.shape
        window = _of_nodes(self._final(scores.score), channels)
        score = _highest(window)
        threshold = -math.log10(self.false_alarm_rate)
        flagged = window > threshold
        deviation = self._deviation(data, rows, residuals)
        channel = deviation.z.abs().argmax(dim=2, keepdim=True)  # that of the largest deviation stands for all
        expected, z = (value.gather(2, channel).squeeze(2) for value in deviation[:2])
        best = scores.score.unflatten(0, (nodes, channels)).nan_to_num(nan=-1.0).argmax(dim=1, keepdim=True)
        reason = scores.reason.unflatten(0, (nodes, channels)).gather(1, best).squeeze(1)
        return AnomalousRegions(
            regions=regions_from_windows(flagged, scores.start, scores.end, steps),
            anomalous=score > max(threshold, math.log10(window.shape[1] / self.node_false_alarm_rate)),
            metadata=_records(flagged, window, reason, scores),
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


def _series(data: Data) -> tuple[Tensor, Tensor]:
    """Values and mask, one row for each node and channel ``[N C, T]``, float32."""
    x, mask = data.get("x"), data.get("mask")
    if not isinstance(x, Tensor) or x.dim() != 3 or x.shape[1] < 2:
        found = tuple(x.shape) if isinstance(x, Tensor) else None
        raise InputError(f"data must have series x of the shape (N, T, C) with at least 2 steps, got {found}")
    if mask is not None and mask.shape != x.shape:
        raise InputError(f"mask has shape {tuple(mask.shape)}; expected that of x, {tuple(x.shape)}")
    observed = torch.ones_like(x, dtype=torch.bool) if mask is None else mask.bool()
    bad = observed & ~x.isfinite()
    if bool(bad.any()):
        node, step, channel = (int(i) for i in bad.nonzero()[0])
        raise InputError(f"x is {float(x[node, step, channel])} at node {node}, step {step}, where the mask says good")
    time = data.get("time")
    if time is not None and time.shape != x.shape[1:2]:
        raise InputError(f"time has shape {tuple(time.shape)}; expected ({x.shape[1]},), common to all nodes")
    rows = x.float().masked_fill(~observed, 0.0).transpose(1, 2).flatten(0, 1)
    return rows, observed.transpose(1, 2).flatten(0, 1)


def _of_nodes(score: Tensor, channels: int) -> Tensor:
    """Largest of the channels ``[N, W]``, NaN where all are."""
    by_node = score.unflatten(0, (-1, channels))
    largest: Tensor = by_node.nan_to_num(nan=-1.0).amax(dim=1)
    return largest.masked_fill(by_node.isnan().all(dim=1), float("nan"))


def _highest(window: Tensor) -> Tensor:
    """Largest score of each node, NaN where no window has one."""
    largest: Tensor = window.nan_to_num(nan=-1.0).amax(dim=1)
    return largest.masked_fill(window.isnan().all(dim=1), float("nan"))


def _records(flagged: Tensor, window: Tensor, reason: Tensor, scores: WindowScores) -> list[list[RegionRecord]]:
    """The flagged windows of each node, in the order of the windows."""
    node, place = flagged.nonzero(as_tuple=True)
    found = (node, scores.start[place], scores.end[place], reason[node, place], window[node, place])
    records: list[list[RegionRecord]] = [[] for _ in range(len(flagged))]
    for of, start, end, why, value in zip(*(values.tolist() for values in found), strict=True):
        record = {"range_start": start, "range_end": end, "reason_type": REASONS[why], "trigger_value": value}
        records[of].append(record)
    return records
