"""One HTTP transfer of a file into what has already arrived of it."""

from __future__ import annotations

import http.client
import logging
import re
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import IO, Any, Protocol

from stgraph.data.datasets.catalog import RemoteFile

__all__ = ["MirrorError", "PartialFile", "RefusedError", "Transfer"]

_logger = logging.getLogger("stgraph")
_SCHEMES = ("https://", "http://")
_BLOCK = 1 << 16
_SECONDS_BETWEEN_NOTICES = 5.0
_MEGABYTE = 1e6
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
_WEB_PAGE = re.compile(rb"\s*(<!doctype\s+html|<html)", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
_PAGE_CAME = "it sends a web page instead of the file (to confirm, to log in, or an error)"
_AGENT = "stgraph (https://pypi.org/project/stgraph-pyg)"


class MirrorError(Exception):
    """A mirror did not send the whole file; another attempt may help."""


class RefusedError(MirrorError):
    """A mirror does not have the file, or sends something else; another attempt does not help."""


class PartialFile(Protocol):
    """What has arrived of a file."""

    path: Path
    origin: dict[str, Any]

    @property
    def size(self) -> int:
        """Bytes that have arrived."""
        ...

    def discard(self) -> None:
        """Start anew."""
        ...


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but from a verified connection only to another."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        allowed = _SCHEMES[:1] if req.full_url.startswith("https://") else _SCHEMES
        if not newurl.lower().startswith(allowed):
            raise RefusedError(f"redirects to {newurl}, which is not {' or '.join(allowed)}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class Transfer:
    """Sends requests for (the rest of) a file. Certificates are always verified.

    Args:
        timeout: Seconds without any data after which a transfer has stalled.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.context = ssl.create_default_context()
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self.context), _Redirects())

    def run(self, url: str, file: RemoteFile, partial: PartialFile) -> None:
        """Receive what is missing.

        Raises:
            RefusedError: If the mirror does not have the file or sends something else.
            MirrorError: If not all of it arrived.
        """
        if not url.startswith(_SCHEMES):
            raise RefusedError(f"only {' and '.join(_SCHEMES)} are fetched")
        try:
            response = self._opener.open(_request(url, partial), timeout=self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and _is_complete(error.headers, partial):
                    return
                if error.code == 416:
                    partial.discard()
                    raise MirrorError("what has arrived is no part of its file") from error
                raise _failed(f"HTTP status {error.code} ({error.reason})", error.code in _TRANSIENT) from error
        except (OSError, http.client.HTTPException) as error:
            raise _from_connection(error) from error
        with response:
            self._receive(url, response, file, partial)

    def _receive(self, url: str, response: http.client.HTTPResponse, file: RemoteFile, partial: PartialFile) -> None:
        start, total = _check_answer(response, file, partial)
        free = shutil.disk_usage(partial.path.parent).free
        if total is not None and total - start > free:
            raise RefusedError(
                f"{_megabytes(total - start)} do not fit into {partial.path.parent}: {_megabytes(free)} are free"
            )
        partial.origin = {"url": url, "validator": _validator(response.headers), "total": total}
        arrived, noticed = start, time.monotonic()
        _logger.info(
            "%s: fetching %s from %s%s", file.name, _megabytes(total), url, f", from byte {start}" * (start > 0)
        )
        with partial.path.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            # Not beyond what was announced: a server that keeps the connection open would seem to stall.
            while arrived != total and (block := _read(response)):
                if arrived == 0 and not _is_page(file.name) and _WEB_PAGE.match(block):
                    raise RefusedError(_PAGE_CAME)
                stream.write(block)
                arrived += len(block)
                if time.monotonic() - noticed > _SECONDS_BETWEEN_NOTICES:
                    noticed = time.monotonic()
                    _logger.info("%s: %s of %s", file.name, _megabytes(arrived), _megabytes(total))
        if total is not None and arrived != total:
            raise MirrorError(f"the transfer was cut off after {arrived} of {total} bytes")


def _request(url: str, partial: PartialFile) -> urllib.request.Request:
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    if partial.size:
        headers["Range"] = f"bytes={partial.size}-"
        origin = partial.origin
        if origin.get("url") == url and origin.get("validator"):
            headers["If-Range"] = origin["validator"]
    return urllib.request.Request(url, headers=headers)


def _check_answer(response: http.client.HTTPResponse, file: RemoteFile, partial: PartialFile) -> tuple[int, int | None]:
    """First byte of the answer and size of the whole file, if said; refuses what cannot be the file."""
    headers = response.headers
    if headers.get_content_type() == "text/html" and not _is_page(file.name):
        raise RefusedError(_PAGE_CAME)
    if headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError(f"it sends the file in the encoding {headers['Content-Encoding']}, which was not asked for")
    length = headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdigit() else None
    if response.status == 206:
        start, total = _range(headers)
        expected = partial.origin.get("total")
        if start != partial.size or (total is not None and expected is not None and total != expected):
            partial.discard()
            raise MirrorError("it continues another file than the one that was begun")
    if file.size is not None and total is not None and total != file.size:
        raise RefusedError(f"its file has {total} bytes, but the catalogue says {file.size}")
    return start, total


def _is_page(name: str) -> bool:
    return name.endswith((".html", ".htm"))


def _range(headers: Message) -> tuple[int, int | None]:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None or found[1] is None:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _is_complete(headers: Message, partial: PartialFile) -> bool:
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    return found is not None and found[2] == str(partial.size)


def _validator(headers: Message) -> str | None:
    tag = headers.get("ETag")
    return headers.get("Last-Modified") if tag is None or tag.startswith("W/") else tag


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_BLOCK)
    except TimeoutError as error:
        raise MirrorError("the transfer stalled") from error
    except (OSError, http.client.HTTPException) as error:
        raise MirrorError(f"the connection broke ({type(error).__name__}: {error})") from error


def _from_connection(error: Exception) -> MirrorError:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return RefusedError(f"its certificate cannot be verified ({cause.verify_message})")
    if isinstance(cause, TimeoutError):
        return MirrorError("it does not answer in time")
    lasting = isinstance(cause, socket.gaierror | ConnectionRefusedError)
    return _failed(f"no connection ({cause})", not lasting)


def _failed(text: str, transient: bool) -> MirrorError:
    return MirrorError(text) if transient else RefusedError(text)


def _megabytes(size: int | None) -> str:
    return "an unknown number of MB" if size is None else f"{size / _MEGABYTE:.1f} MB"
