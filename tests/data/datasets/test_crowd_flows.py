import h5py
import numpy as np
import pytest

from stgraph.data import to_datetime64
from stgraph.data.datasets import BikeNYC, TaxiBJ
from stgraph.data.datasets.crowd_flows import read_crowd_flows
from stgraph.errors import InputError


def write(path, dates, shape=(16, 8), seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 240, (len(dates), 2, *shape)).astype(np.float64)
    with h5py.File(path, "w") as file:
        file["data"] = values
        file["date"] = np.array([date.encode() for date in dates])
    return values


def check(data, values):
    height, width = values.shape[2:]
    assert tuple(data.grid) == (height, width)
    expected = values.transpose(2, 3, 0, 1).reshape(height * width, len(values), 2)
    np.testing.assert_array_equal(data.x, expected)
    assert "mask" not in data


def test_bike_nyc(tmp_path):
    dates = [f"20140401{slot:02d}" for slot in range(1, 25)] + ["2014040201"]
    values = write(tmp_path / "bike_nyc" / "raw" / "NYC14_M16x8_T60_NewEnd.h5", dates)
    data = BikeNYC(tmp_path)[0]
    check(data, values)
    np.testing.assert_array_equal(
        to_datetime64(data.time), np.datetime64("2014-04-01T00", "ns") + np.timedelta64(1, "h") * np.arange(25)
    )
    assert data.channel_names == ["new_flow", "end_flow"]


def test_taxi_bj_jumps_over_days_that_are_missing(tmp_path):
    parts = []
    for year in (13, 14, 15, 16):
        dates = [f"20{year}0701{slot:02d}" for slot in (47, 48)] + [f"20{year}0704{slot:02d}" for slot in (1, 2)]
        parts.append(write(tmp_path / "taxi_bj" / "raw" / f"BJ{year}_M32x32_T30_InOut.h5", dates, (32, 32), year))
    data = TaxiBJ(tmp_path)[0]
    check(data, np.concatenate(parts))
    times = to_datetime64(data.time).astype("datetime64[m]")
    assert [str(time) for time in times[:5]] == [
        "2013-07-01T23:00",
        "2013-07-01T23:30",
        "2013-07-04T00:00",
        "2013-07-04T00:30",
        "2014-07-01T23:00",
    ]
    assert data.channel_names == ["inflow", "outflow"]


@pytest.mark.parametrize(
    ("dates", "message"),
    [
        (["2014040100"], "slots must be 1 to 24, but date 2014040100"),
        (["2014040125"], "slots must be 1 to 24, but date 2014040125"),
        (["2014043101"], "2014043101 is no date"),
        (["20140401"], "must be days and slots such as 2014040101, got '20140401'"),
        (["2014040101", "2014040101"], "strictly increasing"),
    ],
)
def test_dates_that_are_none(tmp_path, dates, message):
    write(tmp_path / "bike.h5", dates)
    with pytest.raises(InputError, match=message):
        read_crowd_flows([tmp_path / "bike.h5"], slots_per_day=24)


def test_what_does_not_fit(tmp_path):
    path = tmp_path / "bike.h5"
    write(path, ["2014040101", "2014040102"])
    write(tmp_path / "other.h5", ["2014040103"], (8, 8))
    with pytest.raises(InputError, match="same grid"):
        read_crowd_flows([path, tmp_path / "other.h5"], slots_per_day=24)
    with h5py.File(path, "a") as file:
        del file["date"]
    with pytest.raises(InputError, match="must hold data and date, got data"):
        read_crowd_flows([path], slots_per_day=24)
    path.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="cannot be read"):
        read_crowd_flows([path], slots_per_day=24)
