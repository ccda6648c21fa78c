"""From flagged windows of several widths to regions."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.ops.anomaly.result import RegionRecord

__all__ = ["merged_records", "narrowest_windows"]


def narrowest_windows(flagged: Tensor, score: Tensor, start: Tensor, end: Tensor) -> Tensor:
    r"""Drop flagged windows of which a narrower flagged one says more: a line also raises all wide windows around it.

    A window is dropped if a narrower flagged window that overlaps it has at least its score.

    Args:
        flagged: Flagged windows.
        score: Scores of the windows.
        start: First point of each window, all windows of one width one after another.
        end: Its end, exclusive.

    Shapes:
        - **flagged**, **score:** :math:`(N, W)`, **start**, **end:** :math:`(W)`, **output:** :math:`(N, W)`

    Examples:
        >>> start, end = torch.tensor([0, 2, 4, 0]), torch.tensor([2, 4, 6, 6])
        >>> narrowest_windows(torch.ones(1, 4) > 0, torch.tensor([[9.0, 3.0, 3.0, 8.0]]), start, end)
        tensor([[ True,  True,  True, False]])
    """
    kept = flagged.clone()
    rows = flagged.any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return kept
    width = (end - start).to(flagged.device)
    at = torch.where(flagged[rows], score[rows], -torch.inf)
    # The best score of narrower windows so far, at every point.
    best = at.new_full((len(rows), int(end.max())), -torch.inf)
    for each in width.unique():
        own = (width == each).nonzero()[:, 0]
        points = start[own].to(flagged.device)[:, None] + torch.arange(int(each), device=flagged.device)
        narrower = best[:, points].amax(dim=2)
        stays = at[:, own] > narrower
        kept[rows[:, None], own] = flagged[rows[:, None], own] & stays
        shown = torch.where(stays, at[:, own], -torch.inf)[:, :, None].expand(-1, -1, int(each)).flatten(1)
        best.scatter_reduce_(1, points.flatten().expand(len(rows), -1), shown, "amax")
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
