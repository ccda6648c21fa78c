"""The catalogue: what each data set is, where its files are and how they are told from others.

An entry is one YAML file in the folder ``catalog`` beside this module, named after the data set.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from stgraph.errors import InputError

__all__ = ["CatalogEntry", "RemoteFile", "catalog", "entry", "read_entry"]

# That of libyaml, where it is there, reads the catalogue in a fifth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FOLDER = Path(__file__).parent / "catalog"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OBJECT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclasses.dataclass(frozen=True)
class RemoteFile:
    """A file of a data set as it is published.

    Args:
        name: Its name in the raw folder; may hold a folder, as in ``data/speed.h5``.
        urls: Addresses (``https://`` or ``http://``) to be tried in this order; none where it can only be fetched by
            hand.
        sha256: SHA-256 in lower-case hexadecimal digits, or :obj:`None` where it is not known.
        size: Size in bytes, or :obj:`None` where it is not known.
        source: Where a person finds the official file, in words.
    """

    name: str
    urls: tuple[str, ...]
    sha256: str | None
    size: int | None
    source: str


@dataclasses.dataclass(frozen=True)
class CatalogEntry:
    """A data set of the catalogue.

    Args:
        name: Its name here, such as ``metr_la``.
        title: What it is, in a few words.
        dataset: What reads it, as ``module:Class`` (or a function that returns the series).
        files: Its files; none where nothing is fetched.
        official: The official source.
        licence: The licence of the data, or that none is stated.
        citation: The paper to cite.
        description: What was measured, in which unit and how missing values are marked.
        shape: Steps x nodes x channels, as text.
        input_steps: Steps that models of the literature are given.
        horizon: Steps that they forecast.
    """

    name: str
    title: str
    dataset: str
    files: tuple[RemoteFile, ...]
    official: str
    licence: str
    citation: str
    description: str
    shape: str
    input_steps: int
    horizon: int

    @property
    def size(self) -> int | None:
        """Size of all files in bytes, or :obj:`None` if that of one is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def entry(name: str) -> CatalogEntry:
    """Return the entry of a data set.

    Raises:
        InputError: If there is none of this name; the nearest is named.
    """
    entries = catalog()
    if name not in entries:
        near = difflib.get_close_matches(name, entries, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(entries)}"
        raise InputError(f"{name!r} is no data set of the catalogue; {hint}")
    return entries[name]


@functools.cache
def catalog() -> dict[str, CatalogEntry]:
    """Return all entries by name, in the order of their names.

    Raises:
        InputError: If a file of the catalogue is not as it should be.
    """
    return {path.stem: read_entry(path) for path in sorted(_FOLDER.glob("*.yaml"))}


def read_entry(path: Path) -> CatalogEntry:
    """Read an entry from its file, which is named after the data set.

    Raises:
        InputError: If a key is missing, unknown or of the wrong kind; names the file and the key.
    """
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    values = _checked_keys(found, {field.name for field in dataclasses.fields(CatalogEntry)}, {"name"}, str(path))
    if values.setdefault("name", path.stem) != path.stem:
        raise InputError(f"{path}: name is {values['name']!r}, but the file is named {path.stem!r}")
    files = values.pop("files")
    if not isinstance(files, list):
        raise InputError(f"{path}: files must be a list, got {files!r}")
    input_steps, horizon = (_count(values.pop(key), f"{path}: {key}") for key in ("input_steps", "horizon"))
    texts = {key: _text(value, f"{path}: {key}") for key, value in values.items()}
    if not _OBJECT.fullmatch(texts["dataset"]):
        raise InputError(f"{path}: dataset must be 'module:Class', got {texts['dataset']!r}")
    remote = tuple(_read_file(file, f"{path}: files[{i}]") for i, file in enumerate(files))
    names = [file.name for file in remote]
    if len(set(names)) < len(names):
        raise InputError(f"{path}: the names of files must be distinct, got {names}")
    return CatalogEntry(files=remote, input_steps=input_steps, horizon=horizon, **texts)


def _read_file(found: Any, where: str) -> RemoteFile:
    keys = {field.name for field in dataclasses.fields(RemoteFile)}
    values = _checked_keys(found, keys, {"urls", "sha256", "size"}, where)
    name, source = (_text(values[key], f"{where}.{key}") for key in ("name", "source"))
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise InputError(f"{where}.name must lie in the raw folder, got {name!r}")
    urls = values.get("urls") or []
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise InputError(f"{where}.urls must be a list of addresses, got {urls!r}")
    for url in urls:
        if not url.startswith(("https://", "http://")):
            raise InputError(f"{where}.urls must begin with https:// or http://, got {url!r}")
    sha256, size = values.get("sha256"), values.get("size")
    if sha256 is not None and not (isinstance(sha256, str) and _SHA256.fullmatch(sha256)):
        raise InputError(f"{where}.sha256 must be 64 lower-case hexadecimal digits in quotes, got {sha256!r}")
    return RemoteFile(name, tuple(urls), sha256, None if size is None else _count(size, f"{where}.size"), source)


def _checked_keys(found: Any, keys: set[str], optional: Iterable[str], where: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise InputError(f"{where} must hold keys and values, got {found!r}")
    unknown, missing = sorted(map(str, set(found) - keys)), sorted(keys - set(optional) - set(found))
    if unknown:
        raise InputError(f"{where} has the unknown keys {unknown}; expected {sorted(keys)}")
    if missing:
        raise InputError(f"{where} lacks the keys {missing}")
    return dict(found)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where} must be text, got {value!r}")
    return value.strip()


def _count(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(f"{where} must be a positive whole number, got {value!r}")
    return value
