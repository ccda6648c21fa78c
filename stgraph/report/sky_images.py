"""Images of the sky around an object: fetched from a survey only when asked, and kept in a folder."""

from __future__ import annotations

import contextlib
import http.client
import io
import logging
import math
import os
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from stgraph.errors import InputError, InputTypeError
from stgraph.report.arrays import Array
from stgraph.report.files import write_then_rename

__all__ = ["SERVICES", "ImageProvider", "SkyImages", "sky_image"]

#: Name of a survey, a function of right ascension and declination (degrees) that returns an image, or none.
ImageProvider: TypeAlias = "str | Callable[[float, float], Any] | None"

_logger = logging.getLogger("stgraph")
_AGENT = "stgraph (https://pypi.org/project/stgraph-pyg)"
_LARGEST_FILE = 8 * 2**20  # bytes; a cut-out of 256 x 256 pixels has some ten thousand
_LARGEST_SIDE = 4096
_BLOCK = 1 << 16
_BUSY = (429, 503)


class _Service(NamedTuple):
    """A cut-out service: its address, what it is asked for each object, and its name in the cache."""

    address: str
    options: dict[str, str]
    key: str


#: Cut-out services by name: SDSS data release 17 at 0.2 arcseconds per pixel, and the DESI Legacy Imaging Surveys, data
#: release 10, at 0.262; 256 x 256 pixels.
SERVICES = {
    "sdss": _Service(
        "https://skyserver.sdss.org/dr17/SkyServerWS/ImgCutout/getjpeg",
        {"scale": "0.2", "width": "256", "height": "256"},
        "sdss-dr17",
    ),
    "legacy": _Service(
        "https://www.legacysurvey.org/viewer/jpeg-cutout",
        {"pixscale": "0.262", "layer": "ls-dr10", "size": "256"},
        "legacy-dr10",
    ),
}


class _NoImageError(Exception):
    """There is no image of this object."""


class _NoServiceError(_NoImageError):
    """The service cannot be reached; asking for another object would not help."""


class SkyImages:
    """Images of objects from one provider, with one warning in all where they cannot be had.

    A service that cannot be reached, does not answer in time or is busy is not asked again by the same instance.

    Args:
        provider: ``"sdss"``, ``"legacy"``, a function of right ascension and declination, or ``None``: no images, and
            no connection is ever made.
        cache: Folder that keeps what a service sent, by service and position (rounded to 0.04 arcseconds).
        timeout: Seconds for an image, from the look-up of the address to the last byte.
        base_url: Address that takes the place of the service's own.

    Raises:
        InputError: If the provider is not known, the time is not positive, or the address is not one of the web.

    Examples:
        >>> SkyImages(None).get(10.0, 20.0) is None
        True
        >>> SkyImages(lambda ra, dec: np.zeros((4, 4, 3))).get(10.0, 20.0).shape
        (4, 4, 3)
    """

    def __init__(
        self,
        provider: ImageProvider = None,
        cache: str | os.PathLike[str] | None = None,
        timeout: float = 5.0,
        *,
        base_url: str | None = None,
    ) -> None:
        if isinstance(provider, str) and provider not in SERVICES:
            raise InputError(f"provider is {provider!r}; expected one of {sorted(SERVICES)}, a function, or None")
        if not (provider is None or isinstance(provider, str) or callable(provider)):
            raise InputTypeError(f"provider is a {type(provider).__name__}; expected a name, a function, or None")
        if not (math.isfinite(timeout) and timeout > 0):
            raise InputError(f"timeout is {timeout}; expected a positive number of seconds")
        if base_url is not None and not base_url.startswith(("https://", "http://")):
            raise InputError(f"base_url is {base_url!r}; expected an address that begins with https:// or http://")
        self.provider = provider
        self.cache = None if cache is None else Path(cache).expanduser()
        self.timeout = timeout
        self.base_url = base_url
        self._given_up = False
        self._warned = False

    def get(self, ra: float, dec: float) -> Array | None:
        """Return the image around a position, or ``None`` if there is none.

        Args:
            ra: Right ascension in degrees.
            dec: Declination in degrees.

        Shapes:
            - **output:** ``[H, W, 3]`` uint8 from a service, rows from the top; else what the function returned:
              ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``
        """
        if self.provider is None or not (math.isfinite(ra) and math.isfinite(dec)):
            return None
        try:
            if isinstance(self.provider, str):
                return self._from_service(SERVICES[self.provider], float(ra), float(dec))
            return _own_image(self.provider, float(ra), float(dec))
        except _NoImageError as error:
            self._given_up = self._given_up or isinstance(error, _NoServiceError)
            if not self._warned:
                self._warned = True
                rest = "; the service is not asked again" if self._given_up else ""
                _logger.warning("no sky image at ra %.5f, dec %.5f: %s%s", ra, dec, error, rest)
            return None

    def _from_service(self, service: _Service, ra: float, dec: float) -> Array | None:
        ra, dec = round(ra % 360.0, 5) % 360.0, round(dec, 5) + 0.0  # no minus zero
        kept = None if self.cache is None else self.cache / f"{service.key}_{ra:.5f}_{dec:+.5f}.jpg"
        if kept is not None and kept.is_file():
            with contextlib.suppress(OSError, _NoImageError):
                return _decode(kept.read_bytes())
        if self._given_up:
            return None
        query = urllib.parse.urlencode({"ra": f"{ra:.5f}", "dec": f"{dec:.5f}"} | service.options)
        content = _fetch(f"{self.base_url or service.address}?{query}", self.timeout)
        image = _decode(content)
        if kept is not None:
            try:
                write_then_rename(kept, lambda temporary: temporary.write_bytes(content))
            except OSError as error:  # another process may have been faster; without a cache all else works
                _logger.info("the sky image %s was not kept: %s", kept, error)
        return image


def sky_image(
    ra: float,
    dec: float,
    provider: ImageProvider = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    timeout: float = 5.0,
    base_url: str | None = None,
) -> Array | None:
    """Return the image of the sky around one position, or ``None``; for several use :class:`SkyImages`.

    Args:
        ra: Right ascension in degrees.
        dec: Declination in degrees.
        provider: As for :class:`SkyImages`; by default no image, and no connection is made.
        cache: Folder that keeps what a service sent.
        timeout: Seconds for the image.
        base_url: Address that takes the place of the service's own.

    Examples:
        >>> sky_image(10.0, 20.0) is None
        True
    """
    return SkyImages(provider, cache, timeout, base_url=base_url).get(ra, dec)


def _own_image(provider: Callable[[float, float], Any], ra: float, dec: float) -> Array | None:
    try:
        answer = provider(ra, dec)
        image = None if answer is None else np.asarray(answer)
    except Exception as error:  # a figure must not fail for want of an image, whatever the user's function does
        raise _NoImageError(f"the provider failed: {type(error).__name__}: {error}") from error
    if image is None:
        return None
    if image.dtype.kind not in "biuf" or not (image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (3, 4))):
        raise _NoImageError(f"the provider returned {image.dtype} of shape {image.shape}, which is no image")
    return image


def _fetch(url: str, timeout: float) -> bytes:
    """Fetch in a thread of its own: the look-up of an address, for one, cannot be stopped after a time."""
    answer: queue.SimpleQueue[bytes | _NoImageError] = queue.SimpleQueue()
    deadline = time.monotonic() + timeout
    threading.Thread(target=lambda: answer.put(_request(url, deadline)), daemon=True).start()
    try:
        received = answer.get(timeout=timeout)
    except queue.Empty:
        raise _NoServiceError(f"no answer within {timeout:g} s") from None
    if isinstance(received, _NoImageError):
        raise received
    return received


def _request(url: str, deadline: float) -> bytes | _NoImageError:
    """What the service answers, or why there is nothing; never raises, as nobody would notice in this thread."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": _AGENT})
        with urllib.request.urlopen(request, timeout=max(deadline - time.monotonic(), 0.001)) as response:
            content = b""
            while block := response.read1(_BLOCK):
                content += block
                if len(content) > _LARGEST_FILE:
                    return _NoImageError(f"the answer has more than {_LARGEST_FILE} bytes")
                if time.monotonic() > deadline:
                    return _NoServiceError("the answer was not complete in time")
            return content
    except urllib.error.HTTPError as error:
        error.close()
        kind = _NoServiceError if error.code in _BUSY else _NoImageError
        return kind(f"the service answered {error.code} {error.reason}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return _NoServiceError(f"the service cannot be reached: {error}")


def _decode(content: bytes) -> Array:
    from PIL import Image  # comes with matplotlib

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is looked at here
            image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG"))
        if max(image.size) > _LARGEST_SIDE:
            raise _NoImageError(f"the image has {image.size[0]} x {image.size[1]} pixels")
        return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _NoImageError(f"the answer is not an image: {str(error).splitlines()[0]}") from error
