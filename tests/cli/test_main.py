from __future__ import annotations

import os
import subprocess
import sys

import pytest

import stgraph
from stgraph.cli.main import COMMANDS, GROUPS, main


@pytest.mark.parametrize("words", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_needs_no_torch(words):
    code = (
        "import sys\n"
        "from stgraph.cli.main import main\n"
        "try:\n"
        f"    code = main({words!r})\n"
        "except SystemExit as end:\n"
        "    code = end.code\n"
        "heavy = {'torch', 'lightning', 'pandas', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'{heavy} were imported' if heavy else code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage: stgraph" in done.stdout


def test_without_words_it_says_what_there_is(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name}" in text for name in [*(n for n in COMMANDS if " " not in n), *GROUPS])


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == stgraph.__version__


def test_an_unknown_command(capsys):
    assert main(["trian"]) == 2
    assert capsys.readouterr().err == "stgraph: error: unknown command 'trian'; did you mean 'train'?\n"


def test_unexpected_errors_keep_their_traceback(monkeypatch):
    monkeypatch.setattr("stgraph.cli.commands.info", lambda options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["info", "x"])


def test_a_missing_extra_is_one_line_a_broken_installation_is_not(monkeypatch, capsys):
    def missing(options):
        raise ImportError("install stgraph-pyg[xarray]")

    monkeypatch.setattr("stgraph.cli.commands.info", missing)
    assert main(["info", "x"]) == 2
    assert capsys.readouterr().err == "stgraph info: error: install stgraph-pyg[xarray]\n"

    def broken(options):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("stgraph.cli.commands.info", broken)
    with pytest.raises(ModuleNotFoundError):
        main(["info", "x"])
