import numpy as np
import pandas as pd
import pytest

from stgraph.data import from_file, to_array, to_datetime64
from stgraph.data.csv_files import has_header
from stgraph.errors import InputError, InputTypeError

WIDE = "time,a,b\n2020-01-01 00:00,1,2.5\n2020-01-01 01:00,,4\n2020-01-01 02:00,5,6\n"
LONG = "station,date,pm10,no2\nb,2020-01-02,4,40\na,2020-01-01,1,10\nb,2020-01-01,2,20\n"


def write(tmp_path, text, name="series.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([["time", "a"], ["1", "2"]], True),
        ([["", "1", "2"], ["0", "1.5", "2"]], False),
        ([["0", "1", "2"], ["3.5", "7", "9"]], True),
        ([["1", "2", "3"], ["70", "65", "9"]], True),
        ([["773869", "767541"], ["64.4", "67.6"], ["", "70"]], True),
        ([["773869", "767541"]], False),
        ([["64.4", "67.6"], ["1", "2"]], False),
        ([["5", "5"], ["1", "2"]], False),
        ([["5", "9"], ["7", "2"]], False),
        ([["0"], ["1"]], False),
    ],
)
def test_headers_are_told_from_values(lines, expected):
    assert has_header(lines) is expected


def test_wide(tmp_path):
    data = from_file(write(tmp_path, WIDE), coords=np.eye(2))
    np.testing.assert_array_equal(to_array(data)[:, :, 0], [[1, 2.5], [np.nan, 4], [5, 6]])
    assert data.node_names == ["a", "b"]
    assert to_datetime64(data.time)[1] == np.datetime64("2020-01-01T01:00")


def test_wide_with_an_unnamed_column_of_times(tmp_path):
    path = tmp_path / "saved.csv"
    pd.DataFrame(np.eye(3), pd.date_range("2020-01-01", periods=3), list("abc")).to_csv(path)
    data = from_file(path, coords=np.eye(3))
    assert data.node_names == list("abc")
    assert data.time.diff().tolist() == [86400 * 10**9] * 2


def test_long(tmp_path):
    data = from_file(write(tmp_path, LONG), coords=np.eye(2))
    assert data.node_names == ["b", "a"]
    assert data.channel_names == ["pm10", "no2"]
    expected = [[[2, 20], [1, 10]], [[4, 40], [np.nan, np.nan]]]
    np.testing.assert_array_equal(to_array(data), expected)


def test_sensor_numbers_in_the_header_and_no_time(tmp_path):
    data = from_file(write(tmp_path, "773869,767541\n64.4,0\n62.7,68.5\n"), coords=np.eye(2), null_value=0)
    assert data.node_names == ["773869", "767541"]
    assert data.mask.sum() == 3
    assert "time" not in data


def test_numbers_alone(tmp_path):
    path = write(tmp_path, "1.5,2\n3,4\n")
    data = from_file(path, coords=np.eye(2))
    assert to_array(data)[:, :, 0].tolist() == [[1.5, 2], [3, 4]]
    assert "node_names" not in data
    assert from_file(path, coords=np.eye(2), header=True).node_names == ["1.5", "2"]
    assert from_file(path, coords=np.eye(2), header=False).x.shape == (2, 2, 1)


def test_compressed(tmp_path):
    path = tmp_path / "series.csv.gz"
    pd.DataFrame({"a": [1.5, 2], "b": [3, 4]}).to_csv(path, index=False)
    assert from_file(path, coords=np.eye(2)).node_names == ["a", "b"]
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"series\.csv\.gz cannot be read"):
        from_file(path, coords=np.eye(2))


def test_coordinates_from_a_file_are_joined_by_name(tmp_path):
    coords = write(tmp_path, "id,lat,lon\nb,51,8\na,50,7\n", "coords.csv")
    data = from_file(write(tmp_path, WIDE), coords=coords)
    assert data.pos.tolist() == [[7, 50], [8, 51]]
    np.save(tmp_path / "coords.npy", np.eye(2))
    assert from_file(write(tmp_path, WIDE), coords=str(tmp_path / "coords.npy")).pos.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", InputError, "is empty"),
        ("time,a,b\n", InputError, "empty"),
        (WIDE[:-4], InputError, "cut off: its last line has 2 of 3 cells"),
        ("a,b\n1,2\n1,2,3\n", InputError, "cannot be read"),
        ("time,a\n2020-01-01,x\n2020-01-02,y\n", InputTypeError, "column 'a' must hold numbers"),
        ("time,a,b\n2020-01-02,1,2\n2020-01-01,2,3\n", InputError, "sort"),
        ("time,a,b\n2020-01-02,1,2\n,2,3\n", InputError, r"time\[1\] is missing"),
        (LONG + "b,2020-01-01,9,9\n", InputError, "rows 2 and 3"),
    ],
)
def test_bad_files(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        from_file(write(tmp_path, text), coords=np.eye(2))
