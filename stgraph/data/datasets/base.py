"""What data sets of the catalogue have in common: find or fetch the files, parse them once, keep the result."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import uuid
from abc import abstractmethod
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from stgraph.data.datasets.catalog import CatalogEntry, RemoteFile, entry
from stgraph.data.datasets.download import fetch_all
from stgraph.data.datasets.lock import FileLock
from stgraph.data.datasets.places import cache_root, default_root, lock_path, raw_path
from stgraph.data.files import reading
from stgraph.errors import InputError, InputTypeError

__all__ = ["SeriesDataset", "default_root", "load_series"]

_logger = logging.getLogger("stgraph")
_EMBEDDED = "stgraph.data.datasets.embedded"
_FORMAT = 1  # part of the names of kept series: count it up when what is kept changes


def load_series(name: str, root: str | PathLike[str] | None = None, **options: Any) -> Data:
    """Read a data set of the catalogue, fetching its files if need be.

    Args:
        name: Name in the catalogue.
        root: As in :class:`SeriesDataset`.
        **options: Further arguments of what reads it.

    Raises:
        InputError: If there is no such data set, or its files are damaged or cannot be fetched.
    """
    module, attribute = entry(name).dataset.split(":")
    reader = getattr(importlib.import_module(module), attribute)
    # What comes with the package lies in a folder of its own.
    found = reader(**options) if module == _EMBEDDED else reader(root=root, **options)
    series: Data = found[0] if isinstance(found, InMemoryDataset) else found
    return series


class SeriesDataset(InMemoryDataset):
    r"""A data set of the catalogue as a PyG data set of length 1, whose only item is the graph of the series.

    The raw files are looked for in ``root/<name>/raw`` and in ``root/<name>`` itself; those that are missing are
    fetched into ``root/<name>/raw``. What :meth:`read` returns is kept in the processed folder, one file for each
    choice of reading options and :obj:`pre_transform`, and mapped into memory from there, so that large series take no
    memory before they are used. It is parsed anew when a raw file is newer. Nothing that is kept is ever unpickled.

    A subclass names its entry of the catalogue in :attr:`name`, passes its reading options to this constructor, and
    implements :meth:`read`.

    Args:
        root: Folder of all data sets. (default: the environment variable ``STGRAPH_DATA``, else ``~/.cache/stgraph``)
        transform: Applied at every access.
        pre_transform: Applied once, before the series is kept; a transform object or a function of a module, since
            what is kept is found again by its name and settings.
        force_reload: Whether to parse the raw files although a parsed series is kept.
        processed: Folder for the parsed series. (default: ``root/<name>/processed``, or, where :obj:`root` is not
            given, ``~/.cache/stgraph/<name>/processed``)
        **options: Reading options (plain values, such as ``coordinates``), which :meth:`read` finds in
            :attr:`options`.

    Raises:
        DownloadError: If a file is missing and cannot be fetched; says what to fetch from where and where to put it.
        InputError: If a file is not the one of the catalogue or of the lock file, or is damaged.
        InputTypeError: If :obj:`pre_transform` is a lambda or a local function.

    Examples:
        >>> from stgraph.data.datasets import METRLA
        >>> METRLA("datasets", coordinates="great_circle")[0].x.shape  # doctest: +SKIP
        torch.Size([207, 34272, 1])
    """

    name: ClassVar[str]

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        processed: str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        self.options = options
        self.folder = (default_root() if root is None else Path(root).expanduser()).absolute() / self.name
        choice = [_identity(options, "options"), _identity(pre_transform, "pre_transform")]
        if processed is not None:
            self._processed = Path(processed).expanduser().absolute()
        elif root is None:
            # What STGRAPH_DATA names may be shared or read-only; several such folders share the cache.
            self._processed = cache_root().absolute() / self.name / "processed"
            choice.append(str(self.folder))
        else:
            self._processed = self.folder / "processed"
        self._key = _digest([_FORMAT, type(self).__qualname__, *choice])
        self._series: Data | None = None
        super().__init__(str(self.folder.parent), transform, pre_transform, force_reload=force_reload)
        self._data = self._load() if self._series is None else self._series

    @property
    def entry(self) -> CatalogEntry:
        """The entry of the catalogue."""
        return entry(self.name)

    @property
    def lock(self) -> FileLock:
        """The hashes of files for which the catalogue has none."""
        return FileLock(lock_path(self.folder))

    @property
    def raw_dir(self) -> str:
        """Folder that files are fetched into."""
        return str(self.folder / "raw")

    @property
    def processed_dir(self) -> str:
        """Folder of the parsed series."""
        return str(self._processed)

    @property
    def raw_file_names(self) -> list[str]:
        """Files that :meth:`read` needs: all of the entry, unless a subclass says otherwise."""
        return [file.name for file in self.entry.files]

    @property
    def raw_paths(self) -> list[str]:
        """Where the raw files are or, if they are missing, will be."""
        return [str(self.raw_path(name)) for name in self.raw_file_names]

    @property
    def processed_file_names(self) -> list[str]:
        """Name of the parsed series, which depends on the reading options and :obj:`pre_transform`."""
        return [f"{self.name}-{self._key}.pt"]

    def raw_path(self, name: str) -> Path:
        """Where a raw file is or, if it is missing, will be."""
        return raw_path(self.folder, name)

    @abstractmethod
    def read(self) -> Data:
        """Parse the raw files, which are there and verified; see :meth:`raw_path` and :attr:`options`."""

    def download(self) -> None:
        """Fetch the raw files that are missing.

        Raises:
            DownloadError: If one cannot be fetched.
        """
        missing = [file for file in self._files() if not self.raw_path(file.name).exists()]
        if missing:
            fetch_all(missing, self.folder / "raw", lock=self.lock)

    def process(self) -> None:
        """Verify and parse the raw files and keep the series.

        Raises:
            InputError: If a file is not the right one or is damaged.
        """
        for file in self._files():
            self.lock.verify(file, self.raw_path(file.name))
        series = self.read()
        if self.pre_transform is not None:
            series = self.pre_transform(series)
        try:
            _write(self._kept, _plain_values(series))
        except OSError as error:
            _logger.warning(
                "the parsed series of %s is not kept, because %s cannot be written (%s): it will be parsed again each "
                "time; pass processed= with a folder that can be written",
                self.name,
                self.processed_dir,
                error.strerror or error,
            )
            self._series = series

    @property
    def _kept(self) -> Path:
        return self._processed / self.processed_file_names[0]

    def _files(self) -> list[RemoteFile]:
        known = {file.name: file for file in self.entry.files}
        return [known[name] for name in self.raw_file_names]

    def _is_kept(self) -> bool:
        if self.force_reload or not self._kept.is_file():
            return False
        written = self._kept.stat().st_mtime_ns
        return all(not path.exists() or path.stat().st_mtime_ns <= written for path in map(Path, self.raw_paths))

    # PyG's own versions unpickle what lies in the processed folder, and fetch raw files that are no longer needed.
    def _download(self) -> None:
        if not self._is_kept():
            self.download()

    def _process(self) -> None:
        if not self._is_kept():
            self.process()

    def _load(self) -> Data:
        with reading(self._kept):
            try:
                values = torch.load(self._kept, map_location="cpu", weights_only=True, mmap=True)
            except Exception as error:  # whatever a damaged file makes torch raise
                raise InputError(f"{self._kept} cannot be read; delete it or pass force_reload=True") from error
        return Data.from_dict(values)


def _write(path: Path, values: dict[str, Any]) -> None:
    """Write under a name of this process's own and rename, so that no other process reads half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}-{uuid.uuid4().hex}.partial")
    try:
        with temporary.open("wb") as stream:  # opened here, since torch has an error of its own where it cannot
            torch.save(values, stream)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _plain_values(series: Data) -> dict[str, Any]:
    """Attributes of a series, of which only tensors, plain values and containers of them can be kept."""
    values: dict[str, Any] = series.to_dict()
    for name, value in values.items():
        _check_plain(value, name)
    return values


def _check_plain(value: Any, name: str) -> None:
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_plain(item, f"{name}[{i}]")
    elif type(value) not in (str, int, float, bool, type(None), Tensor):
        raise InputTypeError(f"{name} must be a tensor or plain values to be kept, got {type(value).__name__}")


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _identity(value: Any, where: str) -> Any:
    """What tells one transform from another: its class and settings, which its ``repr`` often does not show."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_identity(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict):
        return {str(key): _identity(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, Tensor):
        return [str(value.dtype), list(value.shape), hashlib.sha256(value.detach().cpu().numpy().tobytes()).hexdigest()]
    kind = value if isinstance(value, FunctionType | type) else type(value)
    if "<" in kind.__qualname__:
        raise InputTypeError(
            f"{where} must be a transform object or a function of a module, because the parsed series is kept under "
            f"its name; got {kind.__qualname__}, which can be passed as transform"
        )
    name = f"{kind.__module__}.{kind.__qualname__}"
    return (
        name if kind is value else [name, _identity(vars(value), where) if hasattr(value, "__dict__") else repr(value)]
    )
