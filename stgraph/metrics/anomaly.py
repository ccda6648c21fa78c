"""How well anomalies were detected: objects, regions of spectra, and events in series.

Scores are larger where something is more anomalous; True stands for anomalous.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_stat_scores

from stgraph.errors import InputError, InputTypeError

__all__ = ["detection_delay", "detection_scores", "region_iou", "scores_by_kind"]


def detection_scores(
    score: Tensor, label: Tensor, flagged: Tensor | None = None, *, mask: Tensor | None = None
) -> dict[str, float]:
    """Compare scores and flags of objects with what is known about them.

    Args:
        score: Score of each object; equal scores count as half a success in the area under the ROC curve.
        label: True for anomalous objects.
        flagged: True for objects that were called anomalous.
        mask: True for objects that count; leave out those without data.

    Shapes:
        - **score**, **label**, **flagged**, **mask:** :math:`(N)`

    Returns:
        ``precision``, ``recall``, ``f1`` and ``false_positive_rate`` of the flags, ``auroc`` and ``auprc`` (average
        precision) of the scores. NaN stands for what is not defined: the first four without ``flagged``, the precision
        where nothing is flagged, the false-positive rate and ``auroc`` where no object is clean, and ``auroc``,
        ``auprc``, ``recall`` and ``f1`` where none is anomalous.

    Raises:
        InputError: If the shapes differ, or a score that counts is NaN.
        InputTypeError: If a label or flag is not bool.

    Examples:
        >>> label = torch.tensor([True, False, False, True])
        >>> flagged = torch.tensor([True, True, False, True])
        >>> scores = detection_scores(torch.tensor([3.0, 2.0, 1.0, 4.0]), label, flagged)
        >>> scores["auroc"], scores["recall"], scores["false_positive_rate"]
        (1.0, 1.0, 0.5)
    """
    _check_vectors(score, label=label, flagged=flagged, mask=mask)
    if mask is not None:
        score, label = score[mask], label[mask]
        flagged = None if flagged is None else flagged[mask]
    return _flag_scores(flagged, label) | _rank_scores(score, label)


def scores_by_kind(
    score: Tensor,
    label: Tensor,
    kind: Sequence[str] | npt.NDArray[Any],
    flagged: Tensor | None = None,
    *,
    mask: Tensor | None = None,
) -> dict[str, dict[str, float]]:
    """Recall of each kind of anomaly, and the area under the ROC curve of that kind against the clean objects.

    Args:
        score: Score of each object.
        label: True for anomalous objects.
        kind: Kind of each anomalous object, as in ``metadata["anomaly_kind"]`` of injected anomalies.
        flagged: True for objects that were called anomalous.
        mask: True for objects that count.

    Shapes:
        - **score**, **label**, **kind**, **flagged**, **mask:** :math:`(N)`

    Returns:
        For each kind, in alphabetical order, ``recall``, ``auroc`` (NaN where not defined, see
        :func:`detection_scores`) and ``number`` of objects.

    Raises:
        InputError: If the shapes differ, or a score that counts is NaN.
        InputTypeError: If a label or flag is not bool.

    Examples:
        >>> label = torch.tensor([True, False, True])
        >>> scores_by_kind(torch.tensor([3.0, 2.0, 1.0]), label, ["line", "", "gap"])["line"]
        {'recall': nan, 'auroc': 1.0, 'number': 1}
    """
    _check_vectors(score, label=label, flagged=flagged, mask=mask)
    names = np.asarray(kind)
    if names.shape != (len(label),):
        raise InputError(f"kind has the shape {names.shape}; expected ({len(label)},), one for each score")
    counts = torch.ones_like(label) if mask is None else mask
    result = {}
    for name in np.unique(names[(label & counts).numpy(force=True)]):
        of_kind = label & torch.from_numpy(names == name).to(label.device)
        scores = detection_scores(score, of_kind, flagged, mask=counts & (of_kind | ~label))
        number = int((of_kind & counts).sum())
        result[str(name)] = {"recall": scores["recall"], "auroc": scores["auroc"], "number": number}
    return result


def region_iou(found: Tensor, true: Tensor) -> Tensor:
    """Intersection over union of the found and the true region of each object.

    Shapes:
        - **found**, **true:** :math:`(N, L)` or :math:`(N, L, C)`, bool
        - **output:** :math:`(N)`, float64; NaN where both regions are empty

    Raises:
        InputError: If the shapes differ or have fewer than two dimensions.
        InputTypeError: If a region is not bool.

    Examples:
        >>> region_iou(torch.tensor([[True, True, False]]), torch.tensor([[False, True, True]])).round(decimals=2)
        tensor([0.3300], dtype=torch.float64)
    """
    for name, region in (("found", found), ("true", true)):
        _check_bool(name, region)
    if found.shape != true.shape or found.dim() < 2:
        raise InputError(
            f"found has the shape {tuple(found.shape)}, true {tuple(true.shape)}; expected [N, L] for both"
        )
    found, true = found.flatten(1), true.flatten(1)
    return (found & true).sum(dim=1).double() / (found | true).sum(dim=1)


def detection_delay(flagged: Tensor, events: Mapping[str, Any]) -> dict[str, Any]:
    """How long after the beginning of each event the first of its steps was flagged.

    Args:
        flagged: The steps that were called anomalous.
        events: ``node``, ``start`` and ``end`` (exclusive) of each event, and ``channel`` if the flags have channels,
            as :func:`~stgraph.data.simulation.anomalies.inject_series` gives them.

    Shapes:
        - **flagged:** :math:`(N, T)` or :math:`(N, T, C)`, bool
        - **events:** vectors of E numbers

    Returns:
        ``delay``, a tensor of E numbers of steps (0 where the first step was flagged, NaN where none was),
        ``never_found``, the share of the events without a flagged step, and ``median_delay`` of the others; NaN where
        there are none.

    Raises:
        InputError: If a vector is missing, or an event does not lie within ``flagged``.
        InputTypeError: If ``flagged`` is not bool.

    Examples:
        >>> flagged = torch.tensor([[False, False, True, True, False]])
        >>> found = detection_delay(flagged, {"node": [0, 0], "start": [1, 4], "end": [4, 5]})
        >>> found["delay"], found["never_found"], found["median_delay"]
        (tensor([1., nan], dtype=torch.float64), 0.5, 1.0)
    """
    _check_bool("flagged", flagged)
    if flagged.dim() not in (2, 3):
        raise InputError(f"flagged has the shape {tuple(flagged.shape)}; expected [N, T] or [N, T, C]")
    cube = flagged.unsqueeze(-1) if flagged.dim() == 2 else flagged
    node, channel, start, end = _check_events(events, cube, with_channel=flagged.dim() == 3)
    steps = cube.size(1)
    number = torch.arange(steps, device=cube.device)[:, None]
    following = torch.where(cube, number, steps).flip(1).cummin(dim=1).values.flip(1)
    first = following[node, start, channel]
    delay = torch.where(first < end, (first - start).double(), math.nan)
    found = delay[~delay.isnan()]
    return {
        "delay": delay,
        "never_found": 1 - len(found) / len(delay) if len(delay) else math.nan,
        "median_delay": float(np.median(found.numpy(force=True))) if len(found) else math.nan,
    }


def _flag_scores(flagged: Tensor | None, label: Tensor) -> dict[str, float]:
    names = ("precision", "recall", "f1", "false_positive_rate")
    if flagged is None or not len(label):
        return dict.fromkeys(names, math.nan)
    hits, false_alarms, rejected, missed, anomalous = binary_stat_scores(flagged.long(), label.long()).tolist()
    return {
        "precision": _ratio(hits, hits + false_alarms),
        "recall": _ratio(hits, anomalous),
        "f1": _ratio(2 * hits, 2 * hits + false_alarms + missed) if anomalous else math.nan,
        "false_positive_rate": _ratio(false_alarms, false_alarms + rejected),
    }


def _rank_scores(score: Tensor, label: Tensor) -> dict[str, float]:
    if score.isnan().any():
        raise InputError(f"score is NaN for {int(score.isnan().sum())} objects that count; mask those without data")
    anomalous = int(label.sum())
    result = {"auroc": math.nan, "auprc": math.nan}
    if anomalous:
        # Only the order matters. torchmetrics takes scores outside 0..1 for logits, and its sigmoid would make ties.
        order = torch.unique(score, return_inverse=True)[1].double() / len(score)
        result["auprc"] = float(binary_average_precision(order, label.long()))
        if anomalous < len(label):
            result["auroc"] = float(binary_auroc(order, label.long()))
    return result


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _check_vectors(score: Tensor, **others: Tensor | None) -> None:
    if not isinstance(score, Tensor) or score.dim() != 1:
        raise InputError(f"score is {tuple(score.shape) if isinstance(score, Tensor) else score!r}; expected [N]")
    for name, value in others.items():
        if value is not None:
            _check_bool(name, value)
            if value.shape != score.shape:
                raise InputError(f"{name} has the shape {tuple(value.shape)}, score {tuple(score.shape)}")


def _check_bool(name: str, value: Any) -> None:
    if not isinstance(value, Tensor) or value.dtype != torch.bool:
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise InputTypeError(f"{name} is of type {kind}; expected a tensor of torch.bool")


def _check_events(events: Mapping[str, Any], cube: Tensor, with_channel: bool) -> tuple[Tensor, ...]:
    names = ("node", "channel", "start", "end") if with_channel else ("node", "start", "end")
    missing = [name for name in names if name not in events]
    if missing:
        raise InputError(f"events lacks {', '.join(missing)}; it has {', '.join(events)}")
    columns = {name: torch.as_tensor(events[name], device=cube.device).long().reshape(-1) for name in names}
    node, start, end = columns["node"], columns["start"], columns["end"]
    channel = columns.get("channel", torch.zeros_like(node))
    if len({len(column) for column in columns.values()}) > 1:
        raise InputError(f"events has vectors of {[len(column) for column in columns.values()]} numbers")
    nodes, steps, channels = cube.shape
    fits = (node >= 0) & (node < nodes) & (start >= 0) & (start < end) & (end <= steps)
    fits &= (channel >= 0) & (channel < channels)
    if not fits.all():
        raise InputError(f"events has {int((~fits).sum())} events that are not within {nodes} nodes and {steps} steps")
    return node, channel, start, end
