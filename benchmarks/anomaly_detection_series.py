"""The detectors of anomalies in series that the benchmark compares, and what they are compared on."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.datasets.embedded import ireland_wind
from stgraph.data.datasets.local import uk_temperature_march_2019
from stgraph.data.datasets.metr_la import metr_la_week
from stgraph.data.simulation.anomalies import inject_series
from stgraph.metrics.anomaly import detection_delay, detection_scores
from stgraph.models.detectors import SeriesResidualDetector
from stgraph.ops.anomaly import regions_from_windows, robust_threshold, window_statistics
from stgraph.ops.anomaly.series_statistics import largest_over_windows

SETS = {
    "METR-LA": "traffic speed, a week of 5 minutes",
    "Ireland": "wind speed, nine years of days",
    "ERA5": "temperature on a grid, a month of hours",
}
#: Share of the nodes that get an event; Ireland has 12 nodes, of which 8 get two events of each kind.
FRACTIONS = {"METR-LA": 0.1, "Ireland": 0.67, "ERA5": 0.1}
TRAINING = 0.6
IRELAND_STEPS, GRID_STRIDE = 3300, 3
COMPONENTS, WINDOW, WINDOWS = 10, 12, 8000
WIDTHS = (2, 8, 16, 32, 64)
#: Share of the points without events at which all methods find events, too, to compare them.
FALSE_ALARMS = 0.01
#: Steps after a window that the default detector looks at.
LOOK_AHEAD = 2
OWN, ROBUST = "own", "MAD"


class Case(NamedTuple):
    """The time from which detectors learn, and the later one with events."""

    training: Data
    test: Data
    label: Tensor
    events: dict[str, np.ndarray]
    seed: int


class Outcome(NamedTuple):
    """Scores of windows ``[N, W]``, the threshold if a method has one, and the steps after a window it looks at."""

    score: Tensor
    start: Tensor
    end: Tensor
    threshold: float | None = None
    look_ahead: int = 0


def series(name: str) -> Data:
    """The series of a set, of one channel; METR-LA and ERA5 lie below STGRAPH_DATA."""
    if name == "METR-LA":
        return metr_la_week()
    if name == "Ireland":
        return between(ireland_wind(), 0, IRELAND_STEPS)
    data = uk_temperature_march_2019()
    height, width = data.grid
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    kept = ((row % GRID_STRIDE == 0) & (column % GRID_STRIDE == 0)).flatten()
    grid = (-(-height // GRID_STRIDE), -(-width // GRID_STRIDE))
    return Data(x=data.x[kept], pos=data.pos[kept], time=data.time, grid=grid)


def between(data: Data, first: int, last: int) -> Data:
    """Some steps of all series."""
    part = copy.copy(data)
    part.x, part.time = data.x[:, first:last], data.time[first:last]
    if data.get("mask") is not None:
        part.mask = data.mask[:, first:last]
    return part


def make_case(data: Data, fraction: float, seed: int) -> Case:
    """Events of all kinds after the first 60 % of the steps."""
    steps = data.x.shape[1]
    first = round(TRAINING * steps)
    injected = inject_series(data, fraction=fraction, seed=seed, first_step=first)
    events = {name: injected.events[name] - first for name in ("start", "end")}
    events |= {name: injected.events[name] for name in ("node", "kind")}
    test = between(Data(x=injected.x, mask=data.get("mask"), time=data.time), first, steps)
    for name in ("pos", "grid", "edge_index", "edge_weight"):
        test[name] = data.get(name)
    label = injected.anomaly_mask[:, first:, 0]
    return Case(between(data, 0, first), test, label, events, seed)


def ours(case: Case, causal: bool = False) -> Outcome:
    """The default detector of series."""
    found = SeriesResidualDetector(causal=causal).fit(case.training).detect(case.test)
    look_ahead = 0 if causal else LOOK_AHEAD
    return Outcome(found.window_score, found.window_start, found.window_end, found.threshold, look_ahead)


def causal(case: Case) -> Outcome:
    """The default detector without any later step."""
    return ours(case, causal=True)


def _standardised(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Series in the units of those of training ``[N, T]``; what was not observed is 0."""
    x, later = (part.x[..., 0].double() for part in (case.training, case.test))
    seen, seen_later = (_mask(part) for part in (case.training, case.test))
    count = seen.sum(dim=1, keepdim=True).clamp(min=1)
    mean = x.masked_fill(~seen, 0.0).sum(dim=1, keepdim=True) / count
    deviation = ((x - mean).masked_fill(~seen, 0.0).square().sum(dim=1, keepdim=True) / count).sqrt().clamp(min=1e-9)
    scaled = ((x - mean) / deviation).masked_fill(~seen, 0.0)
    return scaled.numpy(), ((later - mean) / deviation).masked_fill(~seen_later, 0.0).numpy()


def _mask(data: Data) -> Tensor:
    mask = data.get("mask")
    return torch.ones(data.x.shape[:2], dtype=torch.bool) if mask is None else mask[..., 0].bool()


def _residuals(case: Case) -> tuple[Tensor, Tensor]:
    """What the principal components across nodes leave of training and test ``[N, T]``."""
    x, later = _standardised(case)
    model = PCA(min(COMPONENTS, len(x) // 2), random_state=case.seed).fit(x.T)
    left = (part - model.inverse_transform(model.transform(part.T)).T for part in (x, later))
    first, second = (torch.from_numpy(part) for part in left)
    return first, second


def components(case: Case) -> Outcome:
    """Squared residuals of principal components across nodes, step by step."""
    steps = torch.arange(case.label.shape[1])
    return Outcome(_residuals(case)[1].square(), steps, steps + 1)


def component_windows(case: Case) -> Outcome:
    """The same residuals in windows of several widths, in the units of each node's residuals in training."""
    training, test = _residuals(case)
    spread = training.square().mean(dim=1, keepdim=True).sqrt().clamp(min=1e-9)
    training, test = training / spread, test / spread
    step = torch.arange(test.shape[1])
    starts, ends, scores = [step], [step + 1], [_in_units(test.abs(), training.abs())]
    for width in WIDTHS:
        usual = window_statistics(training, _mask(case.training), width)
        found = window_statistics(test, _mask(case.test), width)
        both = [_in_units(getattr(found, name), getattr(usual, name)) for name in ("power", "coherence")]
        scores.append(torch.maximum(*both))
        starts.append(found.start)
        ends.append(found.end)
    return Outcome(torch.cat(scores, dim=1), torch.cat(starts), torch.cat(ends))


def _in_units(values: Tensor, training: Tensor) -> Tensor:
    """Less the median of training, over 1.4826 median absolute deviations."""
    middle = training.nanmedian()
    return (values - middle) / (1.4826 * (training - middle).abs().nanmedian()).clamp(min=1e-9)


def _of_windows(case: Case, model: Any) -> Outcome:
    """Scores of windows of a node, by a model of those of training."""
    x, later = _standardised(case)
    normal, found = (
        np.lib.stride_tricks.sliding_window_view(part, WINDOW, axis=1)[:, :: WINDOW // 2] for part in (x, later)
    )
    flat = normal.reshape(-1, WINDOW)
    some = np.random.default_rng(case.seed).permutation(len(flat))[:WINDOWS]
    score = -model.fit(flat[some]).score_samples(found.reshape(-1, WINDOW)).reshape(found.shape[:2])
    start = torch.arange(found.shape[1]) * (WINDOW // 2)
    return Outcome(torch.from_numpy(score), start, start + WINDOW)


def forest(case: Case) -> Outcome:
    """Isolation forest of windows."""
    return _of_windows(case, IsolationForest(random_state=case.seed))


def local_factor(case: Case) -> Outcome:
    """Local outlier factor of windows."""
    return _of_windows(case, LocalOutlierFactor(n_neighbors=20, novelty=True))


#: Methods by their names in the table.
METHODS: dict[str, Callable[[Case], Outcome]] = {
    "series residual (default)": ours,
    "series residual, causal": causal,
    "PCA": components,
    "PCA, windows": component_windows,
    "isolation forest": forest,
    "local outlier factor": local_factor,
}
OURS = ("series residual (default)", "series residual, causal")


def judge(case: Case, method: str) -> list[dict[str, Any]]:
    """Run a method and return what it reaches."""
    start = time.process_time()
    outcome = METHODS[method](case)
    seconds = time.process_time() - start
    return [{"method": method, "seconds": seconds} | scores(case, outcome)]


def scores(case: Case, outcome: Outcome) -> dict[str, Any]:
    """How well points and events were found."""
    steps = case.label.shape[1]
    point = largest_over_windows(outcome.score, outcome.start, outcome.end, steps)
    point = torch.where(point.isnan(), point.nan_to_num(torch.inf).amin(), point)
    seen = _mask(case.test)
    threshold = outcome.threshold
    if threshold is None:
        threshold = float(robust_threshold(point[seen]))
    window = outcome.score.nan_to_num(nan=-torch.inf)
    flags = window > threshold
    flagged = regions_from_windows(flags, outcome.start, outcome.end, steps)
    record = detection_scores(point[seen], case.label[seen], flagged[seen])
    delay = detection_delay(flagged, case.events)["delay"]
    known = alarm_delay(flags, outcome, case.events)
    strict = alarm_delay(window > _quantile(point[seen & ~case.label]), outcome, case.events)
    kinds: dict[str, dict[str, float]] = {}
    for name in ("", *sorted(set(case.events["kind"]))):
        rows = torch.from_numpy((case.events["kind"] == name) | (name == ""))
        of_kind = _points_of(case, rows) & seen
        kept = of_kind | (~case.label & seen)
        kinds[str(name)] = {
            "auprc": detection_scores(point[kept], of_kind[kept])["auprc"],
            "found": float((~delay[rows].isnan()).double().mean()),
            "delay": float(delay[rows].nanmedian()),
            "known": float(known[rows].nanmedian()),
            "found_strict": float((~strict[rows].isnan()).double().mean()),
            "known_strict": float(strict[rows].nanmedian()),
        }
    events = kinds.pop("")
    rule = ROBUST if outcome.threshold is None else OWN
    share = float(case.label[seen].double().mean())
    return {"rule": rule, **events, **record, "kinds": kinds, "anomalous_share": share}


def _quantile(clean: Tensor) -> float:
    """The score that a hundredth of the points without events exceed at most."""
    return float(clean.sort().values[-1 - int(FALSE_ALARMS * len(clean))])


def _points_of(case: Case, rows: Tensor) -> Tensor:
    """The steps of some of the events ``[N, T]``."""
    node, start, end = (torch.from_numpy(np.asarray(case.events[name]))[rows] for name in ("node", "start", "end"))
    step = torch.arange(case.label.shape[1])
    inside = (step >= start[:, None]) & (step < end[:, None])
    points = torch.zeros_like(case.label, dtype=torch.int64).index_add_(0, node, inside.long())
    return (points > 0) & case.label


def alarm_delay(flags: Tensor, outcome: Outcome, events: dict[str, np.ndarray]) -> Tensor:
    """Steps from the beginning of each event until a flagged window that holds some of it can be known; NaN if none.

    A window is known when its last step, and those after it that the method looks at, are over.
    """
    node, start, end = (torch.from_numpy(np.asarray(events[name])) for name in ("node", "start", "end"))
    touches = (outcome.start < end[:, None]) & (outcome.end > start[:, None]) & flags[node]
    known = (outcome.end - 1 + outcome.look_ahead - start[:, None]).double().masked_fill(~touches, torch.inf)
    first = known.amin(dim=1).clamp(min=0.0)
    return first.masked_fill(first.isinf(), torch.nan)
