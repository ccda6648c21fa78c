from __future__ import annotations

import json
import subprocess

import pytest

from stgraph.tasks.environment import describe_environment, git_commit, peak_memory_mb


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_the_commit_of_a_tracked_package(repository):
    assert git_commit(repository / "package") == git(repository, "rev-parse", "HEAD")


def test_a_package_that_merely_lies_in_a_repository_has_no_commit(repository):
    (repository / "venv").mkdir()
    (repository / "venv" / "__init__.py").write_text("")
    assert git_commit(repository / "venv") is None


def test_no_repository_and_no_git(tmp_path, monkeypatch):
    assert git_commit(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_commit(tmp_path) is None


def test_the_description_is_plain(monkeypatch):
    monkeypatch.setattr("sys.argv", ["stgraph", "train", "my data.npy"])
    described = describe_environment(5)
    assert json.loads(json.dumps(described)) == described
    assert described["command"] == "stgraph train 'my data.npy'"
    assert described["seed"] == 5


def test_memory():
    assert peak_memory_mb()["process"] > 50
