import datetime

import numpy as np
import pandas as pd
import pytest
import torch

from stgraph.data import as_time, from_array, to_datetime64
from stgraph.errors import InputError, InputTypeError

HOUR = 3600 * 10**9
EXPECTED = (np.datetime64("2012-03-01", "ns") + np.arange(3) * np.timedelta64(1, "h")).astype(np.int64).tolist()
HOURS = pd.date_range("2012-03-01", periods=3, freq="h")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_resolution_of_pandas_becomes_nanoseconds(unit):
    assert as_time(HOURS.as_unit(unit), 3).tolist() == EXPECTED


@pytest.mark.parametrize(
    "time",
    [
        HOURS.to_numpy(),
        HOURS.to_numpy().astype("datetime64[h]"),
        HOURS.to_series(),
        pd.period_range("2012-03-01", periods=3, freq="h"),
        HOURS.tz_localize("UTC").tz_convert("America/Los_Angeles"),
        HOURS.tz_localize("UTC").tz_convert("America/Los_Angeles").to_pydatetime(),
        list(HOURS.to_pydatetime()),
        [str(time) for time in HOURS],
        HOURS.astype(str),
        np.array([str(time) for time in HOURS], dtype="S"),
        EXPECTED,
        torch.tensor(EXPECTED),
        np.array(EXPECTED, dtype=np.uint64),
    ],
)
def test_dates(time):
    result = as_time(time, 3)
    assert result.dtype == torch.int64
    assert result.tolist() == EXPECTED


def test_whole_days_years_and_plain_dates():
    assert as_time([datetime.date(1970, 1, 2), datetime.date(1970, 1, 3)], 2).tolist() == [24 * HOUR, 48 * HOUR]
    years = as_time(np.array(["1860", "2099"], dtype="datetime64[Y]"), 2)
    assert to_datetime64(years).astype("datetime64[D]").astype(str).tolist() == ["1860-01-01", "2099-01-01"]


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ([0.5, 1.5], [0.5, 1.5]),
        (np.array([0.5, 1.5], dtype=np.float32), [0.5, 1.5]),
        (pd.to_timedelta(["1h", "2h"]), [3600, 7200]),
        (np.arange(2), [0, 1]),
        (np.array([1860, 1861]), [1860, 1861]),
        (pd.Index([7, 8], dtype=object), [7, 8]),
        (np.array([395880, 395881]), [395880, 395881]),  # hours since 1970
        (np.array([1330560000, 1330560300]), [1330560000, 1330560300]),  # seconds since 1970
        ([2005], [2005]),
    ],
)
def test_times_without_a_calendar_are_float64(time, expected):
    result = as_time(time, len(expected))
    assert result.dtype == torch.float64
    assert result.tolist() == expected


def test_integers_a_second_or_more_apart_are_nanoseconds():
    assert as_time(torch.arange(3) * HOUR, 3).dtype == torch.int64


def test_round_trip_through_data():
    data = from_array(np.arange(6.0).reshape(3, 2), coords=np.eye(2), time=HOURS)
    assert torch.equal(from_array(np.arange(6.0).reshape(3, 2), coords=np.eye(2), time=data.time).time, data.time)
    np.testing.assert_array_equal(to_datetime64(data.time), HOURS.to_numpy())


def test_each_node_may_have_its_own_times():
    times = torch.tensor([[0.0, 1.0, 2.0], [5.0, 5.5, 9.0]])
    data = from_array(np.arange(6.0).reshape(3, 2), coords=np.eye(2), time=times)
    torch.testing.assert_close(data.time, times.double())
    times[1, 2] = 5.5
    with pytest.raises(InputError, match=r"time\[1, 2\] repeats"):
        from_array(np.arange(6.0).reshape(3, 2), coords=np.eye(2), time=times)


def test_dates_of_other_calendars():
    cftime = pytest.importorskip("cftime")
    model_days = [cftime.Datetime360Day(1970, 2, 30), cftime.Datetime360Day(1970, 3, 1)]
    assert as_time(np.array(model_days), 2).tolist() == [59.0, 60.0]
    real = [cftime.DatetimeGregorian(1970, 1, 2), cftime.DatetimeGregorian(1970, 1, 3)]
    assert as_time(np.array(real), 2).tolist() == [24 * HOUR, 48 * HOUR]


@pytest.mark.parametrize(
    ("time", "error", "message"),
    [
        ([0.0, 2.0, 1.0, 3.0], InputError, r"time\[2\] \(1.0\) is earlier .*\(2.0\); sort"),
        ([0.0, 2.0, 2.0, 1.0], InputError, r"time\[2\] repeats .*\(2.0\); merge or drop"),
        (["2020-01-02", "2020-01-03", "2020-01-01", "2020-01-04"], InputError, r"time\[2\] \(2020-01-01T00:00:00\)"),
        ([0.0, float("nan"), 1.0, 2.0], InputError, r"time\[1\] is missing"),
        ([0.0, 1.0, 2.0, float("inf")], InputError, r"time\[3\] is missing"),
        (pd.to_datetime(["2020-01-01", None, "2020-01-03", "2020-01-04"]), InputError, r"time\[1\] is missing"),
        ([0.0, 1.0, 2.0], InputError, r"shape \(4,\).*got \(3,\)"),
        (3.0, InputError, "shape"),
        (np.arange(16.0).reshape(4, 4), InputError, "shape"),
        (["a", "b", "c", "d"], InputTypeError, "cannot be read as dates"),
        ([object()] * 4, InputTypeError, "cannot be read as dates"),
        ([True, False, True, False], InputTypeError, "bool"),
        (np.ones(4) * 1j, InputTypeError, "complex"),
        (np.array(["1500", "1600", "1700", "1800"], dtype="datetime64[Y]"), InputError, r"time\[0\] is 1500"),
        (np.array([0, 1, 2, 2**63], dtype=np.uint64), InputError, "int64"),
    ],
)
def test_bad_times(time, error, message):
    with pytest.raises(error, match=message):
        as_time(time, 4)


def test_times_without_a_calendar_are_no_dates():
    with pytest.raises(InputTypeError, match="no calendar"):
        to_datetime64(torch.tensor([0.0]))
