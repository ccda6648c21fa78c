"""Options of ``stgraph lightcurve`` (those of ``train`` are in :mod:`stgraph.tasks.reconstruction_options`)."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = ["EmbedOptions", "EvaluateCurvesOptions", "FillOptions", "MockOptions", "PlotOptions", "SpectraOptions"]


@dataclasses.dataclass
class MockOptions:
    """Which light curves to make up.

    Args:
        output: HDF5 file to write.
        n_samples: Number of light curves.
        seed: Seed.
        classes: Share of each class, as "{rotation: 0.5, sinusoid: 0.5}"; those of LC-Gen by default.
        flare_rate: Flares per day.
        transit_fraction: Share of the stars with transits.
        shared_sampling: All stars at the same times, in groups of eight neighbours that share a trend.
        overwrite: Replace the output file.
    """

    output: str = ""
    n_samples: int = 50_000
    seed: int = 42
    classes: dict[str, float] | None = None
    flare_rate: float = 0.0
    transit_fraction: float = 0.0
    shared_sampling: bool = False
    overwrite: bool = False


@dataclasses.dataclass
class SpectraOptions:
    """Spectra of which light curves, and how.

    Args:
        input: Light curves: HDF5, FITS, CSV, Parquet or a folder of them.
        output: HDF5 file to write.
        NW: Time-bandwidth product of the tapers.
        K: Number of tapers.
        n_bins: Number of frequencies.
        spacing: Spacing of the frequencies.
        freq_min: Lowest frequency (1/day) of a grid that all stars share; needs freq_max.
        freq_max: Highest frequency (1/day) of that grid.
        grid: "common" takes one grid for all stars (by default from the 1st and 99th percentile of their ranges),
            "own" the range of each star.
        batch_size: Light curves computed at a time.
        verify: Undo the normalisation of what was written, and report the largest error.
        overwrite: Replace the output file.
    """

    input: str = ""
    output: str = ""
    NW: float = 4.0
    K: int = 7
    n_bins: int = 1024
    spacing: Literal["log", "linear"] = "log"
    freq_min: float | None = None
    freq_max: float | None = None
    grid: Literal["common", "own"] = "common"
    batch_size: int = 100
    verify: bool = False
    overwrite: bool = False


@dataclasses.dataclass
class EvaluateCurvesOptions:
    """What to evaluate.

    Args:
        run: Folder of a run of stgraph lightcurve train.
        data: Another file of the same kind; the run's own test series by default.
        output: CSV file to write with a row for each stretch of a series.
        overwrite: Replace the output file.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    output: str | None = None
    overwrite: bool = False
    device: str = "auto"


@dataclasses.dataclass
class FillOptions:
    """What to fill.

    Args:
        run: Folder of a run of stgraph lightcurve train.
        data: Another file of the same kind; the run's own data by default.
        output: File to write: .csv with a row for each point, or .npz.
        max_gap: Longest gap to fill of curves with times of their own, in days; all by default.
        overwrite: Replace the output file.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    output: str = ""
    max_gap: float | None = None
    overwrite: bool = False
    device: str = "auto"


@dataclasses.dataclass
class EmbedOptions:
    """Latent vectors of which series, and what to predict from them.

    Args:
        run: Folder of a run of stgraph lightcurve train.
        data: Another file of the same kind; the run's own data by default.
        output: Table to write: .npy, .h5 or .csv.
        pooling: How a latent sequence becomes a vector.
        target: Column of the metadata to predict from the latent vectors by k-fold cross-validation, split by star.
        regressor: What predicts it.
        log10: Predict the logarithm of the target, as for rotation periods.
        folds: Number of folds.
        overwrite: Replace the output file.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    run: str = ""
    data: str | None = None
    output: str = ""
    pooling: Literal["mean", "final", "max", "multiscale", "flatten"] = "mean"
    target: str | None = None
    regressor: Literal["ridge", "mlp", "forest"] = "ridge"
    log10: bool = False
    folds: int = 10
    overwrite: bool = False
    device: str = "auto"


@dataclasses.dataclass
class PlotOptions:
    """What to draw.

    Args:
        source: Folder of a run (reconstructions and training curves), or a table of latent vectors (its projection).
        output: Folder of the pictures; "figures" in the run's folder, or beside the table, by default.
        method: Projection of latent vectors to the plane.
        color: Column of the table's metadata to colour by.
        examples: Number of reconstructions to draw, at most 16.
        device: Where to compute; "auto" takes a CUDA device where there is one.
    """

    source: str = ""
    output: str | None = None
    method: Literal["pca", "tsne", "umap"] = "pca"
    color: str | None = None
    examples: int = 8
    device: str = "auto"
