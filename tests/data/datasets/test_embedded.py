import numpy as np
import pytest
import torch

from stgraph.data import datasets, to_array, to_datetime64
from stgraph.errors import InputError
from stgraph.ops.geodesy import great_circle_distance

STATIONS = {
    "germany_pm10": ((70, 4383, 1), 0.49, "1998-01-01", "2009-12-31", "D", ["pm10_ug_m3"]),
    "colorado_climate": ((376, 1236, 3), 0.39, "1895-01", "1997-12", "M", ["tmax_c", "tmin_c", "precip_mm"]),
    "ireland_wind": ((12, 6574, 1), 1.0, "1961-01-01", "1978-12-31", "D", ["wind_speed_knots"]),
}


@pytest.mark.parametrize("name", STATIONS)
def test_stations(name):
    shape, observed, first, last, unit, channels = STATIONS[name]
    data = getattr(datasets, name)()
    assert data.x.shape == shape
    assert data.channel_names == channels
    mask = data.get("mask")
    assert (1.0 if mask is None else mask.float().mean().item()) == pytest.approx(observed, abs=0.005)
    dates = to_datetime64(data.time)
    np.testing.assert_array_equal(
        dates.astype(f"datetime64[{unit}]"), np.arange(np.datetime64(first), np.datetime64(last) + 1)
    )
    assert len(set(data.node_names)) == shape[0]
    assert "edge_index" not in data
    with np.load(datasets.locate(f"{name}.npz")) as archive:
        np.testing.assert_array_equal(to_array(data), archive["values"])
        lonlat = torch.from_numpy(archive["coords"][:, :2]).double()
    plane = torch.cdist(data.pos[:, :2].double(), data.pos[:, :2].double())
    arcs = great_circle_distance(lonlat[:, None], lonlat[None])
    assert (plane - arcs).abs().max() < 0.002 * arcs.max()


@pytest.mark.parametrize("name", [*STATIONS, "north_america_temperature"])
def test_coordinates_by_choice(name):
    load = getattr(datasets, name)
    sphere = load(coordinates="great_circle").pos
    torch.testing.assert_close(sphere.norm(dim=1), torch.full((sphere.size(0),), 6371.0088), rtol=1e-6, atol=0)
    degrees = load(coordinates="cartesian").pos
    assert degrees[:, 1].abs().max() < 90
    with pytest.raises(InputError, match="coordinates must be one of"):
        load(coordinates="mercator")


def test_elevation_is_in_kilometres_beside_kilometres():
    plane, degrees = datasets.colorado_climate().pos, datasets.colorado_climate(coordinates="cartesian").pos
    torch.testing.assert_close(plane[:, 2] * 1000, degrees[:, 2])
    assert 3 < plane[:, 2].max() < 4


def test_grid():
    data = datasets.north_america_temperature()
    assert data.grid == (37, 49)
    assert data.x.shape == (37 * 49, 240, 1)
    assert 220 < data.x.min() < data.x.max() < 310
    years = to_datetime64(data.time)
    np.testing.assert_array_equal(years, np.arange("1860", "2100", dtype="datetime64[Y]").astype("datetime64[ns]"))
    south, north = data.x[:49].mean(), data.x[-49:].mean()
    assert south > north + 20
    degrees = datasets.north_america_temperature(coordinates="cartesian").pos
    assert degrees[0].tolist() == [225, 15]
    assert degrees[1].tolist() == [226.875, 15]


def test_another_folder_and_a_damaged_file(tmp_path):
    source = datasets.locate("ireland_wind.npz")
    (tmp_path / "ireland_wind.npz").write_bytes(source.read_bytes())
    assert datasets.ireland_wind(tmp_path).x.shape == (12, 6574, 1)
    (tmp_path / "ireland_wind.npz").write_bytes(source.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"ireland_wind\.npz cannot be read"):
        datasets.ireland_wind(tmp_path)
