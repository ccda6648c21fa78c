"""From flagged windows of several widths to regions."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.ops.anomaly.result import RegionRecord
from stgraph.ops.anomaly.windows import regions_from_windows, window_sums

__all__ = ["merged_records", "narrowest_windows"]


def narrowest_windows(flagged: Tensor, deviation: Tensor, start: Tensor, end: Tensor) -> Tensor:
    r"""Drop flagged windows that narrower ones explain: a line also raises all wide windows around it.

    From the narrowest width to the widest, a window stays if at least half of the sum of the squared deviations in it
    lies outside the narrower windows that stayed.

    Args:
        flagged: Flagged windows.
        deviation: Deviations from what is expected, 0 at bad points.
        start: First point of each window, all windows of one width one after another.
        end: Its end, exclusive.

    Shapes:
        - **flagged:** :math:`(N, W)`, **deviation:** :math:`(N, L)`, **start**, **end:** :math:`(W)`, **output:**
          :math:`(N, W)`

    Examples:
        >>> start, end = torch.tensor([0, 2, 4, 0]), torch.tensor([2, 4, 6, 6])
        >>> flagged = torch.tensor([[True, False, False, True]])
        >>> narrowest_windows(flagged, torch.tensor([[9.0, 9.0, 1.0, 1.0, 1.0, 1.0]]), start, end)
        tensor([[ True, False, False, False]])
        >>> narrowest_windows(flagged, torch.tensor([[9.0, 9.0, 8.0, 8.0, 8.0, 8.0]]), start, end)
        tensor([[ True, False, False,  True]])
    """
    kept = flagged.clone()
    rows = flagged.any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return kept
    energy = deviation[rows].double().square()
    left = energy.clone()
    width = (end - start).to(flagged.device)
    for each in width.unique():
        own = (width == each).nonzero()[:, 0]
        first, last = start.to(own.device)[own], end.to(own.device)[own]
        stays = flagged[rows[:, None], own]
        stays &= window_sums(left, first, last) >= 0.5 * window_sums(energy, first, last)
        kept[rows[:, None], own] = stays
        left.masked_fill_(regions_from_windows(stays, first, last, left.shape[1]), 0.0)
    return kept


def merged_records(
    regions: Tensor, flagged: Tensor, score: Tensor, start: Tensor, reason: str
) -> list[list[RegionRecord]]:
    r"""List the regions of every series, with the largest score of the flagged windows that begin in each.

    Shapes:
        - **regions:** :math:`(N, L)`, **flagged**, **score:** :math:`(N, W)`, **start:** :math:`(W)`

    Examples:
        >>> regions = torch.tensor([[False, True, True, True]])
        >>> flagged, score = torch.tensor([[False, True, True]]), torch.tensor([[1.0, 7.0, 8.0]])
        >>> merged_records(regions, flagged, score, torch.tensor([0, 1, 2]), "graph_residual")
        [[{'range_start': 1, 'range_end': 4, 'reason_type': 'graph_residual', 'trigger_value': 8.0}]]
    """
    edges = torch.nn.functional.pad(regions.to(torch.int8), (1, 1)).diff(dim=1)
    rows, first = (edges == 1).nonzero(as_tuple=True)
    last = (edges == -1).nonzero(as_tuple=True)[1]
    records: list[list[RegionRecord]] = [[] for _ in range(len(regions))]
    # A window is in the last region that begins at its first point or before; take maxima over the windows of each.
    owner, window = flagged.nonzero(as_tuple=True)
    length = regions.shape[1]
    place = owner * length + start.to(regions.device)[window]
    region = torch.searchsorted(rows * length + first, place, right=True) - 1
    values = score.new_full((len(rows),), -torch.inf)
    values.scatter_reduce_(0, region, score[owner, window], "amax")
    found = zip(rows.tolist(), first.tolist(), last.tolist(), values.tolist(), strict=True)
    for row, begin, stop, value in found:
        record = {"range_start": begin, "range_end": stop, "reason_type": reason, "trigger_value": value}
        records[row].append(record)
    return records
