import os

import numpy as np
import pytest

from stgraph.data import to_array, to_datetime64
from stgraph.data.datasets import beijing_air_two_years, nyc_bike_eight_weeks, uk_temperature_march_2019
from stgraph.errors import InputError


def write(root, folder, name, **arrays):
    (root / folder).mkdir()
    np.savez(root / folder / name, **arrays)
    return arrays


def need(folder):
    root = os.environ.get("STGRAPH_DATA")
    if not root or not os.path.isdir(os.path.join(root, folder)):  # noqa: PTH112, PTH118
        pytest.skip(f"needs the folder {folder} in STGRAPH_DATA")


def test_beijing(tmp_path):
    values = np.arange(24.0).reshape(4, 3, 2)
    values[1, 2, 1] = np.nan
    write(
        tmp_path,
        "beijing_air",
        "beijing_air.npz",
        values=values,
        channels=np.array(["PM10", "PM2.5"]),
        hours_since_epoch=np.arange(395928, 395932),
        station=np.array(["a", "b", "c"]),
        lonlat=np.array([[116.0, 40.0], [116.1, 40.1], [116.2, 40.2]]),
    )
    data = beijing_air_two_years(tmp_path, coordinates="cartesian")
    np.testing.assert_array_equal(to_array(data), values[:, :, 1:])
    assert str(to_datetime64(data.time)[0]).startswith("2015-03-03T00:00")
    assert data.node_names == ["a", "b", "c"]
    assert beijing_air_two_years(tmp_path, channel="PM10").x[2, 3].item() == 22
    with pytest.raises(InputError, match=r"channel must be one of PM10, PM2\.5, got 'O3'"):
        beijing_air_two_years(tmp_path, channel="O3")


def test_bikes(tmp_path):
    flow = np.random.default_rng(0).integers(0, 200, (5, 4, 3, 2)).astype(np.uint16)
    write(tmp_path, "nyc_bike_grid", "nyc_bike_grid.npz", flow=flow, hours_since_epoch=np.arange(391007, 391012))
    data = nyc_bike_eight_weeks(tmp_path)
    np.testing.assert_array_equal(to_array(data), flow)
    assert tuple(data.grid) == (4, 3)
    assert "mask" not in data


def test_temperature(tmp_path):
    t2m = np.random.default_rng(0).normal(280, 5, (5, 3, 4)).astype(np.float32)
    axes = {"lat": np.array([58.0, 57.75, 57.5]), "lon": np.array([-10.0, -9.75, -9.5, -9.25])}
    write(tmp_path, "era5_uk_t2m", "era5_uk_t2m_201903.npz", t2m=t2m, time=np.arange(431064, 431069), **axes)
    data = uk_temperature_march_2019(tmp_path, coordinates="cartesian")
    np.testing.assert_array_equal(to_array(data)[..., 0], t2m)
    assert data.pos[5].tolist() == [-9.75, 57.75]


def test_what_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="nyc_bike_grid"):
        nyc_bike_eight_weeks(tmp_path)
    write(tmp_path, "nyc_bike_grid", "nyc_bike_grid.npz", values=np.ones(3))
    with pytest.raises(InputError, match="lacks the arrays flow, hours_since_epoch; there are values"):
        nyc_bike_eight_weeks(tmp_path)


def test_true_beijing():
    need("beijing_air")
    data = beijing_air_two_years()
    assert data.x.shape == (12, 17544, 1)
    assert data.mask.float().mean().item() == pytest.approx(0.979, abs=0.001)
    hours = to_datetime64(data.time).astype("datetime64[h]")
    np.testing.assert_array_equal(hours, np.arange("2015-03-01", "2017-03-01", dtype="datetime64[h]"))


def test_true_bikes():
    need("nyc_bike_grid")
    data = nyc_bike_eight_weeks()
    assert data.x.shape == (128, 1369, 2)
    assert (data.x.min(), data.x.max()) == (0, 239)
    hours = to_datetime64(data.time).astype("datetime64[h]")
    np.testing.assert_array_equal(hours, np.arange("2014-08-04T23", "2014-10-01T00", dtype="datetime64[h]"))


def test_true_temperature():
    need("era5_uk_t2m")
    data = uk_temperature_march_2019()
    assert data.x.shape == (33 * 49, 744, 1)
    assert data.x.min().item() == pytest.approx(265.68, abs=0.01)
    assert data.x[:49].mean() < data.x[-49:].mean()  # the first row is the northernmost
    hours = to_datetime64(data.time).astype("datetime64[h]")
    np.testing.assert_array_equal(hours, np.arange("2019-03-01", "2019-04-01", dtype="datetime64[h]"))
