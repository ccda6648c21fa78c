"""What in a series often means that something is wrong with it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.cli.tables import format_share

__all__ = ["diagnose"]

_MOST_NAMES = 5


def diagnose(series: Data) -> dict[str, str]:
    """Look for gaps in time, nodes that never change or were never observed, and zeros that may mean "missing".

    Times that are unsorted or repeated cannot be in a series: reading the file says where they are.

    Examples:
        >>> x = torch.tensor([[[1.0], [2.0], [3.0]], [[0.0], [0.0], [0.0]]])
        >>> facts = diagnose(Data(x=x, time=torch.tensor([0, 1, 3]) * 3600 * 10**9))
        >>> facts["gaps in time"]
        '1 gap, 1 step missing, the longest of 0 days 02:00:00 after 1970-01-01T01:00'
        >>> facts["constant nodes"]
        '1: 1'
    """
    x, mask = series.x, series.get("mask")
    observed = torch.ones(()).bool().expand_as(x) if mask is None else mask
    names = series.get("node_names") or [str(i) for i in range(x.shape[0])]
    low = torch.where(observed, x, torch.inf).amin(1)
    high = torch.where(observed, x, -torch.inf).amax(1)
    seen = observed.any(1)
    zeros = int(((x == 0) & observed).sum()) / max(int(observed.sum()), 1)
    hint = ' (if they mean "missing", pass null_value=0)' if zeros > 0 else ""
    return {
        "gaps in time": _gaps(series.get("time")),
        "constant nodes": _named((seen & (low == high)).any(-1), names),
        "never observed": _named(~seen.any(-1), names),
        "zeros": f"{format_share(zeros)} of what was observed{hint}",
    }


def _gaps(time: Tensor | None) -> str:
    """Describe steps that are longer than the usual (median) one."""
    if time is None:
        return "unknown, there are no times"
    if time.shape[-1] < 2:
        return "none"
    step = time[..., 1:] - time[..., :-1]
    usual = step.flatten().median()
    long = step > 1.5 * usual
    if not long.any():
        return "none"
    missing = int((step[long].double() / usual).round().sum()) - int(long.sum())
    count = int(long.sum())
    text = f"{count} gap{'s' * (count > 1)}, {missing} step{'s' * (missing != 1)} missing"
    if time.is_floating_point() or time.dim() > 1:
        return f"{text}, the longest of {step.max():g}"
    longest = int(step.argmax())
    start = np.datetime_as_string(time[longest].numpy().astype("datetime64[ns]"), unit="m")
    return f"{text}, the longest of {pd.Timedelta(int(step[longest]), unit='ns')} after {start}"


def _named(nodes: Tensor, names: list[str]) -> str:
    found = [names[i] for i in nodes.nonzero().flatten().tolist()]
    if not found:
        return "none"
    more = f" and {len(found) - _MOST_NAMES} more" if len(found) > _MOST_NAMES else ""
    return f"{len(found)}: {', '.join(found[:_MOST_NAMES])}{more}"
