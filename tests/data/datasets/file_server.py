"""An HTTP server on the loopback interface that misbehaves as told."""

from __future__ import annotations

import contextlib
import hashlib
import os
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

from stgraph.data.datasets.catalog import RemoteFile

CONTENT = bytes(range(256)) * 1200  # 307200 bytes, no two blocks of 64 kB at other offsets of 256 alike


@dataclass
class Behaviour:
    """What to answer under a path: the content, and for each request in turn after how many bytes to stop."""

    content: bytes = CONTENT
    status: int = 200
    content_type: str = "application/octet-stream"
    etag: str | None = '"first"'
    ranges: bool = True
    announce: bool = True
    location: str | None = None
    stops: list[int] = field(default_factory=list)
    stalls: bool = False
    slow: bool = False


@dataclass
class Server:
    """The address, what to answer, and what was asked and sent: (path, Range, If-Range, bytes)."""

    address: str
    paths: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None, int]] = field(default_factory=list)

    def url(self, path: str, **behaviour: object) -> str:
        self.paths[path] = Behaviour(**behaviour)  # type: ignore[arg-type]
        return self.address + path

    @property
    def sent(self) -> list[int]:
        return [request[3] for request in self.requests]


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Server]:
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self, server, released)

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        scheme, context = "https", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listener.socket = context.wrap_socket(listener.socket, server_side=True)
    server = Server(f"{scheme}://127.0.0.1:{listener.server_address[1]}")
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with mock.patch.dict(os.environ, no_proxy="127.0.0.1"):
            yield server
    finally:
        released.set()
        listener.shutdown()
        thread.join()
        listener.server_close()


def answer(handler: BaseHTTPRequestHandler, server: Server, released: threading.Event) -> None:
    told = server.paths.get(handler.path, Behaviour(b"", 404))
    asked, condition = handler.headers["Range"], handler.headers["If-Range"]
    start, total = 0, len(told.content)
    if asked and told.ranges and told.status == 200 and condition in (None, told.etag):
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start and start >= total:
        server.requests.append((handler.path, asked, condition, 0))
        handler.send_response(416)
        handler.send_header("Content-Range", f"bytes */{total}")
        handler.end_headers()
        return
    stop = told.stops.pop(0) if told.stops else None
    body = told.content[start : None if stop is None else start + stop]
    # Before the answer, so that who has it finds its request here.
    server.requests.append((handler.path, asked, condition, len(body)))
    handler.send_response(206 if start else told.status)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    if told.location:
        handler.send_header("Location", told.location)
    if told.announce:
        handler.send_header("Content-Length", str(total - start))
    if told.etag:
        handler.send_header("ETag", told.etag)
    handler.send_header("Content-Type", told.content_type)
    handler.end_headers()
    with contextlib.suppress(ConnectionError):
        if told.slow:
            for i in range(0, len(body), 1024):
                handler.wfile.write(body[i : i + 1024])
                time.sleep(0.02)
        else:
            handler.wfile.write(body)
        handler.wfile.flush()
        if stop is not None and told.stalls:
            released.wait(10)


def remote(*urls: str, content: bytes | None = CONTENT, name: str = "speed.h5", **values: object) -> RemoteFile:
    """A file whose hash and size are those of the content, unless there is none."""
    known = {} if content is None else {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    defaults = {"sha256": None, "size": None, "source": "the page of the authors"}
    return RemoteFile(name, urls, **{**defaults, **known, **values})  # type: ignore[arg-type]
