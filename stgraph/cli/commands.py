"""The commands, each a function of its options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stgraph.cli.files import check_file, require, short
from stgraph.cli.options import EvaluateOptions, InfoOptions, PredictOptions
from stgraph.cli.tables import error_table, seed_table
from stgraph.errors import InputError
from stgraph.tasks.folder import RunFolder, default_output, write_json
from stgraph.tasks.options import RunOptions

__all__ = ["evaluate", "info", "predict", "train"]


def train(options: RunOptions) -> None:
    """Train a model, compare it with simple forecasts and draw the figures of the run."""
    from stgraph.tasks.run import train as train_run

    results = train_run(options)
    if not results:  # one of several processes, and not the first
        return
    folder = RunFolder(options.output or default_output(str(options.data.path)))
    if "seeds" in results:
        print(f"\nTest errors, mean and standard deviation over seeds\n\n{seed_table(results)}")
    else:
        print(f"\n{_headline(results)}\n\n{error_table(results)}")
    if options.report:
        from stgraph.cli.figures import draw_run

        seeds = results.get("seeds")
        for path in [folder.path] if seeds is None else [folder.path / f"seed_{seed}" for seed in seeds]:
            draw_run(path, json.loads(RunFolder(path).results.read_text(encoding="utf-8")))
    print(f"\nEverything about this run is in {short(folder.path)}")


def evaluate(options: EvaluateOptions) -> None:
    """Print the errors of a run, on its own test period or on other data."""
    require(options.run, "the folder of a run")
    check_file(options.output, options.overwrite)
    from stgraph.tasks.inference import LoadedRun, evaluate_run
    from stgraph.tasks.trainer import device_of

    run = LoadedRun(options.run)
    series = None if options.data is None else run.read(options.data, options.coords)
    results = evaluate_run(run, series, baselines=options.baselines, device=device_of(options.device))
    print(error_table(results))
    if options.output is not None:
        write_json(Path(options.output), results)


def predict(options: PredictOptions) -> None:
    """Write the forecasts of a run."""
    require(options.run, "the folder of a run")
    require(options.output, "an output file, as --output forecast.csv")
    if Path(options.output).suffix not in (".npz", ".csv"):
        raise InputError(f"output is {options.output!r}; expected a name that ends in .npz or .csv")
    check_file(options.output, options.overwrite)
    from stgraph.tasks.inference import LoadedRun, predict_run, write_forecasts
    from stgraph.tasks.trainer import device_of

    run = LoadedRun(options.run)
    if options.data is not None:
        series = run.read(options.data, options.coords)
    else:
        module = run.datamodule
        series = module.series if module.test_series is None else module.test_series
    forecasts = predict_run(run, series, windows=options.windows, device=device_of(options.device))
    write_forecasts(options.output, forecasts, run)
    windows, nodes, steps = forecasts.prediction.shape[:3]
    print(f"{windows} windows, {nodes} nodes, {steps} steps: {options.output}")


def info(options: InfoOptions) -> None:
    """Print what is in a file, a data set, a run or a model."""
    require(options.target, "a file, a data set, a run or a model")
    from stgraph.cli.describe import describe

    print(describe(options.target, options.coords, options.key))


def _headline(results: dict[str, Any]) -> str:
    share = results["observed_targets"]
    text = f"Test errors over {results['windows']['test']} windows of {results['nodes']} nodes"
    return text if share == 1 else f"{text} ({100 * share:.3g} % of the targets are observed)"
