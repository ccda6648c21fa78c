"""The JSON record of what a detector flagged, with which thresholds, and of what was drawn."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data

import stgraph
from stgraph.errors import InputError, InputTypeError
from stgraph.ops.anomaly.result import AnomalousRegions, RegionRecord
from stgraph.tasks.catalogues import row_indices, row_values, target_names
from stgraph.tasks.environment import fingerprint
from stgraph.tasks.folder import replace_file
from stgraph.tasks.unique_files import reserved_path

__all__ = ["FORMAT_VERSION", "load_sampling_info", "save_anomaly_record", "save_sampling_info"]

#: Version of the keys of the record; files without one have the documented keys alone.
FORMAT_VERSION = 1

_RANGE_KEYS = ("range_start", "range_end", "justification", "value")
_KEYS = (
    *("Number of Anomalies", "Seed", "absolute_residual_threshold", "relative_residual_threshold"),
    *("range_mismatch_factor", "rule", "score_threshold", "overall_anomaly_threshold", "window_size"),
    *("number_of_spectra", "no_data", "plotted", "sampling", "wavelength_frame", "data_checksum", "software"),
)


def save_anomaly_record(
    found: AnomalousRegions,
    names: Any,
    *,
    json_directory: str | os.PathLike[str] = "metadata",
    drawn: tuple[Sequence[int], Sequence[int], int | None] = ((), (), None),
    wavelength: Any = None,
    data: Data | None = None,
) -> Path:
    """Write what a detector found as ``sampling_info_{n}.json``, with a number that no other file has.

    Flags, flagged windows and scores come from one result, those of spectrum ``i`` from its entries ``i``.

    Args:
        found: Result of the detector.
        names: Name of each spectrum of the result, flagged or not; or a catalogue that has them, row by row.
        json_directory: Folder of the record.
        drawn: What :func:`~stgraph.report.plot_combined_spectra` returned: candidates, what was plotted, seed.
        wavelength: Wavelengths in angstrom, for the limits of each range.
        data: The spectra, for their checksum and the frame of the wavelengths.

    Shapes:
        - **names:** ``[N]``, **wavelength:** ``[L]`` or ``[N, L]``

    Returns:
        pathlib.Path: The file.

    Raises:
        InputError: If there is not one name for each spectrum, two flagged spectra share one, or an index or the
            wavelengths do not fit.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from stgraph.ops.anomaly.result import AnomalousRegions
        >>> windows = [[], [{"range_start": 0, "range_end": 2, "reason_type": "high_score", "trigger_value": 7.0}]]
        >>> found = AnomalousRegions(
        ...     regions=torch.tensor([[False, False, False], [True, True, False]]),
        ...     anomalous=torch.tensor([False, True]), metadata=windows, score=torch.tensor([1.0, 7.0]),
        ...     no_data=torch.tensor([False, False]), rule="graph_residual", window_size=2,
        ...     window_start=torch.tensor([0, 1]), window_end=torch.tensor([2, 3]), window_score=torch.zeros(2, 2))
        >>> with TemporaryDirectory() as folder:
        ...     record = load_sampling_info(save_anomaly_record(found, [11, 22], json_directory=folder))
        >>> record["Number of Anomalies"], list(record["anomalous_spectra"])
        (1, ['22'])
    """
    if not isinstance(found, AnomalousRegions):
        raise InputTypeError(f"found is a {type(found).__name__}; expected the AnomalousRegions of a detector")
    candidates, plotted, seed = drawn
    every = target_names(names)
    if len(every) != len(found.metadata):
        raise InputError(f"names has {len(every)} entries; found has {len(found.metadata)} spectra")
    return save_sampling_info(
        torch.nonzero(found.anomalous.cpu()).flatten().tolist(),
        plotted,
        seed,
        found.metadata,
        found.abs_residual_threshold,
        found.rel_residual_threshold,
        found.range_mismatch_factor,
        json_directory,
        every,
        score=found.score,
        threshold=found.threshold,
        overall_anomaly_threshold=found.overall_anomaly_threshold,
        window_size=found.window_size,
        rule=found.rule,
        candidates=candidates,
        no_data=torch.nonzero(found.no_data.cpu()).flatten().tolist(),
        wavelength=wavelength,
        data=data,
    )


def save_sampling_info(
    galaxy_ids: Any,
    plot_galaxy_ids: Any,
    seed: int | None,
    anomaly_metadata: Sequence[Sequence[RegionRecord]],
    abs_residual_threshold: float,
    rel_residual_threshold: float,
    range_mismatch_factor: float,
    json_directory: str | os.PathLike[str] = "metadata",
    catalogue: Any = None,
    *,
    zpix_cat: Any = None,
    score: Any = None,
    threshold: float | None = None,
    overall_anomaly_threshold: float | None = None,
    window_size: int | None = None,
    rule: str | None = None,
    candidates: Any = (),
    no_data: Any = (),
    wavelength: Any = None,
    data: Data | None = None,
) -> Path:
    """Write flagged spectra as ``sampling_info_{n}.json``; the documented call, for those who have its tuple.

    All indices count the rows of the catalogue, and so do the entries of ``anomaly_metadata`` and ``score``: entry
    ``i`` belongs to row ``i``, whether that spectrum is flagged or not. :func:`save_anomaly_record` takes all of it
    from one result. Numbers that are not finite become null.

    Args:
        galaxy_ids: Indices of the flagged spectra.
        plot_galaxy_ids: Indices of the spectra that were plotted.
        seed: Seed with which they were drawn; ``None`` if nothing was.
        anomaly_metadata: Flagged windows of **every** spectrum.
        abs_residual_threshold: Threshold of the mean absolute residual of a window.
        rel_residual_threshold: Threshold of the mean relative residual of a window.
        range_mismatch_factor: Threshold of the ratio of the ranges of reconstruction and spectrum.
        json_directory: Folder of the record.
        catalogue: Table with a column ``targetid``, graph of spectra, or names, with one row for every spectrum.
        zpix_cat: The same; its documented name.
        score: Score of every spectrum.
        threshold: Score above which a spectrum is flagged.
        overall_anomaly_threshold: Share of flagged points above which a spectrum is flagged.
        window_size: Points of a window.
        rule: Name of the rule.
        candidates: Indices of the spectra among which those to plot were drawn.
        no_data: Indices of the spectra without a good point.
        wavelength: Wavelengths in angstrom, for the limits of each range.
        data: The spectra, for their checksum and the frame of the wavelengths.

    Shapes:
        - **anomaly_metadata**, **catalogue**, **score:** ``[N]``, **wavelength:** ``[L]`` or ``[N, L]``

    Returns:
        pathlib.Path: The file.

    Raises:
        InputError: If anything has not one entry for each row of the catalogue, an index is not one of its rows, two
            flagged spectra share a name, or a range lies outside the wavelengths.
    """
    if (catalogue is None) == (zpix_cat is None):
        raise InputError("catalogue is missing or given twice; expected one of catalogue and zpix_cat")
    names = target_names(zpix_cat if catalogue is None else catalogue)
    if len(anomaly_metadata) != len(names):
        raise InputError(
            f"anomaly_metadata has {len(anomaly_metadata)} entries and the catalogue {len(names)} rows; expected the "
            "windows of every spectrum, flagged or not"
        )
    flagged = row_indices(galaxy_ids, len(names), "galaxy_ids")
    _check_distinct([names[i] for i in flagged])
    scores = None if score is None else row_values(score, len(names), "score")
    grid = _wavelengths(wavelength, len(names))
    record = {
        "Number of Anomalies": len(flagged),
        "Seed": seed,
        "absolute_residual_threshold": abs_residual_threshold,
        "relative_residual_threshold": rel_residual_threshold,
        "range_mismatch_factor": range_mismatch_factor,
        "anomalous_spectra": {
            names[i]: {
                "anomaly_ranges": [_range(window, None if grid is None else grid[i]) for window in anomaly_metadata[i]],
                "score": None if scores is None else scores[i],
            }
            for i in flagged
        },
        "format_version": FORMAT_VERSION,
        "rule": rule,
        "score_threshold": threshold,
        "overall_anomaly_threshold": overall_anomaly_threshold,
        "window_size": window_size,
        "number_of_spectra": len(names),
        "no_data": [names[i] for i in row_indices(no_data, len(names), "no_data")],
        "plotted": [names[i] for i in row_indices(plot_galaxy_ids, len(names), "plot_galaxy_ids")],
        "sampling": {
            "method": "uniform, without replacement",
            "candidates": len(row_indices(candidates, len(names), "candidates")),
        },
        "wavelength_frame": None if data is None or grid is None else data.get("frame") or "observed",
        "data_checksum": None if data is None else fingerprint(data),
        "software": _software(),
    }
    text = json.dumps(_plain(record), indent=4, allow_nan=False) + "\n"
    with reserved_path(json_directory, "sampling_info", ".json") as path:
        replace_file(path, text)
    return path


def load_sampling_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a record of flagged spectra, one written here or one with the documented keys alone.

    Args:
        path: The file.

    Returns:
        dict: What the file holds, under its keys. What it does not know, and numbers that are not finite, are ``None``.

    Raises:
        InputError: If the file is not such a record, or of a later version.
    """
    path = Path(path).expanduser()
    try:
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("anomalous_spectra"), dict):
        raise InputError(f"{path} is not a record of flagged spectra: it has no 'anomalous_spectra'")
    version = record.setdefault("format_version", None)
    if version is not None and not (isinstance(version, int) and 1 <= version <= FORMAT_VERSION):
        raise InputError(f"{path} has the format version {version!r}; this stgraph reads up to {FORMAT_VERSION}")
    for name, spectrum in record["anomalous_spectra"].items():
        if not _is_entry(spectrum):
            raise InputError(f"{path} is damaged: spectrum {name!r} has no 'anomaly_ranges' with {list(_RANGE_KEYS)}")
    for key in _KEYS:
        record.setdefault(key, None)
    return record


def _check_distinct(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"galaxy_ids names spectra {twice} more than once; expected a name of its own for each")


def _software() -> dict[str, str]:
    versions = {"python": platform.python_version(), "torch": str(torch.__version__), "numpy": np.__version__}
    return {"stgraph": stgraph.__version__} | versions


def _wavelengths(values: Any, count: int) -> np.ndarray[Any, Any] | None:
    if values is None:
        return None
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in (1, 2) or (array.ndim == 2 and len(array) != count):
        raise InputError(f"wavelength has shape {array.shape}; expected (L,) or ({count}, L)")
    return np.broadcast_to(array, (count, array.shape[-1]))


def _range(window: RegionRecord, wavelength: np.ndarray[Any, Any] | None) -> dict[str, Any]:
    """One flagged window with the documented keys, and the wavelengths of its first and last point."""
    start, end = int(window["range_start"]), int(window["range_end"])
    entry = {
        "range_start": start,
        "range_end": end,
        "justification": str(window["reason_type"]),
        "value": float(window["trigger_value"]),
    }
    if wavelength is not None:
        if not 0 <= start < end <= len(wavelength):
            raise InputError(f"anomaly_metadata has a range {start} to {end}; wavelength has {len(wavelength)} points")
        entry |= {"wavelength_start": float(wavelength[start]), "wavelength_end": float(wavelength[end - 1])}
    return entry


def _plain(value: Any) -> Any:
    """Turn into what JSON knows: numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic | torch.Tensor):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_entry(spectrum: Any) -> bool:
    ranges = spectrum.get("anomaly_ranges") if isinstance(spectrum, dict) else None
    return isinstance(ranges, list) and all(isinstance(r, dict) and r.keys() >= set(_RANGE_KEYS) for r in ranges)
