"""The detector of what does not fit in spectra: what it finds, and what changes nothing."""

from __future__ import annotations

import io
import math

import pytest
import torch
from torch_geometric.data import Data

from stgraph.models.detectors import GraphResidualDetector
from tests.models.detectors.small_spectra import OPTIONS, planted, rows, same, spectra


def test_planted_anomalies_are_found_where_they_are() -> None:
    found = GraphResidualDetector(**OPTIONS).fit_detect(planted())
    assert found.anomalous.nonzero()[:, 0].tolist() == [5, 20, 41]
    for row, begin, end in ((5, 30, 36), (20, 50, 58), (41, 10, 30)):
        inside = torch.zeros(80, dtype=torch.bool)
        inside[begin:end] = True
        assert (found.regions[row] & inside).sum() >= 0.8 * inside.sum()
        outside = torch.zeros(80, dtype=torch.bool)
        outside[max(0, begin - 10) : end + 10] = True
        assert not (found.regions[row] & ~outside).any()
        best = max(found.metadata[row], key=lambda record: record["trigger_value"])
        assert best["range_start"] < end
        assert begin < best["range_end"]
        assert best["trigger_value"] == pytest.approx(float(found.score[row]))
    assert [bool(records) for records in found.metadata] == found.anomalous.tolist()
    assert not found.regions[~found.anomalous].any()
    # What is expected is the spectrum without the line.
    assert found.expected is not None
    clean = spectra().x[5, 30:36, 0]
    assert (found.expected[5, 30:36] - clean).abs().max() < 0.6


def test_found_again_as_other_spectra() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(seed=1))
    found = detector.detect(planted())
    assert found.anomalous.nonzero()[:, 0].tolist() == [5, 20, 41]
    assert found.deviation is not None
    assert found.expected is not None
    deviation = detector.deviation(planted())
    assert deviation.z[..., 0].equal(found.deviation)
    assert deviation.expected[..., 0].equal(found.expected)
    assert not deviation.z[~deviation.mask].any()
    assert not deviation.mask[~planted().mask].any()


def test_permuted_spectra_have_permuted_results() -> None:
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    found = GraphResidualDetector(**OPTIONS).fit_detect(planted())
    other = GraphResidualDetector(**OPTIONS).fit_detect(rows(planted(), order))
    assert other.anomalous.equal(found.anomalous[order])
    assert other.regions.equal(found.regions[order])
    torch.testing.assert_close(other.score, found.score[order], rtol=1e-5, atol=1e-6, equal_nan=True)
    assert [len(records) for records in other.metadata] == [len(found.metadata[row]) for row in order.tolist()]


@pytest.mark.parametrize("errors", [True, False])
def test_a_spectrum_is_judged_by_itself(errors: bool) -> None:
    data, other = spectra(seed=1), planted()
    other.x[3] = 4.0  # constant
    if not errors:
        del data["flux_error"], other["flux_error"]
    detector = GraphResidualDetector(**OPTIONS).fit(data)
    whole = detector.detect(other)
    for row in (3, 5, 7, 8):
        alone = detector.detect(rows(other, slice(row, row + 1)))
        assert alone.score.shape == (1,)
        assert alone.anomalous[0] == whole.anomalous[row]
        assert alone.regions[0].equal(whole.regions[row])
        torch.testing.assert_close(alone.score[0], whole.score[row], equal_nan=True)
    none = detector.detect(rows(other, slice(0, 0)))
    assert none.score.shape == (0,)
    assert none.metadata == []


def test_nothing_under_the_mask_matters() -> None:
    data, changed = planted(), planted()
    bad = ~data.mask
    data.x[bad] = 0.0
    changed.x[bad] = torch.tensor([float("nan"), 1e9, -float("inf")]).double().repeat(int(bad.sum()))[: int(bad.sum())]
    changed.flux_error[bad] = torch.tensor([0.0, -1.0, float("nan")]).double().repeat(int(bad.sum()))[: int(bad.sum())]
    same(GraphResidualDetector(**OPTIONS).fit_detect(changed), GraphResidualDetector(**OPTIONS).fit_detect(data))
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(seed=1))
    same(detector.detect(changed), detector.detect(data))


def test_a_spectrum_without_data_is_not_flagged_and_nobodys_neighbour() -> None:
    found = GraphResidualDetector(**OPTIONS).fit_detect(planted())
    assert found.no_data.nonzero()[:, 0].tolist() == [7]
    assert math.isnan(found.score[7])
    assert not found.anomalous[7]
    assert not found.regions[7].any()
    assert found.window_score[7].isnan().all()
    assert found.metadata[7] == []
    rest = torch.arange(60) != 7
    without = GraphResidualDetector(**OPTIONS).fit_detect(rows(planted(), rest))
    assert without.regions.equal(found.regions[rest])
    torch.testing.assert_close(without.score, found.score[rest], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("calibrated", [True, False])
def test_what_is_saved_gives_the_same_results(calibrated: bool) -> None:
    detector = GraphResidualDetector(**OPTIONS, widths=[6, 12]).fit(spectra(seed=1))
    if calibrated:
        detector.calibrate(spectra(seed=2))
    file = io.BytesIO()
    torch.save(detector.state_dict(), file)
    file.seek(0)
    other = GraphResidualDetector(**OPTIONS, widths=[6, 12])
    other.load_state_dict(torch.load(file, weights_only=True))
    found, again = detector.detect(planted()), other.detect(planted())
    assert (found.p_value is not None) == calibrated
    for name in ("score", "regions", "anomalous", "window_score", "expected", "deviation", "p_value"):
        before, after = getattr(found, name), getattr(again, name)
        assert (before is None and after is None) or before.nan_to_num(-7).equal(after.nan_to_num(-7))
    assert again.threshold == found.threshold
    assert again.metadata == found.metadata


def test_precision_and_layout_change_nothing_much() -> None:
    double = GraphResidualDetector(**OPTIONS).fit_detect(planted())
    data = planted()
    single = Data(x=data.x.float(), mask=data.mask, flux_error=data.flux_error.float())
    found = GraphResidualDetector(**OPTIONS).fit_detect(single)
    assert found.anomalous.equal(double.anomalous)
    torch.testing.assert_close(found.score.double(), double.score, rtol=0.02, atol=0.05, equal_nan=True)
    strided = {
        name: data[name].expand(-1, -1, 2).transpose(0, 1).contiguous().transpose(0, 1)[..., :1]
        for name in ("x", "mask", "flux_error")
    }
    assert not strided["x"].is_contiguous()
    same(GraphResidualDetector(**OPTIONS).fit_detect(Data(**strided)), double)
    # Spectra of another precision than those of the fit.
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(seed=1))
    torch.testing.assert_close(
        detector.detect(single).score, detector.detect(data).score, rtol=1e-3, atol=1e-2, equal_nan=True
    )
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(seed=1, dtype=torch.float32))
    torch.testing.assert_close(detector.detect(data).score, detector.detect(single).score, equal_nan=True)


def test_the_unit_of_the_flux_does_not_matter() -> None:
    data, scaled = planted(), planted()
    scaled.x, scaled.flux_error = 1e-17 * scaled.x + 3e-17, 1e-17 * scaled.flux_error
    found, other = (GraphResidualDetector(**OPTIONS).fit_detect(each) for each in (data, scaled))
    assert other.regions.equal(found.regions)
    torch.testing.assert_close(other.score, found.score, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert found.expected is not None
    assert other.expected is not None
    rest = ~found.no_data
    torch.testing.assert_close(other.expected[rest], 1e-17 * found.expected[rest] + 3e-17, rtol=1e-6, atol=0.0)


def test_flagged_spectra_are_no_neighbours_in_the_second_round() -> None:
    detector = GraphResidualDetector(**OPTIONS)
    found = detector.fit_detect(planted())
    assert detector.get_buffer("usable").equal(~found.anomalous & ~found.no_data)


def test_neighbours_alone() -> None:
    data = planted()
    detector = GraphResidualDetector(**OPTIONS, subtract_components=False)
    assert {5, 41} <= set(detector.fit_detect(data).score.nan_to_num(0.0).topk(3).indices.tolist())
    assert "subtract_components=False" in repr(detector)
