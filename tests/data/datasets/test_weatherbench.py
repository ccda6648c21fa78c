import zipfile

import numpy as np
import pytest

from stgraph.data import to_datetime64
from stgraph.data.datasets import WeatherBench
from stgraph.data.datasets.weatherbench import read_weather_grid
from stgraph.errors import InputError

xr = pytest.importorskip("xarray")
pytest.importorskip("netCDF4")

LATITUDE, LONGITUDE = np.array([-67.5, -22.5, 22.5, 67.5]), np.arange(0, 360, 60.0)


def hours(start, count):
    return np.datetime64(start, "ns") + np.timedelta64(1, "h") * np.arange(count)


def surface(start, count, seed=0):
    """As the files of WeatherBench: time, lat, lon, float32."""
    values = np.random.default_rng(seed).normal(280, 10, (count, 4, 6)).astype(np.float32)
    return xr.DataArray(values, {"time": hours(start, count), "lat": LATITUDE, "lon": LONGITUDE}, name="t2m")


def write_archive(path, years):
    path.parent.mkdir(parents=True)
    fields = []
    with zipfile.ZipFile(path, "w") as archive:
        for year in years:
            fields.append(surface(f"{year}-01-01", 10, year))
            name = f"2m_temperature_{year}_5.625deg.nc"
            fields[-1].to_netcdf(path.parent / name)
            archive.write(path.parent / name, name)
            (path.parent / name).unlink()
    return xr.concat(fields, "time")


def test_archive_of_years(tmp_path):
    whole = write_archive(tmp_path / "weatherbench" / "raw" / "2m_temperature_5.625deg.zip", (1979, 2017, 2018))
    data = WeatherBench(tmp_path, start="2017")[0]
    # Ten hours of each year: every sixth of the twenty, counted through the end of a file.
    expected = whole.sel(time=slice("2017", "2018")).isel(time=slice(None, None, 6))
    assert expected.sizes["time"] == 4
    np.testing.assert_array_equal(data.x[:, :, 0].T.reshape(4, 4, 6), expected)
    np.testing.assert_array_equal(to_datetime64(data.time), expected["time"])
    assert tuple(data.grid) == (4, 6)
    assert data.pos.shape == (24, 3)
    assert data.channel_names == ["t2m"]
    every = WeatherBench(tmp_path, start=None, end=None, every=1, coordinates="cartesian")[0]
    np.testing.assert_array_equal(every.x[:, :, 0].T.reshape(30, 4, 6), whole)
    assert every.pos[7].tolist() == [60.0, -22.5]
    with pytest.raises(InputError, match="no year from 2000 to 2001"):
        WeatherBench(tmp_path, start="2000", end="2001")


def levels_dataset():
    """As WeatherBench 2: time, level, longitude, latitude."""
    rng = np.random.default_rng(1)
    axes = {"time": hours("2020-01-01", 8), "level": [500, 850], "longitude": LONGITUDE, "latitude": LATITUDE}
    flat = {name: axes[name] for name in ("time", "longitude", "latitude")}
    return xr.Dataset(
        {
            "geopotential": xr.DataArray(rng.normal(size=(8, 2, 6, 4)), axes, list(axes)),
            "2m_temperature": xr.DataArray(rng.normal(size=(8, 6, 4)), flat, list(flat)),
            "land_sea_mask": xr.DataArray(rng.random((6, 4)), {k: flat[k] for k in ("longitude", "latitude")}),
        }
    )


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_levels_strides_and_selection(tmp_path, kind):
    dataset = levels_dataset()
    folder = tmp_path / "weatherbench" / "raw"
    folder.mkdir(parents=True)
    if kind == "zarr":
        pytest.importorskip("zarr")
        dataset.to_zarr(folder / "era5.zarr", zarr_format=2, consolidated=False)
    else:
        dataset.to_netcdf(folder / "era5.nc")
    data = WeatherBench(
        tmp_path,
        store=f"era5.{kind}",
        variables=["geopotential", "2m_temperature"],
        levels=[850, 500],
        start="2020-01-01T01",
        end="2020-01-01T06",
        every=2,
        stride=2,
        coordinates="cartesian",
    )[0]
    assert data.channel_names == ["geopotential_850", "geopotential_500", "2m_temperature"]
    assert tuple(data.grid) == (2, 3)
    picked = dataset.isel(time=[1, 3, 5], longitude=[0, 2, 4], latitude=[0, 2])
    order = ("time", "latitude", "longitude")
    fields = [
        picked["geopotential"].sel(level=850).transpose(*order),
        picked["geopotential"].sel(level=500).transpose(*order),
        picked["2m_temperature"].transpose(*order),
    ]
    expected = np.stack(fields, axis=-1).reshape(3, 6, 3).astype(np.float32)
    np.testing.assert_array_equal(data.x.permute(1, 0, 2), expected)
    np.testing.assert_array_equal(to_datetime64(data.time), picked["time"])
    assert data.pos[1].tolist() == [120.0, -67.5]


def test_what_does_not_fit(tmp_path):
    path = tmp_path / "era5.nc"
    levels_dataset().to_netcdf(path)
    with pytest.raises(InputError, match="has no variable 't2m'; there are geopotential"):
        read_weather_grid([path])
    with pytest.raises(InputError, match=r"levels must name some of \[500, 850\].*got \[700\]"):
        read_weather_grid([path], variables=["geopotential"], levels=[700])
    with pytest.raises(InputError, match=r"levels must name some of \[500, 850\].*got \[\]"):
        read_weather_grid([path], variables=["geopotential"])
    with pytest.raises(InputError, match="no step lies from start='2030'"):
        read_weather_grid([path], variables=["2m_temperature"], start="2030")
    with pytest.raises(InputError, match="stride must be a whole number from 1, got 0"):
        read_weather_grid([path], variables=["2m_temperature"], stride=0)
    levels_dataset().isel(latitude=0).to_netcdf(tmp_path / "line.nc")
    with pytest.raises(InputError, match="must have the dimensions time, latitude and longitude"):
        read_weather_grid([tmp_path / "line.nc"], variables=["2m_temperature"])
    path.write_bytes(b"no NetCDF")
    with pytest.raises(InputError, match="cannot be read"):
        read_weather_grid([path], variables=["2m_temperature"])
    with pytest.raises(FileNotFoundError, match=r"none\.nc"):
        WeatherBench(tmp_path, store="none.nc")
