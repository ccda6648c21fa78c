"""The code on the page of image fusion runs, what the page names exists, and its figure shows what it tells of."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from stgraph.cli.main import main
from stgraph.ops.fusion import PSF_NAMES
from stgraph.tasks.fusion_methods import FUSION_METHODS
from tests.docs.pages import DOCS, blocks, commands, printed, script

PAGE = (DOCS / "fusion.md").read_text(encoding="utf-8")
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Sharp hyperspectral images")[2].partition("\n## ")[0]


BLOCKS = blocks(PAGE, "python")
COMMANDS = commands(PAGE, SECTION)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def draw() -> Iterator[ModuleType]:
    yield from script("draw_fusion")


def block_with(text: str) -> str:
    (block,) = [block for block in BLOCKS if text in block]
    return block


def test_an_image_comes_back_from_its_file_and_its_graph(folder: Path) -> None:
    lines = printed(block_with("ModelPixelScaleTag"), "fusion").splitlines()
    assert lines == ["torch.Size([48, 3, 1]) (6, 8) [460.0, 550.0, 640.0] True", "True"]


def test_fusion_of_the_page_is_better_than_the_affine_fit_and_that_than_bicubic() -> None:
    first, *lines = printed(block_with("import fuse\n"), "fusion").splitlines()
    assert first.startswith("(64, 64, 60) torch.Size([4096, 60, 1]) corrected: ")
    found = {
        name: (float(psnr), float(sam))
        for name, psnr, sam in re.findall(r"(\w+): PSNR (.+) dB, SAM (.+) d", "\n".join(lines))
    }
    assert found["latent_estimation"][0] > found["affine"][0] + 3 > found["bicubic"][0] + 6
    assert found["latent_estimation"][1] < found["affine"][1] < found["bicubic"][1]


def test_radiances_of_a_result_are_those_of_the_cube(folder: Path) -> None:
    name, rest = printed(block_with("radiance_of_0"), "fusion").split(maxsplit=1)
    assert name == "super_resolved_hsi_cube_gaussian_4_4.h5"
    assert re.search(r"\[420\. 880\.\]", rest)
    low, high = map(int, re.findall(r"(\d+) to (\d+)", rest)[0])
    assert 90 < low < 140
    assert 350 < high <= 400


@pytest.mark.parametrize("text", ["SimpleConv", "predict_pixels", "neighbor_similarity"])
def test_the_parts_do_what_the_page_says(text: str) -> None:
    shown = printed(block_with(text), "fusion")
    assert "True" in shown
    assert "False" not in shown


def test_blur_and_radiometry_are_found() -> None:
    assert printed(block_with("estimate_psf"), "fusion").splitlines() == [
        "2.0 2.0 pixels",
        "[0.33, 0.33] [-0.33, -0.33]",
    ]


def test_a_window_of_a_large_image_is_computed_alone() -> None:
    first, second = printed(block_with("estimate.spectra(window)"), "fusion").splitlines()
    assert first == "(32, 32) 6 torch.Size([6, 8, 16]) torch.Size([8, 16])"
    assert second.endswith(" 20")


@pytest.mark.parametrize("block", blocks(SECTION, "python"))
def test_the_code_of_the_readme_runs(block: str, folder: Path) -> None:
    assert printed(block, "fusion")


def test_the_scene_of_the_page_becomes_a_pair_of_files(folder: Path) -> None:
    printed(block_with("three materials"), "fusion")
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["fuse", "simulate", "scene.npz", "pair/"]) == 0
    command = next(command for command in COMMANDS if "--normalise false" in command)
    named = [word for word in shlex.split(command) if word.startswith("pair/")]
    assert named == ["pair/lr_hsi.h5", "pair/hr_msi.h5", "pair/srf.h5"]
    assert all(Path(name).is_file() for name in [*named, "pair/truth.h5"])


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str, folder: Path) -> None:
    words = [word for word in shlex.split(command)[1:] if word != "--print_config"]
    words = [str(DOCS.parent / word) if word.startswith("configs/") else word for word in words]
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main([*words, "--print_config"])
    assert end.value.code == 0


def test_commands_of_the_page_are_all_of_the_group() -> None:
    named = {" ".join(shlex.split(command)[1:3]) for command in COMMANDS}
    assert named == {"fuse run", "fuse simulate", "fuse metrics", "reproduce fusion"}


def test_methods_and_point_spread_functions_are_those_of_the_page() -> None:
    assert [name for name in (*PSF_NAMES, *FUSION_METHODS) if f"`{name}`" not in PAGE] == ["latent_estimation"]


def test_linked_files_exist() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if not link.startswith("https://")]
    assert len(links) >= 5
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_pixels_are_drawn_by_their_error(draw: ModuleType, tmp_path: Path) -> None:
    wavelengths = np.append(np.linspace(420, 880, 20), 1500.0)
    row, column = np.mgrid[:32, :32]
    spectra = 1 + np.stack([np.sin(np.arange(21) / place) for place in (2, 3, 4)])
    fused = draw.make(spectra[(row // 8 + column // 8) % 3], wavelengths, count=3, hidden=16, epochs=20)
    assert fused.error.shape == (32, 32)
    assert fused.error[fused.pixel(0.0)] == fused.error.min()
    assert fused.error[fused.pixel(1.0)] == fused.error.max()
    assert np.mean(fused.error < fused.error[fused.pixel(0.5)]) == pytest.approx(0.5, abs=0.01)
    path = draw.draw(tmp_path / "fusion.png", fused)
    with Image.open(path) as image:
        assert 900 <= image.width <= 1200


def test_lines_are_broken_at_gaps_and_where_a_spectrometer_begins_again(draw: ModuleType) -> None:
    at, values = draw.broken(np.array([1.0, 2.0, 3.0, 9.0, 8.5, 9.5]), np.arange(6.0))
    np.testing.assert_array_equal(at, [1, 2, 3, np.nan, 9, np.nan, 8.5, 9.5])
    np.testing.assert_array_equal(values, [0, 1, 2, np.nan, 3, np.nan, 4, 5])


def test_the_figure_in_the_repository_is_small_and_legible() -> None:
    path = DOCS / "images" / "fusion_indian_pines.png"
    assert path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert 900 <= image.width <= 1200
