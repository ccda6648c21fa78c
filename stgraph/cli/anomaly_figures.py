"""Pictures of what a run finds anomalous."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from stgraph.cli.anomaly_options import PlotAnomaliesOptions
from stgraph.cli.files import require, short
from stgraph.data.graph import observed_entries
from stgraph.errors import InputError
from stgraph.report.anomaly import MAX_ROWS, plot_combined_spectra, plot_reconstruction_error_distribution
from stgraph.report.anomaly_series import MAX_NODES, flagged_share_map, score_overview, series_anomalies
from stgraph.report.sky_images import SkyImages
from stgraph.report.style import save_figure
from stgraph.tasks.anomaly_detection import FoundAnomalies
from stgraph.tasks.anomaly_inference import LoadedAnomaly
from stgraph.tasks.anomaly_records import save_anomaly_record
from stgraph.tasks.trainer import device_of
from stgraph.tasks.unique_files import reserved_path

__all__ = ["plot"]


def plot(options: PlotAnomaliesOptions) -> None:
    """Draw what a run finds in its own or in other data."""
    require(options.run, "the folder of a run")
    if not 1 <= options.max_samples <= MAX_ROWS:
        raise InputError(f"max_samples is {options.max_samples}; expected 1 to {MAX_ROWS}")
    if options.image_cache is not None and options.image_provider is None:
        raise InputError("image_cache keeps images of image_provider, which is not given")
    run = LoadedAnomaly(options.run)
    for name in ("image_provider", "seed"):
        if getattr(options, name) is not None and run.options.data.kind == "series":
            raise InputError(f"{name} is for spectra, and the run is one of a series")
    judged = run.detect(options.data, catalog=options.catalog, device=device_of(options.device))
    output = run.folder.figures if options.output is None else Path(options.output)
    before = set(output.iterdir()) if output.is_dir() else set()
    if judged.found.score.isfinite().any():
        found = judged.found
        figure = score_overview(found.score, found.threshold, anomalous=found.anomalous, names=judged.names)
        _save(figure, output, "scores")
    if run.options.data.kind == "spectra":
        _draw_spectra(judged, options, output)
    else:
        _draw_series(run, judged, options, output)
    for path in sorted(set(output.iterdir()) - before):
        print(short(path.absolute()))


def _draw_spectra(judged: FoundAnomalies, options: PlotAnomaliesOptions, output: Path) -> None:
    found, data = judged.found, judged.data
    mask = observed_entries(data)
    drawn = plot_combined_spectra(
        data.x,
        found.expected,
        found.regions,
        found.anomalous,
        data,
        data.wavelength,
        output,
        options.max_samples,
        options.seed,
        options.only_anomalous,
        mask=mask,
        image_provider=SkyImages(options.image_provider, options.image_cache),
    )
    if not drawn[1]:
        print("No spectrum is anomalous: nothing to draw" if options.only_anomalous else "Nothing to draw")
    if found.expected is not None:
        errors = (data.x[..., 0] - found.expected.view(data.x.shape[:2])).abs()
        at_rest = data.get("frame") == "rest"
        plot_reconstruction_error_distribution(errors, data.wavelength, output, mask=mask, at_rest=at_rest)
    save_anomaly_record(found, judged.names, json_directory=output, drawn=drawn, wavelength=data.wavelength, data=data)


def _draw_series(run: LoadedAnomaly, judged: FoundAnomalies, options: PlotAnomaliesOptions, output: Path) -> None:
    found, data = judged.found, judged.data
    mask = observed_entries(data)
    order = found.score.nan_to_num(-np.inf).argsort(descending=True, stable=True).tolist()
    wanted = (~found.no_data & found.anomalous if options.only_anomalous else ~found.no_data).tolist()
    allowed = [i for i in order if wanted[i]]
    nodes = sorted(allowed[: min(options.max_samples, MAX_NODES)])
    if not nodes:
        print("No node is anomalous: nothing to draw")
    channels = data.get("channel_names") or [f"channel {i}" for i in range(data.x.shape[2])]
    # Of several channels, a result holds the one that deviates most.
    several = run.detector.cpu().deviation(data) if len(channels) > 1 else None
    for channel, name in enumerate(channels) if nodes else ():
        expected, z = (found.expected, found.deviation) if several is None else (v[..., channel] for v in several[:2])
        figure = series_anomalies(
            data.x[..., channel],
            expected,
            z,
            found.regions,
            mask=mask[..., channel],
            time=data.get("time"),
            nodes=nodes,
            node_names=judged.names,
            channel_name=str(name),
        )
        _save(figure, output, "series" if len(channels) == 1 else f"series_{_plain(str(name))}")
    if data.get("grid") is not None:
        _save(flagged_share_map(found.regions, tuple(data.grid), mask=mask.any(dim=2)), output, "flagged_share")


def _plain(name: str) -> str:
    """Keep of a name what a file may be called."""
    return "".join(c if c.isalnum() else "_" for c in name)


def _save(figure: Figure, directory: Path, base: str) -> None:
    with reserved_path(directory, base) as path:
        save_figure(figure, path)
