from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from stgraph.data import datasets
from stgraph.data.datasets import download
from stgraph.data.datasets.download import DownloadError, fetch, fetch_all
from stgraph.data.datasets.lock import FileLock
from stgraph.errors import InputError
from tests.data.datasets.file_server import CONTENT, remote, serving

WRONG = CONTENT[::-1]


@pytest.fixture(scope="module")
def running():
    with serving() as server:
        yield server


@pytest.fixture
def server(running):
    running.paths.clear()
    running.requests.clear()
    return running


@pytest.fixture
def get(tmp_path):
    def get(file, **options):
        lock = FileLock(tmp_path / "files.lock.json")
        return fetch(file, tmp_path / "raw", lock=lock, **{"timeout": 5.0, "pause": 0.0, **options})

    return get


def raw_files(tmp_path):
    return sorted(path.name for path in (tmp_path / "raw").iterdir())


def test_a_file_arrives_under_its_name_and_is_not_fetched_again(server, get, tmp_path):
    file = remote(server.url("/a"), name="data/speed.h5")
    path = get(file)
    assert path == tmp_path / "raw" / "data" / "speed.h5"
    assert path.read_bytes() == CONTENT
    assert [p.name for p in path.parent.iterdir()] == ["speed.h5"]
    assert get(file) == path
    assert len(server.requests) == 1


def test_a_truncated_transfer_continues_where_it_stopped(server, get):
    path = get(remote(server.url("/a", stops=[100_000, 50_000])))
    assert path.read_bytes() == CONTENT
    assert server.sent == [100_000, 50_000, len(CONTENT) - 150_000]
    assert [request[1:3] for request in server.requests] == [
        (None, None),
        ("bytes=100000-", '"first"'),
        ("bytes=150000-", '"first"'),
    ]


def test_a_stalled_transfer_times_out_and_continues(server, get):
    path = get(remote(server.url("/a", stops=[70_000], stalls=True)), timeout=0.3)
    assert path.read_bytes() == CONTENT
    assert server.sent == [70_000, len(CONTENT) - 70_000]


def test_a_server_that_ignores_ranges_sends_all_again(server, get):
    path = get(remote(server.url("/a", stops=[100_000], ranges=False)))
    assert path.read_bytes() == CONTENT
    assert server.sent == [100_000, len(CONTENT)]


def test_a_server_that_always_stops_at_the_same_byte_is_given_up(server, get, tmp_path):
    with pytest.raises(DownloadError, match=r"cut off after 1000 of 307200 bytes"):
        get(remote(server.url("/a", stops=[1000] * 9, ranges=False)), retries=2)
    assert server.sent == [1000] * 4  # the first brought something new; none of the 3 after it did
    assert raw_files(tmp_path) == ["speed.h5.partial", "speed.h5.partial.json"]


def test_a_later_call_continues(server, get, tmp_path):
    url = server.url("/a", stops=[100_000, 0])
    with pytest.raises(DownloadError):
        get(remote(url), retries=0)
    assert raw_files(tmp_path) == ["speed.h5.partial", "speed.h5.partial.json"]
    assert get(remote(url)).read_bytes() == CONTENT
    assert server.sent[-1] == len(CONTENT) - 100_000
    assert raw_files(tmp_path) == ["speed.h5"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, get):
    url = server.url("/a", content=WRONG, stops=[100_000, 0], etag='"old"')
    with pytest.raises(DownloadError):
        get(remote(url, content=None), retries=0)
    server.url("/a")
    assert get(remote(url, content=None)).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=100000-", '"old"', len(CONTENT))


def test_another_mirror_continues_only_if_the_hash_is_known(server, get, tmp_path):
    first, second = server.url("/a", stops=[100_000, 0]), server.url("/b")
    assert get(remote(first, second), retries=0).read_bytes() == CONTENT
    assert server.requests[-1] == ("/b", "bytes=100000-", None, len(CONTENT) - 100_000)
    server.url("/a", stops=[100_000, 0])
    assert get(remote(first, second, content=None, name="other.h5"), retries=0).read_bytes() == CONTENT
    assert server.requests[-1] == ("/b", None, None, len(CONTENT))


def test_a_beginning_of_another_file_is_found_by_the_hash_and_fetched_anew(server, get):
    first, second = server.url("/a", content=WRONG, stops=[100_000, 0]), server.url("/b")
    assert get(remote(first, second), retries=0).read_bytes() == CONTENT
    assert server.sent[-2:] == [len(CONTENT) - 100_000, len(CONTENT)]


def test_a_complete_partial_file_is_only_verified(server, get, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "speed.h5.partial").write_bytes(CONTENT)
    assert get(remote(server.url("/a"))).read_bytes() == CONTENT
    assert server.sent == [0]


def test_a_longer_partial_file_is_thrown_away(server, get, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "speed.h5.partial").write_bytes(CONTENT + b"more")
    assert get(remote(server.url("/a"))).read_bytes() == CONTENT


def test_wrong_bytes_are_refused_with_both_hashes_and_leave_nothing(server, get, tmp_path):
    file = remote(server.url("/a", content=WRONG))
    with pytest.raises(DownloadError) as caught:
        get(file)
    assert file.sha256 in str(caught.value)
    assert hashlib.sha256(WRONG).hexdigest() in str(caught.value)
    assert raw_files(tmp_path) == []


def test_wrong_bytes_of_unannounced_length_are_refused(server, get, tmp_path):
    with pytest.raises(DownloadError, match="307199 bytes, but the catalogue says 307200"):
        get(remote(server.url("/a", content=CONTENT[:-1], announce=False)))
    assert raw_files(tmp_path) == []


def test_a_wrong_size_is_refused_before_it_is_fetched(server, get):
    with pytest.raises(DownloadError, match="its file has 307200 bytes, but the catalogue says 5"):
        get(remote(server.url("/a"), size=5, sha256=None))


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"status": 404}, "HTTP status 404"),
        ({"content_type": "text/html; charset=utf-8"}, "web page"),
        ({"content": b"\n<!DOCTYPE html><title>Drive: virus scan"}, "web page"),
        ({"content": WRONG}, "SHA-256"),
        ({"status": 302, "location": "ftp://127.0.0.1/a"}, "redirects to ftp://"),
        ({"status": 302, "location": "file:///etc/hostname"}, "is not allowed"),
    ],
)
def test_what_is_not_the_file_is_not_tried_again_and_the_next_mirror_is(server, get, behaviour, reason, caplog):
    bad, good = server.url("/bad", **behaviour), server.url("/good")
    file = remote(bad, good, size=None)
    with caplog.at_level("INFO", logger="stgraph"):
        assert get(file).read_bytes() == CONTENT
    assert [request[0] for request in server.requests] == ["/bad", "/good"]
    assert reason in caplog.text


def test_server_errors_are_tried_again(server, get):
    with pytest.raises(DownloadError, match="HTTP status 503"):
        get(remote(server.url("/a", status=503)), retries=2)
    assert len(server.requests) == 3


def test_redirects_are_followed_and_the_range_goes_with_them(server, get):
    target = server.url("/target", stops=[100_000])
    assert get(remote(server.url("/a", status=302, location=target, content=b""))).read_bytes() == CONTENT
    assert server.requests[-1] == ("/target", "bytes=100000-", '"first"', len(CONTENT) - 100_000)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a"])
def test_other_schemes_are_refused(get, url):
    with pytest.raises(DownloadError, match="only https:// and http:// are fetched"):
        get(remote(url))


def test_offline_it_says_of_every_file_what_to_fetch_from_where_and_where_to_put_it(server, tmp_path):
    closed = "http://127.0.0.1:9/speed.h5"
    files = [remote(closed), remote(server.url("/b"), name="there.h5"), remote(content=None, name="by_hand.h5")]
    with pytest.raises(DownloadError) as caught:
        fetch_all(files, tmp_path / "raw", lock=FileLock(tmp_path / "lock"), pause=0.0)
    text = str(caught.value)
    assert isinstance(caught.value, InputError)
    assert text.startswith("2 files could not be fetched:")
    sha256 = files[0].sha256
    assert f"fetch speed.h5 (307200 bytes, SHA-256 {sha256}) from {closed} or the page of the authors" in text
    assert f"put it at {tmp_path / 'raw' / 'speed.h5'}; tried: {closed}: no connection" in text
    assert f"put it at {tmp_path / 'raw' / 'by_hand.h5'}; it can only be fetched by hand" in text
    assert raw_files(tmp_path) == ["there.h5"]


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(DownloadError, match=r"raw.* cannot be .*root="):
        fetch(remote(server.url("/a")), tmp_path / "raw" / "x", lock=FileLock(tmp_path / "lock"))
    assert server.requests == []


def test_a_full_disk_is_said_before_the_transfer(server, get, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DownloadError, match=r"0.3 MB do not fit into .*raw: 0.0 MB are free"):
        get(remote(server.url("/a")))


def test_two_at_once_fetch_it_once(server, get, tmp_path):
    if download.fcntl is None:
        pytest.skip("folders cannot be locked here")
    file = remote(server.url("/a", slow=True, content=CONTENT[:10240]), content=CONTENT[:10240])
    threads = [threading.Thread(target=get, args=(file,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert raw_files(tmp_path) == ["speed.h5"]
    assert server.sent == [10240]


def test_a_kill_in_the_middle_leaves_only_what_can_be_continued(server, get, tmp_path):
    file = remote(server.url("/a", slow=True))
    # The package itself imports torch, which would take most of the time of these tests.
    code = (
        "import sys, types\n"
        "package = sys.modules['stgraph.data.datasets'] = types.ModuleType('stgraph.data.datasets')\n"
        f"package.__path__ = {datasets.__path__!r}\n"
        "from stgraph.data.datasets.catalog import RemoteFile\n"
        "from stgraph.data.datasets.download import fetch\n"
        "from stgraph.data.datasets.lock import FileLock\n"
        f"fetch({file!r}, {str(tmp_path / 'raw')!r}, lock=FileLock({str(tmp_path / 'lock')!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    partial = tmp_path / "raw" / "speed.h5.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert raw_files(tmp_path) == ["speed.h5.partial", "speed.h5.partial.json"]
    had = partial.stat().st_size
    assert 0 < had < len(CONTENT)
    server.url("/a")
    assert get(file).read_bytes() == CONTENT
    assert server.sent[-1] == len(CONTENT) - had
