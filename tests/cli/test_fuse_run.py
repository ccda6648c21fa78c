"""``stgraph fuse run``: the folder of a run with its figures, what is printed, and how far it is."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from stgraph.cli.fuse_figures import _thinned
from stgraph.cli.fuse_progress import ProgressBars
from stgraph.cli.fuse_tables import result_tables
from stgraph.cli.main import main
from stgraph.data.images import read_image, write_image
from tests.cli.small_fusion import BANDS, WAVELENGTHS, write_cube

MAKE = ["--wavelengths", WAVELENGTHS, "--kernel_size", "2", "--sigma", "1.5", "--downsample_ratio", "2"]
SMALL = ["--epochs", "3", "--hidden_size", "8", "--num_endmembers", "3", "--figure_format", "png"]


@pytest.fixture
def fuse(tmp_path, monkeypatch):
    cube = write_cube(tmp_path)
    monkeypatch.chdir(tmp_path)
    return lambda *words: main(["fuse", "run", "--mat_file", cube, *MAKE, *words])


def test_a_run_shows_its_metrics_and_draws_its_figures(fuse, tmp_path, capsys):
    assert fuse(*SMALL, "--output_file_type", "h5") == 0
    printed = capsys.readouterr().out
    tables = [line.split() for line in printed.splitlines() if "bicubic" in line]
    assert tables == [[name, "latent_estimation", "bicubic", "affine"] for name in ("default", "compat")]
    assert "PSNR (dB)" in printed
    assert "Everything about this run is in outputs" in printed
    drawn = {path.stem for path in (tmp_path / "outputs").glob("*.png")}
    assert drawn == {"previews", "endmember_signatures", "alle", "training", "uncertainty", "errors"}
    assert read_image(tmp_path / "outputs" / "super_resolved_hsi_cube_gaussian_2_4.h5").values.shape == (18, 16, BANDS)


def test_a_run_is_silent_when_asked(fuse, tmp_path, capfd):
    assert fuse("--method", "affine", "--verbose", "0") == 0
    assert capfd.readouterr() == ("", "")
    assert {path.name for path in (tmp_path / "outputs").glob("*.jpg")} == {"previews.jpg", "errors.jpg"}
    assert "psnr" in next((tmp_path / "logs").iterdir()).read_text()


def test_a_pair_is_fused(fuse, tmp_path, capsys):
    assert main(["fuse", "simulate", str(tmp_path / "cube.npy"), "pair", *MAKE]) == 0
    config = tmp_path / "real.yaml"
    lines = ["synthetic: false", "hr_msi_file: pair/hr_msi.h5", "lr_hsi_file: pair/lr_hsi.h5", "method: gsa"]
    lines += ["normalise: false  # both lie in 0 to 1", "match_radiometry: false"]
    lines += ["provide_srf: true", "srf_file: pair/srf.h5", "provide_psf: true", "psf_file: pair/psf.h5"]
    config.write_text("\n".join(lines))
    capsys.readouterr()
    assert main(["fuse", "run", str(config), "--output_dir", "real"]) == 0
    assert "QNR" in capsys.readouterr().out
    assert (tmp_path / "real" / "previews.jpg").is_file()
    assert main(["fuse", "run", str(config), "--output_dir", "real"]) == 2
    assert "use --overwrite" in capsys.readouterr().err


def test_bars_are_drawn_on_terminals_alone(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, words in ((Terminal(), ("Training", "3/4", "Writing", "20/20")), (io.StringIO(), ())):
        monkeypatch.setattr(sys, "stderr", stream)
        with ProgressBars() as bars:
            for stage, done, total in (("training", 1, 4), ("training", 3, 4), ("writing", 20, 20)):
                bars(stage, done, total)
        assert all(word in stream.getvalue() for word in words)
        assert bool(stream.getvalue()) == bool(words)


def test_a_large_image_is_read_in_part(tmp_path):
    image = np.arange(1300.0, dtype=np.float32).reshape(1, 1300, 1)
    write_image(tmp_path / "large.h5", image)
    np.testing.assert_array_equal(_thinned(tmp_path / "large.h5"), image[:, ::3])


def test_images_too_small_for_metrics_are_told():
    results = {"metrics": None, "published_metrics": None, "quality_without_reference": None}
    results |= {"method": "cnmf", "baselines": None}
    assert "too small" in result_tables(results)
    assert "default" in result_tables(results | {"metrics": {"psnr": 1.0}})
