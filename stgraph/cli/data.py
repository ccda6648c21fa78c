"""``stgraph data``: the data sets of the catalogue, and what is in a file."""

from __future__ import annotations

import dataclasses
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stgraph.cli.tables import format_table
from stgraph.errors import InputError

if TYPE_CHECKING:
    from stgraph.data.datasets.catalog import CatalogEntry

__all__ = ["DataCommandOptions", "data"]

_WIDTH = 50  # of licences in the list; info shows the whole
_SERIES = (".npy", ".npz", ".csv", ".h5", ".hdf5", ".hdf", ".nc", ".nc4", ".zarr")


@dataclasses.dataclass
class DataCommandOptions:
    """What to do with which data set.

    Args:
        action: "list" names the data sets, "info" tells all about one, "get" fetches and parses one, "check" verifies
            the files of one or looks for what is wrong in any file with a series.
        target: Name of a data set; for "check" also a file or a folder.
        root: Folder of all data sets; the environment variable STGRAPH_DATA, else ~/.cache/stgraph, by default.
        key: What to check in a file that holds several things.
    """

    action: Literal["list", "info", "get", "check"] = "list"
    target: str = ""
    root: str | None = None
    key: str | None = None


def data(options: DataCommandOptions) -> None:
    """List, describe, fetch or check data sets.

    Raises:
        InputError: If the target is missing, unknown, damaged or cannot be fetched.
    """
    if options.action == "list":
        if options.target:
            raise InputError(
                f"stgraph data list takes no target, got {options.target!r}; stgraph data info tells of one"
            )
        print(_list(_root(options)))
        return
    if not options.target:
        what = "a file, a folder or the name of a data set" if options.action == "check" else "the name of a data set"
        raise InputError(f"stgraph data {options.action} needs {what}; stgraph data list names the data sets")
    actions: dict[str, Callable[[DataCommandOptions], str]] = {"info": _info, "get": _get, "check": _check}
    print(actions[options.action](options))


def _root(options: DataCommandOptions) -> Path:
    from stgraph.data.datasets.places import default_root

    return default_root() if options.root is None else Path(options.root).expanduser()


def _list(root: Path) -> str:
    from stgraph.data.datasets.catalog import catalog

    rows = [
        [name, entry.shape, _size(entry.size) if entry.files else "-", _presence(entry, root), _short(entry.licence)]
        for name, entry in catalog().items()
    ]
    table = format_table(["", "shape", "size", "there", "licence"], rows)
    return f"{table}\n\nFolder of the data sets: {root.absolute()}"


def _short(text: str) -> str:
    return textwrap.shorten(text, _WIDTH, placeholder=" ...")


def _presence(entry: CatalogEntry, root: Path) -> str:
    from stgraph.data.datasets.places import raw_path

    if not entry.files:
        return "yes" if (root / entry.name).is_dir() else "-"
    there = sum(raw_path(root / entry.name, file.name).exists() for file in entry.files)
    return "yes" if there == len(entry.files) else f"{there} of {len(entry.files)} files" if there else "no"


def _info(options: DataCommandOptions) -> str:
    from stgraph.data.datasets.catalog import entry
    from stgraph.data.datasets.places import raw_path

    found, root = entry(options.target), _root(options).absolute()
    facts = {
        "shape": found.shape,
        "steps": f"{found.input_steps} in, {found.horizon} out",
        "official": found.official,
        "licence": found.licence,
        "citation": found.citation,
        "read by": found.dataset,
        "there": _presence(found, root),
    }
    width = max(map(len, facts)) + 2
    lines = [f"{found.name}: {found.title}", "", found.description, ""]
    lines += [f"{name.ljust(width)}{' '.join(value.split())}" for name, value in facts.items()]
    for file in found.files:
        path = raw_path(root / found.name, file.name)
        lines += [
            "",
            f"{file.name}  {_size(file.size)}, SHA-256 {file.sha256 or 'recorded when it is first seen'}",
            f"  {'is at' if path.exists() else 'belongs at'} {path}",
            *(f"  {url}" for url in file.urls),
            f"  {file.source}",
        ]
    return "\n".join(lines)


def _get(options: DataCommandOptions) -> str:
    from stgraph.data.datasets.catalog import entry

    found = entry(options.target)
    from stgraph.cli.describe import describe_series
    from stgraph.data.datasets.base import load_series

    series = load_series(found.name, options.root)
    return f"{describe_series(series)}\n\n{found.title}; licence: {found.licence}"


def _check(options: DataCommandOptions) -> str:
    from stgraph.data.datasets.catalog import catalog

    path = Path(options.target).expanduser()
    if options.target in catalog() and not path.exists():
        path = _root(options) / options.target
    path = path.absolute()
    if not path.exists():
        raise FileNotFoundError(f"there is no file or folder {path}")
    folder = next(
        (parent for parent in (path, *path.parents[:2]) if parent.is_dir() and parent.name in catalog()), None
    )
    if path.is_dir() and path.suffix != ".zarr":
        if folder is None or path not in (folder, folder / "raw"):
            raise InputError(
                f"{path} is not the folder of a data set: it should be named after one of {list(catalog())}"
            )
        return _verify(catalog()[folder.name], folder, None)
    lines = [] if folder is None else [_verify(catalog()[folder.name], folder, path)]
    if path.suffix in _SERIES or path.name.endswith(".csv.gz"):
        lines.append(_diagnose(path, options.key))
    elif not any(lines):
        raise InputError(f"{path} is no file of the catalogue, and its kind cannot be read as a series")
    return "\n".join(filter(None, lines))


def _verify(entry: CatalogEntry, folder: Path, only: Path | None) -> str:
    """Verify the files of a data set in its folder, or that one."""
    from stgraph.data.datasets.lock import FileLock
    from stgraph.data.datasets.places import lock_path, raw_path

    files = [file for file in entry.files if only in (None, raw_path(folder, file.name))]
    there = [file for file in files if raw_path(folder, file.name).exists()]
    lock, lines, wrong = FileLock(lock_path(folder)), [], 0
    for file in there:
        known = lock.sha256(file) is not None
        mismatch = lock.mismatch(file, raw_path(folder, file.name))
        wrong += mismatch is not None
        right = "is the right one" if known else "is there; its hash was not known and is recorded now"
        lines.append(f"{entry.name}: {file.name} {mismatch or right}")
    if wrong:
        raise InputError(f"{wrong} of {len(there)} files are damaged: {'; '.join(lines)}")
    absent = [file for file in files if file not in there]
    lines += [f"{entry.name}: {file.name} is missing; it belongs at {raw_path(folder, file.name)}" for file in absent]
    # Of some data sets a part of the files is enough.
    if absent and not there:
        raise InputError(f"no file is there: {'; '.join(lines)}")
    return "\n".join(lines) if lines or only is not None else f"{entry.name}: the catalogue names no files to verify"


def _diagnose(path: Path, key: str | None) -> str:
    from stgraph.cli.describe import describe_series
    from stgraph.cli.diagnose import diagnose
    from stgraph.data.files import from_file

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "no coordinates were given")  # nor are they needed to look at the values
        series = from_file(path, key=key)
    facts = diagnose(series)
    width = max(map(len, facts)) + 1
    return "\n".join([describe_series(series), *(f"{name.ljust(width)}{value}" for name, value in facts.items())])


def _size(size: int | None) -> str:
    """Format a number of bytes.

    >>> _size(1_500_000), _size(2_000), _size(None)
    ('1.5 MB', '2.0 kB', 'unknown')
    """
    if size is None:
        return "unknown"
    unit = next((unit for unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if size >= unit[1]), ("B", 1))
    return f"{size} B" if unit[0] == "B" else f"{size / unit[1]:.1f} {unit[0]}"
