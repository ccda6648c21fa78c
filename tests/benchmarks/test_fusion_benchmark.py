"""The benchmark of image fusion: a tiny run, what its tables say, and the scene of its test of scale."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from benchmarks import fusion as benchmark
from benchmarks import fusion_cubes as cubes
from benchmarks import fusion_methods as methods
from benchmarks import fusion_scale as scale
from benchmarks import fusion_tables as tables
from stgraph.ops.fusion import area_downsample, blur, psf_kernel

TINY = ["--cubes", "mixture", "--seeds", "1", "--epochs", "2"]


def run(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    """The stored results of a tiny run."""
    threads = torch.get_num_threads()
    try:
        benchmark.main([*TINY, *arguments, "--output", str(tmp_path), "--work", str(tmp_path / "work")])
    finally:
        torch.set_num_threads(threads)
    document: dict[str, Any] = json.loads((tmp_path / "fusion.json").read_text())
    return document


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fits run in this process; their methods are noted."""
    called: list[str] = []

    def here(fit: methods.Fit) -> dict[str, Any]:
        called.append(fit.method)
        return methods.run_fit(fit)

    monkeypatch.setattr(methods, "run_in_child", here)
    return called


def test_tiny_run_goes_on_where_it_stopped(tmp_path: Path, in_process: list[str]) -> None:
    options = ["--tables", "main", "--psfs", "gaussian", "--methods", "bicubic", "affine"]
    first = run(tmp_path, *options)
    assert in_process == ["bicubic", "affine"] * 2  # two ratios
    by_method = tables.by_method(first["records"])
    assert min(record["psnr"] for record in by_method["affine"]) > max(
        record["psnr"] for record in by_method["bicubic"]
    )
    finished = tmp_path / "work" / "fits.jsonl"
    lines = finished.read_text().splitlines()
    finished.write_text("\n".join([*lines[:3], lines[3][:20]]))  # interrupted while it wrote
    assert len(run(tmp_path, *options, "--tables-only")["records"]) == 3
    in_process.clear()
    again = run(tmp_path, *options)
    assert in_process == ["affine"]
    assert [record["psnr"] for record in again["records"]] == [record["psnr"] for record in first["records"]]
    text = (tmp_path / "fusion.txt").read_text()
    assert "leads on PSNR: not measured" in text
    assert "mixture, ratio 8, gaussian" in text


def test_a_fit_in_a_process_of_its_own_gives_the_same(tmp_path: Path) -> None:
    pair = cubes.make_pair(cubes.Case("mixture", 4, "gaussian", 4, 30.0, 30.0, 0))
    methods.save_images(pair, str(tmp_path))
    fit = methods.Fit(str(tmp_path), "affine", 4, 4, 0, 1)
    cost = methods.run_in_child(fit)
    assert cost["seconds"] > 0
    assert cost["bytes"] >= 0
    here = methods.fuse(fit, methods.load_images(str(tmp_path))).image
    torch.testing.assert_close(torch.from_numpy(np.load(tmp_path / "estimate.npy")), here)


def test_a_failed_fit_is_told_and_not_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(fit: methods.Fit) -> dict[str, Any]:
        raise RuntimeError("no memory")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "run_in_child", fail)
        document = run(tmp_path, "--tables", "one_band", "--methods", "bicubic")
    assert "records" not in document
    assert "no memory" in capsys.readouterr().err
    assert "1 of 1 fits have not run" in (tmp_path / "fusion.txt").read_text()


@pytest.mark.parametrize(
    ("table", "names"),
    [("uncertainty", ["ours_3"]), ("one_band", ["published", "cnmf_denoised", "ours", "ours_psf", "ours_pixels"])],
)
def test_own_methods_run(tmp_path: Path, in_process: list[str], table: str, names: list[str]) -> None:
    pytest.importorskip("stgraph.models.fusion.latent_fusion")
    records = run(tmp_path, "--tables", table, "--methods", *names)["records"]
    assert {record["method"] for record in records} == set(names) - {"cnmf_denoised"}  # 30 materials, 9 pixels
    if table == "uncertainty":
        assert all(-1 <= record["uncertainty"]["rank_correlation"] <= 1 for record in records)
        assert "expected / true" in (tmp_path / "fusion.txt").read_text()


def test_agreement_of_expected_errors() -> None:
    true = np.array([[0.1, 0.2], [0.3, 0.4]])
    found = benchmark.judge_uncertainty(2 * true, true, 0.25)
    expected = {"rank_correlation": 1, "ratio": 2, "misfit": 1, "constant_ratio": 1, "constant_misfit": 0.4}
    assert found == pytest.approx(expected)


def records(method: str, psnr: float, sam: float, **case: Any) -> list[dict[str, Any]]:
    """Two seeds around these values."""
    about = {"cube": "A", "ratio": 4, "psf": "delta", "method": method, "seconds": 1.0, "bytes": 2**20} | case
    others = {"ergas": None, "ssim": 0.9, "uiqi": 0.8}
    return [about | others | {"psnr": psnr + d, "sam": sam + d} for d in (-0.5, 0.5)]


def test_tables_say_where_ours_does_not_lead() -> None:
    ours = records("ours", 30, 3) + records("ours", 20, 5, cube="B")
    peer = records("cnmf", 29, 4) + records("cnmf", 21, 6, cube="B")
    form = records("ours_mgat", 31, 2)
    text = tables.summary(ours + peer + form)
    assert (
        "ours leads on PSNR in 1 of 2 cases; it does not lead on B, ratio 4, delta (ours 20.00, best other: CNMF 21.00)"
        in text
    )
    assert "ours leads on SAM in 2 of 2 cases\nleads on ERGAS: not measured\nours leads on SSIM in 0 of 2 cases" in text
    row = next(line for line in text.splitlines() if line.startswith("ours  "))
    assert row.split() == ["ours", "2", "25.00", "4.00", "0.900", "0.800", "1.0", "1", "1", "2"]
    section = tables.case_section(ours[:2] + peer[:2] + form)
    assert "30.00 ± 0.71" in section
    assert "leads on PSNR: ours 30.00, best other: CNMF 29.00; best form of ours: ours, MGAT" in section


def test_images_of_the_large_scene_are_those_of_its_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "SNR", math.inf)
    generator = torch.Generator().manual_seed(0)
    scene = scale.make_scene(32, torch.rand(3, 9, generator=generator), np.linspace(420, 880, 9), generator)
    truth = scene.truth(slice(0, 32))
    assert 0 <= truth.min() < truth.max() <= 1
    scale.save_images(scene, tmp_path, generator)
    images = methods.load_images(str(tmp_path))
    seen = area_downsample(blur(truth, psf_kernel("gaussian")), scale.RATIO)
    torch.testing.assert_close(images["lr_hsi"], seen, rtol=0, atol=1e-5)
    torch.testing.assert_close(images["hr_msi"].flatten(1), images["srf"] @ truth.flatten(1), rtol=0, atol=1e-5)


def test_windows_of_an_estimate_make_the_file(tmp_path: Path) -> None:
    class Estimate:
        size, bands = (70, 40), 3000  # windows of 252 pixels at most, chunks of 9

        def spectra(self, window: tuple[slice, slice]) -> torch.Tensor:
            rows, columns = (torch.arange(part.start, part.stop) for part in window)
            return (rows[:, None] * 100.0 + columns).expand(self.bands, -1, -1)

    path = tmp_path / "fused.h5"
    scale.write(Estimate(), str(path))
    with h5py.File(path) as file:
        (image,) = file.values()
        assert image[69, 39, 0] == 6939
        assert image[:, :, 7].sum() == (np.arange(70)[:, None] * 100 + np.arange(40)).sum()


def test_errors_strip_by_strip() -> None:
    maps = torch.full((1, scale.STRIP + 6, 4), 0.5)
    scene = scale.Scene(maps, torch.ones(1, 2), np.array([500.0, 600.0]))
    change = torch.tensor([0.1, -0.1])[:, None, None]
    found = scale.errors(scene, lambda rows: scene.truth(rows) + change)
    assert found["psnr"] == pytest.approx(20, abs=1e-4)
    assert found["sam"] == pytest.approx(math.degrees(math.atan(0.2)), abs=1e-4)


@pytest.mark.skipif("STGRAPH_DATA" not in os.environ, reason="STGRAPH_DATA does not name the folder of real data")
def test_real_data() -> None:
    shapes = {name: cubes.load_cube(name).values.shape for name in cubes.REAL}
    assert shapes["Samson"] == (95, 95, 156)
    assert shapes["Jasper Ridge"] == (100, 100, 198)
    assert shapes["Indian Pines"] == (100, 100, 200)
    assert shapes["Gulfport"] == (51, 88, 72)
    assert shapes["Pavia"] == (80, 50, 103)
    assert all(len(cubes.load_cube(name).wavelengths) == shape[2] for name, shape in shapes.items())
    spectra, wavelengths = scale.library(5, 200, torch.Generator().manual_seed(0))
    assert spectra.shape == (5, 200)
    assert (np.diff(wavelengths) >= 0).all()
    assert 0 <= spectra.min() < spectra.max() <= 1
