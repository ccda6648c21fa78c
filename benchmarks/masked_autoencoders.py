"""Masked autoencoders of spectra and light curves, beside what is easy to say about the points they do not see.

1500 mock light curves, of which a tenth is held out: whole stars, with masks that never change. Spectra are the power
on 1024 logarithmic bins from 1/T to half the inverse of the median step of each star, compressed by arcsinh and
standardised by themselves; light curves are the first 256 points, less their median and divided by their interquartile
range. 10 to 70 % of the points are hidden, in blocks of powers of two: up to half the length of spectra, up to 32
points of light curves.

Optimiser, schedule, batch size and clipping are the documented ones of each network, which the package has as defaults
(MLP 128 series in a batch, U-Net 64); only the pyramids on light curves are trained with a learning rate of 1e-3 and 16
series in a batch, half the documented number, as 10 epochs of so few stars are few steps. The errors are those of the
weights after the last epoch, so that nothing is chosen on the held-out curves. All reconstructions of a data set are
judged on the same hidden points. Seconds are those of training with a validation after each epoch, without making and
reading the data.
"""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch_geometric.data import Data

from benchmarks import measure
from stgraph.data.light_curves import spectra_of, write_light_curves, write_spectra
from stgraph.data.simulation.light_curves import simulate_light_curves
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.reconstruction_data import ReconstructionData
from stgraph.tasks.reconstruction_errors import evaluate_reconstruction
from stgraph.tasks.reconstruction_input import read_input, resolve_input
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.reconstruction_run import load_reconstructor, train_reconstruction

CURVES, POINTS, BINS = 1500, 256, 1024
HELD_OUT = 0.1
#: Longest hidden block: half a spectrum, 32 points of a light curve.
LONGEST = {"spectra": 2, "curves": 8}
PYRAMID = {"encoder_dims": [32, 64, 64]}
PARTS = ("hidden", "visible")
LINE = "linear_interpolation"


class Required(NamedTuple):
    """What the error on hidden points and the seconds of training may be at most.

    Args:
        hidden: Mean squared error.
        of_line: The same, as a share of that of linear interpolation.
        seconds: Seconds of training.
    """

    hidden: float | None = None
    of_line: float | None = None
    seconds: float | None = None


class Case(NamedTuple):
    """One network on one data set."""

    name: str
    data: str
    model: str
    arguments: dict[str, Any]
    epochs: int
    learning_rate: float | None = None
    batch_size: int | None = None
    required: Required = Required()


def cases() -> list[Case]:
    """All networks; a new list, so that a caller may change it."""
    transformer = {**PYRAMID, "num_transformer_blocks": 1}
    recurrent = {**PYRAMID, "num_recurrent_blocks": 1}
    return [
        Case("MLP", "spectra", "mlp", {}, 30, required=Required(hidden=0.20, seconds=60)),
        Case("U-Net", "spectra", "unet", {"encoder_dims": [16, 32, 64, 64]}, 10),
        Case("transformer", "curves", "transformer", transformer, 10, 1e-3, 16, Required(of_line=1.0)),
        Case("transformer, longer", "curves", "transformer", transformer, 30, 1e-3, 16, Required(of_line=0.8)),
        Case("minGRU", "curves", "mingru", recurrent, 10, 1e-3, 16),
    ]


def first_points(data: Data, points: int) -> Data:
    """The first points of each light curve."""
    cut = data.clone()
    for name in ("x", "mask", "time", "flux_error"):
        cut[name] = cut[name][:, :points]
    cut.length = cut.length.clamp(max=points)
    return cut


def make_data(folder: Path, curves: int, points: int, bins: int) -> dict[str, Path]:
    """Write mock light curves and their spectra."""
    data = simulate_light_curves(curves)
    paths = {name: folder / f"{name}.h5" for name in LONGEST}
    write_spectra(paths["spectra"], spectra_of(data, bins=bins, grid="own"))
    write_light_curves(paths["curves"], first_points(data, points))
    return paths


def options_of(case: Case, path: Path, longest: int, seed: int) -> ReconstructionOptions:
    """The run of a case."""
    trainer = {"max_epochs": case.epochs, "accelerator": "cpu", "progress_bar": False, "tensorboard": False}
    return ReconstructionOptions.from_dict(
        {
            "data": {"path": str(path), "val": HELD_OUT, "test": 0.0, "batch_size": case.batch_size},
            "masking": {"max_block_size": longest, "min_mask_ratio": 0.1, "max_mask_ratio": 0.7},
            "model": {"name": case.model, "arguments": case.arguments},
            "optimizer": {"learning_rate": case.learning_rate},
            "trainer": trainer,
            "seed": seed,
        }
    )


def train_and_judge(options: ReconstructionOptions) -> dict[str, Any]:
    """Train, and return errors of the last weights on the held-out series, parameters and seconds of training."""
    with tempfile.TemporaryDirectory(prefix="masked-autoencoders-") as folder:
        output = Path(folder) / "run"
        results = train_reconstruction(dataclasses.replace(options, output=str(output)))
        model = load_reconstructor(RunFolder(output).last)
    resolved = options.resolved()
    source = resolve_input(resolved.data)
    data = ReconstructionData(read_input(source), dataclasses.replace(resolved, data=source))
    found = evaluate_reconstruction(model, data, "val")
    kept = {name: results[name] for name in ("parameters", "training_seconds", "epochs")}
    return {**kept, "batch_size": source.batch_size, "errors": found["errors"], "baselines": found["baselines"]}


def verdict(required: Required, found: dict[str, Any]) -> str:
    """Whether a case is as good and as fast as it must be; empty where nothing is required."""
    hidden, seconds = found["errors"]["hidden"]["mse"], found["training_seconds"]
    line = found["baselines"][LINE]["hidden"]["mse"]
    limits = [
        (required.hidden, hidden, "error"),
        (required.of_line, hidden / line, "of linear interpolation"),
        (required.seconds, seconds, "s"),
    ]
    return "; ".join(
        f"{value:.3g} {what} (required <= {limit:g}): {'reached' if value <= limit else 'MISSED'}"
        for limit, value, what in limits
        if limit is not None
    )


def row(case: Case, found: dict[str, Any]) -> list[str]:
    """A case's row of the table."""
    reconstructions = [found["errors"], *(found["baselines"].get(name) for name in (LINE, "training_mean", "zero"))]
    hidden, line, mean, zero = ("" if e is None else f"{e['hidden']['mse']:.3f}" for e in reconstructions)
    visible = f"{found['errors']['visible']['mse']:.3f}"
    about = [str(case.epochs), str(found["batch_size"]), str(found["parameters"]), f"{found['training_seconds']:.1f}"]
    return [case.name, case.data, *about, hidden, visible, line, mean, zero]


HEADER = ["network", "data", "epochs", "batch", "parameters", "seconds"]
HEADER += ["hidden", "visible", "linear interpolation", "training mean", "zero"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all networks."""
    names = [case.name for case in cases()]
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--curves", type=int, default=CURVES, help="mock light curves")
    parser.add_argument("--points", type=int, default=POINTS, help="points of a light curve")
    parser.add_argument("--bins", type=int, default=BINS, help="bins of a spectrum")
    parser.add_argument("--epochs", type=int, help="epochs of all networks, to see that everything runs")
    parser.add_argument("--seed", type=int, default=42, help="seed of split, weights and masks")
    parser.add_argument("--networks", nargs="+", choices=names, default=names, metavar="NETWORK", help="which to train")
    args = parser.parse_args(arguments)
    logging.getLogger("stgraph").setLevel(logging.WARNING)
    report = measure.Report("masked_autoencoders", args.threads, args.results)
    table, verdicts = [HEADER], []
    with tempfile.TemporaryDirectory(prefix="masked-autoencoders-") as folder:
        paths = make_data(Path(folder), args.curves, args.points, args.bins)
        lengths = {"spectra": args.bins, "curves": args.points}
        for case in (case for case in cases() if case.name in args.networks):
            case = case._replace(epochs=args.epochs or case.epochs)
            longest = max(1, lengths[case.data] // LONGEST[case.data])
            found = train_and_judge(options_of(case, paths[case.data], longest, args.seed))
            table.append(row(case, found))
            print("  ".join(table[-1]), flush=True)
            said = verdict(case.required, found)
            verdicts += [f"{case.name}: {said}"] if said else []
            report.records.append({"network": case.name, "data": case.data, "seed": args.seed, **found})
    report.note(
        f"mean squared errors on the hidden and visible points of {round(HELD_OUT * args.curves)} held-out stars of "
        f"{args.curves}, seed {args.seed}:\n{measure.format_table(table)}\n"
    )
    for text in verdicts:
        report.note(text)
    report.finish()


if __name__ == "__main__":
    main()
