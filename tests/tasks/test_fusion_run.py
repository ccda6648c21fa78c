"""Fusion runs: what they write, that they repeat themselves, and that failures leave nothing behind."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging

import h5py
import numpy as np
import pytest
import torch
import yaml

from stgraph.data.images import read_image
from stgraph.errors import InputError, OutputExistsError
from stgraph.metrics.image import fusion_metrics
from stgraph.models.fusion.latent_fusion import LatentEstimationFusion
from stgraph.tasks import fusion_run
from stgraph.tasks.folder import read_options
from stgraph.tasks.fusion_input import read_fusion_input
from stgraph.tasks.fusion_options import FusionOptions
from stgraph.tasks.fusion_outputs import FusionFolder
from stgraph.tasks.fusion_run import run_fusion
from tests.tasks.small_fusions import WAVELENGTHS, fusion_options, make_cube, write_pair, write_scene

NAME = "super_resolved_hsi_cube_gaussian_4_4"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Options, results and folder of a run of the default method."""
    folder = tmp_path_factory.mktemp("fusion")
    options = fusion_options(folder, write_scene(folder), output_file_type="h5", members=2)
    return options, run_fusion(options), FusionFolder(options.output_dir)


def test_a_run_writes_what_it_found(run):
    _, results, folder = run
    image = read_image(folder.path / results["result"])
    height, width, bands = make_cube().shape
    assert image.values.shape == (height, width, bands)
    assert image.wavelength.tolist() == WAVELENGTHS.tolist()
    with np.load(folder.latent, allow_pickle=False) as latent:
        assert latent["endmembers"].shape == (3, bands)
        assert latent["latent"].shape == (height, width, 3)
    assert np.load(folder.uncertainty).shape == (height, width)
    assert results["mean_uncertainty"] > 0
    assert json.loads(folder.results.read_text()) == json.loads(json.dumps(results))
    assert json.loads(folder.environment.read_text())["data"].keys() == {"lr_hsi", "hr_msi", "srf"}
    assert {path.name for path in folder.path.iterdir()} == {
        f"{NAME}.h5",
        "bands.csv",
        "config.yaml",
        "environment.json",
        "error_maps.npz",
        "inputs.npz",
        "latent.npz",
        "losses.csv",
        "results.json",
        "uncertainty.npy",
    }


def test_the_image_is_that_of_the_method(run):
    options, _, folder = run
    _, pair = read_fusion_input(options)
    method = LatentEstimationFusion(
        count=3, hidden=8, epochs=3, init_lr=1e-3, max_lr=1e-2, final_lr=1e-6, members=2, prior=False
    )
    wanted = method.fuse(pair.lr_hsi, pair.hr_msi, pair.srf, pair.psf, pair.ratio).permute(1, 2, 0)
    np.testing.assert_allclose(read_image(folder.result(NAME, "h5")).values, wanted.numpy(), atol=1e-6)


def test_metrics_are_those_against_the_normalised_cube(run):
    options, results, folder = run
    truth = read_fusion_input(options)[1].truth
    image = read_image(folder.result(NAME, "h5")).values
    assert results["metrics"] == fusion_metrics(image, truth, 4)
    assert results["published_metrics"] == fusion_metrics(image, truth, 4, compat=True)
    with folder.bands.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["wavelength_nm"]) for row in rows] == WAVELENGTHS.tolist()
    errors = np.array([float(row["rmse"]) for row in rows])
    assert np.sqrt(np.square(errors).mean()) == pytest.approx(results["metrics"]["rmse"])
    with np.load(folder.error_maps, allow_pickle=False) as maps:
        assert np.sqrt(np.square(maps["rmse"]).mean()) == pytest.approx(results["metrics"]["rmse"])
        assert np.nanmean(maps["spectral_angle"]) == pytest.approx(results["metrics"]["sam"], rel=1e-5)


def test_losses_of_all_epochs_of_all_networks_are_written(run):
    _, results, folder = run
    with folder.losses.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["member"], row["epoch"]) for row in rows] == [(m, e) for m in "12" for e in "123"]
    assert float(rows[-1]["loss"]) == results["members"][1]["last_loss"]
    assert float(rows[-1]["held_out_loss"]) == results["members"][1]["last_held_out_loss"]


def test_an_hdf5_file_says_which_radiances_its_values_are(run):
    _, results, folder = run
    with h5py.File(folder.result(NAME, "h5")) as file:
        attributes = file[NAME].attrs
        assert [attributes["radiance_of_0"], attributes["radiance_of_1"]] == list(results["scaling"]["cube"])


def test_the_configuration_repeats_the_run_bit_by_bit(run, tmp_path):
    options, results, folder = run
    stored = read_options(folder.config, FusionOptions)
    assert stored.members == options.members
    again = run_fusion(dataclasses.replace(stored, output_dir=str(tmp_path / "again")))
    assert again["metrics"] == results["metrics"]
    first, second = (read_image(path / f"{NAME}.h5").values for path in (folder.path, tmp_path / "again"))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.load(folder.uncertainty), np.load(tmp_path / "again" / "uncertainty.npy"))


@pytest.mark.parametrize("method", ["latent_estimation", "affine"])
def test_baselines_are_judged_as_runs_of_their_own(tmp_path, method):
    path = write_scene(tmp_path)
    results = {
        name: run_fusion(fusion_options(tmp_path, path, output=name, method=name))
        for name in {"bicubic", "affine", method}
    }
    assert list(results[method]["baselines"]) == ["bicubic", "affine"]
    for name, judged in results[method]["baselines"].items():
        for metrics in ("metrics", "published_metrics"):
            assert judged[metrics] == pytest.approx(results[name][metrics], rel=1e-5)


def test_files_that_are_not_used_are_told(tmp_path):
    run_fusion(fusion_options(tmp_path, write_scene(tmp_path), method="affine", psf_file="mine.npy"))
    assert "psf_file mine.npy is not used" in (tmp_path / "logs" / f"{NAME}.log").read_text()


@pytest.mark.parametrize("method", ["bicubic", "affine", "gsa"])
def test_other_methods_run_with_the_same_options(tmp_path, method):
    results = run_fusion(fusion_options(tmp_path, write_scene(tmp_path), method=method))
    assert results["parameters"] == 0
    assert results["metrics"]["psnr"] > 15
    assert not FusionFolder(tmp_path / "run").latent.exists()


@pytest.mark.parametrize(("kind", "ending"), [("numpy", "npy"), ("matlab", "mat"), ("tif", "tif"), ("envi", "hdr")])
def test_all_kinds_of_files_hold_the_same_image(tmp_path, kind, ending):
    options = fusion_options(tmp_path, write_scene(tmp_path), method="affine", output_file_type=kind)
    results = run_fusion(options)
    image = read_image(tmp_path / "run" / f"{NAME}.{ending}").values
    truth = read_fusion_input(options)[1].truth
    assert fusion_metrics(image, truth, 4)["rmse"] == pytest.approx(results["metrics"]["rmse"])


def test_a_real_run_keeps_the_place_on_the_earth(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    pair = write_pair(tmp_path)
    tag = (33550, 12, 3, (10.0, 10.0, 0.0), True)  # the size of a pixel
    tifffile.imwrite(
        tmp_path / "sharp.tif", pair.hr_msi.numpy(), photometric="minisblack", planarconfig="contig", extratags=[tag]
    )
    options = fusion_options(tmp_path, hr_msi_file=str(tmp_path / "sharp.tif"), output_file_type="tif")
    results = run_fusion(options)
    found, given = (read_image(path) for path in (tmp_path / "run" / results["result"], tmp_path / "sharp.tif"))
    assert found.georeference == given.georeference
    assert found.georeference is not None
    assert results["metrics"] is None
    assert results["quality_without_reference"]["qnr"] > 0
    assert results["baselines"]["affine"]["quality_without_reference"]["qnr"] > 0
    assert set(results["scaling"]) == {"lr_hsi", "hr_msi"}


def test_very_small_images_have_no_metrics(tmp_path):
    options = fusion_options(
        tmp_path, write_scene(tmp_path, height=6, width=6), method="affine", downsample_ratio=2, kernel_size=1
    )
    results = run_fusion(options)
    assert results["metrics"] is None
    assert results["published_metrics"] is None
    assert results["baselines"] is None


def test_progress_is_told_for_every_epoch_and_piece(tmp_path):
    told = []
    run_fusion(
        fusion_options(tmp_path, write_scene(tmp_path), members=2),
        lambda stage, done, total: told.append((stage, done, total)),
    )
    assert [step for step in told if step[0] == "training"] == [("training", done, 6) for done in range(1, 7)]
    assert ("writing", 32, 32) in told
    assert told[-3:] == [("judging", done, 3) for done in (1, 2, 3)]


def test_a_silent_run_only_writes_its_log(tmp_path, caplog):
    path = write_scene(tmp_path)
    caplog.set_level(logging.INFO, "stgraph")
    run_fusion(fusion_options(tmp_path, path, method="affine"))
    assert caplog.text == ""
    assert "psnr" in (tmp_path / "logs" / f"{NAME}.log").read_text()
    run_fusion(fusion_options(tmp_path, path, "second", method="affine", verbose=1))
    assert "multispectral image 32 x 32 x 4" in caplog.text


def test_an_older_run_is_kept_unless_it_is_to_be_replaced(tmp_path):
    options = fusion_options(tmp_path, write_scene(tmp_path), method="affine")
    run_fusion(options)
    with pytest.raises(OutputExistsError, match="holds a run; use --overwrite"):
        run_fusion(options)
    results = run_fusion(dataclasses.replace(options, method="bicubic", overwrite=True))
    stored = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (results["method"], stored["method"], stored["overwrite"]) == ("bicubic", "bicubic", False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "run", "scene.npz"]


def test_runs_of_other_tasks_are_not_replaced(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("data: {}\n")
    with pytest.raises(OutputExistsError, match="another kind of run"):
        run_fusion(fusion_options(tmp_path, write_scene(tmp_path), overwrite=True))


@pytest.mark.parametrize("name", ["output_dir", "log_dir"])
def test_places_that_cannot_be_written_are_refused_before_reading(tmp_path, name):
    (tmp_path / "file").touch()
    options = fusion_options(tmp_path, tmp_path / "missing.mat", **{name: str(tmp_path / "file" / "folder")})
    with pytest.raises(InputError, match=f"{name.replace('output_dir', 'output folder')} .* cannot be written"):
        run_fusion(options)


def test_bad_input_changes_nothing(tmp_path):
    path = write_scene(tmp_path)
    with pytest.raises(InputError, match="num_endmembers"):
        run_fusion(fusion_options(tmp_path, path, num_endmembers=100))
    assert [file.name for file in tmp_path.iterdir()] == ["scene.npz"]


@pytest.mark.parametrize("older", [False, True], ids=["new", "replacing"])
def test_a_failure_while_writing_leaves_what_was_there(tmp_path, monkeypatch, older):
    options = fusion_options(tmp_path, write_scene(tmp_path), method="affine", overwrite=True)
    before = run_fusion(options) if older else None

    def fail(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(fusion_run, "write_estimate", fail)
    with pytest.raises(OSError, match="no space"):
        run_fusion(options)
    if older:
        assert json.loads((tmp_path / "run" / "results.json").read_text())["metrics"] == before["metrics"]
    else:
        assert not (tmp_path / "run").exists()


def test_images_too_large_for_matlab_are_refused_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr("stgraph.tasks.fusion_outputs._MATLAB_LIMIT", 1000)
    with pytest.raises(InputError, match="expected 'h5'"):
        run_fusion(fusion_options(tmp_path, write_scene(tmp_path), output_file_type="matlab"))
    assert not (tmp_path / "run").exists()


def test_one_band_is_fused_with_the_prior(tmp_path):
    options = fusion_options(tmp_path, write_scene(tmp_path), num_msi_bands=1, spatial="none")
    results = run_fusion(options)
    assert results["parameters"] == (1 + 12 + 1) * 8 + (8 + 1) * 3
    assert torch.isfinite(torch.tensor(results["metrics"]["psnr"]))
