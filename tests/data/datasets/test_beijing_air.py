import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stgraph.data import to_datetime64
from stgraph.data.datasets import BeijingAir
from stgraph.data.datasets.beijing_air import BEIJING_STATIONS, read_beijing_air
from stgraph.errors import InputError
from tests.data.datasets.published_files import forget_hashes

FOLDER = "PRSA_Data_20130301-20170228"
_DATE = ("year", "month", "day", "hour")
_MEASURED = ("PM2.5", "PM10", "SO2", "NO2", "CO", "O3", "TEMP", "PRES", "DEWP", "RAIN")
COLUMNS = ["No", *_DATE, *_MEASURED, "wd", "WSPM", "station"]


def table_of(station, number):
    """Hours from 1 March 2013 in the published columns, with gaps written NA and the wind's direction as text."""
    hours = pd.date_range("2013-03-01", periods=30, freq="h")
    rng = np.random.default_rng(number)
    table = pd.DataFrame({"No": np.arange(1, 31), "year": hours.year, "month": hours.month})
    table["day"], table["hour"] = hours.day, hours.hour
    for name in _MEASURED:
        table[name] = rng.uniform(-5, 300, 30).round(1)
    table["wd"], table["WSPM"], table["station"] = "NNW", rng.uniform(0, 9, 30).round(1), station
    table.loc[number % 30, ["PM2.5", "wd"]] = np.nan
    return table[COLUMNS]


def write(folder):
    folder.mkdir(parents=True)
    tables = {}
    for number, station in enumerate(BEIJING_STATIONS):
        tables[station] = table_of(station, number)
        path = folder / f"PRSA_Data_{station}_20130301-20170228.csv"
        tables[station].to_csv(path, index=False, na_rep="NA")
    return tables


def check(data, tables, channels):
    for node, (station, table) in enumerate(tables.items()):
        expected = table[channels].to_numpy()
        np.testing.assert_array_equal(data.mask[node], ~np.isnan(expected))
        np.testing.assert_array_equal(data.x[node], np.nan_to_num(expected).astype(np.float32))
        assert data.node_names[node] == station
    np.testing.assert_array_equal(
        to_datetime64(data.time), np.datetime64("2013-03-01", "ns") + np.timedelta64(1, "h") * np.arange(30)
    )
    assert data.channel_names == channels


def test_folder(tmp_path):
    tables = write(tmp_path / "beijing_air" / "raw" / FOLDER)
    check(BeijingAir(tmp_path)[0], tables, ["PM2.5"])
    channels = ["WSPM", "PM2.5", "TEMP"]
    data = BeijingAir(tmp_path, channels=channels, coordinates="cartesian")[0]
    check(data, tables, channels)
    np.testing.assert_allclose(data.pos, list(BEIJING_STATIONS.values()), rtol=1e-6)


def test_archive_in_the_archive(tmp_path, monkeypatch):
    forget_hashes(monkeypatch)
    tables = write(tmp_path / FOLDER)
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for path in (tmp_path / FOLDER).iterdir():
            archive.write(path, f"{FOLDER}/{path.name}")
    folder = tmp_path / "beijing_air"
    folder.mkdir()
    with zipfile.ZipFile(folder / "beijing+multi+site+air+quality+data.zip", "w") as archive:
        archive.writestr("PRSA2017_Data_20130301-20170228.zip", inner.getvalue())
    check(BeijingAir(tmp_path)[0], tables, ["PM2.5"])


def test_hours_without_a_row_are_missing(tmp_path):
    paths = []
    for station, rows in (("Dongsi", slice(None)), ("Wanliu", slice(5, 20))):
        paths.append(tmp_path / f"{station}.csv")
        table = table_of(station, 0)[rows]
        table.drop(index=7).sample(frac=1, random_state=0).to_csv(paths[-1], index=False, na_rep="NA")
    data = read_beijing_air(paths, channels=["O3"])
    assert data.x.shape == (2, 30, 1)
    assert (~data.mask[0, :, 0]).nonzero().flatten().tolist() == [7]
    assert data.mask[1, :, 0].nonzero().flatten().tolist() == [*range(5, 7), *range(8, 20)]


def test_what_does_not_fit(tmp_path):
    path = tmp_path / "one.csv"
    table = table_of("Dongsi", 0)
    for changed, message in (
        (table.drop(columns=["hour", "O3"]), "lacks the columns hour, O3"),
        (table.assign(station="Elsewhere"), r"one of the stations .*, got \['Elsewhere'\]"),
        (pd.concat([table, table[3:4]]), "two rows for 2013-03-01 03:00"),
        (table.assign(day=32), "cannot be read"),
        (table[:0], "lacks rows"),
        (table.assign(O3="low"), "cannot be read"),
    ):
        changed.to_csv(path, index=False, na_rep="NA")
        with pytest.raises(InputError, match=message):
            read_beijing_air([path], channels=["O3"])
    with pytest.raises(InputError, match=r"channels must be a list of some of PM2\.5"):
        read_beijing_air([path], channels=["wd"])


def test_stations_of_the_true_data():
    path = Path(os.environ.get("STGRAPH_DATA", "/nowhere")) / "beijing_air" / "beijing_air.npz"
    if not path.is_file():
        pytest.skip("needs the folder beijing_air in STGRAPH_DATA")
    with np.load(path) as archive:
        stations = dict(zip(archive["station"].tolist(), map(tuple, archive["lonlat"].tolist()), strict=True))
    assert stations == BEIJING_STATIONS
