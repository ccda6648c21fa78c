"""The code on the page of anomalies runs, what the page names exists, and its figures show what it tells of."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from stgraph.cli.main import main
from stgraph.data.simulation.anomalies.inject import SPECTRUM_ANOMALIES
from stgraph.models.autoencoders.spectral_cnn import SpectralCNNAutoencoder
from stgraph.tasks.anomaly_options import PRESETS
from tests.docs.pages import DOCS, blocks, commands, printed, script

PAGE = (DOCS / "anomalies.md").read_text(encoding="utf-8")
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("\n## Anomalies")[2].partition("\n## ")[0]
NAMES = ("anomalies_spectra.png", "anomalies_scores.png")


BLOCKS = blocks(PAGE, "python")
README_BLOCKS = blocks(SECTION, "python")
COMMANDS = commands(PAGE, SECTION)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def draw() -> Iterator[ModuleType]:
    yield from script("draw_anomalies")


def block_with(text: str) -> str:
    (block,) = [block for block in BLOCKS if text in block]
    return block


#: Blocks with a test of their own below, which runs them.
CHECKED = [
    *("print(data.no_data", "catalogue.csv", "region_iou", "benjamini_hochberg", "detection_delay", "a stuck cell"),
    *("train_anomaly", "load_sampling_info", "latents[7]"),
]


@pytest.mark.parametrize("block", [b for b in BLOCKS if not any(text in b for text in CHECKED)])
def test_the_code_runs(block: str, folder: Path) -> None:
    assert printed(block, "anomalies")


@pytest.mark.parametrize("block", README_BLOCKS)
def test_the_code_of_the_readme_runs(block: str, folder: Path) -> None:
    assert printed(block, "anomalies")


def test_bad_points_are_those_of_the_page(folder: Path) -> None:
    lines = printed(block_with("print(data.no_data"), "anomalies").splitlines()
    assert lines == ["[True, True, False, False, True, True]", "[False, True] tensor(0.5000)"]


def test_catalogues_are_joined_by_name(folder: Path) -> None:
    lines = printed(block_with("catalogue.csv"), "anomalies").splitlines()
    assert lines == ["['11', '22', '33'] [0.1, 0.2, 0.3] ['GALAXY', 'GALAXY', 'QSO']", "['33', '11']"]


def test_the_default_detector_finds_most_of_what_was_injected(folder: Path) -> None:
    scores = printed(block_with("region_iou"), "anomalies").splitlines()[-1]
    value = {name: float(number) for name, number in re.findall(r"'(\w+)': ([\d.]+)", scores)}
    assert value["auroc"] > 0.95
    assert value["f1"] > 0.6


def test_new_anomalies_have_small_p_values(folder: Path) -> None:
    smallest, flagged, hits = map(float, printed(block_with("benjamini_hochberg"), "anomalies").split())
    assert smallest == pytest.approx(1 / 201)
    assert hits >= 5
    assert flagged - hits <= 0.5 * flagged


def test_the_documented_preset_trains(folder: Path) -> None:
    first, second = printed(block_with("train_anomaly"), "anomalies").splitlines()[-2:]
    assert first.startswith("15953 percentile {'abs_residual_threshold'")
    assert second.endswith("torch.Size([5])")


def test_the_record_names_what_was_drawn(folder: Path) -> None:
    number = printed(block_with("load_sampling_info"), "anomalies").split()[0]
    assert int(number) >= 3
    assert len(list((folder / "pictures").glob("anomalous_spectra_*.png"))) == 1


def test_the_strange_latent_vector_has_the_largest_score_and_the_smallest_p_value() -> None:
    row, pvalue = printed(block_with("latents[7]"), "anomalies").splitlines()
    assert row == "7"
    assert float(re.findall(r"[\d.]+", pvalue)[0]) == pytest.approx(1 / 151, abs=1e-4)


def test_events_of_series_are_found() -> None:
    share = float(printed(block_with("detection_delay"), "anomalies").splitlines()[-1].split()[0])
    assert share <= 0.5


def test_the_stuck_cell_has_the_highest_score() -> None:
    assert printed(block_with("a stuck cell"), "anomalies").split()[-1] == "13"


def test_presets_and_kinds_are_those_of_the_tables() -> None:
    rows = re.findall(r"^\| `(\w+)`.*$", PAGE, re.MULTILINE)
    assert [name for name in (*PRESETS, *SPECTRUM_ANOMALIES) if name not in rows] == []
    parameters = sum(value.numel() for value in SpectralCNNAutoencoder.from_preset("documented").parameters())
    assert f"{parameters:,} parameters".replace(",", " ") in PAGE


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str, folder: Path) -> None:
    words = [word for word in shlex.split(command)[1:] if word != "--print_config"]
    words = [str(DOCS.parent / word) if word.startswith("configs/") else word for word in words]
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main([*words, "--print_config"])
    assert end.value.code == 0


def test_commands_of_the_page_are_all_of_the_group() -> None:
    named = {shlex.split(command)[2] for command in COMMANDS if command.startswith("stgraph anomaly ")}
    assert named == {"mock", "inject", "train", "detect", "plot", "report"}


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) == 6
    assert [link for link in links if not (DOCS / link).exists()] == []


def test_a_typical_spectrum_of_a_kind_is_drawn(draw: ModuleType, tmp_path: Path) -> None:
    judged = draw.judge(count=100, length=150)
    rows = [draw.typical(judged, kind) for kind in draw.KINDS]
    assert judged.data.metadata["anomaly_kind"][rows].tolist() == list(draw.KINDS)
    pvalues = draw.new_pvalues(count=40, length=100)
    assert pvalues.shape == (40,)
    assert float(pvalues.min()) >= 1 / 41
    path = draw.draw_scores(tmp_path / NAMES[1], judged, pvalues)
    assert path.stat().st_size > 5_000


@pytest.mark.slow
def test_two_runs_draw_the_same(draw: ModuleType, tmp_path: Path) -> None:
    for name in ("first", "second"):
        judged = draw.judge(count=100, length=150)
        draw.draw_spectra(tmp_path / name / NAMES[0], judged)
    assert (tmp_path / "first" / NAMES[0]).read_bytes() == (tmp_path / "second" / NAMES[0]).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_figures_in_the_repository_are_small_and_legible(name: str) -> None:
    path = DOCS / "images" / name
    assert path.stat().st_size < 250_000
    with Image.open(path) as image:
        assert 900 <= image.width <= 1200
