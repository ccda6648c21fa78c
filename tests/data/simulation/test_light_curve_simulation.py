import math

import numpy as np
import pytest
import torch

from stgraph.data.simulation.light_curves import simulate_light_curves
from stgraph.data.simulation.light_curves.curves import count_points, draw_curves
from stgraph.data.simulation.light_curves.recipe import Recipe
from stgraph.errors import InputError, InputTypeError

SMALL = {"points": (20, 60)}
EVERYTHING = {
    "classes": {"sinusoid": 0.2, "multiperiodic": 0.2, "drw": 0.2, "qpo": 0.2, "rotation": 0.2},
    "flare_rate": 0.05,
    "transit_fraction": 0.5,
}


def assert_same_curves(one, other, rows):
    """The curves of ``one`` are those of the rows of ``other``, bit for bit."""
    for name in ("x", "mask", "flux_error"):
        width = min(one[name].size(1), other[name].size(1))
        assert one[name][:, :width].equal(other[name][rows, :width])
        assert not one[name][:, width:].any()
        assert not other[name][rows, width:].any()
    width = min(one.time.size(1), other.time.size(1))
    assert one.time[:, :width].equal(other.time[rows, :width])
    assert one.length.equal(other.length[rows])
    assert one.node_names == other.node_names[rows]
    for name, values in one.metadata.items():
        np.testing.assert_array_equal(values, other.metadata[name][rows])


def test_graph_is_in_the_data_model():
    data = simulate_light_curves(30, **SMALL)
    number, width = data.x.shape[:2]
    assert data.x.shape == data.mask.shape == data.flux_error.shape == (30, width, 1)
    assert data.x.dtype == data.flux_error.dtype == torch.float32
    assert data.time.dtype == torch.float64
    assert data.mask.dtype == torch.bool
    assert data.length.dtype == torch.int64
    assert int(data.length.max()) == width
    assert (data.time.diff(dim=1) > 0).all()
    assert data.mask[..., 0].equal(torch.arange(width) < data.length[:, None])
    assert (data.x[~data.mask] == 0).all()
    assert (data.flux_error[~data.mask] == 0).all()
    assert (data.flux_error[data.mask] > 0).all()
    assert len(data.node_names) == number
    assert all(isinstance(name, str) for name in data.node_names)
    assert all(len(values) == 30 and values.dtype.kind in "fiU" for values in data.metadata.values())
    assert (data.metadata["points"] == data.length.numpy()).all()
    last = data.time[torch.arange(30), data.length - 1]
    np.testing.assert_allclose(data.metadata["duration"], last - data.time[:, 0])


def test_same_seed_gives_the_same_curves_and_another_does_not():
    data = simulate_light_curves(10, **SMALL, **EVERYTHING)
    assert_same_curves(simulate_light_curves(10, **SMALL, **EVERYTHING), data, slice(None))
    assert not simulate_light_curves(10, seed=43, **SMALL).length.equal(data.length)


@pytest.mark.parametrize(("first", "number"), [(0, 7), (137, 1), (100, 200)])
def test_a_curve_does_not_depend_on_the_others(first, number):
    whole = simulate_light_curves(300, points=(20, 130), **EVERYTHING)
    part = simulate_light_curves(number, first=first, points=(20, 130), **EVERYTHING)
    assert_same_curves(part, whole, slice(first, first + number))


def test_order_of_the_classes_does_not_matter():
    classes = {"sinusoid": 0.5, "drw": 0.5}
    one = simulate_light_curves(10, classes=classes, **SMALL)
    assert_same_curves(simulate_light_curves(10, classes=dict(reversed(classes.items())), **SMALL), one, slice(None))


def test_defaults_are_the_tables():
    recipe = Recipe()
    length = count_points(recipe, np.arange(500))
    metadata = draw_curves(recipe, np.arange(500), length, int(length.max())).metadata
    expected = {
        "lc_type": {"sinusoid": 0.30, "multiperiodic": 0.25, "drw": 0.25, "qpo": 0.20},
        "sampling_strategy": {"regular": 0.4, "random_gaps": 0.2, "variable_cadence": 0.2, "astronomical": 0.2},
    }
    for name, shares in expected.items():
        assert set(metadata[name]) == set(shares)
        for key, share in shares.items():
            assert abs((metadata[name] == key).mean() - share) < 4 * math.sqrt(share * (1 - share) / 500)
    # Class and sampling are independent.
    both = (metadata["lc_type"] == "drw") & (metadata["sampling_strategy"] == "regular")
    assert abs(both.mean() - 0.1) < 0.06
    for name, low, high in (("snr", 5, 30), ("offset", 8, 12)):
        assert low <= metadata[name].min() < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < metadata[name].max() <= high


def test_without_noise_a_sinusoid_is_its_formula():
    data = simulate_light_curves(20, classes={"sinusoid": 1.0}, snr=(math.inf, math.inf), **SMALL)
    period, amplitude, phase, offset = (
        torch.from_numpy(data.metadata[name])[:, None] for name in ("period", "amplitude", "phase", "offset")
    )
    expected = offset + amplitude * torch.sin(2 * torch.pi * data.time / period + phase)
    real = data.mask[..., 0]
    torch.testing.assert_close(data.x[..., 0][real].double(), expected[real], atol=2e-6, rtol=0)
    assert (data.metadata["noise_level"] == 0).all()


def test_noise_has_the_stated_level():
    settings = {"classes": {"sinusoid": 0.5, "qpo": 0.5}, "points": (500, 900), "seed": 5}
    noisy = simulate_light_curves(60, **settings)
    clean = simulate_light_curves(60, snr=(math.inf, math.inf), **settings)
    level = noisy.metadata["noise_level"]
    chance = []
    for row, length in enumerate(noisy.length.tolist()):
        flux = clean.x[row, :length, 0].double()
        assert level[row] == pytest.approx(float(flux.std(unbiased=False)) / noisy.metadata["snr"][row], rel=1e-4)
        residual = noisy.x[row, :length, 0].double() - flux
        chance.append((float(residual.std()) / level[row] - 1) * math.sqrt(2 * length))
        ratio = noisy.flux_error[row, :length, 0].double() / level[row]
        assert 0.8 - 1e-6 <= ratio.min() < 0.82
        assert 1.18 < ratio.max() <= 1.2 + 1e-6
    assert np.abs(chance).max() < 4.5
    assert abs(np.std(chance) - 1) < 0.35


def test_a_flux_without_variance_gets_finite_noise(monkeypatch):
    from stgraph.data.simulation.light_curves import signals

    monkeypatch.setitem(signals._SIGNALS, "sinusoid", lambda draws, time: (np.zeros_like(time), {}))
    data = simulate_light_curves(20, classes={"sinusoid": 1.0}, transit_fraction=1.0, **SMALL)
    np.testing.assert_allclose(data.metadata["noise_level"], 1 / data.metadata["snr"])
    assert data.x.isfinite().all()
    assert (data.flux_error[data.mask] > 0).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_curves": 0}, "num_curves is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"first": -1}, "first is -1"),
        ({"classes": {"cepheid": 1.0}}, "classes has 'cepheid'; there are sinusoid"),
        ({"classes": {"drw": 0.5}}, "classes has probabilities with the sum 0.5"),
        ({"classes": {"drw": 1.5, "qpo": -0.5}}, r"classes\['drw'\] is 1.5"),
        ({"classes": {"drw": math.nan}}, r"classes\['drw'\] is nan"),
        ({"samplings": {}}, "samplings has probabilities with the sum 0"),
        ({"duration": (100, 50)}, "lowest <= highest"),
        ({"duration": (0, 50)}, "duration is"),
        ({"duration": (50, 1e5)}, "duration is 100000"),
        ({"points": (5, 20)}, "points is 5"),
        ({"snr": (0, 5)}, "snr"),
        ({"snr": (5, math.inf)}, "snr"),
        ({"flare_rate": -0.1}, "flare_rate is -0.1"),
        ({"transit_fraction": 1.5}, "transit_fraction is 1.5"),
        ({"group_size": 4}, "group_size and trend_variance are for shared_sampling"),
    ],
)
def test_bad_values_are_named(wrong, message):
    with pytest.raises(InputError, match=message):
        simulate_light_curves(**({"num_curves": 2} | wrong))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_curves": 2.5}, "num_curves is 2.5"),
        ({"num_curves": True}, "num_curves is True"),
        ({"classes": ["drw"]}, "classes is a list"),
        ({"points": 200}, "points is 200"),
        ({"points": (20.5, 30)}, "points is 20.5"),
        ({"snr": ("low", "low")}, "snr is 'low'"),
        ({"flare_rate": None}, "flare_rate is None"),
    ],
)
def test_bad_types_are_named(wrong, message):
    with pytest.raises(InputTypeError, match=message):
        simulate_light_curves(**({"num_curves": 2} | wrong))
