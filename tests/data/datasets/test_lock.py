from __future__ import annotations

import hashlib
import json

import pytest

from stgraph.data.datasets.download import DownloadError
from stgraph.data.datasets.lock import FileLock
from stgraph.errors import InputError
from tests.data.datasets.file_server import CONTENT, remote

WRONG = CONTENT[::-1]


def test_the_first_file_is_recorded_and_later_ones_must_match(server, get, tmp_path):
    file = remote(server.url("/a"), content=None)
    path = get(file)
    recorded = json.loads((tmp_path / "files.lock.json").read_text())
    assert recorded == {"files": {"speed.h5": {"sha256": hashlib.sha256(CONTENT).hexdigest(), "size": len(CONTENT)}}}
    path.unlink()
    server.url("/a", content=WRONG)
    with pytest.raises(DownloadError, match=r"if the change is intended, delete the entry 'speed.h5' of .*files.lock"):
        get(file)
    path.write_bytes(WRONG)  # put there by hand
    with pytest.raises(InputError, match=r"if the change is intended, delete the entry 'speed\.h5'") as caught:
        get(file)
    assert hashlib.sha256(WRONG).hexdigest() in str(caught.value)
    assert hashlib.sha256(CONTENT).hexdigest() in str(caught.value)
    (tmp_path / "files.lock.json").unlink()
    assert get(file) == path


@pytest.mark.parametrize("text", ["{", "[]", '{"files": {"speed.h5": {"sha256": 3}}}'])
def test_a_damaged_lock_file_is_named(get, tmp_path, text):
    (tmp_path / "files.lock.json").write_text(text)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "speed.h5").write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"files.lock.json is not .*delete it"):
        get(remote(content=None))


@pytest.mark.parametrize("known", [{"sha256": None}, {"sha256": None, "size": None}])
def test_what_is_recorded_is_only_read_where_the_catalogue_knows_nothing(tmp_path, known):
    path, lock = tmp_path / "speed.h5", FileLock(tmp_path / "files.lock.json")
    path.write_bytes(CONTENT)
    file = remote(**known)
    assert lock.sha256(file) is None
    lock.verify(file, path)
    assert lock.sha256(file) == hashlib.sha256(CONTENT).hexdigest()
    assert lock.sha256(remote(sha256="0" * 64)) == "0" * 64
    lock.verify(file, path)


def test_a_wrong_size_is_found_without_reading_the_file(tmp_path):
    path = tmp_path / "speed.h5"
    path.write_bytes(CONTENT)
    with pytest.raises(InputError, match="has 307200 bytes, but the catalogue says 5; if it is damaged, delete it"):
        FileLock(tmp_path / "files.lock.json").verify(remote(size=5), path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        FileLock(tmp_path / "files.lock.json").verify(remote(), tmp_path / "nothing")


def test_a_folder_is_not_verified_and_where_nothing_can_be_written_nothing_is_recorded(tmp_path):
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "file").write_bytes(CONTENT)
    lock = FileLock(tmp_path / "file" / "files.lock.json")
    lock.verify(remote(content=None), tmp_path / "store.zarr")
    lock.verify(remote(content=None), tmp_path / "file")
    assert lock.recorded() == {}
