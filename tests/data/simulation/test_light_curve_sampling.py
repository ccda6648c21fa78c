import numpy as np
import pytest

from stgraph.data.simulation.light_curves.draws import Draws
from stgraph.data.simulation.light_curves.sampling import continue_times, gaps, sample_times


def drawn(name, number=200, duration=(50.0, 500.0), points=(200, 999)):
    return sample_times(Draws.of(1, "curve", np.arange(number)), {name: 1.0}, duration, points)


@pytest.mark.parametrize("name", ["regular", "random_gaps", "variable_cadence", "astronomical"])
def test_times_increase_also_in_the_padding(name):
    sampling = drawn(name, 60)
    width = sampling.time.shape[1] + 5
    time = continue_times(sampling, width)
    assert (np.diff(time, axis=1) > 0).all()
    assert (sampling.name == name).all()
    assert (sampling.real.sum(axis=1) == sampling.length).all()
    for row in range(5):
        real = time[row, : sampling.length[row]]
        assert (real == sampling.time[row, : sampling.length[row]]).all()
        np.testing.assert_allclose(np.diff(time[row, sampling.length[row] - 1 :]), np.median(np.diff(real)), rtol=1e-9)


def test_regular_times_fill_the_duration():
    sampling = drawn("regular", duration=(100.0, 100.0), points=(201, 201))
    np.testing.assert_allclose(sampling.time, np.broadcast_to(0.5 * np.arange(201), (200, 201)), atol=1e-12)


def test_durations_and_points_are_uniform():
    sampling = drawn("regular", 4000)
    assert sampling.length.min() >= 200
    assert sampling.length.max() <= 999
    assert abs(sampling.length.mean() - 599.5) < 4 * 231 / np.sqrt(4000)
    last = sampling.last[:, 0]
    assert last.min() >= 50
    assert last.max() <= 500
    assert abs(last.mean() - 275) < 4 * 130 / np.sqrt(4000)


def test_gaps_have_the_stated_number_and_length():
    points = np.full(500, 400)
    keep = gaps(Draws.of(3, "curve", np.arange(500)), points)
    edges = np.diff(np.pad(~keep, ((0, 0), (1, 1))).astype(int), axis=1)
    number = (edges == 1).sum(axis=1)
    lost = (~keep).sum(axis=1)
    most = 6  # int(400 * 0.3 / 20), reached only at its limit
    assert number.max() <= most
    assert number.min() >= 1
    assert (lost <= 29 * most).all()
    assert (lost >= 5).all()
    for row in np.flatnonzero(number == 1)[:20]:
        assert edges[row].argmin() - edges[row].argmax() == lost[row]
    # There are int(20 g) = 2 to 5 gaps, of which some overlap: on average 3.5 of 17 points.
    assert 2.7 < number.mean() < 3.5
    assert abs(lost.mean() / 400 - (1 - np.exp(-3.5 * 17 / 400))) < 0.02


def test_short_curves_have_no_gaps():
    assert gaps(Draws.of(3, "curve", np.arange(50)), np.full(50, 60)).all()


def test_gaps_leave_the_other_times_regular():
    sampling = drawn("random_gaps", duration=(99.0, 99.0), points=(100, 100))
    place = sampling.time[sampling.real]
    np.testing.assert_allclose(place, np.round(place), atol=1e-9)


def test_cadence_varies_between_three_to_five_segments():
    sampling = drawn("variable_cadence", 300, duration=(100.0, 100.0), points=(500, 500))
    assert (sampling.time[:, 0] == 0).all()
    np.testing.assert_allclose(sampling.last, 100.0, rtol=1e-12)
    number = []
    for row in range(300):
        step = np.diff(sampling.time[row, : sampling.length[row]])
        number.append(1 + (np.abs(np.diff(step) / step[1:]) > 1e-6).sum())
    assert set(number) == {3, 4, 5}
    assert sampling.length.min() >= 30 - 4
    assert sampling.length.max() <= 1000 + 50
    # The mean of 0.5 to 2 is 1.25; the borders are counted once.
    assert abs(sampling.length.mean() - 1.25 * 500) < 30


def test_300_days_have_one_season():
    sampling = drawn("astronomical", duration=(300.0, 300.0), points=(400, 400))
    span = (sampling.last - sampling.time[:, :1])[:, 0]
    assert span.min() > 140
    assert span.max() <= 180
    assert (sampling.length >= int(520 * 0.8)).all()
    assert (sampling.length <= 520 * 0.9).all()


def test_one_season_a_year():
    sampling = drawn("astronomical", duration=(1000.0, 1000.0), points=(400, 400))
    season = sampling.time // 365
    place = sampling.time % 365
    assert set(season[sampling.real]) == {0.0, 1.0, 2.0}
    assert place[sampling.real].max() <= 180
    for number in range(3):
        count = ((season == number) & sampling.real).sum(axis=1)
        assert (count > 26 * 0.75).all()


def test_a_season_of_a_few_days_is_left_out():
    assert drawn("astronomical", duration=(370.0, 370.0)).last.max() <= 180
    assert drawn("astronomical", duration=(380.0, 380.0)).last.min() > 365


def test_short_observations_cut_the_season():
    sampling = drawn("astronomical", duration=(60.0, 60.0))
    assert sampling.last.max() <= 60
    assert sampling.last.min() > 50
