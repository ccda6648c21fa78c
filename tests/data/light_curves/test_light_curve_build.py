import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stgraph.data.light_curves import from_light_curves
from stgraph.data.light_curves.cleaning import row_quantiles
from stgraph.errors import InputError, InputTypeError

NAN = float("nan")


def flux_with_outlier(distance, points=21):
    """Values from -1 to 1 in equal steps (IQR 1, median 0, standard deviation 0.6055) and one outlier."""
    return np.append(np.linspace(-1, 1, points), distance)


def test_curves_of_different_lengths_are_padded():
    data = from_light_curves(
        [np.array([1.0, 2.0, 4.0, 5.0]), [10.0, 10.5], torch.tensor([3.0])],
        [[1, 2, 3, 4], np.array([5, 6], dtype=">f4"), [7]],
        [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6], [0.7]],
        names=["a", "b", "c"],
    )
    assert data.x.dtype == data.flux_error.dtype == torch.float32
    assert data.x[:, :, 0].tolist() == [[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]]
    assert data.mask[:, :, 0].tolist() == [[True] * 4, [True] * 2 + [False] * 2, [True] + [False] * 3]
    # Steps of 1, 2, 1 days have the median 1; a single point goes on by one day.
    assert data.time.tolist() == [[1, 2, 4, 5], [10, 10.5, 11, 11.5], [3, 4, 5, 6]]
    assert data.time.dtype == torch.float64
    torch.testing.assert_close(data.flux_error[1, :, 0], torch.tensor([0.5, 0.6, 0, 0]))
    assert data.length.tolist() == [4, 2, 1]
    assert data.node_names == ["a", "b", "c"]
    assert "sky" not in data
    assert "metadata" not in data


def test_points_that_are_not_finite_or_flagged_are_dropped():
    data = from_light_curves(
        np.array([[0, 1, NAN, 3, 4, 5], [0, 1, 2, 3, 4, np.inf]]),
        np.ma.masked_array([[1, NAN, 2, 3, 4, 5], [1, 2, 3, 4, 1e300, 5]], mask=[[0] * 6, [0, 1, 0, 0, 0, 0]]),
        [[1, 1, 1, np.inf, 1, 1], [1] * 6],
        quality=[[0, 0, 0, 0, 0, 16], [0] * 6],
    )
    assert data.time.tolist() == [[0, 4, 8], [0, 2, 3]]
    assert data.x[:, :, 0].tolist() == [[1, 4, 0], [1, 3, 4]]
    assert data.length.tolist() == [2, 3]


@pytest.mark.parametrize(("distance", "kept"), [(4.9, True), (5.8, False), (-5.8, False)])
def test_clipping_by_interquartile_ranges(distance, kept):
    flux = flux_with_outlier(distance)
    low, middle, high = np.quantile(flux, (0.25, 0.5, 0.75))
    assert (abs(distance - middle) < 5 * (high - low)) == kept
    data = from_light_curves([np.arange(22.0)], [flux])
    assert data.length.item() == 21 + kept
    assert from_light_curves([np.arange(22.0)], [flux], clip=None).length.item() == 22


def test_clipping_by_standard_deviations():
    flux = flux_with_outlier(8.0, points=201)
    arguments = ([np.arange(202.0)], [flux])
    assert abs(8 - np.median(flux)) < 12 * flux.std()
    assert from_light_curves(*arguments, clip=12.0, clip_unit="std").length.item() == 202
    assert abs(8 - np.median(flux)) > 5 * flux.std()
    assert from_light_curves(*arguments, clip_unit="std").length.item() == 201


def test_short_curves_and_those_without_spread_are_not_clipped():
    short = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1e6]
    flat = [1.0] * 20 + [2.0]
    data = from_light_curves([np.arange(10.0), np.arange(21.0)], [short, flat])
    assert data.length.tolist() == [10, 21]


def test_clipping_does_not_depend_on_other_curves():
    generator = np.random.default_rng(0)
    curves = [generator.standard_t(1.5, size=size) for size in (5, 40, 300)]
    times = [np.arange(curve.size, dtype=float) for curve in curves]
    together = from_light_curves(times, curves)
    for row, (time, curve) in enumerate(zip(times, curves, strict=True)):
        alone = from_light_curves([time], [curve])
        length = alone.length.item()
        assert together.length[row].item() == length
        assert torch.equal(together.x[row, :length], alone.x[0])
        assert torch.equal(together.time[row, :length], alone.time[0])
    assert together.length[2] < 300


def test_unsorted_times():
    arguments = ([[0.0, 1.0], [0.0, NAN, 2.0, 1.0]], [[1.0, 2.0], [1.0, 9.0, 3.0, 2.0]])
    with pytest.raises(InputError, match=r"curve 'b' \(number 1\) has 1\.0 at position 3 after 2\.0.*sort=True"):
        from_light_curves(*arguments, names=["a", "b"])
    data = from_light_curves(*arguments, [[1.0, 1.0], [4.0, 4.0, 6.0, 5.0]], sort=True)
    assert data.time.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert data.x[1, :, 0].tolist() == [1, 2, 3]
    assert data.flux_error[1, :, 0].tolist() == [4, 5, 6]


def test_repeated_times():
    times = [[0.0, 1.0, 1.0, 1.0, 2.0], [0.0, 0.0]]
    arguments = (times, [[1.0, 2.0, 3.0, 7.0, 5.0], [3.0, 5.0]], [[1.0, 2.0, 2.0, 1.0, 1.0], [3.0, 4.0]])
    with pytest.raises(InputError, match=r"curve '0' \(number 0\) has 1\.0 again at position 2.*duplicates='mean'"):
        from_light_curves(*arguments)
    data = from_light_curves(*arguments, duplicates="mean")
    assert data.length.tolist() == [3, 1]
    assert data.time.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert data.x[:, :, 0].tolist() == [[1, 4, 5], [4, 0, 0]]
    assert data.flux_error[:, :, 0].tolist() == [[1, 1, 1], [2.5, 0, 0]]  # sqrt(4 + 4 + 1) / 3, sqrt(9 + 16) / 2


def test_curves_without_good_points(caplog):
    times, fluxes = [[0.0, 1.0], [0.0, 1.0], [0.0, NAN]], [[1.0, 2.0], [NAN, NAN], [NAN, 3.0]]
    with pytest.raises(InputError, match=r"2 of 3 \('b', 'c'\); skip_bad=True"):
        from_light_curves(times, fluxes, names=["a", "b", "c"])
    with caplog.at_level(logging.WARNING, "stgraph"):
        data = from_light_curves(
            times,
            fluxes,
            names=["a", "b", "c"],
            sky=[[10, 0], [20, 0], [30, 0]],
            metadata={"teff": [1, 2, 3]},
            skip_bad=True,
        )
    assert [record.getMessage() for record in caplog.records] == [
        "light curves without any good point are left out: 2 of 3 ('b', 'c')"
    ]
    assert data.node_names == ["a"]
    assert data.sky.tolist() == [[10, 0]]
    assert data.metadata["teff"].tolist() == [1]
    assert data.x.shape == (1, 2, 1)
    with pytest.raises(InputError, match="1 of 1"):
        from_light_curves([[NAN]], [[1.0]], skip_bad=True)
    with pytest.raises(InputError, match="1 of 2"):
        from_light_curves([[0.0], []], [[1.0], []])


def test_poor_curves_are_named_in_warnings(caplog):
    with caplog.at_level(logging.WARNING, "stgraph"):
        data = from_light_curves([[0.0], [0.0, 1.0], [0.0, 1.0]], [[1.0], [2.0, 2.0], [1.0, 2.0]])
    assert data.num_nodes == 3
    assert [record.getMessage() for record in caplog.records] == [
        "light curves with fewer than 2 points: 1 of 3 ('0')",
        "light curves with zero variance: 1 of 3 ('1')",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0.0, 1.0], [0.0]], [[1.0, 2.0], [1.0, 2.0]]), r"curve '1' \(number 1\) has 1 entries in times and 2 in fl"),
        (([[0.0]], [[1.0]], [[1.0, 1.0]]), r"curve '0' \(number 0\) has 2 entries in flux_errors and 1 in fluxes"),
        (([[0.0]], [[1.0], [2.0]]), "times must hold 2 curves, as fluxes does, got 1"),
        (([[0.0, 1.0]], [[1.0, 1.0]], [[1.0, -2.0]]), r"curve '0' \(number 0\) has -2.0 at position 1"),
        (([], []), "at least one curve"),
        ((np.zeros((2, 2, 1)), np.zeros((2, 2, 1))), r"\(2, 2, 1\)"),
        (([[[0.0]]], [[[1.0]]]), "one dimension"),
    ],
)
def test_what_does_not_fit_together(arguments, message):
    with pytest.raises(InputError, match=message):
        from_light_curves(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"names": ["a"]}, "names must hold 2"),
        ({"names": ["a", "a"]}, "more than once"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"clip_unit": "sigma"}, "clip_unit must be one of iqr, std"),
        ({"duplicates": "drop"}, "duplicates must be one of error, mean"),
        ({"metadata": {"teff": [1.0]}}, r"metadata\['teff'\].*2 stars.*\(1,\)"),
        ({"sky": [[1.0, 2.0]]}, r"shape \(2, 2\)"),
        ({"quality": [[0]]}, "quality must hold 2"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        from_light_curves([[0.0, 1.0], [0.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]], **options)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((3.0, [[1.0]]), {}),
        (([["a"]], [[1.0]]), {}),
        (([np.array(["2020-01-01"], dtype="datetime64[D]")], [[1.0]]), {}),
        (([[0.0]], [[1.0]], 0.1), {}),
        (([[0.0]], [[1.0]]), {"metadata": [1]}),
        (([[0.0]], [[1.0]]), {"metadata": {"object": [None]}}),
    ],
)
def test_what_is_not_numeric(arguments, options):
    with pytest.raises(InputTypeError):
        from_light_curves(*arguments, **options)


def test_metadata_are_numbers_or_text():
    given_metadata = {"class": np.array(["drw", "qpo"], dtype=object), "points": [3, 4], "bytes": [b"a", b"b"]}
    metadata = from_light_curves([[0.0], [1.0]], [[1.0], [2.0]], metadata=given_metadata).metadata
    assert {name: vector.tolist() for name, vector in metadata.items()} == {
        "class": ["drw", "qpo"],
        "points": [3, 4],
        "bytes": ["a", "b"],
    }
    assert metadata["class"].dtype.kind == metadata["bytes"].dtype.kind == "U"


def test_one_vector_of_times_holds_for_all_curves():
    data = from_light_curves([0.0, 1.0, 2.0], [[1.0, NAN, 3.0], [4.0, 5.0, 6.0]])
    assert data.time.tolist() == [[0, 2, 4], [0, 1, 2]]
    assert data.length.tolist() == [2, 3]


def test_shared_time_is_the_union_of_the_times():
    data = from_light_curves(
        [[2.0, 0.0], [0.0, 1.0]], [[3.0, 1.0], [4.0, 5.0]], [[0.3, 0.1], [0.4, 0.5]], shared_time=True, sort=True
    )
    assert data.time.tolist() == [0, 1, 2]
    assert data.x[:, :, 0].tolist() == [[1, 0, 3], [4, 5, 0]]
    assert data.mask[:, :, 0].tolist() == [[True, False, True], [True, True, False]]
    torch.testing.assert_close(data.flux_error[:, :, 0], torch.tensor([[0.1, 0, 0.3], [0.4, 0.5, 0]]))
    assert "length" not in data


def test_shared_time_keeps_a_grid_that_was_given():
    data = from_light_curves(np.array([0.0, NAN, 1.0, 2.0]), np.array([[1.0, 2.0, NAN, 3.0]]), shared_time=True)
    assert data.time.tolist() == [0, 1, 2]
    assert data.mask[0, :, 0].tolist() == [True, False, True]


def test_shared_time_warns_of_curves_that_share_nothing(caplog):
    times = np.array([[0.0, 1.5], [2.0, 3.5], [4.0, 5.5]])
    with caplog.at_level(logging.WARNING, "stgraph"):
        data = from_light_curves(times, [[1.0, 2.0]] * 3, shared_time=True)
    assert data.time.shape == (6,)
    assert "33.3 % of the 6 times" in caplog.text


def test_what_was_given_is_not_changed():
    time, flux, error = np.array([[0.0, 1.0, 2.0]]), np.array([[1.0, NAN, 2.0]]), np.ones((1, 3))
    teff = np.array([1.0])
    data = from_light_curves(time, flux, error, metadata={"teff": teff})
    data.x += 1
    data.metadata["teff"] += 1
    np.testing.assert_array_equal(time, [[0, 1, 2]])
    np.testing.assert_array_equal(flux, [[1, NAN, 2]])
    np.testing.assert_array_equal(error, np.ones((1, 3)))
    assert teff == 1


@settings(max_examples=40, deadline=None)
@given(
    curves=st.lists(
        st.lists(
            st.tuples(st.floats(-1e6, 1e6, width=32), st.one_of(st.just(NAN), st.floats(-1e6, 1e6, width=32))),
            max_size=14,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_model_of_the_data_always_holds(curves):
    curves.append([(0.0, 1.0)])
    times, fluxes = ([[point[i] for point in curve] for curve in curves] for i in (0, 1))
    data = from_light_curves(times, fluxes, sort=True, duplicates="mean", skip_bad=True, clip=None)
    assert bool((data.time.diff(dim=1) > 0).all())
    steps = torch.arange(data.x.size(1))
    assert torch.equal(data.mask[:, :, 0], steps < data.length[:, None])
    assert bool((data.x[~data.mask] == 0).all())
    assert data.x.size(1) == int(data.length.max())
    expected = [len({t for t, f in curve if f == f}) for curve in curves]
    assert data.length.tolist() == [length for length in expected if length]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), min_size=1, max_size=4))
def test_quantiles_of_rows(rows):
    width = max(map(len, rows))
    values = np.array([row + [NAN] * (width - len(row)) for row in rows])
    levels = (0.25, 0.5, 0.75)
    for level, quantile in zip(levels, row_quantiles(values, np.isfinite(values), levels), strict=True):
        np.testing.assert_allclose(quantile, [np.quantile(row, level) for row in rows], rtol=1e-12, atol=1e-9)
