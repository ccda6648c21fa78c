"""What a detector finds in the data of a run or in other data, and the files that say so."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import observed_entries
from stgraph.data.spectra.rest_frame import observed_range
from stgraph.errors import CheckpointError
from stgraph.models.detectors import get_detector
from stgraph.models.detectors.base import Detector
from stgraph.ops.anomaly.calibration import benjamini_hochberg, conformal_pvalues
from stgraph.ops.anomaly.merging import merged_records, narrowest_windows
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.windows import regions_from_windows
from stgraph.tasks.anomaly_data import AnomalyParts
from stgraph.tasks.anomaly_input import node_names
from stgraph.tasks.checkpoints import read_checkpoint, write_atomically, write_tensors

__all__ = [
    "FoundAnomalies",
    "decide",
    "evaluate_detection",
    "judge",
    "load_detector",
    "on_cpu",
    "region_places",
    "save_detector",
    "thresholds_of",
    "write_found",
]


class FoundAnomalies(NamedTuple):
    """What was found in which data.

    Args:
        found: Scores, flags and regions.
        names: Name of each spectrum or node.
        data: The data as they were judged, on the grid of the run.
    """

    found: AnomalousRegions
    names: list[str]
    data: Data


def save_detector(path: Path, detector: Detector, description: dict[str, Any]) -> None:
    """Write a fitted detector: what builds it again, and its tensors.

    Args:
        path: The file.
        detector: The detector.
        description: ``name`` and ``arguments`` of the detector, and what else a reader has to know.
    """
    write_tensors(path, {"description": description, "state": detector.state_dict()})


def load_detector(path: Path) -> tuple[Detector, dict[str, Any]]:
    """Read a fitted detector without executing anything from its file.

    Returns:
        tuple: The detector, and its description.

    Raises:
        CheckpointError: If the file is missing, damaged, or holds no detector.
    """
    content = read_checkpoint(path)
    if not {"description", "state"} <= content.keys():
        raise CheckpointError(f"{path} holds no detector of an anomaly run")
    description = content["description"]
    try:
        detector: Detector = get_detector(description["name"])(**description["arguments"])
        detector.load_state_dict(content["state"])
    except (RuntimeError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} does not fit its detector: {str(error).splitlines()[0]}") from error
    return detector.eval(), description


def judge(detector: Detector, parts: AnomalyParts, device: str = "cpu") -> FoundAnomalies:
    """Fit a detector to what a run judges, calibrate it with what the run keeps, and return what it found.

    The spectra that are judged here have chosen components and thresholds, and those that calibrate have not: the
    p-values of the first are approximate. Those of :meth:`~stgraph.models.detectors.Detector.detect` on other data are
    exact.

    Args:
        detector: The detector; it is fitted afterwards.
        parts: The data of the run.
        device: Where to compute.
    """
    detector.to(device)
    found = detector.fit_detect(parts.judged.clone().to(device))
    if parts.calibration is not None:
        detector.calibrate(parts.calibration.clone().to(device))
        # Series are calibrated for other periods: their calibration changes what a score means.
        if parts.options.data.kind == "spectra":
            p_value = conformal_pvalues(found.score, detector.get_buffer("calibration"))
            found = decide(dataclasses.replace(found, p_value=p_value), parts.options.detector.false_alarm_rate)
    return FoundAnomalies(on_cpu(found), node_names(parts.judged), parts.judged)


def decide(found: AnomalousRegions, rate: float | None) -> AnomalousRegions:
    """Flag by p-values in place of the detector's threshold, with a bound on the share of false alarms.

    The bound is guaranteed for the p-values of data that neither fitted nor calibrated the detector, as
    :meth:`~stgraph.models.detectors.Detector.detect` gives them. Of the data of the fit itself, as :func:`judge` gives
    them, it holds approximately.

    The regions of spectra that were compared with their neighbours are then the windows with a score above all those
    that are not flagged; others stay as they are.

    Args:
        found: What the detector found, with p-values.
        rate: The bound; ``None`` leaves the flags as they are.
    """
    if rate is None or found.p_value is None:
        return found
    flags = torch.zeros_like(found.no_data)
    flags[~found.no_data] = benjamini_hochberg(found.p_value[~found.no_data], rate)
    if found.rule != "graph_residual":
        return dataclasses.replace(found, anomalous=flags)
    left = found.score[~flags & found.score.isfinite()]
    threshold = float(left.max()) if left.numel() else -math.inf
    start, end, score = found.window_start, found.window_end, found.window_score
    windows = (score > threshold) & flags[:, None]
    if found.deviation is not None:
        windows = narrowest_windows(windows, found.deviation, start, end)
    regions = regions_from_windows(windows, start, end, found.regions.shape[1])
    records = merged_records(regions, windows, score, start, found.rule)
    return dataclasses.replace(found, anomalous=flags, regions=regions, metadata=records, threshold=threshold)


def thresholds_of(found: AnomalousRegions) -> dict[str, float]:
    """Return the thresholds that the rule of a result has."""
    names = (
        "threshold",
        "abs_residual_threshold",
        "rel_residual_threshold",
        "range_mismatch_factor",
        "overall_anomaly_threshold",
    )
    values = {name: getattr(found, name) for name in names}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def on_cpu(found: AnomalousRegions) -> AnomalousRegions:
    """Return a result with all its tensors on the CPU."""
    values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    moved: dict[str, Any] = {name: value.cpu() for name, value in values.items() if isinstance(value, Tensor)}
    return dataclasses.replace(found, **moved)


def evaluate_detection(found: AnomalousRegions, data: Data) -> dict[str, Any] | None:
    """Return precision, recall and the like where the data say what is anomalous; ``None`` where they do not.

    Spectra and nodes without data, or without a window that could be judged, do not count.
    """
    truth = data.get("anomalous")
    if truth is None:
        return None
    from stgraph.metrics.anomaly import detection_delay, detection_scores, region_iou, scores_by_kind

    known = ~found.no_data & ~found.score.isnan()
    scores: dict[str, Any] = detection_scores(found.score, truth, found.anomalous, mask=known)
    scores["labelled"] = int((truth & known).sum())
    if data.get("anomaly_mask") is not None:
        overlap = region_iou(found.regions, data.anomaly_mask.any(dim=2))[truth & known]
        scores["region_iou"] = float(overlap.mean()) if overlap.numel() else math.nan
    if data.get("events") is not None:
        delays = detection_delay(found.regions, data.events)
        scores |= {name: delays[name] for name in ("never_found", "median_delay")}
    kinds = (data.get("metadata") or {}).get("anomaly_kind")
    if kinds is not None:
        scores["by_kind"] = scores_by_kind(found.score, truth, kinds, found.anomalous, mask=known)
    return scores


def region_places(judged: FoundAnomalies, row: int) -> list[tuple[str, str]]:
    """Return first and last place of each flagged region of a spectrum or node: angstrom, time or step.

    Wavelengths are observed ones, whichever frame the spectra are in; regions that touch are one.
    """
    flagged = np.flatnonzero(np.diff(judged.found.regions[row].cpu().numpy().astype(np.int8), prepend=0, append=0))
    spans = flagged.reshape(-1, 2).tolist()
    if judged.data.get("wavelength") is not None:
        limits = [observed_range(judged.data, row, start, end) for start, end in spans]
        return [(f"{low:.1f}", f"{high:.1f}") for low, high in limits]
    time = judged.data.get("time")
    if time is None:
        return [(str(start), str(end - 1)) for start, end in spans]
    time = time if time.dim() == 1 else time[row]
    if time.dtype == torch.int64:
        stamps = time.cpu().numpy().astype("datetime64[ns]").astype("datetime64[m]")
        return [(str(stamps[start]), str(stamps[end - 1])) for start, end in spans]
    return [(f"{time[start]:g}", f"{time[end - 1]:g}") for start, end in spans]


def write_found(judged: FoundAnomalies, arrays: Path, table: Path) -> None:
    """Write the arrays of what was found as ``.npz`` and a row for each spectrum or node as ``.csv``."""
    found, data = judged.found, judged.data
    tensors = {
        "score": found.score,
        "anomalous": found.anomalous,
        "no_data": found.no_data,
        "regions": found.regions,
        "p_value": found.p_value,
        "expected": found.expected,
        "deviation": found.deviation,
        "wavelength": data.get("wavelength"),
        "time": data.get("time"),
    }
    named = {name: value.detach().cpu().numpy() for name, value in tensors.items() if value is not None}
    named["name"] = np.asarray(judged.names, dtype=np.str_)
    write_atomically(arrays, lambda temporary: np.savez_compressed(temporary, **named))
    write_atomically(table, lambda temporary: _table(judged).to_csv(temporary, index=False))


def _table(judged: FoundAnomalies) -> Any:
    import pandas as pd

    found, data = judged.found, judged.data
    good = observed_entries(data).any(dim=2)
    share = (found.regions.cpu() & good).sum(dim=1) / good.sum(dim=1).clamp(min=1)
    starts = torch.nn.functional.pad(found.regions.to(torch.int8), (1, 0)).diff(dim=1) == 1
    columns: dict[str, Any] = {
        "name": judged.names,
        "score": found.score.cpu().numpy(),
        "anomalous": found.anomalous.cpu().numpy(),
        "share": share.numpy(),
        "regions": starts.sum(dim=1).cpu().numpy(),
        "no_data": found.no_data.cpu().numpy(),
    }
    if found.p_value is not None:
        columns["p_value"] = found.p_value.cpu().numpy()
    sky, redshift = data.get("sky"), data.get("redshift")
    if sky is not None:
        columns |= {"ra": sky[:, 0].cpu().numpy(), "dec": sky[:, 1].cpu().numpy()}
    if redshift is not None:
        columns["z"] = redshift.cpu().numpy()
    return pd.DataFrame(columns)
