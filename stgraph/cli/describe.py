"""What ``stgraph info`` says."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch_geometric.data import Data

from stgraph.cli.anomaly_tables import anomaly_summary
from stgraph.cli.parser import describe_arguments
from stgraph.cli.tables import error_table, format_share, part_table, seed_table
from stgraph.data.graph import observed_entries
from stgraph.data.light_curves import read_light_curves, read_spectra
from stgraph.data.spectra import read_object_spectra
from stgraph.errors import InputError
from stgraph.models import MODELS
from stgraph.models.fno_options import FNOOptions
from stgraph.models.options import PRESETS, SpecTraNetOptions, nearest_name
from stgraph.tasks.anomaly_input import anomaly_kind_of
from stgraph.tasks.anomaly_options import AnomalyOptions
from stgraph.tasks.folder import RunFolder, read_config, read_options
from stgraph.tasks.options import DATASETS, DataOptions
from stgraph.tasks.reconstruction_input import kind_of, spectra_in
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.series import read_series

__all__ = ["describe", "describe_series"]


def describe(target: str, coords: str | None = None, key: str | None = None) -> str:
    """Describe a file, a data set, a run or a model.

    Raises:
        InputError: If the target is none of these.
    """
    path = Path(target).expanduser()
    if path.is_dir() and path.suffix != ".zarr":
        return describe_run(RunFolder(path))
    if target in MODELS:
        return describe_model(target)
    if target not in DATASETS and not path.exists():
        names = [*DATASETS, *MODELS]
        raise InputError(f"{target!r} is no file, run, data set or model{nearest_name(target, names)}")
    if key is None and path.suffix not in (".fits", ".fit", ".gz") and anomaly_kind_of(target) == "spectra":
        return describe_object_spectra(read_object_spectra(path))
    kind = "series" if key is not None else kind_of(target)
    if kind == "light_curves":
        return describe_curves(read_light_curves(path))
    if kind == "spectra":
        return describe_spectra(read_spectra(path, spectra_in(target)[:1]))
    # A data set that has edges of its own brings them.
    return describe_series(read_series(target, DataOptions(path=target, coords=coords, key=key, edges="own")))


def describe_series(series: Data) -> str:
    """Describe the graph of a series: sizes, channels, what is missing, times and edges.

    >>> print(describe_series(Data(x=torch.tensor([[[1.0], [3.0]]]), pos=torch.zeros(1, 2))))
    nodes       1
    steps       2
    channels    1
    missing     0 %
    channel 0   1 to 3, mean 2, 0 % missing
    coordinates 2 dimensions, 0 to 0, 0 to 0
    """
    nodes, steps, channels = series.x.shape
    mask = series.get("mask")
    missing = 0.0 if mask is None else 1 - float(mask.float().mean())
    grid = series.get("grid")
    facts = {
        "nodes": f"{nodes}" if grid is None else f"{nodes} (grid of {grid[0]} x {grid[1]})",
        "steps": f"{steps}",
        "channels": f"{channels}",
        "missing": format_share(missing),
    }
    names = series.get("channel_names") or [f"channel {i}" for i in range(channels)]
    for i, name in enumerate(names):
        facts[name] = _describe_channel(series, i)
    facts |= _describe_time(series) | _describe_graph(series)
    return _aligned(facts)


def describe_curves(curves: Data) -> str:
    """Describe light curves: how many, how long, how dense, and what else is known of the stars."""
    count = curves.x.shape[0]
    points = curves.mask.sum(dim=(1, 2)) if curves.get("length") is None else curves.length
    time = curves.time if curves.time.dim() == 2 else curves.time.expand(count, -1)
    last = (curves.mask[..., 0] * torch.arange(time.shape[1])).amax(dim=1, keepdim=True)
    duration = time.gather(1, last)[:, 0] - time[:, 0]
    facts = {
        "light curves": f"{count}",
        "points": f"{int(points.min())} to {int(points.max())}, {int(points.sum())} in all",
        "duration": f"{duration.min():.4g} to {duration.max():.4g} days",
        "times": "each star has its own" if curves.time.dim() == 2 else "the same for all stars",
        "flux": _describe_channel(curves, 0).rpartition(",")[0],
    }
    if curves.get("sky") is not None:
        ra, dec = (f"{low:.4g} to {high:.4g}" for low, high in zip(curves.sky.amin(0), curves.sky.amax(0), strict=True))
        facts["sky"] = f"right ascension {ra}, declination {dec} degrees"
    facts["metadata"] = ", ".join(curves.get("metadata") or {}) or "none"
    return _aligned(facts)


def describe_spectra(spectra: Data) -> str:
    """Describe spectra: how many, their frequencies, and what else is known of the stars."""
    facts = {"spectra": f"{spectra.x.shape[0]}", "bins": f"{spectra.x.shape[1]}"}
    frequency = spectra.get("frequency")
    if frequency is not None:
        grid = "the same for all stars" if frequency.dim() == 1 else "each star has its own"
        facts["frequency"] = f"{frequency.min():.4g} to {frequency.max():.4g} per day, {grid}"
    facts[spectra.channel_names[0]] = _describe_channel(spectra, 0).rpartition(",")[0]
    facts["metadata"] = ", ".join(spectra.get("metadata") or {}) or "none"
    return _aligned(facts)


def describe_object_spectra(spectra: Data) -> str:
    """Describe spectra of objects: how many, their wavelengths, what is missing, and what else is known of them."""
    good = observed_entries(spectra)
    wavelength, redshift = spectra.wavelength, spectra.get("redshift")
    grid = "the same for all" if wavelength.dim() == 1 else "each spectrum has its own"
    facts = {
        "spectra": f"{spectra.x.shape[0]}",
        "points": f"{spectra.x.shape[1]}",
        "wavelength": f"{wavelength.min():.6g} to {wavelength.max():.6g} angstrom, {grid}",
        "flux": _describe_channel(spectra, 0),
        "no data": f"{int((~good.any(dim=2).any(dim=1)).sum())} spectra",
        "errors": "known" if spectra.get("flux_error") is not None else "not known",
    }
    if redshift is not None and not bool(redshift.isnan().all()):
        known = redshift[~redshift.isnan()]
        facts["redshift"] = f"{known.min():.4g} to {known.max():.4g}, {int(redshift.isnan().sum())} unknown"
    if spectra.get("anomalous") is not None:
        facts["labels"] = f"{int(spectra.anomalous.sum())} spectra are anomalous"
    facts["metadata"] = ", ".join(spectra.get("metadata") or {}) or "none"
    return _aligned(facts)


def _aligned(facts: dict[str, str]) -> str:
    width = max(len("coordinates"), *(len(name) for name in facts)) + 1
    return "\n".join(f"{name.ljust(width)}{value}" for name, value in facts.items())


def _describe_channel(series: Data, channel: int) -> str:
    values, mask = series.x[..., channel], series.get("mask")
    observed = values.flatten() if mask is None else values[mask[..., channel]]
    if observed.numel() == 0:
        return "never observed"
    missing = format_share(1 - observed.numel() / values.numel())
    return f"{observed.min():g} to {observed.max():g}, mean {observed.double().mean():.4g}, {missing} missing"


def _describe_time(series: Data) -> dict[str, str]:
    time = series.get("time")
    if time is None:
        return {}
    if time.dim() == 2:
        return {"time": "each node has its own times"}
    if time.is_floating_point():
        facts = {"time": f"{time[0]:g} to {time[-1]:g}"}
        return facts if len(time) < 2 else {**facts, "time step": f"{(time[1:] - time[:-1]).median():g}"}
    import numpy as np
    import pandas as pd

    first, last = (np.datetime_as_string(t, unit="m") for t in time[[0, -1]].numpy().astype("datetime64[ns]"))
    facts = {"time": f"{first} to {last}"}
    if len(time) > 1:
        step = time[1:] - time[:-1]
        usual = int(step.median())
        uneven = int((step != usual).sum())
        facts["time step"] = f"{pd.Timedelta(usual, unit='ns')}" + (f", {uneven} steps differ" if uneven else "")
    return facts


def _describe_graph(series: Data) -> dict[str, str]:
    facts = {}
    pos = series.get("pos")
    if pos is not None:
        ranges = ", ".join(f"{low:g} to {high:g}" for low, high in zip(pos.amin(0), pos.amax(0), strict=True))
        facts["coordinates"] = f"{pos.shape[1]} dimensions, {ranges}"
    edges = series.get("edge_index")
    if edges is not None:
        degree = torch.bincount(edges[1], minlength=series.x.shape[0])
        facts["edges"] = f"{edges.shape[1]}, in-degree {int(degree.min())} to {int(degree.max())}"
    return facts


def describe_run(folder: RunFolder) -> str:
    """Describe a run: what it was trained on, how far it is, and its errors.

    Raises:
        InputError: If the folder holds no run.
    """
    if folder.is_reconstruction:
        return _describe_reconstruction(folder)
    if folder.is_anomaly:
        return _describe_anomalies(folder)
    options = read_config(folder.config)
    data = options.data
    lines = [
        f"run of {options.model.name} on {data.path}",
        f"{data.input_steps} steps in, {data.horizon} out, seed {options.seed}",
    ]
    if not folder.results.is_file():
        return "\n".join([*lines, _state(folder)])
    results: dict[str, Any] = json.loads(folder.results.read_text(encoding="utf-8"))
    if "seeds" in results:
        return "\n".join([*lines, "", seed_table(results)])
    lines.append(f"{results['parameters']} parameters, {results.get('epochs', 0)} epochs")
    return "\n".join([*lines, "", error_table(results)])


def _state(folder: RunFolder) -> str:
    return "interrupted; continue it with --resume" if folder.last.is_file() else "not trained"


def _describe_reconstruction(folder: RunFolder) -> str:
    options = read_options(folder.config, ReconstructionOptions)
    lines = [f"reconstruction run of {options.model.name} on {options.data.path}", f"seed {options.seed}"]
    if not folder.results.is_file():
        return "\n".join([*lines, _state(folder)])
    results: dict[str, Any] = json.loads(folder.results.read_text(encoding="utf-8"))
    lines.append(f"{results['parameters']} parameters, {results['epochs']} epochs")
    return "\n".join([*lines, "", f"Mean squared errors on {results['stage']}, scaled", "", part_table(results)])


def _describe_anomalies(folder: RunFolder) -> str:
    options = read_options(folder.config, AnomalyOptions)
    lines = [f"anomaly run of {options.detector.name} on {options.data.path}", f"seed {options.seed}"]
    if not folder.results.is_file():
        return "\n".join([*lines, _state(folder)])
    results: dict[str, Any] = json.loads(folder.results.read_text(encoding="utf-8"))
    if options.trains:
        lines.append(f"{results['parameters']} parameters, {results['epochs']} epochs")
    return "\n".join([*lines, "", anomaly_summary(results)])


def describe_model(name: str) -> str:
    """Describe a model: what it is and which options it has, with the values of the presets."""
    from stgraph.models import get_model

    first = (get_model(name).__doc__ or "").strip().split("\n")[0]
    line = f"{name}: {first}"
    if name == "spectranet":
        title = "the values of the presets " + " and ".join(PRESETS)
        return "\n".join([line, "", *_option_lines(SpecTraNetOptions, title, list(PRESETS.values()))])
    if name == "fno":
        values = dataclasses.asdict(FNOOptions().with_defaults())
        return "\n".join([line, "", *_option_lines(FNOOptions, "the values where none is given", [values])])
    return line


def _option_lines(cls: type[Any], title: str, columns: list[dict[str, Any]]) -> list[str]:
    """List the options of a model, one a line, with some columns of values."""
    texts = describe_arguments(cls)
    lines = [f"options (--model.NAME), with {title}", ""]
    for field in dataclasses.fields(cls):
        values = " | ".join(str(column.get(field.name)) for column in columns)
        lines.append(f"  {field.name:<24}{values:<24}{texts.get(field.name, '').replace('``', '')}")
    return lines
