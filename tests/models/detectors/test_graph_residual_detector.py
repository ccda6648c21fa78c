"""The detector of what does not fit in spectra: what it finds, what changes nothing, and what it refuses."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError
from stgraph.models.detectors import GraphResidualDetector
from stgraph.ops.anomaly import benjamini_hochberg, conformal_pvalues
from stgraph.ops.anomaly.result import AnomalousRegions

OPTIONS: dict[str, Any] = {"k": 8, "components": 3}


def spectra(n: int = 60, length: int = 80, seed: int = 0, dtype: torch.dtype = torch.float64) -> Data:
    """Combinations of three smooth curves, with noise of known error and some bad points."""
    generator = torch.Generator().manual_seed(seed)
    place = torch.linspace(0, 1, length, dtype=torch.float64)
    curves = torch.stack([1 + place, (7 * place).sin(), (11 * place).cos()])
    weights = torch.randn(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([0.5, 1.0, 0.5]) + 3
    error = (0.05 + 0.1 * torch.rand(n, 1, generator=generator, dtype=torch.float64)).expand(n, length)
    noise = torch.randn(n, length, generator=generator, dtype=torch.float64)
    mask = torch.rand(n, length, generator=generator) < 0.95
    flux, error = (weights @ curves + error * noise).to(dtype), error.to(dtype).contiguous()
    return Data(x=flux.unsqueeze(2), mask=mask.unsqueeze(2), flux_error=error.unsqueeze(2))


def planted() -> Data:
    data = spectra()
    data.x[5, 30:36] += 1.5
    data.x[20, 50:58] -= 2.0
    data.x[41, 10:30] += 2.0 * (-1.0) ** torch.arange(20).unsqueeze(1)
    data.x[7] = float("nan")
    data.mask[7] = False
    return data


def rows(data: Data, index: Tensor | slice) -> Data:
    return Data(**{name: data[name][index] for name in ("x", "mask", "flux_error") if name in data})


def same(found: AnomalousRegions, other: AnomalousRegions) -> None:
    assert found.anomalous.equal(other.anomalous)
    assert found.regions.equal(other.regions)
    assert found.no_data.equal(other.no_data)
    for name in ("score", "window_score", "expected", "deviation"):
        torch.testing.assert_close(getattr(found, name), getattr(other, name), rtol=1e-7, atol=1e-8, equal_nan=True)


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


@pytest.mark.parametrize("length", [2, 9, 40, 41])
def test_any_length_and_a_window_as_long_as_the_spectrum(length: int) -> None:
    data = spectra(n=20, length=length)
    data.mask[:] = True
    for widths in (None, length, [2, length]):
        found = GraphResidualDetector(**OPTIONS, widths=widths).fit_detect(data)
        assert found.regions.shape == (20, length)
        assert found.score.isfinite().all()
        assert found.window_end.max() == length


def test_a_window_longer_than_the_spectra_is_refused() -> None:
    with pytest.raises(InputError, match="widths has a window of 81 points; expected 2 to 80"):
        GraphResidualDetector(**OPTIONS, widths=[10, 81]).fit(spectra())


def test_fewer_than_three_spectra_with_data_are_refused() -> None:
    for count in (0, 1, 2):
        with pytest.raises(InputError, match=f"{count} spectra have data; expected at least 3"):
            GraphResidualDetector(**OPTIONS).fit(rows(spectra(), slice(0, count)))
    data = spectra(n=5)
    data.mask[:3] = False
    with pytest.raises(InputError, match="2 spectra have data"):
        GraphResidualDetector(**OPTIONS).fit(data)
    data.mask[2] = True
    assert GraphResidualDetector(**OPTIONS).fit_detect(data).no_data.tolist() == [True, True, False, False, False]


def _x(value: float) -> Callable[[Data], None]:
    return lambda data: data.x[4, 3].fill_(value)


def _error(value: float) -> Callable[[Data], None]:
    return lambda data: data.flux_error[4, 3].fill_(value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_x(math.nan), "x is nan in spectrum 4 at point 3"),
        (_x(math.inf), "x is inf in spectrum 4 at point 3"),
        (_error(0.0), "flux_error is 0.0 in spectrum 4 at point 3"),
        (_error(-2.0), "flux_error is -2.0 in spectrum 4 at point 3"),
        (_error(math.nan), "flux_error is nan in spectrum 4 at point 3"),
        (lambda data: data.update({"mask": data.mask[:, :5]}), "mask has shape"),
        (lambda data: data.update({"flux_error": data.flux_error[..., 0]}), "flux_error has shape"),
        (lambda data: data.update({"x": data.x[..., 0]}), r"\(N, L, 1\)"),
        (lambda data: data.update({"x": data.x[:, :1]}), "at least 2 points"),
        (lambda data: data.update({"x": None}), "must have spectra x"),
    ],
)
def test_bad_spectra_are_named(spoil: Callable[[Data], None], message: str) -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=20))
    data = spectra(n=20)
    data.mask[:] = True
    spoil(data)
    for method in (detector.detect, detector.fit, detector.calibrate, detector.deviation):
        with pytest.raises(InputError, match=message):
            method(data)


def test_wrong_types_are_named() -> None:
    data = spectra(n=20)
    with pytest.raises(InputTypeError, match=r"x has dtype torch\.int64"):
        GraphResidualDetector().fit(Data(x=data.x.long()))
    with pytest.raises(InputTypeError, match=r"mask has dtype torch\.float32"):
        GraphResidualDetector().fit(Data(x=data.x, mask=data.mask.float()))


@pytest.mark.parametrize("method", ["detect", "calibrate", "deviation"])
def test_first_comes_the_fit(method: str) -> None:
    detector = GraphResidualDetector(**OPTIONS)
    with pytest.raises(InputError, match="not fitted"):
        getattr(detector, method)(spectra())
    detector.fit(spectra(n=20))
    with pytest.raises(InputError, match="data have 79 points, the spectra of the fit 80"):
        getattr(detector, method)(spectra(n=3, length=79))


@pytest.mark.parametrize(
    "option",
    [
        {"k": 0},
        {"components": 0},
        {"multiplier": -1.0},
        {"multiplier": math.nan},
        {"multiplier": math.inf},
        {"least_neighbors": 1.1},
        {"least_neighbors": math.nan},
    ],
)
def test_options_out_of_range_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        GraphResidualDetector(**option)


@pytest.mark.parametrize("errors", [True, False])
def test_constant_spectra_do_no_harm(errors: bool) -> None:
    data = spectra(n=30)
    data.x[4] = 0.0
    data.x[11] = 1e6
    if not errors:
        del data["flux_error"]
    found = GraphResidualDetector(**OPTIONS).fit_detect(data)
    assert found.score.isfinite().all()
    assert not found.anomalous[[row for row in range(30) if row not in (4, 11)]].any()
    everything = Data(x=torch.full((6, 30, 1), 2.0))
    found = GraphResidualDetector(**OPTIONS).fit_detect(everything)
    assert not found.anomalous.any()
    assert found.score.isfinite().all()


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


def test_calibration_keeps_the_rate_of_false_alarms() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=150, length=40))
    detector.calibrate(spectra(n=999, length=40, seed=1))
    found = detector.detect(spectra(n=3000, length=40, seed=2))
    assert found.p_value is not None
    for rate in (0.05, 0.1, 0.3):
        share = float((found.p_value <= rate).double().mean())
        # Of 999 calibration scores and of 3000 spectra; four standard deviations.
        scatter = 4 * (rate * (1 - rate) * (1 / 1000 + 1 / 3000)) ** 0.5
        assert abs(share - rate) <= scatter
    refitted = detector.fit(spectra(n=20, length=40))
    assert refitted.detect(spectra(n=2, length=40)).p_value is None


def test_benjamini_hochberg_keeps_the_share_of_false_discoveries() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=150, length=40))
    clean = detector.detect(spectra(n=3000, length=40, seed=1)).score
    odd = spectra(n=200, length=40, seed=2)
    odd.x[:, 10:16] += 2.0
    odd_score = detector.detect(odd).score
    generator = torch.Generator().manual_seed(3)
    false, found = [], []
    for _ in range(150):
        order = torch.randperm(3000, generator=generator)
        some = odd_score[torch.randperm(200, generator=generator)[:20]]
        pvalues = conformal_pvalues(torch.cat([clean[order[:80]], some]), clean[order[80:1080]])
        flagged = benjamini_hochberg(pvalues, 0.2)
        false.append(float(flagged[:80].sum() / flagged.sum().clamp(min=1)))
        found.append(float(flagged[80:].double().mean()))
    # At most 0.2 times the share of clean spectra, 0.8; the mean of 150 has a standard error of about 0.01.
    assert sum(false) / len(false) <= 0.16 + 0.03
    assert sum(found) / len(found) > 0.5


def test_calibration_needs_spectra_with_data() -> None:
    detector = GraphResidualDetector(**OPTIONS).fit(spectra(n=20))
    empty = spectra(n=3)
    empty.mask[:] = False
    with pytest.raises(InputError, match="none of the 3 spectra has a score"):
        detector.calibrate(empty)
    detector.calibrate(spectra(n=9, seed=1))
    pvalues = detector.detect(empty).p_value
    assert pvalues is not None
    assert pvalues.tolist() == [1.0] * 3


def test_flagged_spectra_are_no_neighbours_in_the_second_round() -> None:
    detector = GraphResidualDetector(**OPTIONS)
    found = detector.fit_detect(planted())
    assert detector.get_buffer("usable").equal(~found.anomalous & ~found.no_data)


def test_neighbours_alone() -> None:
    data = planted()
    detector = GraphResidualDetector(**OPTIONS, subtract_components=False)
    assert {5, 41} <= set(detector.fit_detect(data).score.nan_to_num(0.0).topk(3).indices.tolist())
    assert "subtract_components=False" in repr(detector)
