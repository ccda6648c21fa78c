"""The process that runs one cell: ``python -m stgraph.tasks.benchmark.worker FOLDER``."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stgraph.errors import InputError
from stgraph.tasks.benchmark.cells import Cell
from stgraph.tasks.benchmark.fingerprint import code_version
from stgraph.tasks.benchmark.lock import CellLock
from stgraph.tasks.benchmark.plan import CellFolder, failed, read_job
from stgraph.tasks.benchmark.results import CellResult, write_result
from stgraph.tasks.folder import RunFolder, read_config
from stgraph.tasks.options import RunOptions

__all__ = ["main", "run_cell"]

_logger = logging.getLogger("stgraph")


def main(words: Sequence[str]) -> int:
    """Run the cell in the folder named, and write ``cell.json`` last.

    Args:
        words: The folder; ``--leashed`` ends the process when its standard input does, that is, with its parent.

    Returns:
        int: 0 if the cell is done, 1 if it has failed.
    """
    folder = CellFolder(Path(words[0]).absolute())
    if "--leashed" in words:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    handler = logging.StreamHandler(sys.stdout)
    _logger.addHandler(handler)
    _logger.setLevel(logging.INFO)
    try:
        return _run(folder)
    finally:
        _logger.removeHandler(handler)


def _run(folder: CellFolder) -> int:
    with CellLock(folder.lock):
        cell, code = read_job(folder)
        try:
            if code != code_version(cell.options.model.name):
                raise InputError("the code of stgraph has changed since the benchmark was started; start it again")
            result = run_cell(folder, cell)
        except Exception as error:
            traceback.print_exc()
            text = " ".join(str(error).split())
            result = failed(cell, f"{type(error).__name__}: {text}" if text else type(error).__name__)
        write_result(folder.result, result)
    return 0 if result.status == "done" else 1


def run_cell(folder: CellFolder, cell: Cell) -> CellResult:
    """Train the model of a cell, or go on with it, and score its forecasts under all protocols.

    Args:
        folder: Folder of the cell.
        cell: The cell.
    """
    run = RunFolder(folder.run)
    results = _train(run, cell.options)
    memory = results["peak_memory_mb"] or {}
    return CellResult(
        dataset=cell.dataset,
        model=cell.model,
        seed=cell.seed,
        protocol=cell.protocol,
        status="done",
        parameters=results["parameters"],
        seconds_per_epoch=results.get("seconds_per_epoch"),
        epochs=results.get("epochs"),
        training_seconds=results.get("training_seconds"),
        peak_memory_mb=memory.get("cuda") or memory.get("process"),
        scores=_score(run.predictions, read_config(run.config)),
        predictions=run.predictions,
    )


def _train(run: RunFolder, options: RunOptions) -> dict[str, Any]:
    """Return the results of the run: those that are there, of its continuation, or of a new start."""
    from stgraph.tasks.run import train

    if run.results.is_file():  # written last
        results: dict[str, Any] = json.loads(run.results.read_text(encoding="utf-8"))
        return results
    if run.path.is_dir() and not run.last.is_file():  # ended before its first checkpoint
        shutil.rmtree(run.path)
    try:
        options.resume = run.is_run
        return train(options)
    except InputError as error:
        if not options.resume:
            raise
        _logger.warning("the run cannot be continued and starts again: %s", error)
    options.resume, options.overwrite = False, True
    return train(options)


def _score(path: Path, options: RunOptions) -> dict[str, dict[str, dict[str, float]]]:
    import numpy as np

    from stgraph.tasks.protocols import PROTOCOLS, family_of, score

    with np.load(path, allow_pickle=False) as arrays:
        prediction, target, mask = (arrays[name] for name in ("y_pred", "y_true", "y_mask"))
    quantiles = options.model.quantiles or (options.model.arguments or {}).get("quantiles")
    rules: dict[str, Any] = {
        "null_value": 0.0 if options.data.null_value is None else options.data.null_value,
        "family": family_of(str(options.data.path)),
        "quantiles": quantiles,
    }
    return {name: score(prediction, target, mask, name, **rules)["horizons"] for name in PROTOCOLS}


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock would be held when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
