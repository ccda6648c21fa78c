"""The code on the page of light curves runs, and what the page names exists."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import torch

from stgraph.cli.main import main
from stgraph.models.autoencoders import AUTOENCODERS, get_autoencoder

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "light_curves.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("stgraph ")
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(block: str) -> str:
    """Run a block by itself and return what it prints."""
    with torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()) as out:
        torch.manual_seed(0)
        exec(compile(block, "docs/light_curves.md", "exec"), {"__name__": "block_of_light_curves_page"})
    return out.getvalue()


def block_with(text: str) -> str:
    (block,) = [block for block in BLOCKS if text in block]
    return block


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_the_code_runs(block: str, folder: Path) -> None:
    printed(block)


def test_the_line_is_found_where_it_is(folder: Path) -> None:
    assert printed(block_with("spectrum.fstat.argmax()")).startswith("0.40 1/day, p ")


def test_periods_on_the_page_are_the_true_ones(folder: Path) -> None:
    lines = printed(block_with("lomb_scargle_period(t")).splitlines()
    for line in lines:
        true, found, _, peer = (float(number) for number in re.findall(r"[\d.]+(?:e-\d+)?", line))
        assert found == pytest.approx(true, rel=0.02)
        assert peer == pytest.approx(true, rel=0.02)
    assert len(lines) == 5


def test_parameters_of_the_models_are_those_of_the_table() -> None:
    for name in AUTOENCODERS:
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        said = int(row.rstrip(" |").rpartition("|")[2].replace(" ", ""))
        with torch.device("meta"):
            model = get_autoencoder(name)()
        assert sum(parameter.numel() for parameter in model.parameters()) == said


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str, folder: Path) -> None:
    words = shlex.split(command)[1:]
    words = [str(DOCS.parent / word) if word.startswith("configs/") else word for word in words]
    with contextlib.redirect_stdout(io.StringIO()), pytest.raises(SystemExit) as end:
        main([*words, "--print_config"])
    assert end.value.code == 0


def test_commands_of_the_page_are_all_of_the_group() -> None:
    named = {shlex.split(command)[2] for command in COMMANDS if command.startswith("stgraph lightcurve ")}
    assert named == {"mock", "spectra", "train", "evaluate", "fill", "embed", "plot"}


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) == 5
    assert [link for link in links if not (DOCS / link).exists()] == []
