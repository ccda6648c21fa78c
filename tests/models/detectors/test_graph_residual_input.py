"""The detector of what does not fit in spectra: what it refuses, and spectra that tell little."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError, InputTypeError
from stgraph.models.detectors import GraphResidualDetector
from tests.models.detectors.small_spectra import OPTIONS, rows, spectra


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
        {"k": 2.5},
        {"k": True},
        {"components": 0},
        {"components": "3"},
        {"widths": []},
        {"widths": 1},
        {"widths": [10, 20.0]},
        {"widths": "10"},
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


def test_few_spectra_are_judged_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    data = spectra(n=21)
    data.mask[20] = False
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        GraphResidualDetector(**OPTIONS).fit(data)
    assert not caplog.messages
    data.mask[4] = False
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        GraphResidualDetector(**OPTIONS).fit(data)
    assert caplog.messages == ["only 19 spectra have data: what is flagged among fewer than 20 says little"]


def test_constant_spectra_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    data = spectra(n=30)
    data.x[4], data.x[11] = 0.0, 1e6
    data.mask[7] = False
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        GraphResidualDetector(**OPTIONS).fit(data)
    assert caplog.messages == ["2 of 29 spectra with data are constant; they are scaled to 0"]


def test_spectra_without_a_common_grid_are_refused() -> None:
    data, grid = spectra(n=20), torch.linspace(4000, 4400, 80, dtype=torch.float64)
    data.wavelength = grid.repeat(20, 1)
    padding = data.clone()
    padding.mask[3, 60:], padding.wavelength[3, 60:] = False, 1e4
    for same_grid in (data, padding):
        assert GraphResidualDetector(**OPTIONS).fit_detect(same_grid).score.shape == (20,)
    data.wavelength[6] += 1.0
    with pytest.raises(InputError, match="wavelength of spectrum 6 is not that of the first; put the spectra on a"):
        GraphResidualDetector(**OPTIONS).fit(data)
    data.wavelength = grid[:-1]
    with pytest.raises(InputError, match=r"wavelength has shape \(79,\)"):
        GraphResidualDetector(**OPTIONS).fit(data)


def test_spectra_on_another_grid_than_that_of_the_fit_are_refused() -> None:
    data, other, unknown = spectra(n=20), spectra(n=4), spectra(n=4)
    data.wavelength = torch.linspace(4000, 4400, 80, dtype=torch.float64)
    other.wavelength = data.wavelength + 1.0
    detector = GraphResidualDetector(**OPTIONS).fit(data)
    for method in (detector.detect, detector.calibrate, detector.deviation):
        with pytest.raises(InputError, match="80 points from 4001 to 4401 angstrom, the spectra of the fit 80 points"):
            method(other)
        method(unknown)
    again = GraphResidualDetector(**OPTIONS)
    again.load_state_dict(detector.state_dict())
    with pytest.raises(InputError, match="from 4001 to 4401"):
        again.detect(other)
    other.wavelength = data.wavelength.float()
    assert detector.detect(other).score.shape == (4,)
