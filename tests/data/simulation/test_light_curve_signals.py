import numpy as np
import pytest
import scipy.stats

from stgraph.data.simulation.light_curves.draws import Draws
from stgraph.data.simulation.light_curves.recipe import CLASSES
from stgraph.data.simulation.light_curves.sampling import choose
from stgraph.data.simulation.light_curves.signals import PARAMETERS, clean_flux, damped_random_walk


def curves(name, number=300, steps=400, days=200.0, seed=2):
    time = np.broadcast_to(np.linspace(0, days, steps), (number, steps))
    return time, *clean_flux(Draws.of(seed, "curve", np.arange(number)), np.full(number, name), time)


def test_numbers_do_not_depend_on_the_company():
    one, all_ = Draws.of(7, "curve", np.array([5])), Draws.of(7, "curve", np.arange(10))
    assert (one.normal("x", 7) == all_.normal("x", 9)[5:6, :7]).all()
    assert one.uniform("x") == all_.uniform("x", count=3)[5, 0]
    assert one.uniform("x") != one.uniform("y")
    assert one.uniform("x") != Draws.of(8, "curve", np.array([5])).uniform("x")
    assert one.uniform("x") != Draws.of(7, "group", np.array([5])).uniform("x")


def test_normal_numbers_are_normal():
    values = Draws.of(0, "curve", np.arange(100)).normal("x", 200)
    assert scipy.stats.kstest(values.ravel(), "norm").pvalue > 0.01
    assert abs(np.corrcoef(values[:, 0::2].ravel(), values[:, 1::2].ravel())[0, 1]) < 0.04


def test_classes_have_their_shares():
    name = choose(Draws.of(0, "curve", np.arange(20_000)), "class", CLASSES)
    for key, share in CLASSES.items():
        assert abs((name == key).mean() - share) < 4 * np.sqrt(share * (1 - share) / 20_000) + 1e-12


def test_sinusoid_is_its_formula():
    time, flux, known = curves("sinusoid")
    period, amplitude, phase = (known[name][:, None] for name in ("period", "amplitude", "phase"))
    np.testing.assert_allclose(flux, amplitude * np.sin(2 * np.pi * time / period + phase), atol=1e-12)
    assert (known["rotation_period"] == known["period"]).all()


@pytest.mark.parametrize(
    ("name", "ranges"),
    [
        ("sinusoid", {"period": (2, 100), "amplitude": (0.5, 2), "phase": (0, 2 * np.pi)}),
        ("drw", {"tau": (5, 50), "sigma": (0.5, 2)}),
        ("qpo", {"period": (10, 50), "q": (5, 20), "amplitude": (0.5, 2)}),
        ("rotation", {"period": (2, 40), "amplitude": (0.5, 2), "shear": (0, 0.05), "inclination": (0, np.pi / 2)}),
    ],
)
def test_parameters_have_their_ranges(name, ranges):
    _, _, known = curves(name, number=1000, steps=5)
    assert set(known) == set(PARAMETERS)
    for key, (low, high) in ranges.items():
        values = known[key]
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.05 * (high - low) < values.max() <= high
    for key in set(PARAMETERS) - set(ranges) - {"rotation_period", "spot_lifetime"}:
        assert np.isnan(known[key]).all()


def test_multiperiodic_is_a_sum_by_falling_amplitude():
    time, flux, known = curves("multiperiodic")
    names = ("", "_2", "_3", "_4")
    period, amplitude, phase = (
        np.stack([known[key + suffix] for suffix in names]) for key in ("period", "amplitude", "phase")
    )
    assert set(known["components"]) == {2.0, 3.0, 4.0}
    assert ((~np.isnan(amplitude)).sum(axis=0) == known["components"]).all()
    assert (np.isnan(period) == np.isnan(amplitude)).all()
    assert not (np.diff(amplitude, axis=0) > 0).any()
    assert np.nanmin(period) >= 5
    assert np.nanmax(period) <= 100
    assert np.nanmin(amplitude) >= 0.3
    assert np.nanmax(amplitude) <= 1.5
    waves = amplitude[..., None] * np.sin(2 * np.pi * time / period[..., None] + phase[..., None])
    np.testing.assert_allclose(flux, np.nansum(waves, axis=0), atol=1e-12)
    assert np.isnan(known["rotation_period"]).all()


def test_damped_random_walk_is_the_recursion():
    generator = np.random.default_rng(0)
    time = np.sort(generator.uniform(0, 3000.0, (3, 300)), axis=1)
    tau, sigma = np.array([[5.0], [20.0], [50.0]]), np.array([[0.5], [1.0], [2.0]])
    normal = generator.standard_normal((3, 299))
    expected = np.zeros((3, 300))
    for i in range(1, 300):
        keep = np.exp(-(time[:, i] - time[:, i - 1]) / tau[:, 0])
        expected[:, i] = keep * expected[:, i - 1] + sigma[:, 0] * np.sqrt(1 - keep**2) * normal[:, i - 1]
    np.testing.assert_allclose(damped_random_walk(time, tau, sigma, normal), expected, atol=1e-9)


def test_damped_random_walk_has_an_exponential_autocorrelation():
    _, flux, known = curves("drw", number=4000, steps=301, days=300.0)
    scaled = flux / known["sigma"][:, None]
    late = scaled[:, 200:]  # the walk starts at 0; after 200 days it has forgotten it
    assert abs(late.var() - 1) < 0.03
    slow = known["tau"] > 45
    for lag in (5, 20):
        measured = (late[slow, lag:] * late[slow, :-lag]).mean()
        assert abs(measured - np.exp(-lag / known["tau"][slow]).mean()) < 0.15
        fast = known["tau"] < 10
        measured = (late[fast, lag:] * late[fast, :-lag]).mean()
        assert abs(measured - np.exp(-lag / known["tau"][fast]).mean()) < 0.05


def test_phase_of_quasi_periodic_oscillation_is_a_random_walk():
    time, flux, known = curves("qpo", number=3000, steps=200, days=2.0)
    # In 2 days of a period of 10 to 50 the phase stays within a quarter turn and can be read off.
    phase = np.arcsin(np.clip(flux / known["amplitude"][:, None], -1, 1)) - 2 * np.pi * time / known["period"][:, None]
    slow = known["period"] > 30
    variance = 2 * np.pi / (known["q"] * known["period"])[slow, None] * np.diff(time[slow], axis=1)
    steps = np.diff(phase[slow], axis=1)[:, :50] / np.sqrt(variance[:, :50])
    assert (flux[:, 0] == 0).all()
    assert abs(steps.std() - 1) < 0.02
    assert abs((steps[:, 1:] * steps[:, :-1]).mean()) < 0.02


def test_spots_dim_the_star_with_the_period_of_rotation():
    time, flux, known = curves("rotation", number=60, steps=2000, days=400.0)
    assert flux.max() <= 0
    assert flux.std(axis=1).min() > 0
    # A rotation later nearly the same flux is seen, unlike half a rotation later.
    same, other = [], []
    for row in range(60):
        period = known["period"][row]
        late = time[row] < 400 - period
        centred = flux[row] - flux[row].mean()
        same.append(np.corrcoef(centred[late], np.interp(time[row] + period, time[row], centred)[late])[0, 1])
        other.append(np.corrcoef(centred[late], np.interp(time[row] + period / 2, time[row], centred)[late])[0, 1])
    assert np.median(same) > 0.8
    assert np.median(other) < 0.5
    # Spots evolve: after many rotations the curve has changed.
    fast = known["period"] < 5
    assert all(
        np.abs(flux[row][:500] - flux[row][1500:]).max() > 0.1 * np.ptp(flux[row]) for row in np.flatnonzero(fast)
    )
