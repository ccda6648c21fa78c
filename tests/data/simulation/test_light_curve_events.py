import numpy as np
import pytest

from stgraph.data.simulation.light_curves import simulate_light_curves
from stgraph.data.simulation.light_curves.draws import Draws
from stgraph.data.simulation.light_curves.events import flares, transits

TIME = np.broadcast_to(np.linspace(0.0, 50.0, 2001), (200, 2001))


def test_flares_come_at_their_rate():
    _, number = flares(Draws.of(0, "curve", np.arange(200)), TIME, np.ones(200), rate=0.2)
    assert abs(number.mean() - 10) < 4 * np.sqrt(10 / 200)
    assert abs(number.var() - 10) < 5  # a Poisson number


def test_a_flare_rises_sharply_and_decays():
    flux, number = flares(Draws.of(0, "curve", np.arange(200)), TIME, np.full(200, 3.0), rate=0.02)
    assert (flux >= 0).all()
    assert (flux[number == 0] == 0).all()
    single = flux[number == 1]
    peak = single.argmax(axis=1)
    complete = (peak > 50) & (peak < 1600)
    assert complete.sum() > 20
    for curve, place in zip(single[complete], peak[complete], strict=True):
        assert 3.0 < curve[place] <= 3 * 40
        assert (curve[: place - 9] == 0).all()  # a rise of at most 0.2 days, 8 steps
        assert (np.diff(curve[place : place + 400]) <= 0).all()
        assert (curve[place + 441 :] == 0).all()  # 11 days later
        ratio = curve[place + 2 : place + 5] / curve[place + 1 : place + 4]
        np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)  # exponential


def test_flares_are_those_of_the_sum_over_all():
    time = np.sort(np.random.default_rng(0).uniform(10, 40, (5, 300)), axis=1)
    draws = Draws.of(0, "curve", np.arange(5))
    flux, number = flares(draws, time, np.ones(5), rate=0.5)
    most = 200
    begin = time[:, :1] + np.cumsum(-np.log1p(-draws.uniform("flare wait", count=most)) / 0.5, axis=1)
    decay = draws.uniform("flare decay", 0.1, 1.0, count=most)
    height = 2 / draws.uniform("flare height", 0.05, 1.0, count=most)
    height[begin >= time[:, -1:]] = 0
    age = (time[:, :, None] - begin[:, None]) / decay[:, None]
    shape = np.where(age < 0.2, np.clip(age / 0.2, 0, None), np.exp(np.minimum(0.2 - age, 0)))
    expected = (np.where(age <= 10.2, shape, 0.0) * height[:, None]).sum(axis=2)
    np.testing.assert_allclose(flux, expected, atol=1e-9)
    assert (number == (height > 0).sum(axis=1)).all()


def test_transits_are_trapezoids():
    flux, known = transits(Draws.of(0, "curve", np.arange(200)), TIME, np.full(200, 2.0), fraction=0.5)
    has = ~np.isnan(known["transit_period"])
    assert abs(has.mean() - 0.5) < 0.15
    assert (flux[~has] == 0).all()
    period, depth, duration, first = (known[f"transit_{name}"][has] for name in ("period", "depth", "duration", "time"))
    assert ((depth >= 1) & (depth <= 6)).all()
    assert ((duration / period >= 0.02) & (duration / period <= 0.08)).all()
    assert ((first >= 0) & (first <= period)).all()
    np.testing.assert_allclose(flux[has].min(axis=1), -depth, rtol=1e-9)
    phase = (TIME[has] - first[:, None] + period[:, None] / 2) % period[:, None] - period[:, None] / 2
    away = np.abs(phase) / duration[:, None]
    assert (flux[has][away > 0.5 + 1e-9] == 0).all()
    flat = away < 0.1 - 1e-9  # ingress and egress take at most 0.4 of the duration each
    np.testing.assert_allclose(flux[has][flat], np.broadcast_to(-depth[:, None], flat.shape)[flat], rtol=1e-9)


@pytest.mark.parametrize("change", [{"flare_rate": 0.1}, {"transit_fraction": 1.0}])
def test_events_are_added_to_the_same_curves(change):
    settings = {"seed": 3, "points": (200, 300), "samplings": {"regular": 1.0}}
    plain, changed = simulate_light_curves(20, **settings), simulate_light_curves(20, **settings, **change)
    assert changed.time.equal(plain.time)
    difference = (changed.x - plain.x)[..., 0]
    assert (difference >= 0).all() if "flare_rate" in change else (difference <= 0).all()
    assert (difference != 0).any()
    assert (plain.metadata["flares"] == 0).all()
    assert np.isnan(plain.metadata["transit_period"]).all()
    if "flare_rate" in change:
        assert changed.metadata["flares"].sum() > 100
    else:
        assert not np.isnan(changed.metadata["transit_period"]).any()
