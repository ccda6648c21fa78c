from __future__ import annotations

import csv

import numpy as np
import pytest

from stgraph.cli import reproduce_fusion as command
from stgraph.cli.main import main
from stgraph.cli.reproduce_fusion import ReproduceFusionOptions, reproduce
from stgraph.errors import InputError, OutputExistsError
from stgraph.ops.fusion import PSF_NAMES
from stgraph.tasks.fusion_grid import FusionGridRow
from stgraph.tasks.published_fusion import PUBLISHED_SETTINGS

SMALL = ["--num_endmembers", "3", "--hidden_size", "8", "--epochs", "2"]


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A small cube in the current folder, among others in one file."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    cube = generator.random((32, 32, 3)) @ (0.1 + generator.random((3, 20)))
    np.savez(tmp_path / "scene.npz", cube=cube, other=np.ones(3))
    return tmp_path


@pytest.fixture
def grid(monkeypatch):
    """Made-up rows, 1 dB better than published with all but the bicubic method, and what they were asked for with."""
    asked = {}

    def stand_in(cube, dataset, *, settings, psfs, methods, **others):
        asked.update(others, shape=cube.shape, dataset=dataset, settings=settings, psfs=psfs, methods=tuple(methods))
        return [
            FusionGridRow(dataset, *setting, psf, name, psnr, 3.832, float("nan"), 0.9, 0.8, 0.02, 1.0)
            for setting in settings
            for psf in psfs
            for name, psnr in {"bicubic": 20.0, "affine": 35.42, **dict.fromkeys(methods, 35.42)}.items()
        ]

    monkeypatch.setattr("stgraph.tasks.fusion_grid.reproduce_fusion", stand_in)
    return asked


def rows_of(text):
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_the_command_runs_prints_writes_and_goes_on(scene, capsys):
    words = ["reproduce", "fusion", "scene.npz", "--mat_key", "cube", "--dataset", "pavia_center", *SMALL]
    assert main([*words, "--output", "table.csv", "--method", "both"]) == 0
    out = capsys.readouterr().out
    assert "cube has 32 x 32 pixels and 20 bands, that of Pavia Center" in out
    lines = rows_of(out)
    heads = [line[0] for line in lines if line]
    assert "published, mean of 80 runs" in heads
    assert {"bicubic", "affine", "stgraph", "stgraph, default"} <= set(heads)
    run = next(line for line in lines if line and line[0] == "r 4 b 4 gaussian")
    assert len(run) == 6
    assert run[-1] == "35.87 / 3.240 / 1.636"
    assert next(line for line in lines if line[:1] == ["published, mean of 80 runs"])[1:3] == ["34.42", "3.832"]
    assert "The published means are of all 80 runs (--all), those above of 1." in out
    with (scene / "table.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["method"] for row in table] == ["bicubic", "affine", "published", "default"]
    assert run[3].startswith(f"{float(table[2]['psnr']):.2f} / ")
    assert table[0]["published_ergas"] == "1.636"
    before = (scene / "table.csv").read_bytes(), (scene / "table.jsonl").read_bytes()
    assert main([*words, "--output", "table.csv", "--method", "both"]) == 0
    assert ((scene / "table.csv").read_bytes(), (scene / "table.jsonl").read_bytes()) == before


def test_all_is_the_whole_grid_with_its_difference_from_the_published_means(scene, grid, capsys):
    reproduce(ReproduceFusionOptions("scene.npz", "pavia_center", "cube", all=True))
    assert (grid["settings"], grid["psfs"]) == (list(PUBLISHED_SETTINGS), list(PSF_NAMES))
    assert (grid["methods"], grid["epochs"], grid["num_endmembers"]) == (("published",), None, None)
    assert (grid["hidden_size"], grid["seed"], grid["shape"]) == (1024, 42, (32, 32, 20))
    out = capsys.readouterr().out
    lines = rows_of(out)
    assert ["mean of 80 runs", "PSNR (dB)", "SAM (degrees)", "ERGAS", "SSIM", "UIQI", "RMSE"] in lines
    assert ["stgraph, less published", "+1", "+0", "-", "-", "-", "-"] in lines
    assert "(--all)" not in out
    assert len((scene / "runs" / "reproduce-fusion-pavia_center.csv").read_text().splitlines()) == 241


def test_another_scene_has_nothing_published_beside(scene, grid, capsys):
    words = "--dataset other --mat_key cube --num_endmembers 3 --settings 8x1,4x4 --psf airy,delta --method default"
    assert main(["reproduce", "fusion", "--mat_file", "scene.npz", *words.split()]) == 0
    assert (grid["settings"], grid["psfs"]) == ([(8, 1), (4, 4)], ["airy", "delta"])
    assert (grid["methods"], grid["num_endmembers"]) == (("default",), 3)
    assert "published, mean" not in capsys.readouterr().out
    with (scene / "runs" / "reproduce-fusion-other.csv").open(newline="") as file:
        assert {(row["ergas"], row["published_psnr"]) for row in csv.DictReader(file)} == {("", "")}


def test_ctrl_c_says_how_to_go_on(scene, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("stgraph.tasks.fusion_grid.reproduce_fusion", interrupt)
    with pytest.raises(SystemExit) as stop:
        reproduce(ReproduceFusionOptions("scene.npz", "other", "cube"))
    assert stop.value.code == command._INTERRUPTED
    assert "the same command goes on" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mat_file": ""}, r"name a file of a hyperspectral cube, .* stgraph reproduce ./fusion"),
        ({"dataset": None}, "name a dataset: washington_dc_mall, .* botswana or other"),
        ({"mat_key": "Cube"}, "cube"),
        ({"all": True, "psf": ["airy"]}, "all is given with settings or psf"),
        ({"all": True, "settings": ["4x4"]}, "all is given with settings or psf"),
        ({"settings": ["4,4"]}, "settings holds '4,4'; expected a ratio and a number of bands, as 8x4"),
        ({"psf": ["gauss"]}, "psf must be one of"),
        ({"output": "table.txt"}, "expected a name that ends with .csv"),
        ({"output": "none/table.csv"}, "is not a writable folder"),
        ({"num_endmembers": None}, "num_endmembers is missing"),
    ],
)
def test_what_cannot_be_run(scene, changed, message):
    options = {"mat_file": "scene.npz", "dataset": "other", "mat_key": "cube", "num_endmembers": 3, **changed}
    with pytest.raises(InputError, match=message):
        reproduce(ReproduceFusionOptions(**options))
    assert not list(scene.rglob("*.csv"))


def test_files_that_are_missing_or_of_others(scene, capsys):
    assert main(["reproduce", "fusion", "none.mat", "--dataset", "other"]) == 2
    assert "there is no file" in capsys.readouterr().err
    assert [path.name for path in scene.iterdir()] == ["scene.npz"]
    (scene / "mine.csv").write_text("a,b\n")
    with pytest.raises(OutputExistsError, match=r"mine.csv exists and is not of such a grid"):
        reproduce(ReproduceFusionOptions("scene.npz", "other", "cube", num_endmembers=3, output="mine.csv"))
    assert (scene / "mine.csv").read_text() == "a,b\n"


def test_runs_in_folders_are_still_repeated(scene, monkeypatch):
    asked = []
    monkeypatch.setattr("stgraph.cli.reproduce.reproduce", lambda options: asked.append(options.run))
    assert main(["reproduce", "./fusion"]) == 0
    assert main(["reproduce", "runs/fusion", "--keep"]) == 0
    assert main(["reproduce", "--keep", "fusion"]) == 0
    assert asked == ["./fusion", "runs/fusion", "fusion"]


def test_an_unknown_dataset_names_the_known_ones(scene, capsys):
    assert main(["reproduce", "fusion", "scene.npz", "--dataset", "pavia"]) == 2
    assert "'pavia_university' or 'pavia_center'" in capsys.readouterr().err
