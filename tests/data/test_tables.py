import numpy as np
import pandas as pd
import pytest
import torch

from stgraph.data import from_table, to_array, to_datetime64
from stgraph.errors import InputError, InputTypeError

NAN = float("nan")
TIMES = pd.date_range("2020-01-01", periods=4, freq="D")
VALUES = np.array([[1.0, 5.0], [2.0, NAN], [3.0, 7.0], [4.0, 8.0]])
COORDS = pd.DataFrame({"station": ["b", "c", "a"], "latitude": [51.0, 9.0, 50.0], "longitude": [8.0, 9.0, 7.0]})


def wide(index=TIMES, columns=("a", "b")):
    return pd.DataFrame(VALUES, index=index, columns=columns if isinstance(columns, pd.Index) else list(columns))


def long():
    frame = wide().rename_axis(index="time", columns="station").stack().rename("pm10").reset_index()
    return frame.sample(frac=1, random_state=0)


def check(data):
    np.testing.assert_array_equal(to_array(data)[:, :, 0], VALUES)
    np.testing.assert_array_equal(to_datetime64(data.time), TIMES.to_numpy())
    assert data.node_names == ["a", "b"]


def test_wide():
    check(from_table(wide(), coords=np.eye(2)))


@pytest.mark.parametrize("name", ["time", "Timestamp", "DATE", "when"])
@pytest.mark.parametrize("as_text", [False, True])
def test_wide_with_a_column_of_times(name, as_text):
    frame = wide().rename_axis(index=name).reset_index()
    if as_text:
        frame[name] = frame[name].astype(str)
    check(from_table(frame, coords=np.eye(2)))


def test_wide_without_times():
    data = from_table(wide(index=range(4)), coords=np.eye(2))
    assert "time" not in data
    check(from_table(wide(index=range(4)), coords=np.eye(2), time=TIMES))


def test_wide_with_row_numbers_saved_as_a_column():
    frame = wide(index=range(4))
    frame.insert(0, "Unnamed: 0", range(4))
    data = from_table(frame, coords=np.eye(2))
    assert data.node_names == ["a", "b"]


def test_wide_with_years_and_with_numbers_as_names():
    data = from_table(wide(index=[1990, 1991, 1992, 1993], columns=(400001, 400017)), coords=np.eye(2))
    assert data.time.tolist() == [1990.0, 1991.0, 1992.0, 1993.0]
    assert data.node_names == ["400001", "400017"]
    assert "node_names" not in from_table(wide(columns=(0, 1)), coords=np.eye(2))


@pytest.mark.parametrize(
    ("names", "tuples"),
    [
        ((None, None), [("a", "flow"), ("a", "speed"), ("b", "flow")]),
        (("node", "channel"), [("a", "flow"), ("a", "speed"), ("b", "flow")]),
        (("variable", "station"), [("flow", "a"), ("speed", "a"), ("flow", "b")]),
    ],
)
def test_wide_with_channels(names, tuples):
    columns = pd.MultiIndex.from_tuples(tuples, names=names)
    data = from_table(pd.DataFrame(np.arange(12.0).reshape(4, 3), TIMES, columns), coords=np.eye(2))
    assert data.node_names == ["a", "b"]
    assert data.channel_names == ["flow", "speed"]
    assert data.x[0, :, 1].tolist() == [1, 4, 7, 10]
    assert not data.mask[1, :, 1].any()


def test_long_in_any_order_of_rows():
    data = from_table(long(), coords=np.eye(2))
    by_name = from_table(long(), time="time", node="station", value="pm10", coords=np.eye(2))
    assert torch.equal(by_name.x, data.x)
    order = [data.node_names.index(name) for name in ("a", "b")]
    np.testing.assert_array_equal(to_array(data)[:, order, 0], VALUES)
    np.testing.assert_array_equal(to_datetime64(data.time), TIMES.to_numpy())
    assert data.channel_names == ["pm10"]


def test_long_with_text_times_numeric_times_and_several_channels():
    frame = long()
    frame["time"] = frame["time"].dt.strftime("%Y-%m-%d")
    frame["no2"] = 2 * frame["pm10"]
    data = from_table(frame, coords=np.eye(2))
    assert data.channel_names == ["pm10", "no2"]
    torch.testing.assert_close(data.x[..., 1], 2 * data.x[..., 0])
    assert data.time.dtype == torch.int64
    numbered = long().assign(time=lambda f: (f["time"] - TIMES[0]).dt.days)
    assert from_table(numbered, coords=np.eye(2)).time.tolist() == [0, 1, 2, 3]


def test_long_with_coordinates_in_columns():
    frame = long().merge(COORDS, on="station")
    data = from_table(frame, coords=["longitude", "latitude"])
    expected = {"a": [7.0, 50.0], "b": [8.0, 51.0]}
    assert data.pos.tolist() == [expected[name] for name in data.node_names]
    assert data.channel_names == ["pm10"]


@pytest.mark.parametrize(
    "table",
    [
        COORDS,
        COORDS.set_index("station"),
        COORDS.rename(columns={"station": "who", "longitude": "Lon", "latitude": "LAT"}),
        COORDS.assign(index=[0, 1, 2])[["index", "station", "latitude", "longitude"]],
    ],
)
def test_coordinates_are_joined_by_name(table):
    assert from_table(wide(), coords=table).pos.tolist() == [[7.0, 50.0], [8.0, 51.0]]


def test_coordinates_of_numbered_nodes_and_without_names():
    table = pd.DataFrame({"sensor_id": [17, 1], "x": [3.0, 4.0], "y": [5.0, 6.0], "z": [7.0, 8.0]})
    assert from_table(wide(columns=(1, 17)), coords=table).pos.tolist() == [[4, 6, 8], [3, 5, 7]]
    assert from_table(wide(columns=(1, 17)), coords=table.set_index("sensor_id")).pos.tolist() == [[4, 6, 8], [3, 5, 7]]
    rows = pd.DataFrame({"u": [1.0, 2.0], "v": [3.0, 4.0]})
    assert from_table(wide(), coords=rows).pos.tolist() == [[1, 3], [2, 4]]


def test_options_reach_from_array():
    data = from_table(wide(), coords=np.eye(2), null_value=8.0, channel_names=["pm10"], static=[1, 2])
    assert data.mask.sum() == 6
    assert data.channel_names == ["pm10"]


def test_nullable_and_mixed_columns():
    frame = pd.DataFrame({"a": pd.array([1, None, 3, 4], dtype="Int64"), "b": [1.5, 2.5, 3.5, 4.5]}, index=TIMES)
    data = from_table(frame, coords=np.eye(2))
    assert data.mask[0, :, 0].tolist() == [True, False, True, True]


@pytest.mark.parametrize(
    ("frame", "options", "error", "message"),
    [
        (VALUES, {}, InputTypeError, "pandas DataFrame, got ndarray"),
        (wide().iloc[:0], {}, InputError, "empty"),
        (wide(), {"layout": "tall"}, InputError, "layout must be one of auto"),
        (wide(), {"time": "when"}, InputError, "time='when' is no column"),
        (wide(), {"value": "a"}, InputError, "columns of a long table"),
        (wide(), {"layout": "long"}, InputError, "needs a time column"),
        (long(), {"node": "sensor"}, InputError, "node='sensor' is no column of the table, which has time, station"),
        (long(), {"value": "ozone"}, InputError, "value='ozone'"),
        (long(), {"time": TIMES}, InputTypeError, "name of a column"),
        (long()[["time", "station"]], {}, InputError, "value column"),
        (long().assign(pm10="high"), {}, InputTypeError, "'pm10' must hold numbers.*'high'"),
        (pd.concat([long(), long().iloc[[3]]]), {}, InputError, "rows 3 and 8 are both time"),
        (long().assign(time=pd.NaT), {}, InputError, "no time in row 0"),
        (long().assign(station=None), {}, InputError, "no node in row 0"),
        (long().assign(time="noon"), {}, InputTypeError, "cannot be read as dates"),
        (wide(index=TIMES[::-1]), {}, InputError, r"time\[1\].*sort"),
        (wide(index=TIMES[[0, 1, 1, 2]]), {}, InputError, r"time\[2\] repeats"),
        (wide(columns=("a", "a")), {}, InputError, "'a' appears more than once"),
        (wide().assign(b="high"), {}, InputTypeError, "column 'b'"),
        (wide(index=list("wxyz")), {}, InputTypeError, "cannot be read as dates"),
        (wide(), {"coords": COORDS.iloc[:2]}, InputError, "no row for 1 of 2 nodes, the first is 'a'"),
        (wide(), {"coords": COORDS.iloc[[0, 0, 2]]}, InputError, "two rows for node 'b'"),
        (wide(), {"coords": COORDS[["station"]]}, InputError, "columns of numbers"),
        (wide()[[]].assign(time=TIMES), {}, InputError, "column for each node"),
        (wide(columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "x")])), {}, InputError, "appears twice"),
        (wide(columns=pd.MultiIndex.from_tuples([("a", 1, 2), ("b", 1, 2)])), {}, InputError, "one or two levels"),
    ],
)
def test_bad_tables(frame, options, error, message):
    with pytest.raises(error, match=message):
        from_table(frame, **{"coords": np.eye(2), **options})
