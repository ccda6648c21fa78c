"""Scores of detection against scikit-learn, and regions and delays against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics import detection_delay, detection_scores, region_iou, scores_by_kind


@pytest.mark.parametrize("levels", [4, 1000], ids=["ties", "few ties"])
@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_against_scikit_learn(levels: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(levels)
    score = torch.randint(levels, (80,), generator=generator) * scale
    label = torch.rand(80, generator=generator) < 0.3
    flagged = score > score.median()
    found = detection_scores(score, label, flagged)
    precision, recall, f1, _ = precision_recall_fscore_support(label, flagged, average="binary")
    expected = {"precision": precision, "recall": recall, "f1": f1}
    expected |= {"auroc": roc_auc_score(label, score), "auprc": average_precision_score(label, score)}
    expected["false_positive_rate"] = float((flagged & ~label).sum() / (~label).sum())
    assert found == pytest.approx(expected, abs=1e-6)


def test_a_mask_leaves_objects_out() -> None:
    score = torch.tensor([1.0, math.nan, 3.0, 2.0])
    label, flagged = torch.tensor([False, True, True, False]), torch.tensor([False, True, True, False])
    mask = torch.tensor([True, False, True, True])
    assert detection_scores(score, label, flagged, mask=mask) == detection_scores(
        score[mask], label[mask], flagged[mask]
    )
    with pytest.raises(InputError, match="NaN for 1"):
        detection_scores(score, label)


def test_missing_classes_are_nan() -> None:
    score, no = torch.rand(4, generator=torch.Generator().manual_seed(0)), torch.zeros(4, dtype=torch.bool)
    clean, full = detection_scores(score, no, no), detection_scores(score, ~no, ~no)
    assert [name for name, value in clean.items() if math.isnan(value)] == [
        "precision",
        "recall",
        "f1",
        "auroc",
        "auprc",
    ]
    assert clean["false_positive_rate"] == 0
    assert [name for name, value in full.items() if math.isnan(value)] == ["false_positive_rate", "auroc"]
    assert all(map(math.isnan, detection_scores(score[:0], no[:0], no[:0]).values()))


def test_kinds() -> None:
    score = torch.tensor([1.0, 2.0, 3.0, 0.0, 5.0])
    kind = ["", "", "line", "gap", "line"]
    label = torch.tensor([bool(name) for name in kind])
    found = scores_by_kind(score, label, kind, score > 4)
    assert found == {
        "gap": {"recall": 0.0, "auroc": 0.0, "number": 1},
        "line": {"recall": 0.5, "auroc": 1.0, "number": 2},
    }
    assert list(scores_by_kind(score, label, kind, mask=score > 0)) == ["line"]


def test_region_iou() -> None:
    found = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]).bool()
    true = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]).bool()
    assert region_iou(found, true).allclose(torch.tensor([1 / 3, math.nan, 0]).double(), equal_nan=True)
    assert region_iou(found.unsqueeze(-1), true.unsqueeze(-1)).nan_to_num().equal(region_iou(found, true).nan_to_num())


def test_delay() -> None:
    flagged = torch.zeros(2, 10, 2, dtype=torch.bool)
    flagged[0, 4, 1] = flagged[1, 9, 0] = True
    events = {"node": [0, 0, 1, 1], "channel": [1, 0, 0, 0], "start": [2, 2, 9, 0], "end": [6, 6, 10, 9]}
    found = detection_delay(flagged, events)
    assert found["delay"].tolist() == pytest.approx([2, math.nan, 0, math.nan], nan_ok=True)
    assert found["never_found"] == 0.5
    assert found["median_delay"] == 1
    none = detection_delay(flagged[..., 0], {"node": [], "start": [], "end": []})
    assert math.isnan(none["never_found"])
    assert math.isnan(none["median_delay"])


def test_arguments_that_cannot_be_used() -> None:
    score, label = torch.rand(3, generator=torch.Generator().manual_seed(0)), torch.tensor([True, False, True])
    with pytest.raises(InputTypeError, match="label"):
        detection_scores(score, label.long())
    with pytest.raises(InputError, match="shape"):
        detection_scores(score, label[:2])
    with pytest.raises(InputError, match="kind has the shape"):
        scores_by_kind(score, label, ["line"])
    with pytest.raises(InputError, match="expected"):
        region_iou(label, label)
    flagged = torch.zeros(2, 5, dtype=torch.bool)
    with pytest.raises(InputError, match="lacks end"):
        detection_delay(flagged, {"node": [0], "start": [1]})
    with pytest.raises(InputError, match="not within"):
        detection_delay(flagged, {"node": [0], "start": [1], "end": [6]})
