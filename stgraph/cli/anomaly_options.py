"""Options of ``stgraph anomaly`` (those of ``train`` are in :mod:`stgraph.tasks.anomaly_options`)."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = [
    "DetectOptions",
    "InjectOptions",
    "MockSpectraOptions",
    "PlotAnomaliesOptions",
    "ReportAnomaliesOptions",
]


@dataclasses.dataclass
class DetectOptions:
    """Where to look for anomalies, and by which run.

    Args:
        run: Folder of a run of stgraph anomaly train, or of stgraph lightcurve train with model.uncertainty.
        data: Another file of the same kind; the run's own data by default.
        catalog: Table with redshifts and positions of the spectra in that file.
        output: New folder for scores, regions and the record; detections_<number> in the run's folder by default.
        rows: Number of rows of the table.
        block: Points that are hidden from a run of stgraph lightcurve at a time; 8 by default.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    catalog: str | None = None
    output: str | None = None
    rows: int = 10
    block: int | None = None
    device: str = "auto"


@dataclasses.dataclass
class PlotAnomaliesOptions:
    """What to draw.

    Args:
        run: Folder of a run of stgraph anomaly train.
        data: Another file of the same kind; the run's own data by default.
        catalog: Table with redshifts and positions of the spectra in that file.
        output: Folder of the pictures, which never replace others; "figures" in the run's folder by default.
        only_anomalous: Draw flagged spectra alone.
        max_samples: Largest number of spectra to draw, at most 60; of series, at most 8 nodes are drawn.
        seed: Seed of the draw of spectra; a random one by default.
        image_provider: Survey whose images of the sky to fetch; none by default, and no connection is made.
        image_cache: Folder that keeps the images.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    catalog: str | None = None
    output: str | None = None
    only_anomalous: bool = False
    max_samples: int = 20
    seed: int | None = None
    image_provider: Literal["sdss", "legacy"] | None = None
    image_cache: str | None = None
    device: str = "auto"


@dataclasses.dataclass
class ReportAnomaliesOptions:
    """Which run to report.

    Args:
        run: Folder of a run of stgraph anomaly train.
    """

    run: str = ""


@dataclasses.dataclass
class InjectOptions:
    """Which anomalies to put into which data.

    Args:
        input: Spectra: .h5, .npz, .csv, .fits or a folder of them.
        output: File to write, with the labels: .h5 or .npz.
        kinds: Kinds of anomalies.
        fraction: Share of the spectra that get one.
        seed: Seed.
        overwrite: Replace the output file.
    """

    input: str = ""
    output: str = ""
    kinds: list[str] | None = None
    fraction: float = 0.1
    seed: int = 0
    overwrite: bool = False


@dataclasses.dataclass
class MockSpectraOptions:
    """Which galaxies to make up.

    Args:
        output: File to write: .h5, .npz or .csv.
        n: Number of spectra.
        length: Number of points of a spectrum.
        seed: Seed.
        overwrite: Replace the output file.
    """

    output: str = ""
    n: int = 600
    length: int = 1001
    seed: int = 0
    overwrite: bool = False
