"""Decisions by p-values, places of regions, and evaluation against labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch_geometric.data import Data

from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.tasks.anomaly_detection import FoundAnomalies, decide, evaluate_detection, region_places, thresholds_of


def found_of(window_score, p_value=None, rule="graph_residual"):
    """A result with three windows of two points each, on six points."""
    score = window_score.nan_to_num(-math.inf).amax(dim=1)
    no_data = window_score.isnan().all(dim=1)
    start = torch.tensor([0, 2, 4])
    return AnomalousRegions(
        regions=torch.zeros(len(score), 6, dtype=torch.bool),
        anomalous=torch.zeros(len(score), dtype=torch.bool),
        metadata=[[] for _ in score],
        score=score.masked_fill(no_data, math.nan),
        no_data=no_data,
        rule=rule,
        window_size=2,
        window_start=start,
        window_end=start + 2,
        window_score=window_score,
        threshold=99.0,
        p_value=p_value,
    )


WINDOWS = torch.tensor([[1.0, 2.0, 1.0], [1.0, 8.0, 1.0], [3.0, 1.0, 1.0], [math.nan] * 3])


def test_what_is_flagged_by_p_values_has_the_windows_above_all_that_is_not():
    found = decide(found_of(WINDOWS, torch.tensor([0.6, 0.01, 0.5, 1.0])), 0.1)
    assert found.anomalous.tolist() == [False, True, False, False]
    assert found.regions[1].tolist() == [False, False, True, True, False, False]
    assert not found.regions[[0, 2, 3]].any()
    assert found.threshold == 3.0
    assert found.metadata[1] == [
        {"range_start": 2, "range_end": 4, "reason_type": "graph_residual", "trigger_value": 8.0}
    ]


def test_objects_without_data_do_not_make_the_bound_stricter():
    # Of three objects 0.03 is small enough for a bound of 0.1; of four it would not be.
    assert decide(found_of(WINDOWS, torch.tensor([0.6, 0.03, 0.5, 1.0])), 0.1).anomalous[1]


def test_without_a_bound_or_p_values_nothing_changes():
    found = found_of(WINDOWS, torch.tensor([0.6, 0.01, 0.5, 1.0]))
    assert decide(found, None) is found
    without = found_of(WINDOWS)
    assert decide(without, 0.1) is without


def test_other_rules_keep_their_regions():
    found = decide(found_of(WINDOWS, torch.tensor([0.6, 0.01, 0.5, 1.0]), rule="percentile"), 0.1)
    assert found.anomalous[1]
    assert not found.regions.any()
    assert found.threshold == 99.0


def test_labels_count_where_there_is_data():
    found = decide(found_of(WINDOWS, torch.tensor([0.6, 0.01, 0.5, 1.0])), 0.1)
    mask = torch.zeros(4, 6, 1, dtype=torch.bool)
    mask[1, 3:5] = True
    data = Data(x=torch.zeros(4, 6, 1), anomalous=torch.tensor([False, True, False, True]), anomaly_mask=mask)
    scores = evaluate_detection(found, data)
    assert scores is not None
    assert (scores["labelled"], scores["precision"], scores["recall"], scores["auprc"]) == (1, 1.0, 1.0, 1.0)
    assert scores["region_iou"] == pytest.approx(1 / 3)
    assert evaluate_detection(found, Data(x=torch.zeros(4, 6, 1))) is None


def places(**attributes):
    found = decide(found_of(WINDOWS, torch.tensor([0.6, 0.01, 0.5, 1.0])), 0.1)
    return region_places(FoundAnomalies(found, list("abcd"), Data(x=torch.zeros(4, 6, 1), **attributes)), 1)


def test_places_are_steps_times_or_observed_wavelengths():
    assert places() == [("2", "3")]
    assert places(time=torch.arange(6.0) / 2) == [("1", "1.5")]
    minutes = torch.arange(6) * 60_000_000_000
    assert places(time=minutes) == [("1970-01-01T00:02", "1970-01-01T00:03")]
    assert places(time=torch.arange(24.0).view(4, 6)) == [("8", "9")]
    wavelength = torch.tensor([4000.0, 4002.0, 4004.0, 4006.0, 4008.0, 4010.0], dtype=torch.float64)
    assert places(wavelength=wavelength) == [("4003.0", "4007.0")]
    redshift = torch.full((4,), 1.0, dtype=torch.float64)
    assert places(wavelength=wavelength, redshift=redshift, frame="rest") == [("8006.0", "8014.0")]


def test_thresholds_that_a_rule_does_not_have_are_left_out():
    assert thresholds_of(found_of(WINDOWS)) == {"threshold": 99.0}
