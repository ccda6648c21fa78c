import h5py
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from stgraph.data.light_curves import (
    from_light_curves,
    read_light_curves,
    read_spectra,
    select_curves,
    spectra_of,
    verify_spectra,
    write_spectra,
)
from stgraph.errors import InputError

CHANNELS = ("psd", "acf", "fstat")


def some_spectra(count=3, **options):
    generator = np.random.default_rng(0)
    times = [np.cumsum(generator.uniform(0.5, 1.5, 30 + row)) for row in range(count)]
    fluxes = [9 + np.sin(time) + generator.normal(size=time.size) for time in times]
    data = from_light_curves(
        times,
        fluxes,
        names=[f"KIC {row}" for row in range(count)],
        sky=np.stack([np.linspace(1, 2, count), np.zeros(count)], axis=1),
        metadata={"lc_type": ["ä"] * count, "teff": np.arange(count)},
    )
    return spectra_of(data, bins=16, **options)


def plain(path, **arrays):
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values
    return path


@pytest.mark.parametrize("options", [{}, {"grid": "own"}, {"acf_mode": "covariance", "psd_scale": None}])
def test_what_is_written_is_read(tmp_path, options):
    data = some_spectra(**options)
    write_spectra(tmp_path / "spectra.h5", data)
    found = read_spectra(tmp_path / "spectra.h5", CHANNELS)
    assert set(found.keys()) == set(data.keys()) - {"pvalues"}
    for name in ("x", "frequency", "static", "sky", "pos"):
        assert found[name].dtype == data[name].dtype, name
        assert torch.equal(found[name], data[name]), name
    for name in ("channel_names", "static_names", "node_names", "NW", "K", "n_failed"):
        assert found[name] == data[name]
    assert set(found.metadata) == set(data.metadata)
    for name, vector in data.metadata.items():
        np.testing.assert_array_equal(found.metadata[name], vector)
    assert torch.equal(read_spectra(tmp_path / "spectra.h5", ["pvalues"]).x[:, :, 0], data.pvalues)
    assert verify_spectra(tmp_path / "spectra.h5") < 1e-5


def test_the_file_is_laid_out_as_documented(tmp_path):
    data = some_spectra()
    write_spectra(tmp_path / "spectra.h5", data)
    with h5py.File(tmp_path / "spectra.h5") as file:
        assert {name: file[name].shape for name in (*CHANNELS, "pvalues")} == dict.fromkeys(
            (*CHANNELS, "pvalues"), (3, 16)
        )
        assert file["psd"].dtype == np.float32
        assert file["psd"].compression == "gzip"
        assert file["frequency"].shape == (16,)
        assert file["tabular"].shape == (3, 9)
        attributes = {name: file.attrs[name] for name in ("n_samples", "n_bins", "NW", "K", "n_failed")}
        assert attributes == {"n_samples": 3, "n_bins": 16, "NW": 4.0, "K": 7, "n_failed": 0}
        expected = {f"{name}_{part}" for name in CHANNELS for part in ("mean", "std", "scale_factor")}
        assert expected | {"median_flux", "iqr_flux", "lc_type"} <= set(file["metadata"])


def test_channels_are_read_in_the_order_asked_for(tmp_path):
    data = some_spectra()
    write_spectra(tmp_path / "spectra.h5", data)
    found = read_spectra(tmp_path / "spectra.h5", ("f_stat", "power"))
    assert found.channel_names == ["fstat", "psd"]
    assert torch.equal(found.x, data.x[:, :, [2, 0]])
    assert torch.equal(read_spectra(tmp_path / "spectra.h5", "acf").x, data.x[:, :, [1]])


@pytest.mark.parametrize("name", ["psd_mean", "acf_std", "fstat_scale_factor"])
def test_verifying_notices_a_normalisation_that_does_not_fit(tmp_path, name):
    data = some_spectra()
    data.metadata[name] = data.metadata[name] * 1.1
    write_spectra(tmp_path / "spectra.h5", data)
    assert verify_spectra(tmp_path / "spectra.h5") > 1e-3


def test_verifying_needs_what_it_compares_with(tmp_path):
    data = some_spectra()
    del data.pvalues
    write_spectra(tmp_path / "spectra.h5", data)
    with pytest.raises(InputError, match="has no pvalues; only files of write_spectra"):
        verify_spectra(tmp_path / "spectra.h5")
    del data.metadata["acf_std"], data.static, data.static_names
    write_spectra(tmp_path / "spectra.h5", data)
    with pytest.raises(InputError, match=r"has no metadata/acf_std, psd_peak in tabular; only"):
        verify_spectra(tmp_path / "spectra.h5")


def test_spectra_of_others_are_read(tmp_path):
    power, fstat = np.random.default_rng(0).normal(size=(2, 4, 10))
    path = plain(
        tmp_path / "other.h5", power=power, f_stat=fstat, lc_type=np.array([b"drw"] * 4), tabular=np.ones((4, 2))
    )
    found = read_spectra(path, ["psd", "fstat"])
    assert found.x.shape == (4, 10, 2)
    assert found.x.dtype == torch.float32
    assert torch.equal(found.x[:, :, 1], torch.from_numpy(fstat).float())
    assert found.metadata["lc_type"].tolist() == ["drw"] * 4
    assert found.static_names == ["0", "1"]
    assert set(found.keys()) == {"x", "channel_names", "metadata", "static", "static_names"}


def test_stars_of_files_with_a_common_grid_can_be_selected(tmp_path):
    write_spectra(tmp_path / "spectra.h5", some_spectra(16))  # as many stars as frequencies
    found = select_curves(read_spectra(tmp_path / "spectra.h5", CHANNELS), ["KIC 5", "KIC 1"])
    assert found.frequency.shape == (16,)
    assert found.static.shape == (2, 9)
    assert found.metadata["teff"].tolist() == [5, 1]


def test_a_channel_that_is_not_there_is_named_with_those_that_are(tmp_path):
    path = plain(tmp_path / "other.h5", psd=np.ones((2, 3)), frequency=np.ones(3))
    with pytest.raises(InputError, match=r"other.h5 has no channel 'acf'; there are frequency, psd"):
        read_spectra(path, ["psd", "acf"])
    with h5py.File(path, "a") as file:
        file["acf/inner"] = 1.0
    with pytest.raises(InputError, match="no channel 'acf'"):
        read_spectra(path, ["acf"])
    for channels in ([], ["psd", "power"]):
        with pytest.raises(InputError, match="channels must name at least one channel, and each once"):
            read_spectra(path, channels)


def test_rows_that_are_not_finite_are_named(tmp_path):
    psd = np.ones((8, 3))
    psd[1, 2], psd[3:, 0] = np.nan, np.inf
    with pytest.raises(InputError, match=r"psd holds NaN or infinite values in 6 of 8 rows: 1, 3, 4, 5, 6, \.\.\."):
        read_spectra(plain(tmp_path / "other.h5", psd=psd))
    names = np.array([f"KIC {row}" for row in range(8)], dtype=object)
    with pytest.raises(InputError, match="in 6 of 8 rows: 'KIC 1', 'KIC 3'"):
        read_spectra(plain(tmp_path / "other.h5", psd=psd, targetid=names))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"acf": np.ones((2, 4))}, r"acf has the shape \(2, 4\)"),
        ({"acf": np.ones(2)}, r"acf has the shape \(2,\)"),
        ({"acf": np.array([[b"a", b"b", b"c"]] * 2)}, "acf must hold numbers"),
        ({"acf": np.ones((2, 3)), "frequency": np.ones(4)}, r"frequency has the shape \(4,\)"),
        ({"acf": np.ones((2, 3)), "tabular": np.ones(2)}, r"tabular has the shape \(2,\)"),
        ({"acf": np.ones((2, 3)), "targetid": np.ones(3)}, r"targetid has the shape \(3,\)"),
        ({"acf": np.ones((2, 3)), "metadata/teff": np.ones(3)}, "teff.* must hold one entry for each of 2 stars"),
    ],
)
def test_arrays_must_fit_together(tmp_path, arrays, message):
    path = plain(tmp_path / "other.h5", psd=np.ones((2, 3)), **arrays)
    with pytest.raises(InputError, match=message):
        read_spectra(path, ["psd", "acf"])


def test_damaged_and_missing_files(tmp_path):
    path = tmp_path / "spectra.h5"
    with pytest.raises(FileNotFoundError):
        read_spectra(path)
    write_spectra(path, some_spectra())
    content = path.read_bytes()
    for size in (100, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=r"spectra\.h5 cannot be read"):
            read_spectra(path)
    with pytest.raises(InputError, match=r"spectra\.h5 cannot be read"):
        verify_spectra(path)


def test_only_spectra_are_written_and_an_older_file_stays_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "spectra.h5"
    write_spectra(path, some_spectra())
    before = path.read_bytes()
    data = Data(x=torch.ones(2, 3, 1), channel_names=["psd"])
    for bad, message in (
        (Data(x=torch.ones(2, 3, 1)), "a distinct name for each of 1 channels"),
        (Data(x=torch.ones(2, 3, 2), channel_names=["psd", "psd"]), "a distinct name"),
        (Data(x=torch.ones(2, 3, 1), channel_names=["a/b"]), "cannot be the name of an array"),
        (
            Data(x=torch.ones(2, 3, 1), channel_names=["frequency"], frequency=torch.ones(3)),
            "cannot be the name of a channel",
        ),
    ):
        with pytest.raises(InputError, match=message):
            write_spectra(path, bad)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["spectra.h5"]
    with pytest.raises(InputError, match=r"\.h5 or \.hdf5"):
        write_spectra(tmp_path / "spectra.npz", data)
    with pytest.raises(InputError, match="there is no folder"):
        write_spectra(tmp_path / "nowhere" / "spectra.h5", data)


def test_reading_spectra_as_light_curves_says_what_to_do(tmp_path):
    write_spectra(tmp_path / "spectra.h5", some_spectra())
    with pytest.raises(InputError, match="read_spectra reads spectra"):
        read_light_curves(tmp_path / "spectra.h5")
