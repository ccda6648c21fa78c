from __future__ import annotations

import pytest

from stgraph.data.datasets.download import fetch
from stgraph.data.datasets.lock import FileLock
from tests.data.datasets.file_server import serving


@pytest.fixture
def server():
    with serving() as server:
        yield server


@pytest.fixture
def get(tmp_path):
    def get(file):
        return fetch(file, tmp_path / "raw", lock=FileLock(tmp_path / "files.lock.json"), timeout=5.0, pause=0.0)

    return get
