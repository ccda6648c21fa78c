from __future__ import annotations

import contextlib
import io
import logging
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image

from stgraph.errors import InputError, InputTypeError
from stgraph.report import sky_images
from stgraph.report.sky_images import SERVICES, SkyImages, sky_image


def encoded(kind="JPEG", size=(12, 8), color=(200, 30, 60)):
    file = io.BytesIO()
    Image.new("RGB", size, color).save(file, kind)
    return file.getvalue()


class Sky:
    """A service on the loopback interface: what to answer, and what it was asked."""

    def __init__(self):
        self.asked = []
        self.status, self.content, self.pause = 200, encoded(), 0.0
        self.released = threading.Event()

    def answer(self, handler):
        self.asked.append({key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()})
        handler.send_response(self.status)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        with contextlib.suppress(ConnectionError):
            for start in range(0, len(self.content), 64) if self.pause else [0]:
                handler.wfile.write(self.content[start : start + 64] if self.pause else self.content)
                handler.wfile.flush()
                if self.pause and self.released.wait(self.pause):
                    return


@pytest.fixture
def sky():
    service = Sky()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            service.answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}/cutout"
    with mock.patch.dict(os.environ, no_proxy="127.0.0.1"):
        yield service
    service.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_the_services_are_asked(sky):
    assert SkyImages("sdss", base_url=sky.url).get(150.1, -2.25).shape == (8, 12, 3)
    assert SkyImages("legacy", base_url=sky.url).get(150.1, -2.25).shape == (8, 12, 3)
    place = {"ra": "150.10000", "dec": "-2.25000"}
    assert sky.asked == [
        place | {"scale": "0.2", "width": "256", "height": "256"},
        place | {"pixscale": "0.262", "layer": "ls-dr10", "size": "256"},
    ]
    assert SERVICES["sdss"].address == "https://skyserver.sdss.org/dr17/SkyServerWS/ImgCutout/getjpeg"
    assert SERVICES["legacy"].address == "https://www.legacysurvey.org/viewer/jpeg-cutout"


def test_the_pixels_are_those_of_the_file(sky):
    sky.content = encoded("PNG")
    image = sky_image(10, 20, "sdss", base_url=sky.url)
    assert image.dtype == np.uint8
    assert (image == (200, 30, 60)).all()


def test_nobody_is_asked_by_default(monkeypatch, caplog):
    def refuse(*_, **__):
        raise AssertionError("a connection")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert sky_image(10, 20) is None
    assert SkyImages().get(10, 20) is None
    assert SkyImages("sdss").get(float("nan"), 20) is None
    assert not warned(caplog)


def test_an_image_is_kept_by_service_and_position(sky, tmp_path):
    first = SkyImages("sdss", tmp_path / "cache", base_url=sky.url).get(359.9999999, -0.0000001)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["sdss-dr17_0.00000_+0.00000.jpg"]
    sky.content = encoded(color=(0, 0, 0))
    again = SkyImages("sdss", tmp_path / "cache", base_url=sky.url)
    np.testing.assert_array_equal(again.get(0.000001, 0.000001), first)
    assert len(sky.asked) == 1
    assert not np.array_equal(again.get(0.0001, 0.0), first)
    SkyImages("legacy", tmp_path / "cache", base_url=sky.url).get(0, 0)
    assert len(sky.asked) == 3


def test_what_is_damaged_in_the_folder_is_fetched_again(sky, tmp_path):
    kept = tmp_path / "sdss-dr17_10.00000_+20.00000.jpg"
    kept.write_bytes(sky.content[:100])
    assert SkyImages("sdss", tmp_path, base_url=sky.url).get(10, 20) is not None
    assert kept.read_bytes() == sky.content


def test_a_folder_that_cannot_be_written_loses_no_image(sky, tmp_path, caplog):
    (tmp_path / "file").touch()
    assert SkyImages("sdss", tmp_path / "file", base_url=sky.url).get(10, 20) is not None
    assert not warned(caplog)


@pytest.mark.parametrize(
    ("status", "content", "reason"),
    [
        (404, encoded(), "the service answered 404"),
        (500, b"", "the service answered 500"),
        (200, b"<html>Please log in</html>", "the answer is not an image"),
        (200, b"", "the answer is not an image"),
        (200, encoded("PNG")[:40], "the answer is not an image"),
        (200, encoded("GIF"), "the answer is not an image"),
        (200, encoded("PNG", (5000, 2)), "the image has 5000 x 2 pixels"),
    ],
)
def test_an_object_without_an_image_does_not_keep_others_from_theirs(sky, tmp_path, caplog, status, content, reason):
    good = sky.content
    sky.status, sky.content = status, content
    images = SkyImages("sdss", tmp_path, base_url=sky.url)
    assert [images.get(10, dec) for dec in (1, 2)] == [None, None]
    (message,) = warned(caplog)
    assert message.startswith(f"no sky image at ra 10.00000, dec 1.00000: {reason}")
    assert list(tmp_path.iterdir()) == []
    sky.status, sky.content = 200, good
    assert images.get(10, 3) is not None
    assert len(sky.asked) == 3


def test_a_picture_bomb_is_not_unpacked(sky, caplog):
    sky.content = encoded("PNG", (1, 1))
    header = (60_000).to_bytes(4, "big") * 2
    sky.content = sky.content[:16] + header + sky.content[24:]
    assert sky_image(1, 2, "sdss", base_url=sky.url) is None
    assert len(warned(caplog)) == 1


def test_an_answer_that_is_too_long_is_broken_off(sky, monkeypatch, caplog):
    monkeypatch.setattr(sky_images, "_LARGEST_FILE", 100)
    assert sky_image(1, 2, "sdss", base_url=sky.url) is None
    assert "more than 100 bytes" in warned(caplog)[0]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_service_is_left_alone(sky, caplog, status):
    sky.status = status
    images = SkyImages("sdss", base_url=sky.url)
    assert [images.get(1, dec) for dec in range(3)] == [None] * 3
    assert len(sky.asked) == 1
    assert warned(caplog)[0].endswith("the service is not asked again")


def test_a_server_that_dribbles_does_not_hang(sky, caplog):
    sky.pause = 0.05  # never silent for the time-out, yet not done within it
    images = SkyImages("sdss", timeout=0.2, base_url=sky.url)
    before = threading.active_count()
    assert [images.get(1, dec) for dec in range(5)] == [None] * 5
    assert len(sky.asked) == 1
    assert "0.2 s" in warned(caplog)[0] or "in time" in warned(caplog)[0]
    assert len(warned(caplog)) == 1
    sky.released.set()
    while threading.active_count() > before:
        time.sleep(0.01)


def test_a_name_that_is_never_found_does_not_hang(monkeypatch, caplog):
    found = threading.Event()

    def look_up(*_, **__):
        found.wait(10)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert sky_image(1, 2, "sdss", timeout=0.05, base_url="http://sky.invalid") is None
    found.set()
    assert "no answer within 0.05 s" in warned(caplog)[0]


def test_without_a_network_one_attempt_and_one_warning(monkeypatch, caplog):
    asked = []

    def look_up(*arguments, **_):
        asked.append(arguments)
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    images = SkyImages("sdss", base_url="http://sky.invalid")
    assert [images.get(1, dec) for dec in range(4)] == [None] * 4
    assert len(asked) == 1
    assert len(warned(caplog)) == 1
    assert "cannot be reached" in warned(caplog)[0]


def test_a_refused_connection(caplog):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        with mock.patch.dict(os.environ, no_proxy="127.0.0.1"):
            assert sky_image(1, 2, "legacy", base_url=address) is None
    assert "cannot be reached" in warned(caplog)[0]


def test_what_is_kept_is_found_without_a_network(sky, tmp_path):
    SkyImages("sdss", tmp_path, base_url=sky.url).get(10, 20)
    images = SkyImages("sdss", tmp_path, base_url=sky.url)
    sky.status = 503
    assert images.get(1, 1) is None
    assert images.get(10, 20) is not None


def test_a_function_of_ones_own(caplog):
    seen = []

    def own(ra, dec):
        seen.append((ra, dec))
        return {1: np.ones((3, 4)), 2: None, 3: np.zeros((3, 4, 2)), 4: "text"}.get(dec) if dec < 5 else 1 / 0

    images = SkyImages(own)
    assert images.get(np.float32(0.5), 1).shape == (3, 4)
    assert images.get(0.5, 2) is None
    assert not warned(caplog)
    assert [images.get(0.5, dec) for dec in (3, 4, 5)] == [None] * 3
    assert len(warned(caplog)) == 1
    assert "float64 of shape (3, 4, 2)" in warned(caplog)[0]
    assert [dec for _, dec in seen] == [1, 2, 3, 4, 5]
    assert SkyImages(own).get(0.5, 5) is None
    assert "ZeroDivisionError" in warned(caplog)[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"provider": "panstarrs"}, InputError, "provider is 'panstarrs'"),
        ({"provider": 5}, InputTypeError, "provider is a int"),
        ({"timeout": 0}, InputError, "timeout is 0"),
        ({"timeout": float("inf")}, InputError, "timeout is inf"),
        ({"base_url": "file:///etc"}, InputError, "base_url is 'file:///etc'"),
    ],
)
def test_wrong_arguments_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        SkyImages(**arguments)
