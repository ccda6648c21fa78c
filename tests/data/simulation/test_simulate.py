import dataclasses

import numpy as np
import pytest

from stgraph.data.simulation import simulate_traffic
from stgraph.data.simulation.calibration import draw_network
from stgraph.data.simulation.demand import draw_demand
from stgraph.data.simulation.detectors import choose_cells, draw_outages, road_distances
from stgraph.data.simulation.disturbances import Disturbances, draw_disturbances
from stgraph.data.simulation.road_map import draw_road_map
from stgraph.errors import InputError, InputTypeError

MILE = 1.609344
VEHICLE_KM = 0.0065


@pytest.fixture(scope="module")
def week():
    """Seven days from a Monday on, without noise, of a network small enough for a test."""
    return simulate_traffic(48, 7, seed=1, noise=0.0, missing_rate=0.0)


def free_speed(traffic):
    return traffic.network.cells.free_speed[traffic.cell] / MILE


def test_what_detectors_see_is_possible(week):
    assert week.mask.all()
    assert (week.speed <= free_speed(week) * (1 + 1e-9)).all()
    assert (week.speed >= 0).all()
    cells, cell = week.network.cells, week.cell
    assert (12 * week.flow <= cells.capacity[cell] * (1 + 1e-9)).all()
    density = week.occupancy * week.network.lanes[cell] / VEHICLE_KM
    assert (density <= cells.jam_density[cell] * (1 + 1e-9)).all()
    np.testing.assert_allclose(12 * week.flow, week.speed * MILE * density, rtol=1e-6, atol=1e-6)
    # A queue that neither grows nor shrinks lies on the congested side of the triangle, or below it in rain.
    queue = cells.wave_speed[cell] * (cells.jam_density[cell] - density)
    steady = np.zeros(density.shape, dtype=bool)
    steady[1:-1] = (np.abs(np.diff(density, axis=0)) < 0.01 * density[1:]).reshape(len(density) - 1, -1)[:-1]
    steady[1:-1] &= (np.abs(np.diff(density, axis=0)) < 0.01 * density[:-1])[1:]
    steady &= week.speed < 0.75 * free_speed(week)
    assert steady.sum() > 50
    assert (12 * week.flow <= queue + 0.05 * cells.capacity[cell])[steady].all()


def test_congestion_in_peaks_and_free_nights(week):
    congested = (week.speed < 0.75 * free_speed(week)).reshape(7, 288, -1)
    peaks = np.r_[84:120, 192:234]
    assert 0.03 < congested[:5, peaks].mean() < 0.4
    assert congested[:, 24:60].mean() < 0.01
    assert congested[5:7].mean() < 0.2 * congested[:5].mean()


def test_days_resemble_each_other_but_are_not_alike(week):
    flow = week.flow.reshape(7, 288, -1)
    correlation = np.corrcoef(flow[0].ravel(), flow[1].ravel())[0, 1]
    assert 0.9 < correlation < 0.999
    half_a_day = np.roll(flow[1], 144, axis=0)
    assert np.corrcoef(flow[0].ravel(), half_a_day.ravel())[0, 1] < 0.6
    weekday, weekend = flow[:5].mean(axis=0), flow[5:7].mean(axis=0)
    assert weekend[90:102].mean() < 0.6 * weekday[90:102].mean()
    assert weekend.mean() < 0.9 * weekday.mean()


def test_congestion_moves_upstream(week):
    # Where congestion has just begun, it reaches the last detector up the road rather than the next one down the road.
    congested = week.speed < 0.75 * free_speed(week)
    road = week.network.road[week.cell]
    first = np.flatnonzero(road[:-1] == road[1:])
    before, after = congested[3:-6], congested[9:]
    begun = before & ~congested[:-9]

    def reached(of, by):
        return after[:, of][~before[:, of] & begun[:, by]].mean()

    upstream = reached(first, first + 1)
    assert upstream > 0.1
    assert upstream > 2 * reached(first + 1, first)
    assert upstream > 5 * after[~before].mean()


def test_same_seed_same_traffic():
    first, second = (simulate_traffic(8, 1, seed=5) for _ in range(2))
    for name in ("time", "speed", "flow", "occupancy", "mask", "position", "road_distance", "cell"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    other = simulate_traffic(8, 1, seed=6)
    assert not np.array_equal(first.position, other.position)
    quiet = simulate_traffic(8, 1, seed=5, noise=0.0)
    np.testing.assert_array_equal(first.position, quiet.position)
    both = first.mask & quiet.mask
    error = (first.speed - quiet.speed)[both]
    assert 0.5 < error.std() < 4
    assert (first.flow[first.mask] == np.rint(first.flow[first.mask])).all()
    assert np.isnan(first.speed[~first.mask]).all()


def test_calendar():
    traffic = simulate_traffic(4, 1, start="2024-02-29")
    assert traffic.time[0] == np.datetime64("2024-02-29T00:00")
    assert traffic.time[-1] == np.datetime64("2024-02-29T23:55")


def test_more_demand_is_slower():
    speeds = [simulate_traffic(12, 1, seed=1, demand=demand).speed for demand in (0.3, 1.3)]
    assert np.nanmean(speeds[0]) > np.nanmean(speeds[1])


def test_road_map():
    for seed in range(5):
        road_map = draw_road_map(9, 120.0, np.random.default_rng(seed))
        assert road_map.lengths.sum() == pytest.approx(120.0)
        np.testing.assert_array_equal(road_map.roads[:, road_map.reverse], road_map.roads[::-1])
        reached = {0}
        for _ in range(len(road_map.points)):
            reached |= {int(end) for start, end in road_map.roads.T if int(start) in reached}
        assert len(reached) == len(road_map.points)


def test_network_fits_its_demand():
    network = draw_network(50, 1 / 240, 1.0, np.random.default_rng(0))
    cells = network.cells
    assert network.road_cells.size >= 50
    assert (cells.length >= cells.free_speed / 240 - 1e-9).all()
    assert (network.peak_demand > 0).all()
    chosen = choose_cells(network.road_cells, 50, np.random.default_rng(0))
    assert (np.diff(chosen) > 0).all()
    distance = road_distances(cells, chosen)
    assert (np.diag(distance) == 0).all()
    assert 0.3 < np.isfinite(distance).mean() < 1
    assert (distance[:, :, None] <= distance[:, None] + distance.T[None] + 1e-9).all()
    straight = np.hypot(*(network.position[chosen][:, None] - network.position[chosen]).transpose(2, 0, 1))
    assert (distance >= 0.9 * straight - 0.5).all()


def test_working_days_have_two_peaks():
    demand = draw_demand(np.full((2, 300), 1000.0), np.array([0, 5]), np.random.default_rng(0)).mean(axis=1)
    monday, saturday = demand.reshape(2, 288)
    smooth = np.convolve(monday, np.ones(13) / 13, mode="same")
    assert 7 < smooth[:132].argmax() / 12 < 8.7
    assert 16 < (smooth[168:].argmax() + 168) / 12 < 18.5
    assert smooth[144:156].mean() < 0.75 * smooth.max()
    assert monday[24:48].mean() < 0.1 * monday.max()
    assert 12 < np.convolve(saturday, np.ones(25), mode="same").argmax() / 12 < 16


def test_incidents():
    incident = Disturbances(np.array([3, 3]), np.array([10, 12]), np.array([14, 13]), np.array([0.5, 0.3]), np.ones(20))
    factors = np.stack([incident.capacity_factor(interval, 5) for interval in range(20)])
    np.testing.assert_array_equal(factors[:, [0, 1, 2, 4]], 1)
    np.testing.assert_array_equal(factors[9:15, 3], [1, 0.5, 0.5, 0.3, 0.5, 1])
    rain = dataclasses.replace(incident, weather=np.full(20, 0.9))
    np.testing.assert_allclose(rain.capacity_factor(12, 5), [0.9, 0.9, 0.9, 0.27, 0.9])
    lanes = np.array([2, 3, 4, 5])
    traffic = np.r_[np.zeros(144), np.ones(144)]
    drawn = draw_disturbances(lanes, np.array([1, 3]), 500.0, traffic, np.random.default_rng(0))
    assert 400 < drawn.cell.size < 600
    assert set(drawn.cell) == {1, 3}
    assert drawn.begin.min() >= 144
    assert (drawn.end > drawn.begin).all()
    assert ((drawn.left > 0) & (drawn.left < 0.85)).all()
    assert ((drawn.weather > 0.8) & (drawn.weather <= 1)).all()


@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_outages_last_and_are_as_many_as_asked_for(rate):
    works = draw_outages(2000, 300, rate, np.random.default_rng(0))
    assert 1 - works.mean() == pytest.approx(rate, rel=0.05)
    both = ~works[1:] & ~works[:-1]
    assert both.mean() / (1 - works).mean() > 0.6
    assert draw_outages(50, 4, 0.0, np.random.default_rng(0)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"num_detectors": 3}, InputError, "num_detectors must be at least 4"),
        ({"num_detectors": 8.0}, InputTypeError, "num_detectors must be an integer"),
        ({"num_days": 0}, InputError, "num_days must be at least 1"),
        ({"num_days": True}, InputTypeError, "num_days must be an integer"),
        ({"seed": -1}, InputError, "seed must be at least 0"),
        ({"start": "Monday"}, InputError, "start must be a date"),
        ({"demand": 0.0}, InputError, "demand must be positive"),
        ({"demand": float("nan")}, InputError, "demand must be a number that is not negative"),
        ({"noise": -1.0}, InputError, "noise must be a number that is not negative"),
        ({"incidents_per_day": -1.0}, InputError, "incidents_per_day must be"),
        ({"missing_rate": 1.0}, InputError, "missing_rate must be in 0 to 1"),
    ],
)
def test_bad_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        simulate_traffic(**arguments)
