"""The package as a whole: what importing it costs, what it promises, and what it names as public."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stgraph

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "stgraph"
PACKAGES = sorted(
    ".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE
)
HEAVY = ("torch", "torch_geometric", "lightning", "pandas", "sklearn", "matplotlib", "h5py", "numpy")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, stgraph; print([name for name in {HEAVY!r} if name in sys.modules])"
    search = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stdout.strip() == "[]"


def test_the_version_is_that_of_the_distribution() -> None:
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert declared is not None
    assert stgraph.__version__ == declared[1]


def test_the_changelog_has_an_entry_for_the_version() -> None:
    assert f"## [{stgraph.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_subpackages_are_loaded_when_named() -> None:
    assert stgraph.models is importlib.import_module("stgraph.models")
    assert {"models", "nn", "__version__"} <= set(dir(stgraph))
    with pytest.raises(AttributeError, match="no_such_part"):
        _ = stgraph.no_such_part


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_exist_and_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if inspect.ismodule(thing) or inspect.isclass(thing) or inspect.isroutine(thing):
            assert thing.__doc__, f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", PACKAGES)
def test_no_module_hides_what_is_public_under_its_name(name: str) -> None:
    """A name that is looked up when first used would be that of the module, once something has loaded it."""
    package = importlib.import_module(name)
    parts = {part.name for part in pkgutil.iter_modules(package.__path__)}
    for public in parts.intersection(getattr(package, "__all__", [])):
        part = importlib.import_module(f"{name}.{public}")
        assert getattr(package, public) is getattr(part, public, part)


@pytest.mark.parametrize("name", [f"stgraph.{part}" for part in ("data", "metrics", "models", "nn", "tasks")])
def test_every_part_says_what_is_public(name: str) -> None:
    assert importlib.import_module(name).__all__
