import json

import numpy as np
import pytest

from stgraph.data import to_datetime64
from stgraph.data.datasets import MilanTelecom
from stgraph.data.datasets.milan_telecom import read_milan_telecom
from stgraph.errors import InputError

MIDNIGHT = 1383260400000  # of 1 November 2013 in Milan, 23:00 of the day before in UTC
STEP = 600_000


def line(cell, slot, country, sms_in="", sms_out="", call_in="", call_out="", internet="", day=0):
    cells = (cell, MIDNIGHT + day * 144 * STEP + slot * STEP, country, sms_in, sms_out, call_in, call_out, internet)
    return "\t".join(str(item) for item in cells) + "\n"


def every_slot(day=0):
    return "".join(line(10000, slot, 0, internet=0.5, day=day) for slot in range(144))


def write(folder, days=2):
    folder.mkdir(parents=True, exist_ok=True)
    contents = [
        line(1, 0, 39, 0.1, 0.2, 0.3, 0.4, 11.0)
        + line(1, 0, 46, internet=0.25)
        + line(102, 1, 39, sms_in=1.5)
        + every_slot(),
        line(1, 0, 39, internet=7.0, day=1) + every_slot(1),
    ]
    paths = []
    for number in range(days):
        paths.append(folder / f"sms-call-internet-mi-2013-11-0{number + 1}.txt")
        paths[-1].write_text(contents[number])
    return paths


def test_countries_are_added_up(tmp_path):
    write(tmp_path / "milan_telecom" / "raw")
    data = MilanTelecom(tmp_path, last="2013-11-02")[0]
    expected = np.zeros((288, 100, 100))
    expected[:, 99, 99] = 0.5
    expected[0, 0, 0], expected[144, 0, 0] = 11.25, 7.0
    np.testing.assert_array_equal(data.x[:, :, 0].T.reshape(288, 100, 100), expected)
    assert "mask" not in data
    assert data.grid in ((100, 100), [100, 100])
    np.testing.assert_array_equal(
        to_datetime64(data.time), np.datetime64("2013-11-01", "ns") + np.timedelta64(10, "m") * np.arange(288)
    )
    # Cell 102 is the second of the second row from the south.
    np.testing.assert_allclose(data.pos[[0, 101]], [[0, 0], [0.235, 0.235]])


def test_other_channels_and_days(tmp_path):
    write(tmp_path / "milan_telecom")
    data = MilanTelecom(tmp_path, last="2013-11-01", channels=["call_out", "sms_in"])[0]
    assert data.channel_names == ["call_out", "sms_in"]
    assert data.x.shape == (10000, 144, 2)
    np.testing.assert_allclose(data.x[0, 0], [0.4, 0.1])
    np.testing.assert_allclose(data.x[101, 1], [0, 1.5])
    assert np.count_nonzero(data.x) == 3
    second = MilanTelecom(tmp_path, first="2013-11-02", last="2013-11-02")[0]
    assert float(second.x[0, 0, 0]) == 7.0
    assert str(to_datetime64(second.time)[0]).startswith("2013-11-02T00:00")


def test_ten_minutes_without_any_line_are_missing(tmp_path):
    path = tmp_path / "day.txt"
    path.write_text("".join(line(5, slot, 39, internet=1.0) for slot in range(144) if slot != 77))
    data = read_milan_telecom([path], first="2013-11-01")
    assert data.mask.shape == (10000, 144, 1)
    assert not data.mask[:, 77].any()
    assert data.mask[:, [76, 78]].all()


def test_outlines_give_longitude_and_latitude(tmp_path):
    folder = tmp_path / "milan_telecom" / "raw"
    write(folder, days=1)
    features = []
    for cell in np.random.default_rng(0).permutation(10000):
        west, south = 9.0 + 0.003 * (cell % 100), 45.3 + 0.002 * (cell // 100)
        ring = [
            [west, south],
            [west + 0.003, south],
            [west + 0.003, south + 0.002],
            [west, south + 0.002],
            [west, south],
        ]
        shape = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"cellId": int(cell) + 1}, "geometry": shape})
    grid = folder / "milano-grid.geojson"
    grid.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    data = MilanTelecom(tmp_path, last="2013-11-01", coordinates="cartesian")[0]
    np.testing.assert_allclose(data.pos[[0, 1, 100]], [[9.0015, 45.301], [9.0045, 45.301], [9.0015, 45.303]], rtol=1e-6)
    grid.write_text(json.dumps({"type": "FeatureCollection", "features": features[1:]}))
    with pytest.raises(InputError, match="must hold the cells 1 to 10000 with four corners each, got 9999 cells"):
        read_milan_telecom(write(folder, days=1), first="2013-11-01", grid=grid)


def test_what_does_not_fit(tmp_path):
    first, second = write(tmp_path)
    with pytest.raises(
        InputError, match=r"11-02\.txt must hold cells .* of 2013-11-01, got in line 1 cell 1 at 2013-11-02"
    ):
        read_milan_telecom([second], first="2013-11-01")
    first.write_text(line(10001, 0, 39, internet=1.0))
    with pytest.raises(InputError, match="got in line 1 cell 10001"):
        read_milan_telecom([first], first="2013-11-01")
    first.write_text("a\tb\tc\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_milan_telecom([first], first="2013-11-01")
    with pytest.raises(InputError, match="channels must be a list of some of sms_in"):
        read_milan_telecom([second], first="2013-11-02", channels=["sms"])
    with pytest.raises(InputError, match="first and last must be days from 2013-11-01 to 2014-01-01"):
        MilanTelecom(tmp_path, last="2014-01-02")
    with pytest.raises(InputError, match=r"sms-call-internet-mi-2013-11-03\.txt"):
        MilanTelecom(tmp_path, first="2013-11-03", last="2013-11-03")
