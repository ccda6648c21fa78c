"""``stgraph lightcurve``: light curves, their spectra, and autoencoders of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stgraph.cli.files import check_file, require, short
from stgraph.cli.lightcurve_options import (
    EmbedOptions,
    EvaluateCurvesOptions,
    FillOptions,
    MockOptions,
    SpectraOptions,
)
from stgraph.cli.tables import format_table, part_table
from stgraph.errors import InputError
from stgraph.tasks.reconstruction_options import ReconstructionOptions

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["embed", "evaluate", "fill", "mock", "spectra", "train"]


def mock(options: MockOptions) -> None:
    """Write mock light curves."""
    require(options.output, "an output file, as stgraph lightcurve mock curves.h5")
    check_file(options.output, options.overwrite)
    from stgraph.data.light_curves import write_light_curves
    from stgraph.data.simulation.light_curves import simulate_light_curves, write_mock_light_curves

    settings: dict[str, Any] = {
        "seed": options.seed,
        "classes": options.classes,
        "flare_rate": options.flare_rate,
        "transit_fraction": options.transit_fraction,
    }
    if options.shared_sampling:
        curves = simulate_light_curves(options.n_samples, shared_sampling=True, **settings)
        write_light_curves(options.output, curves)
    else:
        write_mock_light_curves(options.output, options.n_samples, **settings)
    print(f"{options.n_samples} light curves: {options.output}")


def spectra(options: SpectraOptions) -> None:
    """Write the spectra of light curves."""
    require(options.input, "a file of light curves, as stgraph lightcurve spectra curves.h5 spectra.h5")
    require(options.output, "an output file, as stgraph lightcurve spectra curves.h5 spectra.h5")
    check_file(options.output, options.overwrite)
    if Path(options.output).suffix not in (".h5", ".hdf5"):
        raise InputError(f"output is {options.output!r}; expected a name that ends in .h5")
    from stgraph.data.light_curves import read_light_curves, spectra_of, verify_spectra, write_spectra

    curves = read_light_curves(options.input)
    frequency_range = _frequency_range(options)
    data = spectra_of(
        curves,
        NW=options.NW,
        K=options.K,
        bins=options.n_bins,
        spacing=options.spacing,
        grid=options.grid,
        frequency_range=frequency_range,
        batch_size=options.batch_size,
    )
    write_spectra(options.output, data)
    print(f"Spectra of {data.x.shape[0]} of {curves.x.shape[0]} light curves: {options.output}")
    if options.verify:
        print(f"Largest error of undoing the normalisation: {verify_spectra(options.output):.1e}")


def _frequency_range(options: SpectraOptions) -> tuple[float, float] | None:
    if options.freq_min is None and options.freq_max is None:
        return None
    if options.freq_min is None or options.freq_max is None or not 0 < options.freq_min < options.freq_max:
        raise InputError(
            f"freq_min is {options.freq_min} and freq_max {options.freq_max}; expected both, with 0 < freq_min < "
            "freq_max"
        )
    return options.freq_min, options.freq_max


def train(options: ReconstructionOptions) -> None:
    """Train an autoencoder."""
    from stgraph.cli.lightcurve_figures import ReconstructionFigures, draw_training
    from stgraph.tasks.folder import RunFolder, reconstruction_output
    from stgraph.tasks.reconstruction_run import train_reconstruction

    figures = ReconstructionFigures(options.trainer.figures_every_n_epochs)
    results = train_reconstruction(options, [figures])
    if not results:  # one of several processes, and not the first
        return
    folder = RunFolder(reconstruction_output(options))
    print(f"\nMean squared errors on {results['stage']}, scaled\n\n{part_table(results)}")
    draw_training(folder)
    print(f"\nEverything about this run is in {short(folder.path)}")


def evaluate(options: EvaluateCurvesOptions) -> None:
    """Print the errors of a run beside those of simple reconstructions."""
    require(options.run, "the folder of a run")
    check_file(options.output, options.overwrite)
    from stgraph.tasks.reconstruction_inference import LoadedReconstruction
    from stgraph.tasks.trainer import device_of

    run = LoadedReconstruction(options.run)
    table = None if options.output is None else Path(options.output)
    results = run.evaluate(options.data, table=table, device=device_of(options.device))
    print(f"Mean squared errors, scaled\n\n{part_table(results)}")
    print(f"\nHidden points in units of the data\n\n{_unit_table(results)}")
    if "uncertainty" in results:
        print(f"\nCoverage of the central intervals, hidden points\n\n{_coverage_table(results['uncertainty'])}")


def fill(options: FillOptions) -> None:
    """Fill the gaps of series."""
    require(options.run, "the folder of a run")
    require(options.output, "an output file, as --output filled.csv")
    if Path(options.output).suffix not in (".npz", ".csv"):
        raise InputError(f"output is {options.output!r}; expected a name that ends in .npz or .csv")
    check_file(options.output, options.overwrite)
    from stgraph.tasks.reconstruction_inference import LoadedReconstruction, write_filled
    from stgraph.tasks.trainer import device_of

    run = LoadedReconstruction(options.run)
    data = run.read(options.data)
    filled = run.fill(data, device_of(options.device), max_gap=options.max_gap)
    write_filled(options.output, filled, data)
    number = int((~filled.observed & filled.real[..., None]).sum())
    print(f"{number} values filled in {filled.values.shape[0]} series: {options.output}")


def embed(options: EmbedOptions) -> None:
    """Write a latent vector for each series, and predict a property from them where asked."""
    require(options.run, "the folder of a run")
    require(options.output, "an output file, as --output latents.h5")
    check_file(options.output, options.overwrite)
    from stgraph.tasks.latents import write_latents
    from stgraph.tasks.reconstruction_inference import LoadedReconstruction
    from stgraph.tasks.trainer import device_of

    run = LoadedReconstruction(options.run)
    data = run.read(options.data)
    metadata = data.get("metadata") or {}
    if options.target is not None and options.target not in metadata:
        raise InputError(f"target is {options.target!r}; the metadata has {', '.join(metadata) or 'no columns'}")
    latents = run.embed(data, options.pooling, device_of(options.device))
    given = data.get("node_names")
    names = [str(i) for i in range(len(latents))] if given is None else given
    write_latents(options.output, names, latents, metadata)
    print(f"Latent vectors of {len(latents)} series, {latents.shape[1]} numbers each: {options.output}")
    if options.target is not None:
        _predict(options, data, latents.numpy(), metadata.get("star", names))


def _predict(options: EmbedOptions, data: Data, latents: Any, stars: Any) -> None:
    import numpy as np

    from stgraph.tasks.latent_regression import cross_validate_latents

    target = np.asarray(data.metadata[options.target])
    task = "regression" if target.dtype.kind in "fiu" else "classification"
    result = cross_validate_latents(
        latents, target, stars, folds=options.folds, kind=options.regressor, task=task, log10=options.log10
    )
    print(f"\n{options.target} from latent vectors: {options.folds} folds, split by star, {len(result.target)} series")
    print(format_table(["score", "value"], [[name, f"{value:.4g}"] for name, value in result.scores.items()]))


def _unit_table(results: dict[str, Any]) -> str:
    rows = [
        [name, channel, f"{values['mae']:.4g}", f"{values['rmse']:.4g}"]
        for name, channels in results["data_units"].items()
        for channel, values in channels.items()
    ]
    return format_table(["", "channel", "MAE", "RMSE"], rows)


def _coverage_table(uncertainty: dict[str, float]) -> str:
    prefix = "hidden_coverage_"
    rows = [[k.removeprefix(prefix), f"{v:.3f}"] for k, v in uncertainty.items() if k.startswith(prefix)]
    return format_table(["level", "share inside"], rows)
