"""``stgraph fuse simulate``: what it writes is what ``stgraph fuse run`` makes of the same cube, and reads again."""

from __future__ import annotations

import json
import shlex

import numpy as np
import pytest

from stgraph.cli.main import main, parse_command
from stgraph.data.images import read_image, read_kernel, read_response
from stgraph.tasks.fusion_input import read_fusion_input
from tests.cli.small_fusion import BANDS, WAVELENGTHS, write_cube

MAKE = ["--wavelengths", WAVELENGTHS, "--kernel_size", "2", "--sigma", "1.5", "--downsample_ratio", "2"]


@pytest.fixture
def cube(tmp_path):
    return write_cube(tmp_path)


def simulate(cube, folder, *words):
    return main(["fuse", "simulate", cube, str(folder), *MAKE, *words])


@pytest.mark.parametrize(("kind", "other"), [("h5", "h5"), ("npy", "npy"), ("mat", "mat"), ("tif", "npy")])
def test_a_pair_is_read_again(cube, tmp_path, capsys, kind, other):
    if kind == "tif":
        pytest.importorskip("tifffile")
    folder = tmp_path / "new" / "pair"
    assert simulate(cube, folder, "--format", kind) == 0
    assert "18 x 16 x 10" in capsys.readouterr().out
    expected = read_fusion_input(parse_command("fuse run", ["--mat_file", cube, *MAKE]))[1]
    images = {"hr_msi": expected.hr_msi, "lr_hsi": expected.lr_hsi, "truth": expected.truth.permute(2, 0, 1)}
    for name, image in images.items():
        found = read_image(folder / f"{name}.{kind}")
        np.testing.assert_array_equal(found.values.transpose(2, 0, 1), image)
    stored = read_image(folder / f"lr_hsi.{kind}").wavelength
    assert (stored is not None) == (kind in ("h5", "mat"))
    np.testing.assert_allclose(read_response(folder / f"srf.{other}", BANDS), expected.srf, atol=1e-6)
    np.testing.assert_allclose(read_kernel(folder / f"psf.{other}"), expected.psf, atol=1e-6)
    np.testing.assert_allclose(np.load(folder / "wavelengths.npy"), np.linspace(420, 900, BANDS))
    recipe = json.loads((folder / "simulation.json").read_text())
    assert recipe["options"]["sigma"] == 1.5
    assert recipe["size"] == [18, 16, BANDS]
    assert recipe["radiances_that_became_0_and_1"] == list(expected.scaling["cube"])


def test_a_run_reads_a_pair(cube, tmp_path, monkeypatch):
    assert simulate(cube, tmp_path / "pair") == 0
    monkeypatch.chdir(tmp_path / "pair")
    files = ["--hr_msi_file", "hr_msi.h5", "--lr_hsi_file", "lr_hsi.h5", "--srf_file", "srf.h5", "--psf_file", "psf.h5"]
    words = ["--synthetic", "false", "--provide_srf", "--provide_psf", *files]
    words += ["--normalise", "false", "--match_radiometry", "false"]
    real = read_fusion_input(parse_command("fuse run", words))[1]
    made = read_fusion_input(parse_command("fuse run", ["--mat_file", cube, *MAKE]))[1]
    assert real.ratio == made.ratio == 2
    for name in ("hr_msi", "lr_hsi"):
        assert np.array_equal(getattr(real, name), getattr(made, name))
    np.testing.assert_allclose(real.wavelength, made.wavelength)


def test_the_command_that_is_shown_fuses_the_pair(cube, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert simulate(cube, "my pair", "--format", "npy") == 0
    words = shlex.split(capsys.readouterr().out.split("fuse it: stgraph ")[1])
    assert main([*words, "--method", "affine", "--wavelengths", WAVELENGTHS]) == 0
    assert "QNR" in capsys.readouterr().out


def test_files_for_response_and_blur_take_the_place_of_names(cube, tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "srf.npy", rng.random((2, BANDS)))
    np.save(tmp_path / "psf.npy", np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]]))
    files = ["--srf_file", str(tmp_path / "srf.npy"), "--psf_file", str(tmp_path / "psf.npy")]
    assert main(["fuse", "simulate", cube, str(tmp_path / "pair"), *files, "--snr_spatial", ".inf"]) == 0
    assert read_image(tmp_path / "pair" / "hr_msi.h5").values.shape == (16, 16, 2)
    assert read_kernel(tmp_path / "pair" / "psf.h5")[1, 1] == pytest.approx(1 / 3)
    recipe = json.loads((tmp_path / "pair" / "simulation.json").read_text())
    assert recipe["options"]["snr_spatial"] is None
    assert recipe["wavelengths_nm"] is None
    assert not (tmp_path / "pair" / "wavelengths.npy").exists()


def test_an_older_pair_is_replaced_only_when_asked(cube, tmp_path, capsys):
    folder = tmp_path / "pair"
    assert simulate(cube, folder, "--format", "npy") == 0
    assert simulate(cube, folder) == 2
    assert "is not empty; use --overwrite to replace the pair in it" in capsys.readouterr().err
    assert simulate(cube, folder, "--overwrite") == 0
    names = {"truth.h5", "hr_msi.h5", "lr_hsi.h5", "srf.h5", "psf.h5", "wavelengths.npy", "simulation.json"}
    assert {path.name for path in folder.iterdir()} == names
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    assert simulate(cube, tmp_path / "mine", "--overwrite") == 2
    assert "is not empty; choose another one" in capsys.readouterr().err
    assert simulate(cube, tmp_path / "mine" / "notes.txt") == 2
    assert "is a file; expected a folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a file of a hyperspectral cube"),
        (["CUBE"], "name an output folder"),
        (["CUBE", "pair"], "the wavelengths of the 10 hyperspectral bands are not known"),
        (["none.npy", "pair"], "there is no file"),
        (["CUBE", "pair", "--wavelengths", "420,900", "--num_msi_bands", "5"], "num_msi_bands is 5; expected one of 1"),
        (["CUBE", "pair", "--wavelengths", "420,900", "--downsample_ratio", "40"], "ratio"),
        (["CUBE", "pair", "--wavelengths", "stretched", "--sensor", "Landsat-8"], "needs the true wavelengths"),
        (["CUBE", "pair", "--mat_key", "a", "--wavelengths", "420,900"], "holds one"),
        (["CUBE", "pair", "--srf_file", "none.npy"], "none.npy"),
    ],
)
def test_bad_input_writes_nothing(cube, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["fuse", "simulate", *(word.replace("CUBE", cube) for word in words)]) == 2
    assert message in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"cube.npy"}
