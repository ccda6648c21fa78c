from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stgraph.data.splits import (
    split_by_date,
    split_by_ratio,
    split_windows,
    train_val_split,
    window_starts,
)
from stgraph.errors import InputError, InputTypeError

METR_LA = 34272  # steps of METR-LA


def hours(n: int, start: str = "2024-03-01") -> np.ndarray[Any, np.dtype[np.int64]]:
    return (np.datetime64(start, "h") + np.arange(n)).astype("datetime64[ns]").astype(np.int64)


# Splits


@pytest.mark.parametrize("ratios", [(7, 1, 2), (0.7, 0.1, 0.2), [70, 10, 20]])
def test_split_then_window_gives_the_counts_of_basicts(ratios: Any) -> None:
    split = split_by_ratio(METR_LA, ratios)
    assert [len(window_starts(METR_LA, 12, 12, within=part)) for part in split] == [23968, 3404, 6831]


@pytest.mark.parametrize("ratios", [(7, 1, 2), (0.7, 0.1, 0.2)])
def test_window_then_split_gives_the_counts_of_dcrnn(ratios: Any) -> None:
    parts = split_windows(window_starts(METR_LA, 12, 12), ratios)
    assert [len(part) for part in parts] == [23974, 3425, 6850]
    assert torch.equal(torch.cat(list(parts)), window_starts(METR_LA, 12, 12))


@given(
    steps=st.integers(30, 100_000), ratios=st.sampled_from([(7, 1, 2), (6, 2, 2), (0.6, 0.2, 0.2), (0.29, 0.42, 0.29)])
)
def test_parts_follow_each_other_without_gap(steps: int, ratios: tuple[float, float, float]) -> None:
    split = split_by_ratio(steps, ratios)
    assert [step for part in split for step in (part.start, part.stop)] == [
        0, split.train.stop, split.train.stop, split.val.stop, split.val.stop, steps,
    ]  # fmt: skip
    for part, ratio in zip(split, ratios, strict=True):
        assert abs((part.stop - part.start) - steps * ratio / sum(ratios)) < 2


def test_shares_are_exact_decimal_fractions() -> None:
    assert 100 * 0.29 < 29, "what a float product would round down to 28"
    assert split_by_ratio(100, (0.42, 0.29, 0.29)) == (slice(0, 42), slice(42, 71), slice(71, 100))
    assert split_by_ratio(10, (6, 2, 2)) == (slice(0, 6), slice(6, 8), slice(8, 10))
    assert train_val_split(100, 0.29) == (slice(0, 29), slice(29, 100))


def test_training_period_is_split_nine_to_one() -> None:
    assert train_val_split(1612) == (slice(0, 1450), slice(1450, 1612))


@pytest.mark.parametrize(
    ("steps", "ratios", "message"),
    [
        (100, (7, 1), r"ratios is \(7, 1\)"),
        (100, (7, 0, 3), "3 positive numbers"),
        (100, (7, -1, 4), "3 positive numbers"),
        (100, (7, float("nan"), 3), "3 positive numbers"),
        (100, (7, float("inf"), 3), "3 positive numbers"),
        (5, (7, 1, 2), r"5 steps split by .* leave none for validation"),
        (0, (7, 1, 2), "leave none for training and validation and test"),
    ],
)
def test_bad_ratios_are_named(steps: int, ratios: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_by_ratio(steps, ratios)


def test_bad_window_split_and_fraction_are_named() -> None:
    with pytest.raises(InputError, match="4 windows split by"):
        split_windows(torch.arange(4), (98, 1, 1))
    for fraction in (0.0, 1.0, -0.5, 9.0):
        with pytest.raises(InputError, match=f"fraction is {fraction}"):
            train_val_split(100, fraction)
    with pytest.raises(InputError, match=r"1 steps split by 0\.9 leave none for training"):
        train_val_split(1, 0.9)


@pytest.mark.parametrize(
    "cuts",
    [
        ("2024-03-03", "2024-03-04"),
        ("2024-03-02T23:30", "2024-03-03T23:00:01"),
        (date(2024, 3, 3), datetime(2024, 3, 4)),
        (datetime(2024, 3, 3, 2, tzinfo=timezone(timedelta(hours=2))), pd.Timestamp("2024-03-04", tz="UTC")),
        (np.datetime64("2024-03-03"), pd.Timestamp("2024-03-04")),
        (int(np.datetime64("2024-03-03", "ns").astype(np.int64)), "2024-03-04"),
    ],
)
@pytest.mark.parametrize("form", ["tensor", "array", "datetime64"])
def test_split_by_date(cuts: tuple[Any, Any], form: str) -> None:
    time: Any = hours(96)
    if form == "tensor":
        time = torch.from_numpy(time)
    elif form == "datetime64":
        time = time.astype("datetime64[ns]")
    assert split_by_date(time, *cuts) == (slice(0, 48), slice(48, 72), slice(72, 96))


def test_split_by_date_of_times_without_a_calendar() -> None:
    time = torch.arange(10, dtype=torch.float64) / 2
    assert split_by_date(time, 2.0, 4) == (slice(0, 4), slice(4, 8), slice(8, 10))
    with pytest.raises(InputTypeError, match="no calendar"):
        split_by_date(time, "2024-01-01", "2024-02-01")


@pytest.mark.parametrize(
    ("time", "cuts", "error", "message"),
    [
        (hours(5), ("2023-01-01", "2024-03-01T02"), InputError, "leave 0, 2 and 3 of 5 steps"),
        (hours(5), ("2024-03-01T02", "2024-03-01T02"), InputError, "leave 2, 0 and 3"),
        (hours(5), ("2024-03-01T02", "2025-01-01"), InputError, "leave 2, 3 and 0"),
        (hours(5), ("2024-03-01T03", "2024-03-01T02"), InputError, "leave 3, -1 and 3"),
        (hours(5), ("yesterday", "2025-01-01"), InputError, "val_start is 'yesterday'"),
        (hours(5), ("2024-03-01T02", [3]), InputTypeError, "test_start is a list"),
        (hours(5)[::-1], ("2024-03-01T02", "2024-03-01T03"), InputError, "not increasing after step 0"),
        (np.stack([hours(5)] * 2), ("2024-03-01T02", "2024-03-01T03"), InputError, "all nodes share"),
        (np.array(["a", "b"]), ("2024-03-01T02", "2024-03-01T03"), InputTypeError, "dtype <U1"),
    ],
)
def test_bad_dates_are_named(time: Any, cuts: tuple[Any, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        split_by_date(time, *cuts)


# Windows


@given(
    steps=st.integers(1, 60),
    input_steps=st.integers(1, 6),
    horizon=st.integers(1, 4),
    stride=st.integers(1, 5),
    period=st.one_of(st.none(), st.integers(1, 20)),
    gaps=st.sets(st.integers(0, 58), max_size=4),
    bounds=st.one_of(st.none(), st.tuples(st.integers(0, 30), st.integers(1, 60))),
)
def test_windows_are_all_that_cross_nothing(
    steps: int,
    input_steps: int,
    horizon: int,
    stride: int,
    period: int | None,
    gaps: set[int],
    bounds: tuple[int, int] | None,
) -> None:
    time = np.arange(steps) + 100 * np.array([sum(gap < t for gap in gaps) for t in range(steps)])
    within = None if bounds is None else slice(bounds[0], bounds[0] + bounds[1])
    allowed = range(*(within or slice(None)).indices(steps))
    length = input_steps + horizon
    # Runs of steps without a break, by walking over them.
    runs: list[list[int]] = []
    for t in allowed:
        broken = not runs or (t - 1) in gaps or (period is not None and t % period == 0)
        runs.append([t]) if broken else runs[-1].append(t)
    expected = [start for run in runs for start in run[: max(len(run) - length + 1, 0) : stride]]

    def starts() -> list[int]:
        found = window_starts(
            steps, input_steps, horizon, within=within, stride=stride, time=time, max_gap=50, period_break=period
        )
        assert found.dtype == torch.int64
        return found.tolist()

    if expected:
        assert starts() == expected
    else:
        with pytest.raises(InputError, match=r"no window of|there are"):
            starts()


def test_windows_stay_in_service_days() -> None:
    starts = window_starts(2700, 6, 3, period_break=108)
    assert len(starts) == 25 * (108 - 8)
    assert bool(((starts % 108) <= 99).all())


@pytest.mark.parametrize(
    "max_gap", [7200e9, 7_200_000_000_000, "2h", "2x", "2.5x", timedelta(hours=2), np.timedelta64(2, "h")]
)
def test_gaps_in_any_unit(max_gap: Any) -> None:
    time = hours(20)
    time[8:] += 3600 * 10**9  # 2 hours to the next step: not more than allowed
    time[14:] += 2 * 3600 * 10**9  # 3 hours
    starts = window_starts(20, 3, 1, time=time, max_gap=max_gap)
    assert starts.tolist() == [*range(11), *range(14, 17)]
    assert torch.equal(starts, window_starts(20, 3, 1, time=torch.from_numpy(time), max_gap=max_gap))


def test_a_gap_of_any_node_counts_where_nodes_have_their_own_times() -> None:
    time = np.stack([np.arange(8.0), np.arange(8.0)])
    time[1, 4:] += 1.0
    assert window_starts(8, 2, 1, time=time, max_gap=1.5).tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"num_steps": 4}, InputError, r"there are 4 steps.*needs 5"),
        ({"num_steps": 0}, InputError, "there are 0 steps"),
        ({"within": slice(8, 10)}, InputError, "there are 2 steps"),
        ({"within": slice(0, 10, 2)}, InputError, "consecutive"),
        ({"input_steps": 0}, InputError, "input_steps is 0"),
        ({"horizon": 0}, InputError, "horizon is 0"),
        ({"stride": 0}, InputError, "stride is 0"),
        ({"period_break": 0}, InputError, "period_break is 0"),
        ({"period_break": 4}, InputError, "longest run without a gap or break has 4"),
        ({"max_gap": 1.0}, InputError, "without time"),
        ({"max_gap": 0.0, "time": np.arange(10)}, InputError, "max_gap is 0"),
        ({"max_gap": "fast", "time": np.arange(10)}, InputError, "max_gap is 'fast'"),
        ({"max_gap": "manyx", "time": np.arange(10)}, InputError, "'many'"),
        ({"max_gap": "2h", "time": np.arange(10.0)}, InputTypeError, "no calendar"),
        ({"max_gap": 1.0, "time": np.arange(9)}, InputError, r"shape \(9,\)"),
        ({"max_gap": 1.0, "time": np.array([0, 1, 1, *range(2, 9)])}, InputError, "not increasing after step 1"),
    ],
)
def test_bad_windows_are_named(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        window_starts(**{"num_steps": 10, "input_steps": 3, "horizon": 2, **kwargs})
