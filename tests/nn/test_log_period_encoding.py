"""The time encoding by sines and cosines of log-spaced periods."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stgraph.errors import InputError
from stgraph.nn.log_period_encoding import LogPeriodEncoding, time_since_first

JULIAN = 2454833.0


def irregular(rows: int = 2, points: int = 30) -> torch.Tensor:
    steps = torch.rand(rows, points, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.01
    return steps.cumsum(dim=-1)


def test_periods_are_spaced_evenly_in_their_logarithm():
    periods = LogPeriodEncoding(64).periods()
    assert periods.shape == (32,)
    np.testing.assert_allclose(periods[[0, -1]], [0.00278, 1640.0], rtol=1e-12)
    np.testing.assert_allclose(periods.log().diff(), math.log(1640 / 0.00278) / 31, rtol=1e-9)


def test_sines_are_even_and_cosines_odd_channels():
    encoding = LogPeriodEncoding(6, min_period=0.5, max_period=50.0)
    time = irregular()
    angle = 2 * np.pi * (time - time[:, :1]).numpy()[..., None] / np.array([0.5, 5.0, 50.0])
    out = encoding(time)
    np.testing.assert_allclose(out[..., 0::2], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(out[..., 1::2], np.cos(angle), atol=1e-6)


def test_the_shortest_period_keeps_its_phase_after_years():
    # A million turns: an angle in float32 would be wrong by up to a quarter of a radian.
    encoding = LogPeriodEncoding(2)
    time = torch.tensor([0.0, 1600.0 + 0.00278 / 3], dtype=torch.float64)
    turns = math.fmod(1600.0 / 0.00278, 1) + 1 / 3
    assert encoding(time)[1, 0].item() == pytest.approx(math.sin(2 * math.pi * turns), abs=1e-5)


def test_a_shift_of_all_times_has_no_influence():
    # Dates of this size have steps of 5e-10 days in float64.
    encoding = LogPeriodEncoding(16)
    time = irregular()
    torch.testing.assert_close(encoding(time + JULIAN), encoding(time), atol=5e-6, rtol=0)


def test_dates_in_float32_are_too_coarse():
    encoding = LogPeriodEncoding(16)
    time = irregular() + JULIAN
    assert (encoding(time.float()) - encoding(time)).abs().max() > 0.5


def test_padding_does_not_matter_wherever_it_stands():
    time = irregular(2, 5)
    padding = torch.tensor([[True, False, False, False, True], [True] * 5])
    other = time.masked_fill(padding, torch.nan)
    assert torch.equal(LogPeriodEncoding(4)(time, padding), LogPeriodEncoding(4)(other, padding))
    since = time_since_first(other, padding)
    torch.testing.assert_close(since[0, 1:4], time[0, 1:4] - time[0, 1])
    assert since[1].tolist() == [0.0] * 5


def test_a_lower_precision_of_the_module_does_not_round_the_periods():
    time = irregular()
    assert torch.equal(LogPeriodEncoding(8).bfloat16()(time), LogPeriodEncoding(8)(time))


def test_the_scale_is_learned_and_reset():
    encoding = LogPeriodEncoding(4, learned_scale=True)
    time = irregular()
    assert torch.equal(encoding(time), LogPeriodEncoding(4)(time))
    encoding(time)[..., 1].sum().backward()
    assert encoding.scale is not None
    assert encoding.scale.grad is not None
    assert encoding.scale.grad != 0
    with torch.no_grad():
        encoding.scale.fill_(3.0)
    torch.testing.assert_close(encoding(time), 3 * LogPeriodEncoding(4)(time))
    encoding.reset_parameters()
    assert encoding.scale.item() == 1
    assert "learned_scale" in repr(encoding)


@pytest.mark.parametrize("channels", [0, 3])
def test_an_odd_width_is_refused(channels):
    with pytest.raises(InputError, match=f"channels is {channels}; expected an even number"):
        LogPeriodEncoding(channels)


@pytest.mark.parametrize("periods", [(0.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_unusable_periods_are_refused(periods):
    with pytest.raises(InputError, match="expected 0 < min_period < max_period"):
        LogPeriodEncoding(4, *periods)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"key_padding_mask has shape \(5,\); expected \(2, 5\)"):
        time_since_first(irregular(2, 5), torch.zeros(5, dtype=torch.bool))
