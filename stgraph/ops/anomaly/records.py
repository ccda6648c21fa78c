"""Why windows were flagged, as lists for a record."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.ops.anomaly.residual_windows import FLOOR, ResidualWindows
from stgraph.ops.anomaly.result import RegionRecord

__all__ = ["REASONS", "region_records"]

#: The reasons of the residual rules, in the order in which they are asked for.
REASONS = ("high_absolute_residual", "high_relative_residual", "range_mismatch")


def region_records(
    flagged: Tensor, windows: ResidualWindows, abs_residual_threshold: float, rel_residual_threshold: float
) -> list[list[RegionRecord]]:
    r"""The flagged windows of each spectrum, each with the first reason that applies and the value that gave it.

    Shapes:
        - **flagged:** :math:`(N, W)`
    """
    spectrum, window = flagged.nonzero(as_tuple=True)
    absolute, relative, original_range, reconstructed_range = (values[spectrum, window] for values in windows[2:])
    high_absolute, high_relative = absolute > abs_residual_threshold, relative > rel_residual_threshold
    reason = torch.where(high_absolute, 0, torch.where(high_relative, 1, 2))
    ratio = reconstructed_range / (original_range + FLOOR)
    value = torch.where(high_absolute, absolute, torch.where(high_relative, relative, ratio))
    bounds = windows.start[window.cpu()].tolist(), windows.end[window.cpu()].tolist()
    records: list[list[RegionRecord]] = [[] for _ in range(len(flagged))]
    for of, start, end, why, number in zip(spectrum.tolist(), *bounds, reason.tolist(), value.tolist(), strict=True):
        records[of].append(
            {"range_start": start, "range_end": end, "reason_type": REASONS[why], "trigger_value": number}
        )
    return records
