"""Imports only go down the floors: ops, then nn, data and metrics, then models, then tasks, then cli and report."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "stgraph"
FLOORS = {"errors": 0, "ops": 1, "nn": 2, "data": 2, "metrics": 2, "models": 3, "tasks": 4, "cli": 5, "report": 5}
FLOORS["testing"] = 3
FLOORS["__main__"] = 6
BELOW = {part: {other for other, floor in FLOORS.items() if floor < FLOORS[part]} for part in FLOORS}
BELOW["models"] = {"errors", "ops", "nn"}
BELOW["testing"] = {"errors", "ops", "nn"}
BELOW["cli"].add("report")  # commands have the report drawn; the report knows nothing of commands
# Third-party packages of floor 1: POT is the reference that Sinkhorn can be compared with, and the last four are
# optional engines that are used where they are installed.
OPS_PACKAGES = {"torch", "numpy", "scipy", "ot", "torch_cluster", "torch_scatter", "pyg_lib", "finufft"}


def imported_modules(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that ``source``, a module inside ``package``, imports anywhere.

    Imports inside functions, under ``TYPE_CHECKING`` and by ``importlib.import_module("...")`` count as well. Of
    ``from a import b`` both ``a`` and ``a.b`` are told, since ``b`` may be a module.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
                yield node.lineno, node.args[0].value


def violations(source: str, path: str) -> list[str]:
    """What ``source`` imports against the floors; ``path`` is relative to the project, with slashes."""
    parts = path.removesuffix(".py").split("/")
    package = ".".join(parts[:-1])
    own = parts[1] if len(parts) > 1 else ""
    found = []
    for line, module in imported_modules(source, package):
        top, _, rest = module.partition(".")
        target = rest.partition(".")[0]
        if top in {"benchmarks", "tests"}:
            found.append(f"{path}:{line} imports {module}")
        elif top == "stgraph" and target in FLOORS and target != own and target not in BELOW.get(own, set()):
            found.append(f"{path}:{line} imports {module}: {own} may import {sorted(BELOW.get(own, set()))}")
        elif own == "ops" and top != "stgraph" and top not in OPS_PACKAGES and top not in sys.stdlib_module_names:
            found.append(f"{path}:{line} imports {module}: ops may import {sorted(OPS_PACKAGES)}")
    return sorted(set(found))


SOURCES = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py"))


def test_there_is_something_to_check() -> None:
    assert "stgraph/__init__.py" in SOURCES
    assert "stgraph/models/base.py" in SOURCES


def test_everything_in_the_package_has_a_floor() -> None:
    parts = {path.split("/")[1].removesuffix(".py") for path in SOURCES}
    assert parts - {"__init__"} <= set(FLOORS)


@pytest.mark.parametrize("path", SOURCES)
def test_imports_only_go_down(path: str) -> None:
    assert violations((ROOT / path).read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("stgraph/nn/mgat.py", "from stgraph.data import knn"),
        ("stgraph/nn/mgat.py", "from stgraph import data"),
        ("stgraph/data/graph.py", "import stgraph.nn.scalers as s"),
        ("stgraph/nn/mgat.py", "from ..models.base import Forecaster"),
        ("stgraph/nn/mgat.py", "from .. import metrics"),
        ("stgraph/data/datasets/pm10.py", "from ...nn import SFE"),
        ("stgraph/ops/neighbors.py", "def f():\n    from stgraph.nn import MGAT"),
        ("stgraph/ops/neighbors.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..nn import MGAT"),
        ("stgraph/ops/neighbors.py", "import pandas"),
        ("stgraph/ops/neighbors.py", "from torch_geometric.utils import softmax"),
        ("stgraph/models/base.py", "from stgraph.data import windows"),
        ("stgraph/models/base.py", "import importlib\nm = importlib.import_module('stgraph.tasks')"),
        ("stgraph/tasks/run.py", "from stgraph.report import html"),
        ("stgraph/report/html.py", "from stgraph.cli import main"),
        ("stgraph/cli/main.py", "from benchmarks import measure"),
        ("stgraph/errors.py", "from stgraph.ops import sinkhorn"),
        ("stgraph/__init__.py", "from stgraph.ops import sinkhorn"),
    ],
)
def test_an_import_against_the_floors_is_found(path: str, source: str) -> None:
    assert len(violations(source, path)) >= 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("stgraph/nn/mgat.py", "from stgraph.ops.neighbors import knn_graph\nfrom .sfe import SFE\nfrom . import got"),
        ("stgraph/nn/mgat.py", "from ..errors import InputError\nimport torch_geometric"),
        (
            "stgraph/ops/transforms/fft.py",
            "import math\nimport scipy.fft\nfrom ..gating import score\nimport torch_cluster",
        ),
        ("stgraph/models/baselines/ridge.py", "from ..base import Forecaster\nfrom ...nn import MGAT\nimport stgraph"),
        ("stgraph/tasks/run.py", "from stgraph import __version__, data, models"),
        ("stgraph/cli/main.py", "from stgraph.tasks import forecasting\nfrom ..report import html"),
        ("stgraph/__main__.py", "from stgraph.cli.main import main"),
    ],
)
def test_an_import_down_the_floors_is_allowed(path: str, source: str) -> None:
    assert violations(source, path) == []
