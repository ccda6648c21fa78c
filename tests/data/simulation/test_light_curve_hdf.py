import h5py
import numpy as np
import pytest

from stgraph.data.light_curves import read_light_curves
from stgraph.data.simulation.light_curves import hdf, simulate_light_curves, write_mock_light_curves
from stgraph.errors import InputError, InputTypeError

SMALL = {"points": (20, 60), "seed": 4}


def contents(path):
    with h5py.File(path) as file:
        found = {}
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
        return found, dict(file.attrs)


def test_file_holds_the_curves(tmp_path):
    path = write_mock_light_curves(tmp_path / "mock.h5", 70, chunk_size=32, **SMALL)
    found, attributes = contents(path)
    data = simulate_light_curves(70, **SMALL)
    assert attributes["n_samples"] == 70
    assert attributes["max_length"] == data.x.size(1)
    assert attributes["seed"] == 4
    assert {name: found[name].dtype.str for name in ("flux", "flux_err", "time", "mask")} == {
        "flux": "<f4",
        "flux_err": "<f4",
        "time": "<f8",
        "mask": "|b1",
    }
    assert (found["flux"] == data.x[..., 0].numpy()).all()
    assert (found["flux_err"] == data.flux_error[..., 0].numpy()).all()
    assert (found["time"] == data.time.numpy()).all()
    assert (found["mask"] == data.mask[..., 0].numpy()).all()
    assert (found["length"] == data.length.numpy()).all()
    assert [name.decode() for name in found["targetid"]] == data.node_names
    assert {name.removeprefix("metadata/") for name in found if "/" in name} == set(data.metadata)
    np.testing.assert_array_equal(found["metadata/period"], data.metadata["period"])
    assert [name.decode() for name in found["metadata/lc_type"]] == data.metadata["lc_type"].tolist()


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_file_does_not_depend_on_the_chunks(tmp_path, chunk_size):
    one, _ = contents(write_mock_light_curves(tmp_path / "one.h5", 20, chunk_size=8, **SMALL))
    other, _ = contents(write_mock_light_curves(tmp_path / "other.h5", 20, chunk_size=chunk_size, **SMALL))
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])


def test_reading_gives_the_simulated_graph(tmp_path):
    settings = SMALL | {"flare_rate": 0.1, "classes": {"rotation": 1.0}}
    data = simulate_light_curves(12, **settings)
    again = read_light_curves(write_mock_light_curves(tmp_path / "mock.h5", 12, **settings))
    for name in ("x", "mask", "time", "flux_error", "length"):
        assert again[name].equal(data[name])
        assert again[name].dtype == data[name].dtype
    assert again.node_names == data.node_names
    assert again.metadata.keys() == data.metadata.keys()
    for name, values in data.metadata.items():
        np.testing.assert_array_equal(again.metadata[name], values)


def test_an_error_leaves_no_file(tmp_path, monkeypatch):
    path = write_mock_light_curves(tmp_path / "mock.h5", 3, **SMALL)
    before = path.read_bytes()
    monkeypatch.setattr(hdf, "draw_curves", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_mock_light_curves(path, 5, **SMALL)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("wrong", [{"chunk_size": 0}, {"num_curves": 0}, {"snr": (-1, 2)}])
def test_bad_values_are_named(tmp_path, wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} is"):
        write_mock_light_curves(**({"path": tmp_path / "mock.h5", "num_curves": 2} | wrong))
    assert not list(tmp_path.iterdir())


def test_unknown_settings_and_folders_are_named(tmp_path):
    with pytest.raises(InputTypeError, match="shared_sampling"):
        write_mock_light_curves(tmp_path / "mock.h5", 2, shared_sampling=True)
    with pytest.raises(InputError, match=r"path is .*mock\.csv"):
        write_mock_light_curves(tmp_path / "mock.csv", 2, **SMALL)
    with pytest.raises(InputError, match="no folder"):
        write_mock_light_curves(tmp_path / "nowhere" / "mock.h5", 2, **SMALL)
