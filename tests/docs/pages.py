"""What tests of pages share: their code blocks, their commands, and the scripts that draw their figures."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

DOCS = Path(__file__).resolve().parents[2] / "docs"


def blocks(text: str, language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return found


def commands(*texts: str) -> list[str]:
    """The lines of shell blocks that call stgraph, each once."""
    return list(
        dict.fromkeys(
            line.partition("#")[0].strip()
            for text in texts
            for block in blocks(text, "bash")
            for line in block.replace("\\\n", " ").splitlines()
            if line.startswith("stgraph ")
        )
    )


def printed(block: str, page: str) -> str:
    """Run a block of ``docs/<page>.md`` by itself and return what it prints."""
    with torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()) as out:
        torch.manual_seed(0)
        exec(compile(block, f"docs/{page}.md", "exec"), {"__name__": f"block_of_{page}_page"})
    return out.getvalue()


def script(name: str) -> Iterator[ModuleType]:
    """Load ``docs/<name>.py``, for a fixture of a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
