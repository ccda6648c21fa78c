"""Where spectra of named objects come from: any source, or a folder of files."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch_geometric.data import Data

from stgraph.data.files import existing
from stgraph.data.spectra.parts import FileSpectra, build, identifiers
from stgraph.data.spectra.reading import files_of, names_in, read_file
from stgraph.data.spectra.rows import listed
from stgraph.data.spectra.selecting import select_spectra
from stgraph.errors import InputError

__all__ = ["LocalSpectra", "SpectraSource"]


class SpectraSource(Protocol):
    """What gives spectra of objects by their identifiers, such as a folder of files or a client of an archive."""

    def fetch(self, targetids: Iterable[Any]) -> Data:
        """The spectra of these objects, in this order.

        Args:
            targetids: Identifiers, whole numbers or text, each once.

        Shapes:
            - **output:** as of :func:`~stgraph.data.spectra.from_spectra`

        Raises:
            InputError: If an object has no spectrum; names it.
        """
        ...


class LocalSpectra:
    r"""Spectra in the files of a folder, by the identifiers of the objects.

    The files are of any kind that :func:`read_object_spectra` reads; they are looked through once, at the first fetch,
    and only files that hold a wanted object are read.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: If there is no such folder.
        InputError: If it is none, or holds no files of spectra.

    Examples:
        >>> import tempfile
        >>> from stgraph.data.spectra import from_spectra, write_object_spectra
        >>> data = from_spectra([4000.0, 4001.0], [[1.0, 2.0], [3.0, 4.0]], names=["17", "18"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_object_spectra(f"{folder}/spectra.h5", data)
        ...     LocalSpectra(folder).fetch([18, 17]).x[:, :, 0]
        tensor([[3., 4.],
                [1., 2.]])
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.folder = existing(folder)
        if not self.folder.is_dir():
            raise InputError(f"folder must be a folder, got the file {self.folder}")
        self._files = files_of(self.folder)
        self._places: dict[str, list[tuple[Path, int]]] | None = None

    def fetch(self, targetids: Iterable[Any]) -> Data:
        """The spectra of these objects, in this order.

        Args:
            targetids: Identifiers, whole numbers or text, each once.

        Shapes:
            - **output:** as of :func:`~stgraph.data.spectra.from_spectra`

        Raises:
            InputError: If an object is in no file or in several, or asked for twice; names it.
            InputTypeError: If an identifier is a float.
        """
        wanted = identifiers(np.array(list(targetids), dtype=object), "targetids")
        if not wanted or len(set(wanted)) != len(wanted):
            raise InputError(f"targetids must name at least one object, and each once, got {len(wanted)}")
        if self._places is None:
            self._places = self._find()
        missing = [name for name in wanted if name not in self._places]
        if missing:
            raise InputError(f"{self.folder} has no spectrum of {listed(missing)}")
        repeated = [name for name in wanted if len(self._places[name]) > 1]
        if repeated:
            files = ", ".join(str(path) for path, _ in self._places[repeated[0]])
            raise InputError(f"{self.folder} has several spectra of {listed(repeated)} (the first in {files})")
        rows: dict[Path, list[int]] = {}
        for name in wanted:
            (place,) = self._places[name]
            rows.setdefault(place[0], []).append(place[1])
        parts: list[FileSpectra] = [read_file(path).take(chosen) for path, chosen in rows.items()]
        return select_spectra(build(parts), wanted)

    def _find(self) -> dict[str, list[tuple[Path, int]]]:
        places: dict[str, list[tuple[Path, int]]] = {}
        for path in self._files:
            for row, name in enumerate(names_in(path)):
                places.setdefault(name, []).append((path, row))
        return places
