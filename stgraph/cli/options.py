"""Options of the commands that use a run (those of ``train`` are in :mod:`stgraph.tasks.options`)."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = ["EvaluateOptions", "InfoOptions", "PredictOptions"]


@dataclasses.dataclass
class EvaluateOptions:
    """What to evaluate.

    Args:
        run: Folder of a run.
        data: File with another period of the same nodes; the run's own test period by default.
        coords: Coordinates of the nodes in that file; the run's own by default.
        baselines: Compare with the run's simple forecasts.
        output: JSON file to write the errors to.
        overwrite: Replace the output file.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    coords: str | None = None
    baselines: bool = True
    output: str | None = None
    overwrite: bool = False
    device: str = "auto"


@dataclasses.dataclass
class PredictOptions:
    """What to forecast.

    Args:
        run: Folder of a run.
        data: File with measurements of the same nodes; the run's own series by default.
        output: File to write: .npz, or .csv with one row per value.
        coords: Coordinates of the nodes in that file; the run's own by default.
        windows: "last" forecasts what follows the data, "all" what follows each window of input steps.
        overwrite: Replace the output file.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    output: str = ""
    coords: str | None = None
    windows: Literal["last", "all"] = "last"
    overwrite: bool = False
    device: str = "auto"


@dataclasses.dataclass
class InfoOptions:
    """What to describe.

    Args:
        target: A file with a series, the name of an embedded data set, the folder of a run, or the name of a model.
        coords: Coordinates of the nodes in that file.
        key: What to read in a file that holds several things.
    """

    target: str = ""
    coords: str | None = None
    key: str | None = None
