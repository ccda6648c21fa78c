"""The command that scores forecasts under the protocols of the literature, side by side."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stgraph.errors import InputError, OutputExistsError

if TYPE_CHECKING:
    import numpy as np

    from stgraph.tasks.options import RunOptions

__all__ = ["ScoreOptions", "score"]

_METRICS = ("mae", "rmse", "mape")
_FORMATS = (".csv", ".json", ".md")


@dataclasses.dataclass
class ScoreOptions:
    """What to score.

    Args:
        predictions: Folder of a run, its predictions.npz, or an .npz file with y_pred, y_true and perhaps y_mask.
        protocol: Protocols by name, with commas between, or "all".
        family: Family of the data set, as some protocols count nulls otherwise on "flow" (PEMS03 to 08) and "largest";
            that of the run's data set, or "speed".
        null_value: What stands for a missing value in the data that the protocols were made for.
        output: File to write: .csv, .json or .md.
        overwrite: Replace the output file.
    """

    predictions: str = ""
    protocol: str = "all"
    family: Literal["speed", "flow", "largest"] | None = None
    null_value: float = 0.0
    output: str | None = None
    overwrite: bool = False


def score(options: ScoreOptions) -> None:
    """Print the errors of the same forecasts under each protocol.

    Raises:
        InputError: If the forecasts or an option cannot be used.
        OutputExistsError: If the output file is there already.
    """
    from stgraph.tasks.protocols import choose_protocols, family_of
    from stgraph.tasks.protocols import score as score_under

    if not options.predictions:
        raise InputError("name the folder of a run or a file with forecasts")
    protocols = choose_protocols(options.protocol)
    output = _check_output(options.output, options.overwrite)
    path, run = find_predictions(options.predictions)
    arrays = read_predictions(path)
    family = options.family or family_of(str(run.data.path) if run else "")
    quantiles = arrays.get("quantiles", None if run is None else run.model.quantiles)
    scores = {
        protocol.name: score_under(
            arrays["y_pred"],
            arrays["y_true"],
            arrays.get("y_mask"),
            protocol,
            null_value=options.null_value,
            family=family,
            quantiles=None if quantiles is None or arrays["y_pred"].ndim == 4 else [float(q) for q in quantiles],
        )
        for protocol in protocols
    }
    trained = None if run is None else run.protocol or "strict"
    print(_text(scores, path, trained, family))
    if output is not None:
        _write(output, scores, {"predictions": str(path), "trained_under": trained, "family": family})


def find_predictions(name: str) -> tuple[Path, RunOptions | None]:
    """Return the file with forecasts that a user names, and the options of the run that it belongs to.

    Raises:
        InputError: If there are no forecasts.
    """
    from stgraph.tasks.folder import RunFolder, read_config

    path = Path(name).expanduser()
    if path.is_dir():
        folder = RunFolder(path)
        if not folder.predictions.is_file():
            seeds = sorted(p.parent.name for p in path.glob("*/predictions.npz"))
            raise InputError(
                f"{name} has no {folder.predictions.name}" + (f"; name one of its folders {seeds}" if seeds else "")
            )
        return folder.predictions, read_config(folder.config) if folder.is_run else None
    if not path.is_file():
        raise InputError(f"there is no file or folder {name}")
    folder = RunFolder(path.parent)
    belongs = folder.is_run and path.name == folder.predictions.name
    return path, read_config(folder.config) if belongs else None


def read_predictions(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read ``y_pred``, ``y_true`` and, where there are such, ``y_mask`` and ``quantiles``.

    Raises:
        InputError: If the file is not of that kind.
    """
    import zipfile

    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError(f"{path} holds one array; expected an .npz file with y_pred and y_true")
        with loaded as saved:
            missing = [key for key in ("y_pred", "y_true") if key not in saved.files]
            if missing:
                raise InputError(f"{path} has no {' and no '.join(missing)}, but {sorted(saved.files)}")
            return {key: saved[key] for key in ("y_pred", "y_true", "y_mask", "quantiles") if key in saved.files}
    except InputError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as an .npz file: {str(error).splitlines()[0]}") from error


def _check_output(name: str | None, overwrite: bool) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if path.suffix not in _FORMATS:
        raise InputError(f"output is {name!r}; expected a name that ends in {', '.join(_FORMATS)}")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"output file {name} exists; use --overwrite to replace it")
    if not path.absolute().parent.is_dir():
        raise InputError(f"output {name} cannot be written: there is no folder {path.absolute().parent}")
    return path


def _rows(scores: Mapping[str, Any], digits: str) -> list[list[str]]:
    """Return the table: a row for each protocol, a column for each metric at each horizon."""
    named = {horizon for values in scores.values() for horizon in values["horizons"]} - {"average"}
    horizons = [*sorted(named, key=int), "average"]
    header = ["protocol", *(f"{m.upper()}@{h}" for h in horizons for m in _METRICS), "targets"]
    rows = [header]
    for name, values in scores.items():
        cells = [values["horizons"].get(h, {}).get(m) for h in horizons for m in _METRICS]
        rows.append([name, *("-" if cell is None else format(cell, digits) for cell in cells), str(values["count"])])
    return rows


def _text(scores: Mapping[str, Any], path: Path, trained: str | None, family: str) -> str:
    from stgraph.cli.tables import format_table

    header, *rows = _rows(scores, ".4g")
    about = [f"{path}, counted as the family {family!r}; MAPE in percent"]
    if trained is not None:
        about.append(f"The run was trained under the protocol {trained!r}, which chose the windows and the inputs.")
    return "\n".join([*about, "", format_table(header, rows)])


def _write(path: Path, scores: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    from stgraph.tasks.folder import replace_file, write_json

    if path.suffix == ".json":
        write_json(path, {**about, "scores": dict(scores)})
    elif path.suffix == ".csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(_rows(scores, ".10g"))
        replace_file(path, text.getvalue())
    else:
        replace_file(path, _markdown(_rows(scores, ".4g")) + "\n")


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])
