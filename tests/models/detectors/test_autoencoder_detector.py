"""The detector with an autoencoder: its rules, its scaling, and the thresholds of the fit."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.detectors import AutoencoderDetector
from stgraph.ops.anomaly import detect_anomalous_regions

SMALL = {"widths": [4, 3], "output": "linear"}


class Flat(nn.Module):
    """Reconstructs a constant, and keeps what it was given."""

    def __init__(self, level: float = 0.25, *, mask_channel: bool = False) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))
        self.mask_channel = mask_channel
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        assert not self.training
        self.seen.append(x)
        return {"reconstructed": self.level.expand_as(x[..., :1])}


def spectra(n: int = 30, length: int = 61, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    x = (torch.linspace(0, 6, length).sin() + 3) * (1 + torch.rand(n, 1, generator=generator))
    x = x + 0.05 * torch.randn(n, length, generator=generator)
    mask = torch.rand(n, length, generator=generator) < 0.9
    return Data(x=x.unsqueeze(2), mask=mask.unsqueeze(2), flux_error=torch.full((n, length, 1), 0.05))


def planted() -> Data:
    data = spectra()
    data.x[4, 20:40] += 3.0
    data.mask[9] = False
    return data


def scaled(data: Data, scaling: str) -> np.ndarray:
    """Spectra scaled over good points, in NumPy."""
    result = np.zeros(data.x.shape[:2])
    for row, (flux, good) in enumerate(zip(data.x[..., 0].numpy(), data.mask[..., 0].numpy(), strict=True)):
        if good.any():
            levels = [0, 100] if scaling == "minmax" else [25, 75]
            low, high = np.percentile(flux[good], levels)
            middle = low if scaling == "minmax" else np.median(flux[good])
            result[row][good] = (flux[good] - middle) / (high - low)
    return result


def test_the_network_sees_scaled_spectra_and_where_they_are_hidden() -> None:
    data = planted()
    data.x[~data.mask] = torch.nan
    for scaling in ("minmax", "robust"):
        network = Flat(mask_channel=True)
        network.train()
        detector = AutoencoderDetector(network, scaling=scaling)
        found = detector.reconstruct(data)
        assert network.training
        np.testing.assert_allclose(network.seen[0][..., 0].numpy(), scaled(data, scaling), rtol=1e-5, atol=1e-6)
        assert network.seen[0][..., 1].equal((~data.mask[..., 0]).float())
        assert found.shape == (30, 61)
        good = data.x[4, :, 0][data.mask[4, :, 0]].numpy()
        low, middle, high = np.percentile(good, [0, 50, 100] if scaling == "minmax" else [25, 50, 75])
        expected = (low if scaling == "minmax" else middle) + 0.25 * (high - low)
        np.testing.assert_allclose(found[4].numpy(), expected, rtol=1e-5)
    network = Flat()
    AutoencoderDetector(network).reconstruct(data)
    assert network.seen[0].shape == (30, 61, 1)


@pytest.mark.parametrize("scaling", ["minmax", "robust"])
@pytest.mark.parametrize(
    ("rule", "arguments"),
    [
        ("percentile", {"window_size": 10, "percentile_threshold": 90, "overall_anomaly_threshold": 0.2}),
        ("fixed", {"window_size": 12, "abs_residual_threshold": 0.4, "rel_residual_threshold": 2.0}),
    ],
)
def test_the_documented_rules_are_those_of_the_function(rule: Any, arguments: dict[str, Any], scaling: Any) -> None:
    data, other = planted(), spectra(n=12, seed=1)
    other.x[3, 30:] -= 6.0
    detector = AutoencoderDetector(Flat(), scaling=scaling, rule=rule, rule_arguments=arguments)
    found = detector.fit_detect(data)

    def expected(of: Data, **changes: Any) -> Any:
        flux = torch.from_numpy(scaled(of, scaling)).float()
        return detect_anomalous_regions(flux, torch.full_like(flux, 0.25), mask=of.mask[..., 0], **arguments | changes)

    first = expected(data)
    assert found.anomalous.equal(first.anomalous)
    assert found.regions.equal(first.regions)
    assert found.no_data[9]
    assert not found.anomalous[9]
    assert found.abs_residual_threshold == pytest.approx(first.abs_residual_threshold, rel=1e-4)
    # Other spectra are judged by the limits of the fit.
    limits = {"abs_residual_threshold": first.abs_residual_threshold}
    limits |= {"rel_residual_threshold": first.rel_residual_threshold}
    arguments = {name: value for name, value in arguments.items() if name != "percentile_threshold"}
    second, again = expected(other, **limits), detector.detect(other)
    assert again.rule == rule
    assert again.anomalous.equal(second.anomalous)
    assert again.regions.equal(second.regions)
    torch.testing.assert_close(again.score, second.score, rtol=1e-3, atol=1e-4)
    alone = detector.detect(Data(x=other.x[3:4], mask=other.mask[3:4]))
    assert alone.regions[0].equal(again.regions[3])
    assert alone.score[0].item() == pytest.approx(again.score[3].item())


@pytest.mark.parametrize("rule", ["graph_residual", "percentile", "fixed"])
def test_deviations_are_zero_at_bad_points(rule: Any) -> None:
    data = planted()
    detector = AutoencoderDetector(
        SMALL, rule=rule, rule_arguments={} if rule == "graph_residual" else {"window_size": 9}
    )
    found = detector.fit_detect(data)
    assert found.deviation is not None
    assert found.expected is not None
    assert not found.deviation[~data.mask[..., 0]].any()
    assert found.deviation.any()
    deviation, again = detector.deviation(data), detector.detect(data)
    torch.testing.assert_close(deviation.z[..., 0], again.deviation, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(deviation.expected[..., 0], again.expected)
    assert not deviation.mask[~data.mask].any()


def test_the_reconstruction_is_the_first_expectation_of_the_default_rule() -> None:
    data = planted()
    found = AutoencoderDetector(Flat(), k=8, components=2).fit_detect(data)
    assert found.rule == "graph_residual"
    assert int(found.score.nan_to_num(0.0).argmax()) == 4
    assert found.no_data[9]
    assert not found.anomalous[9]
    assert found.expected is not None
    beyond = data.x[4, 22:38, 0] - found.expected[4, 22:38]
    assert (beyond > 1).all()


@pytest.mark.parametrize("rule", ["graph_residual", "percentile", "fixed"])
def test_what_is_saved_gives_the_same_results(rule: Any) -> None:
    arguments: dict[str, Any] = {"rule": rule, "scaling": "minmax"}
    arguments |= {"k": 8, "components": 2} if rule == "graph_residual" else {"rule_arguments": {"window_size": 9}}
    detector = AutoencoderDetector(SMALL, **arguments).fit(spectra(seed=1)).calibrate(spectra(seed=2))
    file = io.BytesIO()
    torch.save(detector.state_dict(), file)
    file.seek(0)
    other = AutoencoderDetector(SMALL, **arguments)
    other.load_state_dict(torch.load(file, weights_only=True))
    found, again = detector.detect(planted()), other.detect(planted())
    for name in ("score", "regions", "anomalous", "expected", "deviation", "p_value"):
        assert getattr(found, name).nan_to_num(-7).equal(getattr(again, name).nan_to_num(-7))
    assert found.p_value is not None
    assert found.p_value[9] == 1
    assert float(found.p_value.min()) >= 1 / 31


def test_double_precision_and_no_spectra() -> None:
    data = planted()
    detector = AutoencoderDetector(SMALL)
    single = detector.reconstruct(data)
    double = detector.reconstruct(Data(x=data.x.double(), mask=data.mask))
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-4)
    assert detector.reconstruct(Data(x=data.x[:0], mask=data.mask[:0])).shape == (0, 61)
    assert detector.reconstruct(Data(x=data.x[:1])).shape == (1, 61)


@pytest.mark.parametrize("rule", ["graph_residual", "percentile"])
def test_a_network_that_diverged_is_refused(rule: Any) -> None:
    with pytest.raises(InputError, match="what the network makes of spectrum 0 is not finite"):
        AutoencoderDetector(Flat(float("nan")), rule=rule).fit(spectra())


@pytest.mark.parametrize("rule", ["percentile", "fixed"])
def test_limits_need_a_fit_and_the_fit_data(rule: Any) -> None:
    detector = AutoencoderDetector(SMALL, rule=rule)
    for method in (detector.detect, detector.calibrate):
        with pytest.raises(InputError, match="not fitted"):
            method(spectra())
    empty = spectra(n=4)
    empty.mask[:] = False
    with pytest.raises(InputError, match="no spectrum has data"):
        detector.fit(empty)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"rule_arguments": {"window_size": 9}}, "the rule 'graph_residual' takes none of them"),
        ({"rule": "fixed", "k": 8}, "not used by the rule 'fixed'"),
        ({"rule": "percentile", "widths": 10}, "not used by the rule 'percentile'"),
        ({"rule": "fixed", "rule_arguments": {"window": 9}}, "rule_arguments has 'window'; expected window_size"),
    ],
)
def test_options_that_a_rule_does_not_have_are_refused(option: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AutoencoderDetector(SMALL, **option)


@pytest.mark.parametrize("option", [{"scaling": "max"}, {"rule": "magic"}, {"k": 0}])
def test_unknown_options_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        AutoencoderDetector(SMALL, **option)


@pytest.mark.parametrize("rule", ["graph_residual", "percentile"])
def test_spectra_on_another_grid_are_refused(rule: Any) -> None:
    data, other = spectra(), spectra(n=4, seed=1)
    data.wavelength = torch.linspace(4000, 4300, 61, dtype=torch.float64)
    other.wavelength = 1.1 * data.wavelength
    detector = AutoencoderDetector(SMALL, rule=rule).fit(data)
    with pytest.raises(InputError, match="from 4400 to 4730 angstrom, the spectra of the fit 61 points from 4000"):
        detector.detect(other)
