from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from stgraph.data.images import from_image
from stgraph.data.simulation.fusion import simulate_pair
from stgraph.errors import InputError
from stgraph.metrics.image import fusion_metrics
from stgraph.models.fusion import AffineFusion, LatentEstimationFusion
from stgraph.ops.fusion import PSF_NAMES, psf_kernel
from stgraph.tasks import fusion_grid
from stgraph.tasks.fusion_grid import GRID_METRICS, grid_means, reproduce_fusion
from stgraph.tasks.published_fusion import PUBLISHED_RUNS, PUBLISHED_SCENES, PUBLISHED_SETTINGS

SMALL = {"num_endmembers": 3, "hidden_size": 8, "epochs": 2}


def cube(bands=20, seed=0):
    generator = np.random.default_rng(seed)
    return generator.random((32, 32, 3)) @ (0.1 + generator.random((3, bands))).astype(np.float32)


def by_hand(fusion, psf, bands, **options):
    """What a run is to give, from the cube to the metrics."""
    pair = simulate_pair(
        cube().astype(np.float32),
        psf=psf,
        bands=bands,
        wavelengths="stretched",
        boundary="zero",
        crop=False,
        **options,
    )
    lr_hsi, hr_msi = pair.lr_hsi.permute(2, 0, 1).contiguous(), pair.hr_msi.permute(2, 0, 1).contiguous()
    image = fusion.fuse(lr_hsi, hr_msi, pair.srf, pair.psf, pair.ratio).clamp(0, 1)
    metrics = fusion_metrics(image.permute(1, 2, 0), pair.truth, pair.ratio, compat=True)
    return [metrics[name] for name in GRID_METRICS]


def values(row):
    return [getattr(row, name) for name in GRID_METRICS]


@pytest.fixture
def counted(monkeypatch):
    """The methods that were really run."""
    done, judged = [], fusion_grid._judged

    def count(fusion, pair, title, progress):
        done.append(title)
        return judged(fusion, pair, title, progress)

    monkeypatch.setattr(fusion_grid, "_judged", count)
    return done


def test_a_run_is_the_published_pair_fused_and_judged_as_published():
    rows = {row.method: row for row in reproduce_fusion(cube(), "other", **SMALL, methods=("published", "default"))}
    assert list(rows) == ["bicubic", "affine", "published", "default"]
    assert values(rows["affine"]) == by_hand(AffineFusion(), "gaussian", 4)
    published = LatentEstimationFusion.published(count=3, hidden=8, epochs=2)
    assert values(rows["published"]) == by_hand(published, "gaussian", 4)
    default = LatentEstimationFusion(count=3, hidden=8, epochs=2, boundary="zero")
    assert values(rows["default"]) == by_hand(default, "gaussian", 4)
    assert all(row.seconds > 0 for row in rows.values())


def test_one_band_has_the_prior_and_airy_is_the_published_kernel():
    rows = reproduce_fusion(cube(), "other", **SMALL, settings=[(8, 1)], psfs=["airy"], seed=7)
    published = LatentEstimationFusion.published(count=3, hidden=8, epochs=2, prior=True, seed=7)
    kernel = psf_kernel("airy", compat=True)
    assert values(rows[-1]) == by_hand(published, kernel, 1, ratio=8, seed=7)


def test_every_point_spread_function_is_combined_with_every_setting():
    rows = reproduce_fusion(cube(), "other", **SMALL, settings=[(4, 4), (8, 3)], psfs=["delta", "gabor"])
    assert [(row.ratio, row.bands, row.psf) for row in rows[::3]] == [
        (4, 4, "delta"),
        (4, 4, "gabor"),
        (8, 3, "delta"),
        (8, 3, "gabor"),
    ]
    means = grid_means(rows)
    assert means["affine"]["psnr"] == pytest.approx(sum(row.psnr for row in rows if row.method == "affine") / 4)


def test_negative_radiances_and_sizes_that_are_no_multiples_of_the_ratio():
    values = cube()[:30, :29]
    values[0, 0] = -5  # below the 1st percentile, as 0 is
    zeros = np.where(values < 0, 0, values)
    found, expected = (reproduce_fusion(one, "other", **SMALL, methods=["default"]) for one in (values, zeros))
    assert [row[:-4] for row in found] == [row[:-4] for row in expected]


def test_the_cube_may_be_a_graph_a_tensor_or_read_only_and_stays_as_it_is():
    values = cube().astype(np.float32)
    before = values.copy()
    values.flags.writeable = False
    rows = [reproduce_fusion(one, "other", **SMALL) for one in (values, torch.tensor(before), from_image(before))]
    assert [row[:-4] for row in rows[0]] == [row[:-4] for row in rows[1]] == [row[:-4] for row in rows[2]]
    assert np.array_equal(values, before)


def test_finished_runs_are_not_repeated(tmp_path, counted):
    file = tmp_path / "runs.jsonl"
    first = reproduce_fusion(cube(), "other", **SMALL, runs=file)
    assert counted == ["bicubic r 4 b 4 gaussian", "affine r 4 b 4 gaussian", "published r 4 b 4 gaussian"]
    counted.clear()
    assert reproduce_fusion(cube(), "other", **SMALL, runs=file) == first
    assert counted == []
    reproduce_fusion(cube(), "other", **{**SMALL, "epochs": 3}, runs=file, methods=["published", "default"])
    assert counted == ["published r 4 b 4 gaussian", "default r 4 b 4 gaussian"]
    counted.clear()
    reproduce_fusion(cube(seed=1), "other", **SMALL, runs=file)
    reproduce_fusion(cube(), "other", **SMALL, runs=file, seed=1)
    assert len(counted) == 6
    assert reproduce_fusion(cube(), "other", **SMALL, runs=file) == first
    assert len(file.read_text().splitlines()) == 11


def test_an_interrupted_grid_goes_on(tmp_path, counted):
    file = tmp_path / "runs.jsonl"
    grid = {**SMALL, "psfs": ["delta", "moffat"], "runs": file}

    def interrupt(title, done, total):
        if "moffat" in title:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce_fusion(cube(), "other", **grid, progress=interrupt)
    assert [json.loads(line)["settings"]["method"] for line in file.read_text().splitlines()] == [
        *("bicubic", "affine", "published"),
        *("bicubic", "affine"),
    ]
    counted.clear()
    assert len(reproduce_fusion(cube(), "other", **grid)) == 6
    assert counted == ["published r 4 b 4 moffat"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs.jsonl"]


def test_metrics_that_are_not_finite_come_back(tmp_path):
    dark = cube()
    dark[..., 0] = 0  # its ERGAS is of a mean of 0
    rows = [reproduce_fusion(dark, "other", **SMALL, runs=tmp_path / "runs.jsonl") for _ in range(2)]
    assert "null" in (tmp_path / "runs.jsonl").read_text()
    assert not np.isfinite([row.ergas for row in rows[0]]).any()
    assert np.isnan([row.ergas for row in rows[1]]).all()


def test_progress_counts_the_epochs():
    told = []
    reproduce_fusion(cube(), "other", **SMALL, progress=lambda *what: told.append(what))
    assert told == [("published r 4 b 4 gaussian", 1, 2), ("published r 4 b 4 gaussian", 2, 2)]


def test_a_published_run_is_beside_and_another_cut_is_warned_of(caplog):
    with caplog.at_level(logging.WARNING, "stgraph"):
        rows = reproduce_fusion(cube(), "pavia_center", hidden_size=8, epochs=1)
    assert {row[-3:] for row in rows} == {(35.87, 3.24, 1.636)}
    assert "cube has 32 x 32 pixels and 20 bands, that of Pavia Center 1096 x 715 pixels and 102 bands" in caplog.text


def test_the_published_grid_is_complete():
    assert len(PUBLISHED_SETTINGS) * len(PSF_NAMES) == 80
    sizes = {scene.rows * scene.columns * scene.bands: scene.num_endmembers for scene in PUBLISHED_SCENES.values()}
    assert sizes[392_960 * 191] == 7
    assert {scene for scene, *_ in PUBLISHED_RUNS} <= set(PUBLISHED_SCENES)


@pytest.mark.parametrize(
    ("dataset", "changed", "message"),
    [
        ("pavia", {}, "unknown dataset 'pavia'"),
        ("other", {"num_endmembers": None}, "num_endmembers is missing"),
        ("other", {"num_endmembers": 0}, "num_endmembers is 0"),
        ("other", {"num_endmembers": 21}, "num_endmembers is 21; expected at most 20"),
        ("other", {"settings": [(16, 4)], "num_endmembers": 5}, "expected at most 4: .* r 16 b 4 gaussian"),
        ("other", {"hidden_size": 0}, "hidden_size is 0"),
        ("other", {"epochs": 0}, "epochs is 0"),
        ("other", {"methods": ["best"]}, r"methods are \['best'\]"),
        ("other", {"methods": []}, r"methods are \[\]"),
        ("other", {"settings": []}, "expected at least one of each"),
        ("other", {"settings": [(4, 5)]}, "1, 3, 4, 8"),
        ("other", {"settings": [(33, 4)]}, "ratio is 33; expected 1 to 32"),
        ("other", {"psfs": ["gauss"]}, "psf must be one of"),
    ],
)
def test_arguments_that_are_refused_before_any_run(dataset, changed, message, counted, tmp_path):
    with pytest.raises(InputError, match=message):
        reproduce_fusion(cube(), dataset, **{**SMALL, **changed}, runs=tmp_path / "runs.jsonl")
    assert counted == []
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((4, 1024)), "cube has one band of 4 x 1024 pixels"),
        (np.ones((10, 32, 20)), "cube has 10 x 32 pixels; expected at least 11 x 11"),
        (np.full((32, 32, 20), np.nan), "cube holds 20480 NaN or infinite values"),
        (np.ones((32, 32, 20)), "cube must not be constant"),
    ],
)
def test_cubes_that_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        reproduce_fusion(values, "other", **SMALL)


def test_files_of_finished_runs_that_are_refused(tmp_path):
    for text in ("a,b\n", "[]\n", '{"settings": {}}\n'):
        (tmp_path / "runs.jsonl").write_text(text)
        with pytest.raises(InputError, match=r"line 1 of .*runs.jsonl is not a finished run"):
            reproduce_fusion(cube(), "other", **SMALL, runs=tmp_path / "runs.jsonl")
        assert (tmp_path / "runs.jsonl").read_text() == text
    with pytest.raises(InputError, match="is not a file"):
        reproduce_fusion(cube(), "other", **SMALL, runs=tmp_path)
    with pytest.raises(InputError, match="is not a writable folder"):
        reproduce_fusion(cube(), "other", **SMALL, runs=tmp_path / "none" / "runs.jsonl")
