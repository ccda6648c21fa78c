"""The code on the page of the spectral layers runs, and what the page names exists."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import torch

from stgraph.nn import spectral

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "spectral_layers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def printed(block: str) -> str:
    """Run a block as a module of its own and return what it prints."""
    module = ModuleType("block_of_spectral_layers_page")
    with (
        mock.patch.dict(sys.modules, {module.__name__: module}),  # classes of the block are pickled by its name
        torch.random.fork_rng(),
        contextlib.redirect_stdout(io.StringIO()) as out,
    ):
        torch.manual_seed(0)
        exec(compile(block, "docs/spectral_layers.md", "exec"), vars(module))
    return out.getvalue()


def block_with(text: str) -> str:
    (block,) = [block for block in BLOCKS if text in block]
    return block


@pytest.mark.parametrize("block", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_the_code_runs(block: str) -> None:
    printed(block)


def test_a_mini_batch_gives_what_one_graph_at_a_time_gives() -> None:
    lines = printed(block_with("Batch.from_data_list")).splitlines()
    assert len(lines) == 3
    assert all(line.endswith(" True") for line in lines)


def test_masks_do_what_the_page_says() -> None:
    lines = printed(block_with("masked, batched")).splitlines()
    assert lines == ["FourierMixing False True", "SpectralAttention True True"]


def test_comparisons_on_the_page_hold() -> None:
    assert printed(block_with("DWT1D")).count("True") == 3
    assert printed(block_with("layer.modes(")).splitlines()[0].endswith("True")
    assert printed(block_with("verify_energy_preservation")).splitlines() == ["True True", "False False"]


def test_every_layer_is_on_the_page() -> None:
    assert [name for name in spectral.__all__ if f"`{name}" not in PAGE] == []


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert len(links) == 3
    assert [link for link in links if not (DOCS / link).exists()] == []
