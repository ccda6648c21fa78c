"""Which cells of a benchmark are finished, and which are to be run, continued or left out."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from stgraph.tasks.benchmark.cells import Cell
from stgraph.tasks.benchmark.fingerprint import cell_key, code_version, data_fingerprint
from stgraph.tasks.benchmark.results import CellResult, read_result
from stgraph.tasks.folder import RunFolder, write_json
from stgraph.tasks.options import DataOptions, RunOptions, to_dict

__all__ = ["CellFolder", "Job", "failed", "plan", "read_job", "result_of"]

State = Literal["done", "failed", "run", "continue", "missing"]


class CellFolder:
    """Paths in the folder of a cell.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.job = path / "job.json"
        self.run = path / "run"
        self.log = path / "log.txt"
        self.lock = path / "lock"
        self.result = path / "cell.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """A cell and what is to be done about it.

    Args:
        cell: The cell.
        state: "done" and "failed" are finished; "run" starts, "continue" goes on where a run was interrupted;
            "missing" cannot be run without its data.
        folder: Folder of the cell.
        key: Hash of all that the result depends on.
        code: Version of the code.
        note: Why the state is what it is, where that is not plain.
    """

    cell: Cell
    state: State
    folder: CellFolder
    key: str = ""
    code: str = ""
    note: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is something to run."""
        return self.state in ("run", "continue")

    def write(self) -> None:
        """Make the folder of the cell with what the process that runs it needs to know."""
        self.folder.path.mkdir(parents=True, exist_ok=True)
        options = dataclasses.replace(self.cell.options, output=str(self.folder.run.absolute()))
        values = {name: getattr(self.cell, name) for name in ("dataset", "model", "seed", "protocol")}
        write_json(self.folder.job, {**values, "key": self.key, "code": self.code, "options": to_dict(options)})


def plan(cells: Iterable[Cell], output: Path, *, retry_failed: bool = False) -> list[Job]:
    """Look at what an earlier start has left, and say of each cell what is to be done; nothing is changed.

    Args:
        cells: The cells.
        output: Folder of the benchmark.
        retry_failed: Run cells again that have failed.
    """
    fingerprints: dict[str, str | FileNotFoundError] = {}
    jobs = []
    for cell in cells:
        data = cell.options.data
        if (label := repr(data)) not in fingerprints:
            fingerprints[label] = _fingerprint(data)
        fingerprint = fingerprints[label]
        parent = output / "cells" / cell.dataset / cell.model
        if isinstance(fingerprint, FileNotFoundError):
            jobs.append(Job(cell, "missing", CellFolder(parent), note=str(fingerprint)))
        else:
            code = code_version(cell.options.model.name)
            jobs.append(_job(cell, parent, cell_key(cell.options, code, fingerprint), code, retry_failed))
    return jobs


def result_of(job: Job) -> CellResult | None:
    """Return the result of a cell that is finished or has no data; ``None`` if it is still to be run."""
    if job.state == "missing":
        return failed(job.cell, job.note, "missing" if job.cell.optional else "failed")
    return None if job.is_open else read_result(job.folder.result)


def failed(cell: Cell, reason: str | None, status: Literal["failed", "missing"] = "failed") -> CellResult:
    """Return the result of a cell that gave none."""
    return CellResult(cell.dataset, cell.model, cell.seed, cell.protocol, status, reason)


def read_job(folder: CellFolder) -> tuple[Cell, str]:
    """Read what :meth:`Job.write` wrote: the cell, whose options name the folder of the run, and the code."""
    values = json.loads(folder.job.read_text(encoding="utf-8"))
    options = RunOptions.from_dict(values["options"])
    cell = Cell(values["dataset"], values["model"], values["seed"], values["protocol"], options)
    return cell, values["code"]


def _fingerprint(data: DataOptions) -> str | FileNotFoundError:
    try:
        return data_fingerprint(data)
    except FileNotFoundError as error:
        return error


def _job(cell: Cell, parent: Path, key: str, code: str, retry_failed: bool) -> Job:
    stem = f"{cell.protocol}-seed{cell.seed}-"
    folder = CellFolder(parent / f"{stem}{key[:8]}")
    if folder.result.is_file():
        status = read_result(folder.result).status
        if status == "done":
            return Job(cell, "done", folder, key, code)
        if not retry_failed:
            return Job(cell, "failed", folder, key, code, "failed before; --retry_failed runs it again")
    if RunFolder(folder.run).last.is_file():
        return Job(cell, "continue", folder, key, code)
    return Job(cell, "run", folder, key, code, None if folder.path.is_dir() else _stale(parent, stem, code))


def _stale(parent: Path, stem: str, code: str) -> str | None:
    """Say why what an earlier start has left of the same cell does not count any more."""
    earlier = sorted(parent.glob(f"{stem}*/job.json"))
    if not earlier:
        return None
    codes = {json.loads(path.read_text(encoding="utf-8"))["code"] for path in earlier}
    what = "another configuration or other data" if code in codes else "other code"
    return f"an earlier start was of {what} and does not count"
