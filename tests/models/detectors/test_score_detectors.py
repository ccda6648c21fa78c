"""Detectors with one score of each spectrum as a whole."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.detectors import LatentDetector, TransportDetector, get_detector
from stgraph.models.detectors.scores import ScoreDetector


def spectra(count: int = 60, seed: int = 0, odd: int | None = None) -> Data:
    generator = torch.Generator().manual_seed(seed)
    place = torch.linspace(0, 6, 120)
    mix = torch.randn(count, 2, generator=generator) * torch.tensor([0.3, 0.2])
    flux = torch.sin(place) + mix[:, :1] * torch.cos(place) + mix[:, 1:] * torch.sin(2 * place)
    flux = flux + 0.05 * torch.randn(count, 120, generator=generator)
    if odd is not None:
        # Of the components of the others, in quite another mixture: what is outside of them a latent space cannot show.
        flux[odd] = torch.sin(2 * place) - torch.cos(place) + 0.05 * torch.randn(120, generator=generator)
    return Data(x=flux.unsqueeze(2), wavelength=torch.linspace(4000, 7000, 120, dtype=torch.float64))


def detector(name: str) -> ScoreDetector:
    arguments = {"method": "knn"} if name == "knn" else {}
    found = get_detector("latent" if name == "knn" else name)(k=8, components=3, **arguments)
    assert isinstance(found, ScoreDetector)
    return found


NAMES = ["knn", "latent", "transport"]


@pytest.mark.parametrize("name", NAMES)
def test_another_kind_of_spectrum_is_flagged_as_a_whole(name: str) -> None:
    found = detector(name).fit_detect(spectra(odd=11))
    assert int(found.score.argmax()) == 11
    assert bool(found.anomalous[11])
    assert found.anomalous.sum() <= 3
    assert bool(found.regions[11].all())
    assert found.metadata[11][0]["range_end"] == 120
    assert found.metadata[11][0]["trigger_value"] == pytest.approx(float(found.score[11]))
    assert bool(found.regions[~found.anomalous].logical_not().all())


@pytest.mark.parametrize("name", NAMES)
def test_other_spectra_are_judged_by_those_of_the_fit(name: str) -> None:
    fitted = detector(name).fit(spectra()).calibrate(spectra(40, seed=1))
    other = spectra(12, seed=2, odd=5)
    found = fitted.detect(other)
    assert int(found.score.argmax()) == 5
    assert bool(found.anomalous[5])
    assert found.p_value is not None
    assert float(found.p_value[5]) == pytest.approx(1 / 41)
    again = detector(name)
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(again.detect(other).score, found.score)


@pytest.mark.parametrize("name", NAMES)
def test_spectra_without_data_have_no_score_and_change_nothing(name: str) -> None:
    plain, data = spectra(odd=11), spectra(odd=11)
    data.x = torch.cat([data.x, torch.full((1, 120, 1), 7.0)])
    data.mask = torch.ones_like(data.x, dtype=torch.bool)
    data.mask[-1] = False
    found, without = detector(name).fit_detect(data), detector(name).fit_detect(plain)
    assert bool(found.no_data[-1])
    assert bool(found.score[-1].isnan())
    assert not bool(found.anomalous[-1])
    torch.testing.assert_close(found.score[:-1], without.score, rtol=1e-2, atol=1e-3)


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match="k is 0"):
        TransportDetector(k=0)
    with pytest.raises(InputError, match="method is 'nearest'"):
        LatentDetector(method="nearest")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected at least 3"):
        LatentDetector().fit(spectra(2))
    with pytest.raises(InputError, match="not fitted"):
        LatentDetector().detect(spectra())
    other = spectra()
    other.wavelength = other.wavelength + 500
    with pytest.raises(InputError, match="resample them"):
        LatentDetector(components=3).fit(spectra()).detect(other)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_expected_comes_from_the_components(name: str) -> None:
    data = spectra(odd=11)
    fitted = detector(name)
    found = fitted.fit_detect(data)
    expected, z, mask = fitted.deviation(data)
    assert found.expected is not None
    torch.testing.assert_close(found.expected, expected[..., 0])
    assert bool(mask.all())
    usual = [i for i in range(60) if i != 11]
    assert float((data.x - expected)[usual].std()) < 0.07  # the noise is 0.05
    assert 0.5 < float(z[usual].std()) < 1.5
