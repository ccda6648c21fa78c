"""``stgraph anomaly``: what does not fit, in spectra, in networks of sensors and on grids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stgraph.cli.anomaly_options import DetectOptions, InjectOptions, MockSpectraOptions, ReportAnomaliesOptions
from stgraph.cli.anomaly_tables import anomaly_summary, detection_table, highest_scores
from stgraph.cli.files import check_file, require, short
from stgraph.errors import InputError, OutputExistsError
from stgraph.tasks.anomaly_options import AnomalyOptions

if TYPE_CHECKING:
    from stgraph.tasks.anomaly_detection import FoundAnomalies

__all__ = ["detect", "inject", "mock", "report", "train"]


def mock(options: MockSpectraOptions) -> None:
    """Write mock spectra of galaxies."""
    require(options.output, "an output file, as stgraph anomaly mock galaxies.h5")
    check_file(options.output, options.overwrite)
    if Path(options.output).suffix.lower() not in (".h5", ".hdf5", ".npz", ".csv"):
        raise InputError(f"output is {options.output!r}; expected a name that ends in .h5, .npz or .csv")
    from stgraph.data.simulation.anomalies import analytic_galaxies
    from stgraph.data.spectra import write_object_spectra

    write_object_spectra(options.output, analytic_galaxies(options.n, length=options.length, seed=options.seed))
    print(f"{options.n} spectra of {options.length} points: {options.output}")


def inject(options: InjectOptions) -> None:
    """Write spectra with anomalies at known places."""
    example = "as stgraph anomaly inject galaxies.h5 labelled.h5"
    require(options.input, f"a file of spectra, {example}")
    require(options.output, f"an output file, {example}")
    check_file(options.output, options.overwrite)
    if Path(options.output).suffix.lower() not in (".h5", ".hdf5", ".npz"):
        raise InputError(f"output is {options.output!r}; expected a name that ends in .h5 or .npz")
    from stgraph.data.simulation.anomalies import inject as inject_anomalies
    from stgraph.data.spectra import read_object_spectra, write_object_spectra

    chosen: dict[str, Any] = {} if options.kinds is None else {"kinds": options.kinds}
    data = inject_anomalies(read_object_spectra(options.input), fraction=options.fraction, seed=options.seed, **chosen)
    write_object_spectra(options.output, data)
    print(f"{int(data.anomalous.sum())} of {data.x.shape[0]} spectra have an anomaly: {options.output}")


def train(options: AnomalyOptions) -> None:
    """Learn what is normal, and tell what is not."""
    from stgraph.report.anomaly_html import write_anomaly_report
    from stgraph.tasks.anomaly_run import train_anomaly
    from stgraph.tasks.folder import RunFolder, anomaly_output

    results = train_anomaly(options)
    folder = RunFolder(anomaly_output(options))
    print(f"\n{anomaly_summary(results)}")
    write_anomaly_report(folder.path)
    print(f"\nEverything about this run is in {short(folder.path)}")


def detect(options: DetectOptions) -> None:
    """Print and write what a run finds in other data."""
    require(options.run, "the folder of a run")
    if options.rows < 1:
        raise InputError(f"rows is {options.rows}; expected at least 1")
    from stgraph.tasks.anomaly_detection import evaluate_detection, write_found
    from stgraph.tasks.anomaly_records import save_anomaly_record
    from stgraph.tasks.folder import RunFolder, write_json
    from stgraph.tasks.trainer import device_of

    run = RunFolder(options.run)
    place = None if options.output is None else Path(options.output)
    if place is not None and place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise OutputExistsError(f"output folder {place} exists and is not empty; choose another one")
    judged = _detect(run, options, device_of(options.device))
    place = new_folder(run.path, "detections") if place is None else place
    place.mkdir(parents=True, exist_ok=True)
    write_found(judged, place / "anomalies.npz", place / "scores.csv")
    save_anomaly_record(
        judged.found,
        judged.names,
        json_directory=place,
        wavelength=judged.data.get("wavelength"),
        data=judged.data,
    )
    print(highest_scores(judged, options.rows))
    scores = evaluate_detection(judged.found, judged.data)
    if scores is not None:
        write_json(place / "detection.json", scores)
        print(f"\nAgainst the labels of the data\n\n{detection_table(scores)}")
    print(f"\nScores, regions and the record are in {short(place.absolute())}")


def _detect(run: Any, options: DetectOptions, device: str) -> FoundAnomalies:
    if run.is_reconstruction:
        from stgraph.tasks.anomaly_uncertainty import detect_by_uncertainty

        if options.catalog is not None:
            raise InputError("catalog is for spectra of objects; the run is one of stgraph lightcurve train")
        chosen = {} if options.block is None else {"block": options.block}
        return detect_by_uncertainty(run.path, options.data, device=device, **chosen)
    if options.block is not None:
        raise InputError("block is for runs of stgraph lightcurve train; that of stgraph anomaly train hides nothing")
    from stgraph.tasks.anomaly_inference import LoadedAnomaly

    return LoadedAnomaly(run.path).detect(options.data, catalog=options.catalog, device=device)


def report(options: ReportAnomaliesOptions) -> None:
    """Write the report of a run."""
    require(options.run, "the folder of a run")
    from stgraph.report.anomaly_html import write_anomaly_report

    print(short(write_anomaly_report(options.run)))


def new_folder(parent: Path, base: str) -> Path:
    """Make the folder ``base_{number}`` with the next number that is free."""
    taken = [int(p.name.rpartition("_")[2]) for p in parent.glob(f"{base}_*") if p.name.rpartition("_")[2].isdigit()]
    number = max(taken, default=0) + 1
    while True:
        try:
            (parent / f"{base}_{number}").mkdir()
            return parent / f"{base}_{number}"
        except FileExistsError:  # another process was faster
            number += 1
