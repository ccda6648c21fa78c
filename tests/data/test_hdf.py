import numpy as np
import pandas as pd
import pytest

from stgraph.data import from_file, to_array, to_datetime64
from stgraph.data.hdf import read_hdf
from stgraph.errors import InputError

h5py = pytest.importorskip("h5py")

TIMES = pd.date_range("2012-03-01", periods=5, freq="5min")
SPEED = np.random.default_rng(0).uniform(1, 70, (5, 3))


def write_fixed(path, key="df", labels=(b"773869", b"767541", b"767542"), unit="datetime64"):
    """The layout of the published files, as pandas of their time wrote it."""
    with h5py.File(path, "a") as file:
        group = file.create_group(key)
        group.attrs.update(pandas_type=np.bytes_("frame"), nblocks=1, axis0_variety=np.bytes_("regular"))
        kind = b"string" if isinstance(labels[0], bytes) else b"integer"
        for name in ("axis0", "block0_items"):
            group[name] = np.array(labels)
            group[name].attrs["kind"] = np.bytes_(kind)
        group["axis1"] = TIMES.as_unit("ns").asi8
        group["axis1"].attrs["kind"] = np.bytes_(unit)
        group["axis1"].attrs["freq"] = np.bytes_(b"cos\nsystem\n(S'false'\ntR.")  # a pickle, not to be read
        group["block0_values"] = SPEED
        group["block0_values"].attrs["transposed"] = True


@pytest.mark.parametrize(
    ("key", "labels", "names"),
    [
        ("df", (b"773869", b"767541", b"767542"), ["773869", "767541", "767542"]),
        ("speed", (400001, 400017, 400030), ["400001", "400017", "400030"]),
    ],
)
def test_published_layout(tmp_path, key, labels, names):
    path = tmp_path / "metr-la.h5"
    write_fixed(path, key, labels)
    data = from_file(path, coords=np.eye(3))
    np.testing.assert_array_equal(to_array(data)[:, :, 0], SPEED.astype(np.float32))
    np.testing.assert_array_equal(to_datetime64(data.time), TIMES.to_numpy())
    assert data.node_names == names


def test_null_value_and_coordinates_by_name(tmp_path):
    path = tmp_path / "metr-la.h5"
    write_fixed(path)
    (tmp_path / "locations.csv").write_text("sensor_id,latitude,longitude\n767541,2,20\n767542,3,30\n773869,1,10\n")
    data = from_file(path, coords=tmp_path / "locations.csv", null_value=float(np.float32(SPEED[0, 0])))
    assert data.pos.tolist() == [[10, 1], [20, 2], [30, 3]]


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
def test_what_pandas_writes_today(tmp_path, unit):
    pytest.importorskip("tables")
    frame = pd.DataFrame(SPEED, TIMES.as_unit(unit), list("abc"))
    frame["count"] = np.arange(5)
    frame["c"] = frame["c"].astype(np.float32)
    frame = frame[["count", "c", "a", "b"]]
    path = tmp_path / "today.h5"
    frame.to_hdf(path, key="speeds", format="fixed")
    read = read_hdf(path)
    pd.testing.assert_frame_equal(
        read, frame.astype(np.float64), check_index_type=False, check_freq=False, check_column_type=False
    )
    assert from_file(path, coords=np.eye(4)).node_names == ["count", "c", "a", "b"]


def test_time_zones_are_stored_as_utc(tmp_path):
    pytest.importorskip("tables")
    path = tmp_path / "zone.h5"
    pd.DataFrame(SPEED, TIMES.tz_localize("UTC").tz_convert("America/Los_Angeles"), list("abc")).to_hdf(path, key="df")
    np.testing.assert_array_equal(to_datetime64(from_file(path, coords=np.eye(3)).time), TIMES.to_numpy())


def test_plain_data_sets(tmp_path):
    with h5py.File(tmp_path / "bike.h5", "w") as file:
        file["data"] = SPEED
        file["date"] = np.arange(5)
        file["more/data"] = 2 * SPEED
    assert from_file(tmp_path / "bike.h5", coords=np.eye(3)).x.shape == (3, 5, 1)
    assert from_file(tmp_path / "bike.h5", coords=np.eye(3), key="more/data").x.max() == pytest.approx(2 * SPEED.max())


def test_several_tables_need_a_key(tmp_path):
    path = tmp_path / "two.h5"
    write_fixed(path, "monday")
    write_fixed(path, "tuesday")
    assert from_file(path, key="/tuesday", coords=np.eye(3)).x.shape == (3, 5, 1)
    with pytest.raises(InputError, match="monday, tuesday; choose"):
        from_file(path, coords=np.eye(3))
    with pytest.raises(InputError, match="no key 'sunday'; there are monday, tuesday"):
        from_file(path, coords=np.eye(3), key="sunday")


@pytest.mark.filterwarnings("ignore::pandas.errors.PerformanceWarning")  # pandas, of the pickles that we want here
def test_what_only_unpickling_could_read_is_refused(tmp_path):
    pytest.importorskip("tables")
    frame = pd.DataFrame(SPEED, TIMES, list("abc"))
    frame.to_hdf(tmp_path / "table.h5", key="df", format="table")
    with pytest.raises(InputError, match=r"table\.h5: df .*format='fixed'"):
        from_file(tmp_path / "table.h5", coords=np.eye(3))
    frame.columns = pd.MultiIndex.from_product([list("abc"), ["speed"]])
    frame.to_hdf(tmp_path / "levels.h5", key="df")
    with pytest.raises(InputError, match="several levels"):
        from_file(tmp_path / "levels.h5", coords=np.eye(3))
    pd.DataFrame({"a": ["x", "y"]}, TIMES[:2], dtype=object).to_hdf(tmp_path / "text.h5", key="df")
    with pytest.raises(InputError, match="no numbers"):
        from_file(tmp_path / "text.h5", coords=np.eye(1))
    frame.iloc[:, 0].rename("a").to_hdf(tmp_path / "series.h5", key="df")
    with pytest.raises(InputError, match="pandas_type is 'series'"):
        from_file(tmp_path / "series.h5", coords=np.eye(1))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda group: group.pop("axis1"), "metr-la.h5"),
        (lambda group: group["axis1"].attrs.update(kind=b"object"), "kind object are pickled"),
        (lambda group: group.attrs.update(pandas_type=b"wide"), "pandas_type is 'wide'"),
    ],
)
def test_damaged_tables(tmp_path, damage, message):
    path = tmp_path / "metr-la.h5"
    write_fixed(path)
    with h5py.File(path, "a") as file:
        damage(file["df"])
    with pytest.raises(InputError, match=message):
        from_file(path, coords=np.eye(3))


def test_nothing_to_read(tmp_path):
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(InputError, match="holds nothing"):
        from_file(tmp_path / "empty.h5")
