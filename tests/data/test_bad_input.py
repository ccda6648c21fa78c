"""Everything that can be wrong with the input of a series, in one table: what comes, and what is said about it."""

import numpy as np
import pytest
import torch

from stgraph.data import from_array, from_file, to_array, windows_to_array
from stgraph.data.graph import series_of
from stgraph.errors import InputError, InputTypeError

NAN, INF = float("nan"), float("inf")
STEPS, NODES, CHANNELS = 4, 3, 2
VALUES = np.arange(24, dtype=np.float64).reshape(STEPS, NODES, CHANNELS)
GRID = np.arange(24, dtype=np.float64).reshape(2, 3, 4, 1)


def with_entry(entry, position=(2, 1, 0)):
    values = VALUES.copy()
    values[position] = entry
    return values


def without(node=slice(None), channel=slice(None)):
    values = VALUES.copy()
    values[:, node, channel] = NAN
    return values


SHAPES = [
    ("a number", 3.0, r"shape \(T, N\), \(T, N, C\) or \(T, H, W, C\), got \(\)"),
    ("one dimension", np.arange(3.0), r"got \(3,\)"),
    ("five dimensions", np.zeros((2, 2, 2, 2, 2)), r"got \(2, 2, 2, 2, 2\)"),
    ("no step", np.zeros((0, 3)), r"must not be empty, got the shape \(0, 3\)"),
    ("no node", np.zeros((3, 0, 2)), "must not be empty"),
    ("no channel", np.zeros((3, 2, 0)), "must not be empty"),
    ("no row of a grid", np.zeros((3, 0, 2, 1)), "must not be empty"),
    ("a ragged list", [[1.0, 2.0], [3.0]], "values cannot be made an array"),
]
CONTENT = [
    ("all missing", np.full((4, 3), NAN), "no observed value"),
    ("one missing entry", [[NAN]], "no observed value"),
    ("a channel all missing", without(channel=1), r"values\[..., 1\]: 1 of 2 channels.*leave out channels \[1\]"),
    ("infinity", with_entry(INF), "step 2, node 1, channel 0 stands inf"),
    ("minus infinity", with_entry(-INF), "stands -inf"),
    ("too large for float32", with_entry(1e39), r"finite in float32.*stands 1e\+39"),
]


@pytest.mark.parametrize(
    ("values", "message"), [case[1:] for case in SHAPES + CONTENT], ids=[c[0] for c in SHAPES + CONTENT]
)
def test_values(values, message):
    with pytest.raises(InputError, match=message):
        from_array(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[1.0, None], [2.0, 3.0]], dtype=object), "values must hold real numbers, got dtype object"),
        ([["1", "2"]], "got dtype <U1; convert it to numbers first"),
        (VALUES * 1j, "complex128"),
        (VALUES.astype("datetime64[s]"), "datetime64"),
        (torch.zeros(3, 2, dtype=torch.complex64), "complex64"),
        (torch.eye(3).to_sparse(), "dense tensor"),
        (None, "dtype object"),
        ({"a": [1.0]}, "dtype object"),
    ],
    ids=str,
)
def test_types(values, message):
    with pytest.raises(InputTypeError, match=message):
        from_array(values)


def test_tables_and_labelled_arrays_have_functions_of_their_own():
    pd = pytest.importorskip("pandas")
    with pytest.raises(InputTypeError, match=r"pandas DataFrame; use stgraph\.data\.from_table"):
        from_array(pd.DataFrame(VALUES[..., 0]))
    xr = pytest.importorskip("xarray")
    with pytest.raises(InputTypeError, match=r"xarray DataArray; use stgraph\.data\.from_xarray"):
        from_array(xr.DataArray(VALUES))


OPTIONS = [
    ({"coords": np.zeros((4, 2))}, InputError, r"coords must have the shape \(N, D\) = \(3, D\), got \(4, 2\)"),
    ({"coords": np.zeros((3, 2, 1))}, InputError, r"got \(3, 2, 1\)"),
    ({"coords": np.zeros((3, 0))}, InputError, r"got \(3, 0\)"),
    ({"coords": [[0, 1], [NAN, 0], [1, 1]]}, InputError, r"coords must be finite, but coords\[1, 0\] is nan"),
    ({"coords": [[0, 1], [1, INF], [1, 1]]}, InputError, r"coords\[1, 1\] is inf"),
    ({"coords": np.ma.masked_less(np.eye(3), 0.5)}, InputError, r"coords\[0, 1\] is nan"),
    ({"coords": [["a", "b"]] * 3}, InputTypeError, "coords must hold real numbers"),
    ({"coordinates": "lonlat"}, InputError, "coordinates must be one of cartesian, local_plane, great_circle"),
    ({"coords": [[50, 100]] * 3, "coordinates": "local_plane"}, InputError, "latitudes .* within -90..90"),
    ({"coords": [[6e5, 50]] * 3, "coordinates": "great_circle"}, InputError, "metres"),
    ({"coords": [1.0, 2.0, 3.0], "coordinates": "local_plane"}, InputError, "needs longitude and latitude"),
    ({"coords": np.zeros((3, 3)), "coordinates": "great_circle"}, InputError, "longitude and latitude alone"),
    ({"time": [0.0, 1.0, 2.0]}, InputError, r"time must have the shape \(4,\) or \(3, 4\).*got \(3,\)"),
    ({"time": [0.0, 2.0, 1.0, 3.0]}, InputError, r"time\[2\] \(1.0\) is earlier than the entry before"),
    ({"time": ["2020-01-01", "2020-01-02", "2020-01-02", "2020-01-03"]}, InputError, r"time\[2\] repeats"),
    ({"time": [0.0, NAN, 2.0, 3.0]}, InputError, r"time\[1\] is missing"),
    ({"mask": np.ones((4, 2), dtype=bool)}, InputError, r"mask must have the shape \(4, 3, 2\)"),
    ({"mask": np.ones((4, 3, 2))}, InputTypeError, "mask must be boolean"),
    ({"mask": np.zeros((4, 3), dtype=bool)}, InputError, "no observed value"),
    ({"null_value": "0"}, InputTypeError, "null_value must be a number, got str"),
    ({"null_value": True}, InputTypeError, "null_value must be a number, got bool"),
    ({"node_names": ["a", "b"]}, InputError, "node_names must hold 3 names, got 2"),
    ({"node_names": ["a", "b", "a"]}, InputError, "'a' appears more than once"),
    ({"node_names": "abc"}, InputTypeError, "got the string 'abc'"),
    ({"channel_names": ["flow"]}, InputError, "channel_names must hold 2 names, got 1"),
    ({"grid": (2, 2)}, InputError, r"grid=\(2, 2\) does not fit values of the shape \(4, 3, 2\)"),
    ({"grid": True}, InputError, "grid=True needs values of the shape"),
    ({"grid": (0, 3)}, InputError, "at least one row"),
    ({"grid": 3}, InputTypeError, r"grid must be None, True, False or \(H, W\)"),
    ({"grid": ("a", "b")}, InputTypeError, "grid must be None"),
    ({"static": np.zeros((4, 1))}, InputError, r"static must have the shape \(3, features\)"),
    ({"static": [1.0, NAN, 2.0]}, InputError, r"static\[1\] is nan"),
    ({"covariates": np.zeros((3, 1))}, InputError, r"covariates must have the shape \(4, features\)"),
    ({"covariates": ["a"] * 4}, InputTypeError, "covariates must hold real numbers"),
]


@pytest.mark.parametrize(("options", "error", "message"), OPTIONS, ids=[" ".join(case[0]) for case in OPTIONS])
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        from_array(VALUES, **{"coords": np.eye(3), **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coords": np.zeros((4, 3, 2))}, r"\(12, D\), \(3, 4, D\) or a pair of vectors of 3 and 4, got \(4, 3, 2\)"),
        ({"coords": (np.zeros(4), np.zeros(3))}, "3 rows, then one for each of the 4 columns, got 4 and 3"),
        ({"coords": (np.zeros(3), np.full(4, NAN))}, r"coords\[1\]\[0\] is nan"),
        ({"grid": (4, 3)}, "does not fit"),
        ({"mask": np.ones((2, 3), dtype=bool)}, "mask must have the shape"),
    ],
)
def test_options_of_a_grid(options, message):
    with pytest.raises(InputError, match=message):
        from_array(GRID, **options)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_the_same_in_a_file(tmp_path, suffix):
    path = tmp_path / f"bad{suffix}"
    if suffix == ".npy":
        np.save(path, np.full((4, 3), NAN))
    elif suffix == ".npz":
        np.savez(path, values=np.full((4, 3), NAN))
    else:
        np.savetxt(path, np.full((4, 3), NAN), delimiter=",")
    with pytest.raises(InputError, match="no observed value"):
        from_file(path, coords=np.eye(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64), 5), r"windows must have the shape \(B, N, P, ...\)"),
        ((torch.zeros(2, 3, 4, 1), torch.zeros(3, dtype=torch.int64), 5), r"got \(2, 3, 4, 1\) and \(3,\)"),
        ((torch.zeros(2, 3, 4, 1), torch.tensor([0, 2]), 5), r"within 0..1 for 5 steps, got starts 0..2"),
        ((torch.zeros(2, 3, 4, 1), torch.tensor([-1, 0]), 5), r"got starts -1..0"),
        ((torch.zeros(2, 3, 4, 1), torch.tensor([0, 1]), 5, torch.ones(2, 3, dtype=torch.bool)), "mask must have"),
    ],
)
def test_windows(arguments, message):
    with pytest.raises(InputError, match=message):
        windows_to_array(*arguments)


def test_graphs_of_something_else():
    data = from_array(VALUES, coords=np.eye(3))
    data.x = data.x[:, :, 0]
    with pytest.raises(InputError, match=r"got the shape \(3, 4\)"):
        to_array(data)
    del data.x
    with pytest.raises(InputError, match="got none"):
        series_of(data)
