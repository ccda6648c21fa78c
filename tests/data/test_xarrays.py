import logging

import numpy as np
import pytest
import torch

from stgraph.data import from_file, from_xarray, to_array, to_datetime64
from stgraph.errors import InputError, InputTypeError

xr = pytest.importorskip("xarray")

TIMES = np.datetime64("2019-03-01", "ns") + np.arange(5) * np.timedelta64(1, "h")
LAT, LON = np.array([58.0, 57.0, 56.0]), np.array([-10.0, -9.0])
T2M = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)


def grid(name="t2m", dims=("time", "lat", "lon"), values=T2M):
    return xr.DataArray(values, dims=dims, coords=dict(zip(dims, (TIMES, LAT, LON), strict=True)), name=name)


def check(data, values=T2M):
    np.testing.assert_array_equal(to_array(data)[..., 0], values)
    assert data.grid == (3, 2)
    assert data.pos[1].tolist() == [-9.0, 58.0]
    np.testing.assert_array_equal(to_datetime64(data.time), TIMES)
    assert data.channel_names == ["t2m"]


@pytest.mark.parametrize(
    "dims", [("time", "lat", "lon"), ("valid_time", "latitude", "longitude"), ("t", "y", "x"), ("Time", "LAT", "LON")]
)
def test_grid_by_names(dims):
    check(from_xarray(grid(dims=dims)))


def test_grid_by_attributes():
    array = grid(dims=("a", "b", "c"))
    array["b"].attrs["units"] = "degrees_north"
    array["c"].attrs["axis"] = "X"
    check(from_xarray(array))


def test_grid_by_arguments_and_in_any_order():
    array = grid(dims=("a", "b", "c"))
    check(from_xarray(array.transpose("c", "b", "a"), time="a", y="b", x="c"))
    check(from_xarray(grid().transpose("lon", "time", "lat")))


def test_dimensions_of_length_one_are_dropped():
    check(from_xarray(grid().expand_dims("level")))


def test_channels():
    both = xr.Dataset({"t2m": grid(), "wind": 2 * grid(), "orography": (("lat", "lon"), T2M[0])})
    data = from_xarray(both)
    assert data.channel_names == ["t2m", "wind"]
    torch.testing.assert_close(data.x[..., 1], 2 * data.x[..., 0])
    assert from_xarray(both, variables=["wind"]).channel_names == ["wind"]
    check(from_xarray(both, variables="t2m"))
    array = both[["t2m", "wind"]].to_dataarray(dim="channel")
    assert torch.equal(from_xarray(array).x, data.x)
    assert from_xarray(array).channel_names == ["t2m", "wind"]


def test_nodes():
    array = xr.DataArray(
        T2M[:, :, 0],
        dims=("time", "station"),
        coords={"time": TIMES, "station": ["a", "b", "c"], "lat": ("station", LAT), "lon": ("station", LAT - 60)},
    )
    data = from_xarray(array)
    assert data.node_names == ["a", "b", "c"]
    assert data.pos[0].tolist() == [-2.0, 58.0]
    assert "grid" not in data
    assert from_xarray(array.rename(station="place")).node_names == ["a", "b", "c"]
    plane = from_xarray(array, coordinates="local_plane")
    assert plane.pos[:, 1].tolist() == pytest.approx([111.2, 0, -111.2], abs=0.5)
    with pytest.warns(UserWarning, match="meaningless"):
        from_xarray(array.drop_vars(["lat", "lon"]))


def test_a_section_along_one_axis_is_one_of_nodes():
    with pytest.warns(UserWarning, match="meaningless"):
        section = from_xarray(grid().isel(lon=0, drop=True))
    assert section.x.shape == (3, 5, 1)
    assert "grid" not in section


def test_grid_with_two_dimensional_coordinates():
    x, y = np.meshgrid(LON, LAT)
    array = xr.DataArray(
        T2M,
        dims=("time", "y", "x"),
        coords={"time": TIMES, "longitude": (("y", "x"), x + 0.5), "latitude": (("y", "x"), y)},
    )
    data = from_xarray(array)
    assert data.pos[1].tolist() == [-8.5, 58.0]
    assert from_xarray(array.drop_vars(["longitude", "latitude"])).pos[1].tolist() == [-1.0, 1.0]


def test_missing_values_and_options():
    values = T2M.copy()
    values[0, 0, 0] = np.nan
    data = from_xarray(grid(values=values), channel_names=["temperature"], static=np.zeros((3, 2)))
    assert data.mask.sum() == values.size - 1
    assert data.channel_names == ["temperature"]


@pytest.mark.parametrize(
    ("obj", "options", "error", "message"),
    [
        (T2M, {}, InputTypeError, "DataArray or Dataset, got ndarray"),
        (grid().rename(time="step_number").drop_vars("step_number"), {}, InputError, "looks like time"),
        (grid(), {"time": "when"}, InputError, "time='when' is no dimension"),
        (grid(), {"variables": ["t2m"]}, InputError, "DataArray"),
        (grid().expand_dims(level=2), {}, InputError, r"left over: \['level'\]"),
        (xr.Dataset({"a": grid()}), {"variables": "b"}, InputError, "no variable 'b'; there are a"),
        (xr.Dataset({"a": grid(), "b": grid().isel(lat=0)}), {}, InputError, "same dimensions"),
        (xr.Dataset(), {}, InputError, "no variable has a time"),
    ],
)
def test_bad_objects(obj, options, error, message):
    with pytest.raises(error, match=message):
        from_xarray(obj, **options)


def test_netcdf(tmp_path):
    pytest.importorskip("netCDF4")
    path = tmp_path / "era5.nc"
    packed = {"t2m": {"dtype": "int16", "scale_factor": 1e-3, "add_offset": 0.0, "_FillValue": -32768}}
    values = np.round(np.clip(T2M, -30, 30), 3)
    values[1, 1, 1] = np.nan
    grid(values=values).to_dataset().to_netcdf(path, engine="netcdf4", encoding=packed)
    data = from_file(path)
    np.testing.assert_allclose(to_array(data)[..., 0], values, atol=1e-6)
    np.testing.assert_array_equal(to_datetime64(data.time), TIMES)
    assert data.mask.sum() == values.size - 1
    assert from_file(path, variables=["t2m"], coordinates="great_circle").pos.shape == (6, 3)


def test_netcdf_with_the_calendar_of_a_climate_model(tmp_path):
    pytest.importorskip("netCDF4")
    path = tmp_path / "model.nc"
    time = xr.DataArray(np.arange(5), dims="time", attrs={"units": "days since 2000-02-28", "calendar": "360_day"})
    grid().to_dataset().assign_coords(time=time).to_netcdf(path, engine="netcdf4")
    data = from_file(path)
    assert data.time.dtype == torch.float64
    assert data.time.diff().tolist() == [1.0] * 4


def test_netcdf_with_times_that_cannot_be_decoded(tmp_path, caplog):
    pytest.importorskip("netCDF4")
    path = tmp_path / "monthly.nc"
    time = xr.DataArray(np.arange(5), dims="time", attrs={"units": "fortnights since 1955-01-01"})
    grid().to_dataset().assign_coords(time=time).to_netcdf(path, engine="netcdf4")
    with caplog.at_level(logging.WARNING, logger="stgraph"):
        assert from_file(path).time.tolist() == [0, 1, 2, 3, 4]
    assert "kept as numbers" in caplog.text


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(tmp_path, zarr_format):
    pytest.importorskip("zarr")
    path = tmp_path / "era5.zarr"
    grid().to_dataset().to_zarr(path, zarr_format=zarr_format, consolidated=False)
    check(from_file(path))


@pytest.mark.parametrize("name", ["broken.nc", "broken.zarr"])
def test_damaged_stores(tmp_path, name):
    pytest.importorskip("netCDF4")
    pytest.importorskip("zarr")
    path = tmp_path / name
    path.write_bytes(b"CDF\x01 and no more")
    with pytest.raises(InputError, match=name):
        from_file(path)


def test_truncated_netcdf(tmp_path):
    pytest.importorskip("netCDF4")
    path = tmp_path / "cut.nc"
    grid().to_dataset().to_netcdf(path, engine="netcdf4")
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.nc"):
        from_file(path)
