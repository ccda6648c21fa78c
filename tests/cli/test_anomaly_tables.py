"""The table of what a run finds."""

from __future__ import annotations

import math

import torch
from torch_geometric.data import Data

from stgraph.cli.anomaly_tables import highest_scores
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.tasks.anomaly_detection import FoundAnomalies

DAY, HOUR = 86_400_000_000_000, 3_600_000_000_000


def table(step):
    """Lines for four sensors: two with regions, one with too little data and one with none."""
    regions = torch.zeros(4, 6, dtype=torch.bool)
    regions[0, 1:3] = regions[0, 4] = regions[1, 0] = True
    found = AnomalousRegions(
        regions=regions,
        anomalous=torch.tensor([True, False, False, False]),
        metadata=[[] for _ in range(4)],
        score=torch.tensor([5.0, 4.0, math.nan, math.nan]),
        no_data=torch.tensor([False, False, False, True]),
        rule="series_residual",
        window_size=1,
        window_start=torch.zeros(1, dtype=torch.long),
        window_end=torch.ones(1, dtype=torch.long),
        window_score=torch.zeros(4, 1),
    )
    data = Data(x=torch.zeros(4, 6, 1), time=torch.arange(6) * step)
    return highest_scores(FoundAnomalies(found, list("abcd"), data), 10).split("\n")


def test_days_are_dates_and_regions_begin_below_one_another():
    assert table(DAY) == [
        "1 of 4 are anomalous; 1 have no data; 1 have too little data",
        "",
        "    score  anomalous  regions",
        "a       5        yes  1970-01-02 to 1970-01-03, 1970-01-05 to 1970-01-05",
        "b       4         no  1970-01-01 to 1970-01-01",
    ]


def test_hours_are_times():
    assert table(HOUR)[3:] == [
        "a       5        yes  1970-01-01T01:00 to 1970-01-01T02:00, 1970-01-01T04:00 to 1970-01-01T04:00",
        "b       4         no  1970-01-01T00:00 to 1970-01-01T00:00",
    ]
