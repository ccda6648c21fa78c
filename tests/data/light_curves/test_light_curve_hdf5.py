import logging

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stgraph.data import KNNGraph
from stgraph.data.light_curves import from_light_curves, read_light_curves, select_curves, write_light_curves
from stgraph.errors import InputError

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=8)
KEYS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0/."), min_size=1, max_size=8)


def assert_same(first, second):
    assert set(first.keys()) == set(second.keys())
    for name, value in first.to_dict().items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == second[name].dtype, name
            assert torch.equal(value, second[name]), name
        elif name == "metadata":
            assert set(value) == set(second.metadata)
            for key, vector in value.items():
                assert vector.dtype.kind == second.metadata[key].dtype.kind
                np.testing.assert_array_equal(vector, second.metadata[key])
        else:
            assert value == second[name], name


def write(path, **arrays):
    metadata = arrays.pop("metadata", {})
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
        for name, values in metadata.items():
            file[f"metadata/{name}"] = values
    return path


@st.composite
def light_curves(draw):
    count = draw(st.integers(1, 4))
    lengths = draw(st.lists(st.integers(1, 6), min_size=count, max_size=count))
    times = [draw(hnp.arrays(np.float64, n, elements=st.floats(0, 1e4), unique=True)) for n in lengths]
    fluxes = [draw(hnp.arrays(np.float64, n, elements=st.floats(-1e6, 1e6))) for n in lengths]
    options = {"names": draw(st.one_of(st.none(), st.lists(TEXT, min_size=count, max_size=count, unique=True)))}
    if draw(st.booleans()):
        options["flux_errors"] = [np.abs(flux) for flux in fluxes]
    if draw(st.booleans()):
        sky = st.tuples(st.floats(0, 360), st.floats(-90, 90))
        options["sky"] = draw(st.lists(sky, min_size=count, max_size=count))
    vectors = st.one_of(
        hnp.arrays(np.float64, count), hnp.arrays(np.int64, count), st.lists(TEXT, min_size=count, max_size=count)
    )
    options["metadata"] = draw(st.dictionaries(KEYS, vectors, max_size=3))
    return from_light_curves(times, fluxes, sort=True, shared_time=draw(st.booleans()), **options)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=light_curves())
def test_what_is_written_is_read_exactly(tmp_path, data):
    write_light_curves(tmp_path / "curves.h5", data)
    assert_same(data, read_light_curves(tmp_path / "curves.h5"))
    assert [file.name for file in tmp_path.iterdir()] == ["curves.h5"]


def test_edges_selections_and_outliers_are_read_exactly(tmp_path):
    generator = np.random.default_rng(0)
    times = [np.arange(size, dtype=float) for size in (30, 12, 20)]
    fluxes = [generator.standard_t(1, size=time.size) for time in times]
    data = KNNGraph(k=1)(from_light_curves(times, fluxes, sky=[[0, 0], [1, 0], [5, 0]], clip=None))
    for number, graph in enumerate((data, select_curves(data, [1, 2]))):
        write_light_curves(tmp_path / f"{number}.h5", graph)
        assert_same(graph, read_light_curves(tmp_path / f"{number}.h5"))
    # Cleaned once, they are not clipped again with other options either, unless this is asked for.
    assert read_light_curves(tmp_path / "0.h5", skip_bad=True).length.tolist() == [30, 12, 20]
    assert read_light_curves(tmp_path / "0.h5", clip=5.0).length.sum() < 62


def test_layout_of_the_file(tmp_path):
    data = from_light_curves([[0.0, 1.0], [2.0]], [[1.0, 2.0], [3.0]], [[0.1, 0.2], [0.3]], names=["a", "b"])
    write_light_curves(tmp_path / "curves.h5", data)
    with h5py.File(tmp_path / "curves.h5") as file:
        assert sorted(file) == ["flux", "flux_err", "length", "mask", "targetid", "time"]
        assert (file.attrs["n_samples"], file.attrs["max_length"]) == (2, 2)
        assert file["time"].dtype == np.float64
        assert file["flux"].compression == "gzip"
        assert file["mask"][()].tolist() == [[True, True], [True, False]]
        assert file["length"][()].tolist() == [2, 1]
        assert file["targetid"].asstr()[()].tolist() == ["a", "b"]


def test_what_is_not_written_is_named(tmp_path, caplog):
    data = from_light_curves([[0.0, 1.0]], [[1.0, 2.0]])
    data.season = torch.zeros(1)
    with caplog.at_level(logging.WARNING, "stgraph"):
        write_light_curves(tmp_path / "curves.h5", data)
    assert "season" in caplog.text
    assert "season" not in read_light_curves(tmp_path / "curves.h5")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "curves.h5"
    data = from_light_curves([[0.0, 1.0]], [[1.0, 2.0]])
    write_light_curves(path, data)
    before = path.read_bytes()
    for metadata in ({"a/b": [1]}, {"": [1]}, {"name": ["a\0b"]}, {"name": ["\ud800"]}):
        data.metadata = metadata
        with pytest.raises(InputError):
            write_light_curves(path, data)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["curves.h5"]


@pytest.mark.parametrize("name", ["curves.csv", "nowhere/curves.h5"])
def test_where_light_curves_cannot_be_written(tmp_path, name):
    with pytest.raises(InputError, match="written"):
        write_light_curves(tmp_path / name, from_light_curves([[0.0, 1.0]], [[1.0, 2.0]]))


def test_graphs_that_are_no_light_curves(tmp_path):
    data = from_light_curves([[0.0, 1.0]], [[1.0, 2.0]])
    for change in ({"x": torch.zeros(1, 2, 3)}, {"time": None}, {"time": torch.zeros(3)}, {"mask": torch.ones(1, 2)}):
        broken = data.clone()
        for name, value in change.items():
            broken[name] = value
        with pytest.raises(InputError):
            write_light_curves(tmp_path / "curves.h5", broken)


def test_files_of_others(tmp_path):
    path = write(
        tmp_path / "curves.hdf5",
        flux=np.array([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]], dtype=">f4"),
        time=[[0.0, 1.0, 0.0], [0.0, 1.0, 2.0]],
        flux_error=np.full((2, 3, 1), 0.5),
        mask=[[1, 1, 0], [1, 1, 1]],
        targetid=[358108509, 7],
        ra=[10.0, 20.0],
        dec=[-5.0, 5.0],
        psd=np.zeros((2, 8)),
        metadata={"teff": [4000.0, 5000.0], "class": np.array([b"drw", b"qpo"])},
    )
    data = read_light_curves(path)
    assert data.x[:, :, 0].tolist() == [[1, 2, 0], [3, 4, 5]]
    assert data.time.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert data.flux_error[:, :, 0].tolist() == [[0.5, 0.5, 0], [0.5, 0.5, 0.5]]
    assert data.node_names == ["358108509", "7"]
    assert data.sky.tolist() == [[10, -5], [20, 5]]
    assert data.metadata["teff"].tolist() == [4000, 5000]
    assert data.metadata["class"].tolist() == ["drw", "qpo"]


@pytest.mark.parametrize(
    ("arrays", "lengths"),
    [
        ({"flux": [[0.0, 2.0, 0.0], [0.0, 0.0, 5.0]], "time": [[0.0, 1.0, 0.0], [1.0, 2.0, 3.0]]}, [2, 3]),
        ({"flux": [[1.0, np.nan, np.nan], [1.0, 2.0, 3.0]], "time": [[1.0, np.nan, np.nan], [1.0, 2.0, 3.0]]}, [1, 3]),
        ({"flux": [[1.0, 2.0, 3.0]] * 2, "time": [[1.0, 2.0, 3.0]] * 2, "length": [2, 3]}, [2, 3]),
        ({"flux": [[1.0, 2.0, 3.0]] * 2, "time": [[1.0, 2.0, 3.0]] * 2, "quality": [[0, 8, 0], [0, 0, 0]]}, [2, 3]),
    ],
    ids=["zeros", "NaN", "length", "quality"],
)
def test_kinds_of_padding(tmp_path, arrays, lengths):
    assert read_light_curves(write(tmp_path / "curves.h5", **arrays)).length.tolist() == lengths


def test_a_common_time_becomes_a_shared_grid(tmp_path):
    path = write(tmp_path / "curves.h5", flux=[[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]], time=[0.0, 1.0, 2.0])
    data = read_light_curves(path)
    assert data.time.tolist() == [0, 1, 2]
    assert data.mask[0, :, 0].tolist() == [True, False, True]
    assert read_light_curves(path, shared_time=False).length.tolist() == [2, 3]
    other = write(tmp_path / "more.h5", flux=[[7.0, 8.0]], time=[1.0, 2.0])
    both = read_light_curves([path, other])
    assert both.time.tolist() == [0, 1, 2]
    assert both.mask[2, :, 0].tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"fluxes": [[1.0]], "time": [[0.0]]}, "has no flux; there are fluxes, time$"),
        ({"flux": [[1.0]]}, "has no time; there are flux$"),
        ({"psd": [[1.0]], "acf": [[0.0]]}, "has no flux and no time; there are acf, psd; read_spectra reads"),
        ({}, "there are no data"),
        ({"flux": [1.0], "time": [0.0]}, r"flux must have the shape \(N, L\), got \(1,\)"),
        ({"flux": [[1.0, 2.0]], "time": [[0.0]]}, r"time must have the shape \(1, 2\) of flux, got \(1, 1\)"),
        ({"flux": [[1.0]], "time": [[0.0]], "mask": [[1, 1]]}, "mask must have"),
        ({"flux": [[1.0]], "time": [[0.0]], "length": [1, 1]}, "length must have"),
        ({"flux": [[1.0]], "time": [[0.0]], "targetid": [1, 2]}, "targetid must have"),
        ({"flux/a": [[1.0]], "time": [[0.0]]}, "flux is a group"),
    ],
)
def test_wrong_arrays(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        read_light_curves(write(tmp_path / "curves.h5", **arrays))


@pytest.mark.parametrize("kept", [0, 100, 0.5, 0.95])
def test_truncated_files(tmp_path, kept):
    path = tmp_path / "curves.h5"
    generator = np.random.default_rng(0)
    write_light_curves(path, from_light_curves(np.arange(400.0), generator.normal(size=(8, 400)), shared_time=True))
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(InputError, match=r"curves.h5 cannot be read"):
        read_light_curves(path)


def test_a_file_without_its_mask(tmp_path):
    path = tmp_path / "curves.h5"
    write_light_curves(path, from_light_curves([[0.0, 1.0]], [[1.0, 2.0]]))
    with h5py.File(path, "a") as file:
        del file["mask"]
    with pytest.raises(InputError, match="is incomplete: it has no mask; there are flux, length, "):
        read_light_curves(path)
