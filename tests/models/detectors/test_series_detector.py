from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.detectors.series import SeriesResidualDetector
from stgraph.models.detectors.series_expectation import Residuals
from stgraph.models.detectors.series_windows import REASONS, SeriesWindowScores
from stgraph.ops.anomaly.series_statistics import largest_over_windows

NODES, TRAINING, STEPS = 10, 900, 1300


def network(seed: int = 0) -> Tensor:
    """Sensors that follow two common signals, each in its own proportion and at its own level, with noise."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.arange(float(STEPS))
    common = torch.stack([torch.sin(steps / 19) + torch.sin(steps / 7), torch.cos(steps / 41)])
    share = torch.rand(NODES, 2, generator=generator) + 0.5
    level = 3 * torch.randn(NODES, 1, generator=generator)
    return (share @ common + level + 0.1 * torch.randn(NODES, STEPS, generator=generator)).unsqueeze(-1)


@pytest.fixture(scope="module")
def series() -> Tensor:
    return network()


@pytest.fixture(scope="module")
def detector(series: Tensor) -> SeriesResidualDetector:
    return SeriesResidualDetector(neighbors=6).fit(Data(x=series[:, :TRAINING]))


def test_every_kind_is_found_where_it_is(series: Tensor, detector: SeriesResidualDetector) -> None:
    later = series[:, TRAINING:].clone()
    later[1, 50:52] += 1.5
    later[3, 100:170, 0] += torch.linspace(0, 2, 70)
    later[5, 200:240] = later[5, 200].clone()
    first, second = later[7, 300:360].clone(), later[8, 300:360].clone()
    later[7, 300:360], later[8, 300:360] = second, first
    found = detector.detect(Data(x=later))
    reasons = [{record["reason_type"] for record in records} for records in found.metadata]
    assert found.regions[1, 50:52].all()
    assert "spike" in reasons[1]
    assert found.regions[3, 140:170].all()
    assert reasons[3] & {"shift", "misfit"}
    assert found.regions[5, 205:235].all()
    assert reasons[5] & {"stuck", "misfit"}
    assert found.regions[7, 305:355].all()
    assert found.regions[8, 305:355].all()
    assert found.anomalous[[1, 3, 5, 7, 8]].all()
    clean = torch.ones_like(found.regions)
    clean[[7, 8], 250:] = clean[5, 150:290] = clean[3, 40:230] = clean[1, 40:62] = False
    assert found.regions[clean].float().mean() < 0.05


def test_reason_is_the_most_improbable_statistic() -> None:
    z, change = torch.randn(2, 5, 400, generator=torch.Generator().manual_seed(7))
    known, blank = torch.ones(5, 400, dtype=torch.bool), torch.zeros(5, 400)
    windows = SeriesWindowScores([], [8], causal=False)
    windows(Residuals(z, change, known, blank, blank), known, learn=True)
    change, z = change.clone(), z.clone()
    change[1, 40:48] += 9.0
    z[3, 80:88] = torch.tensor([9.0, -9.0]).repeat(4)
    found = windows(Residuals(z, change, known, blank, blank), known)
    assert REASONS[found.reason[1, found.start == 40]] == "stuck"
    assert REASONS[found.reason[3, found.start == 80]] == "misfit"
    assert abs(int(found.score[1].argmax()) - 20) <= 1  # windows of two steps more or less hold three quarters of it
    assert abs(int(found.score[3].argmax()) - 40) <= 1


def test_false_alarms_after_calibration_have_the_stated_rate() -> None:
    x = network(seed=1)
    detector = SeriesResidualDetector(neighbors=6, short_widths=[1], long_widths=[], false_alarm_rate=0.01)
    detector.fit(Data(x=x[:, :600])).calibrate(Data(x=x[:, 600:950]))
    found = detector.detect(Data(x=x[:, 950:]))
    flagged = int((found.window_score > found.threshold).sum())
    count = found.window_score.numel()
    # Four standard deviations of the binomial distributions of these windows and of those that were calibrated with.
    assert flagged <= 0.01 * count + 4 * (2 * 0.01 * 0.99 * count) ** 0.5
    assert found.p_value is not None
    assert found.p_value.min() >= 1 / (NODES + 1)


def test_false_alarms_without_calibration_have_the_stated_rate() -> None:
    nodes, steps, memory = 30, 1400, 8
    generator = torch.Generator().manual_seed(5)
    # Moving means of noise, so that errors of a sensor last; and a common signal.
    noise = torch.randn(nodes, steps + memory - 1, generator=generator).unfold(1, memory, 1).mean(-1)
    x = (noise + torch.sin(torch.arange(float(steps)) / 23)).unsqueeze(-1)
    fitted = SeriesResidualDetector(neighbors=4, long_widths=[8, 32], false_alarm_rate=0.01).fit(Data(x=x[:, :800]))
    found = fitted.detect(Data(x=x[:, 800:]))
    width = found.window_end - found.window_start
    for value, together in ((1, memory), (8, 2 * memory), (32, 32 + memory)):
        flagged = found.window_score[:, width == value] > found.threshold
        # Four standard deviations of a binomial distribution of as many windows as do not depend on each other.
        count = nodes * 600 / together
        assert float(flagged.float().mean()) <= 0.01 + 4 * (0.01 * 0.99 / count) ** 0.5
    assert found.anomalous.float().mean() <= 0.1


def test_order_of_nodes_makes_no_difference(series: Tensor) -> None:
    order = torch.randperm(NODES, generator=torch.Generator().manual_seed(3))
    here, there = (
        SeriesResidualDetector(neighbors=3, long_widths=[8]).fit(Data(x=x[:, :400])).detect(Data(x=x[:, 400:600]))
        for x in (series, series[order])
    )
    assert torch.allclose(here.window_score[order], there.window_score, atol=0.02)


def test_hidden_values_make_no_difference(series: Tensor) -> None:
    mask = torch.rand(series.shape, generator=torch.Generator().manual_seed(4)) > 0.2
    mask[2] = False
    wrong = torch.where(mask, series, torch.tensor(float("nan")))
    results = []
    for x in (series, wrong):
        fitted = SeriesResidualDetector(neighbors=3, long_widths=[8]).fit(Data(x=x[:, :400], mask=mask[:, :400]))
        results.append(fitted.detect(Data(x=x[:, 400:600], mask=mask[:, 400:600])))
    here, there = results
    assert torch.equal(here.window_score.nan_to_num(-1.0), there.window_score.nan_to_num(-1.0))
    assert here.no_data.nonzero().flatten().tolist() == [2]
    assert not here.anomalous[2]
    assert here.score[2].isnan()
    assert here.score[:2].isfinite().all()
    assert here.expected is not None
    assert here.expected.isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
def test_a_single_sensor_has_its_own_past(series: Tensor, causal: bool) -> None:
    x = series[:1].clone()
    fitted = SeriesResidualDetector(causal=causal).fit(Data(x=x[:, :TRAINING]))
    x[0, 1100] += 3.0
    found = fitted.detect(Data(x=x[:, TRAINING:]))
    step = largest_over_windows(found.window_score, found.window_start, found.window_end, STEPS - TRAINING)
    assert found.regions[0, 200]
    assert int(step.nan_to_num(0.0).argmax()) in range(197, 204)


def test_causal_scores_do_not_depend_on_later_steps(series: Tensor) -> None:
    fitted = SeriesResidualDetector(neighbors=3, long_widths=[8], causal=True).fit(Data(x=series[:, :TRAINING]))
    short = fitted.detect(Data(x=series[:, TRAINING : TRAINING + 100]))
    long = fitted.detect(Data(x=series[:, TRAINING : TRAINING + 200]))
    # Wrong values are hidden by windows that hold them, so only an ending before the last such window is fixed.
    first = (short.window_end <= 30) & (short.window_end - short.window_start == 1)
    same = (long.window_end <= 30) & (long.window_end - long.window_start == 1)
    assert torch.allclose(short.window_score[:, first], long.window_score[:, same], atol=1e-4)


def test_saved_and_loaded_detector_gives_the_same(series: Tensor, detector: SeriesResidualDetector) -> None:
    other = SeriesResidualDetector(neighbors=6)
    other.load_state_dict(detector.state_dict())
    later = Data(x=series[:, TRAINING : TRAINING + 100])
    assert torch.equal(other.detect(later).window_score, detector.detect(later).window_score)


def test_a_season_of_a_period_without_a_calendar() -> None:
    time = torch.arange(600.0)
    season = torch.sin(time / 12 * 2 * torch.pi) + torch.cos(time / 12 * 6 * torch.pi)
    x = (season + 0.01 * torch.randn(1, 600, generator=torch.Generator().manual_seed(6))).unsqueeze(-1)
    data = Data(x=x, time=time)
    unknown, known = (
        SeriesResidualDetector(long_widths=[8], period=period).fit(data).deviation(data).expected
        for period in (None, 12.0)
    )
    assert (known - x).abs().max() < 0.1
    assert (unknown - x).abs().max() > 1.0


def test_own_edges_say_who_the_neighbours_are(series: Tensor) -> None:
    edges = torch.tensor([[1, 0, 5], [0, 1, 0]])
    fitted = SeriesResidualDetector(edges="own", neighbors=1, long_widths=[8])
    fitted.fit(Data(x=series[:, :300], edge_index=edges, edge_weight=torch.tensor([0.1, 1.0, 2.0])))
    assert fitted.index[:2].tolist() == [[5], [0]]
    assert fitted.exists.squeeze(1).tolist() == [True, True] + [False] * 8


def test_nodes_must_be_those_of_the_fit(series: Tensor) -> None:
    names = [f"sensor {number}" for number in range(NODES)]
    fitted = SeriesResidualDetector(neighbors=2, short_widths=[1], long_widths=[])
    fitted.fit(Data(x=series[:, :300], node_names=names))
    loaded = SeriesResidualDetector(neighbors=2, short_widths=[1], long_widths=[])
    loaded.load_state_dict(fitted.state_dict())
    loaded.detect(Data(x=series[:, 300:400], node_names=names))
    with pytest.raises(InputError, match="node 0 of the data is 'sensor 9'; expected 'sensor 0'"):
        loaded.detect(Data(x=series[:, 300:400], node_names=names[::-1]))


def test_a_grid_with_channels_and_a_calendar() -> None:
    x = torch.cat([network(), network(seed=2)], dim=2)[:9, :400]
    hours = torch.arange(400) * 3_600_000_000_000
    data = Data(x=x, time=hours, grid=(3, 3))
    fitted = SeriesResidualDetector(long_widths=[8]).fit(data)
    x = x.clone()
    x[4, 300, 1] += 5.0
    found = fitted.detect(Data(x=x, time=hours, grid=(3, 3)))
    assert found.regions.shape == (9, 400)
    assert int(found.score.argmax()) == 4
    deviation = fitted.deviation(data)
    assert deviation.z.shape == deviation.expected.shape == x.shape


def test_fit_detect_leaves_out_what_it_judges(series: Tensor) -> None:
    x = series.clone()
    x[6, 400:402] -= 3.0
    found = SeriesResidualDetector(neighbors=6).fit_detect(Data(x=x))
    assert found.regions[6, 400:402].all()
    assert int(found.score.argmax()) == 6


def test_nodes_with_too_little_data_outside_a_fifth_are_not_judged(
    series: Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    mask = torch.ones_like(series, dtype=torch.bool)
    mask[2, :300], mask[2, 500:] = False, False  # all in the second fifth
    mask[4, :300], mask[4, 530:] = False, False  # 10 steps of the third as well
    mask[7] = False
    fitted = SeriesResidualDetector(neighbors=6)
    with caplog.at_level(logging.INFO, logger="stgraph"):
        found = fitted.fit_detect(Data(x=series, mask=mask))
    assert caplog.messages == ["2 of 10 nodes have too little data outside one fifth of the period to be judged"]
    later = fitted.detect(Data(x=series[:, 400:700]))
    for result, unseen in ((found, [7]), (later, [])):
        assert result.score.isnan().nonzero().flatten().tolist() == [2, 4, 7]
        assert result.window_score[[2, 4, 7]].isnan().all()
        assert result.no_data.nonzero().flatten().tolist() == unseen
        assert not result.anomalous.any()
        assert not result.regions[[2, 4, 7]].any()
    sparse = mask.clone()
    sparse[:] = mask[2]
    with pytest.raises(InputError, match="too little data outside one fifth"):
        SeriesResidualDetector(neighbors=6).fit(Data(x=series, mask=sparse))


def test_short_series_without_gaps_are_judged(series: Tensor) -> None:
    found = SeriesResidualDetector(long_widths=[8]).fit_detect(Data(x=series[:, :60]))
    assert found.score.isfinite().all()


def test_wrong_input_is_refused(series: Tensor, detector: SeriesResidualDetector) -> None:
    with pytest.raises(InputError, match="not fitted"):
        SeriesResidualDetector().detect(Data(x=series))
    with pytest.raises(InputError, match="expected the 10 of the fit"):
        detector.detect(Data(x=series[:4]))
    with pytest.raises(InputError, match="longest window"):
        detector.detect(Data(x=series[:, :20]))
    with pytest.raises(InputError, match="edge_index"):
        SeriesResidualDetector(edges="own").fit(Data(x=series))
    with pytest.raises(InputError, match="where the mask says good"):
        detector.detect(Data(x=torch.full_like(series, float("nan"))))


@pytest.mark.parametrize(
    "options",
    [{"edges": "none"}, {"neighbors": 0}, {"false_alarm_rate": 0.0}, {"long_widths": [3]}, {"period": -1.0}],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=str(next(iter(options)))):
        SeriesResidualDetector(**options)  # type: ignore[arg-type]
