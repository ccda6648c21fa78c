"""``stgraph fuse metrics``: the metrics of two files, as a table and as files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from stgraph.cli.main import main
from stgraph.data.images import write_image
from stgraph.metrics.image import band_metrics, fusion_metrics


@pytest.fixture
def images(tmp_path, monkeypatch):
    """The fused and the true image, in files of two kinds in the current folder."""
    rng = np.random.default_rng(0)
    truth = rng.random((14, 13, 3), dtype=np.float32)
    estimate = (truth + 0.1 * rng.standard_normal(truth.shape)).astype(np.float32)
    write_image(tmp_path / "truth.h5", truth, wavelength=[450.0, 550.0, 650.0])
    np.savez(tmp_path / "fused.npz", fused=estimate, other=estimate[:5])
    monkeypatch.chdir(tmp_path)
    return estimate, truth


COMPARE = ["fuse", "metrics", "fused.npz", "truth.h5", "--key", "fused", "--ratio", "2"]


def test_both_ways_are_shown_beside_each_other(images, capsys):
    assert main(COMPARE) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["default", "compat"]
    cells = {row.rsplit(None, 2)[0].strip(): row.split()[-2:] for row in rows}
    exact, published = (fusion_metrics(*images, 2, compat=compat) for compat in (False, True))
    assert cells["PSNR (dB)"] == [f"{exact['psnr']:.4g}", f"{published['psnr']:.4g}"]
    assert cells["ERGAS"] == [f"{exact['ergas']:.4g}", f"{published['ergas']:.4g}"]
    assert cells["MPSNR (dB)"][1] == "-"


def test_more_and_fewer_metrics(images, capsys):
    assert main([*COMPARE, "--compat"]) == 0
    printed = capsys.readouterr().out
    assert printed.split()[0] == "compat"
    assert "MPSNR" not in printed
    assert main([*COMPARE, "--extended"]) == 0
    assert "RASE (%)" in capsys.readouterr().out


def test_files_are_written_once(images, tmp_path, capsys):
    words = [*COMPARE, "--per_band", "bands.csv", "--error_map", "errors.jpg", "--json", "all.json"]
    assert main(words) == 0
    assert capsys.readouterr().out.endswith("\nbands.csv\nerrors.jpg\nall.json\n")
    with (tmp_path / "bands.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["wavelength_nm"]) for row in rows] == [450.0, 550.0, 650.0]
    np.testing.assert_allclose([float(row["rmse"]) for row in rows], band_metrics(*images)["rmse"])
    stored = json.loads((tmp_path / "all.json").read_text())
    assert stored["metrics"]["default"] == pytest.approx(fusion_metrics(*images, 2))
    assert (stored["estimate"], stored["ratio"]) == ("fused.npz", 2)
    assert (tmp_path / "errors.jpg").read_bytes()[:2] == b"\xff\xd8"
    before = (tmp_path / "bands.csv").stat().st_mtime_ns
    assert main([*COMPARE, "--per_band", "bands.csv"]) == 2
    assert "bands.csv exists; use --overwrite" in capsys.readouterr().err
    assert (tmp_path / "bands.csv").stat().st_mtime_ns == before
    assert main([*COMPARE, "--per_band", "bands.csv", "--overwrite"]) == 0


def test_values_in_other_units_are_told(images, tmp_path, capsys):
    np.save(tmp_path / "radiance.npy", 1000 * images[1])
    assert main(["fuse", "metrics", "radiance.npy", "radiance.npy"]) == 0
    printed = capsys.readouterr().out
    assert "warning: radiance.npy has values from" in printed
    assert "no error" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name the file of the fused image"),
        (["fused.npz"], "name the file of the true image"),
        (["fused.npz", "truth.h5"], "must hold one array"),
        (["fused.npz", "truth.h5", "--key", "other"], "fused.npz is of 5 x 13 x 3 and truth.h5 of 14 x 13 x 3 rows"),
        (["none.npy", "truth.h5"], "there is no file"),
        (["fused.npz", "truth.h5", "--ratio", "0"], "ratio is 0; expected at least 1"),
        (["none.npy", "truth.h5", "--per_band", "no/b.csv"], "there is no folder"),
        (["none.npy", "truth.h5", "--error_map", "e.gif"], "figures are written to .jpg and .png files, got e.gif"),
        (["none.npy", "truth.h5", "--per_band", "a", "--json", "a"], "name one file twice"),
        (["fused.npz", "truth.h5", "--key", "fused", "--truth_key", "b"], "truth.h5"),
    ],
)
def test_bad_input(images, capsys, words, message):
    assert main(["fuse", "metrics", *words]) == 2
    assert message in capsys.readouterr().err
