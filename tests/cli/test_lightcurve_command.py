"""``stgraph lightcurve``: from mock curves to spectra, training, errors, filled gaps, latent vectors and pictures."""

from __future__ import annotations

import csv

import h5py
import numpy as np
import pytest

from stgraph.cli.main import main
from stgraph.data.light_curves import write_light_curves
from tests.tasks.small_reconstructions import make_curves

TRAIN = [
    "--model.arguments={encoder_dims: [8, 8], nhead: 2, num_transformer_blocks: 1}",
    *("--data.steps=32", "--data.batch_size=8", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"),
    *("--trainer.tensorboard=false", "--trainer.progress_bar=false"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with curves and a run on them, made by the commands."""
    folder = tmp_path_factory.mktemp("lightcurve")
    write_light_curves(folder / "curves.h5", make_curves(count=40))
    assert main(["lightcurve", "train", str(folder / "curves.h5"), "--output", str(folder / "run"), *TRAIN]) == 0
    return folder


def test_training_draws_its_curve_and_reconstructions(folder):
    figures = {path.name for path in (folder / "run" / "figures").iterdir()}
    assert figures == {"training.png", "reconstruction_epoch1.png"}
    report = (folder / "run" / "report.html").read_text()
    assert "linear_interpolation" in report
    assert report.count("<img") == 2


def test_mock_curves_are_written_once(tmp_path, capsys):
    path = str(tmp_path / "mock.h5")
    assert main(["lightcurve", "mock", path, "--n_samples", "5", "--seed", "3"]) == 0
    with h5py.File(path) as file:
        assert file["flux"].shape[0] == 5
    assert main(["lightcurve", "mock", path]) == 2
    assert "exists; use --overwrite" in capsys.readouterr().err


def test_spectra_are_written_and_verified_and_train_an_mlp(folder, capsys):
    spectra = str(folder / "spectra.h5")
    words = ["lightcurve", "spectra", str(folder / "curves.h5"), spectra, "--n_bins", "64", "--verify"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "Spectra of 40 of 40 light curves" in printed
    assert float(printed.split("normalisation: ")[1]) < 1e-4
    with h5py.File(spectra) as file:
        assert {"psd", "acf", "fstat", "frequency", "tabular", "metadata"} <= set(file)
        assert file["psd"].shape == (40, 64)
    output = str(folder / "mlp")
    options = ["--model.name", "mlp", "--trainer.max_epochs=1", "--trainer.accelerator=cpu", "--output", output]
    assert main(["lightcurve", "train", spectra, *options]) == 0
    assert "training_mean" in capsys.readouterr().out


def test_errors_are_printed_beside_simple_reconstructions_and_written(folder, capsys):
    table = folder / "errors.csv"
    assert main(["lightcurve", "evaluate", str(folder / "run"), "--output", str(table)]) == 0
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("hidden", "visible", "linear_interpolation", "zero", "RMSE"))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["series"] for row in rows}) == 4  # a tenth of the stars
    assert len(rows) > 4  # those of more than 32 points in two stretches


def test_gaps_are_filled(folder, capsys):
    output = folder / "filled.csv"
    assert main(["lightcurve", "fill", str(folder / "run"), "--output", str(output)]) == 0
    assert "values filled in 40 series" in capsys.readouterr().out
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["observed"] for row in rows} == {"True", "False"}


def test_latent_vectors_are_written_predict_a_period_and_are_drawn(folder, capsys):
    latents = str(folder / "latents.h5")
    words = ["lightcurve", "embed", str(folder / "run"), "--output", latents, "--target", "period", "--log10"]
    assert main([*words, "--folds", "4", "--pooling", "multiscale"]) == 0
    printed = capsys.readouterr().out
    assert "period from latent vectors: 4 folds, split by star, 40 series" in printed
    assert "r2" in printed
    with h5py.File(latents) as file:
        assert file["latent"].shape == (40, 12 * 8)
    assert main(["lightcurve", "plot", latents, "--color", "lc_type"]) == 0
    assert (folder / "latents_pca.png").stat().st_size > 1000
    assert main(["lightcurve", "embed", str(folder / "run"), "--output", str(folder / "b.csv"), "--target", "age"]) == 2
    assert "target is 'age'; the metadata has" in capsys.readouterr().err


def test_a_run_is_drawn(folder, tmp_path):
    assert main(["lightcurve", "plot", str(folder / "run"), "--output", str(tmp_path), "--examples", "2"]) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"reconstructions.png", "training.png", "errors_by_class.png"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lightcurve", "dance"], "unknown command 'lightcurve dance'"),
        (["lightcurve", "mock"], "name an output file"),
        (["lightcurve", "spectra", "nothing.h5", "out.h5"], "nothing.h5"),
        (["lightcurve", "spectra", "nothing.h5", "out.csv"], "ends in .h5"),
        (["lightcurve", "train", "nothing.h5"], "nothing.h5"),
        (["lightcurve", "train"], "no data"),
        (["lightcurve", "fill", "run", "--output", "gaps.txt"], ".npz or .csv"),
        (["lightcurve", "fill", "nowhere", "--output", "gaps.csv"], "not the folder of a run"),
        (["lightcurve", "evaluate"], "name the folder of a run"),
        (["lightcurve", "plot", "nowhere.h5"], "nowhere.h5"),
        (["lightcurve", "plot", "x", "--examples", "20"], "examples is 20"),
    ],
)
def test_bad_words_give_one_line(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_that_do_not_fit_are_refused(tmp_path, capsys):
    path = tmp_path / "wrong.h5"
    with h5py.File(path, "w") as file:
        file["brightness"], file["times"] = np.ones((3, 20)), np.ones((3, 20))
    assert main(["lightcurve", "train", str(path), "--data.kind", "light_curves"]) == 2
    error = capsys.readouterr().err
    assert "brightness" in error
    assert "times" in error
    path.write_bytes(path.read_bytes()[:200])
    assert main(["lightcurve", "train", str(path)]) == 2
    assert "wrong.h5" in capsys.readouterr().err


def test_the_group_lists_its_commands(capsys):
    assert main(["lightcurve"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {name}" in printed for name in ("mock", "spectra", "train", "evaluate", "fill", "embed", "plot"))
    assert main(["--help"]) == 0
    assert "lightcurve" in capsys.readouterr().out


def test_info_tells_of_curves_spectra_and_runs(folder, capsys):
    assert main(["info", str(folder / "curves.h5")]) == 0
    printed = capsys.readouterr().out
    assert "light curves 40" in printed
    assert "each star has its own" in printed
    assert "lc_type, period" in printed
    spectra = str(folder / "info_spectra.h5")
    assert main(["lightcurve", "spectra", str(folder / "curves.h5"), spectra, "--n_bins", "16"]) == 0
    assert main(["info", spectra]) == 0
    assert "the same for all stars" in capsys.readouterr().out
    assert main(["info", str(folder / "run")]) == 0
    printed = capsys.readouterr().out
    assert "reconstruction run of transformer on" in printed
    assert "linear_interpolation" in printed


def test_mock_curves_of_a_class_with_shared_times(tmp_path, capsys):
    path = str(tmp_path / "shared.h5")
    words = ["lightcurve", "mock", path, "--n_samples", "16", "--shared_sampling", "--classes", "{rotation: 1.0}"]
    assert main(words) == 0
    assert main(["info", path]) == 0
    printed = capsys.readouterr().out
    assert "the same for all stars" in printed
    assert "right ascension" in printed


def test_a_network_brings_its_coordinates_in_a_file(tmp_path, capsys):
    generator = np.random.default_rng(0)
    np.save(tmp_path / "values.npy", generator.random((30, 8)))
    np.save(tmp_path / "coords.npy", generator.random((8, 2)))
    arguments = f"--data.arguments={{coords: {tmp_path / 'coords.npy'}}}"
    words = ["lightcurve", "train", str(tmp_path / "values.npy"), arguments, "--data.split_by=entries", "--data.k=3"]
    model = ["--model.name=mlp", "--model.neighbors=1", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    assert main([*words, *model, "--output", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    bad = [word.replace("{coords", "{places") for word in words]
    assert main([*bad, *model, "--output", str(tmp_path / "other")]) == 2
    assert "knows no option 'places'; it has coords" in capsys.readouterr().err
