"""What neighbours are worth to a masked autoencoder of stars that share a trend of the instrument.

Mock light curves observed at the same times, with gaps, in groups of 8 stars. The stars of a group share a trend whose
variance is half that of a star's own flux; edges lead to each star from its 7 nearest neighbours on the sky, which are
the others of its group. The same network is trained three times: without neighbours, with them, and with edges from
random stars in their place. Whole groups are held out, so that neither a held-out star nor any of its neighbours was
trained on, in all three. What a neighbour contributes are its visible points: it has hidden ones of its own.

Hidden are 10 to 70 % of the points, in blocks of powers of two up to a quarter of the series, the same ones in all
three. Errors are mean squares in units of the interquartile range of each series, by the weights after the last epoch,
so that nothing is chosen on the held-out stars. Each seed draws its own stars, split, weights and masks.
"""

from __future__ import annotations

import logging
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.masked_autoencoders import LINE, train_and_judge
from stgraph.data.light_curves import write_light_curves
from stgraph.data.simulation.light_curves import simulate_light_curves
from stgraph.tasks.reconstruction_options import ReconstructionOptions

STARS, POINTS, GROUP = 256, 128, 8
DURATION = 27.0  # days, as a sector of TESS
TREND_VARIANCE = 0.5
HELD_OUT = 0.25
WEIGHTINGS = 4
EPOCHS, BATCH_SIZE, LEARNING_RATE = 25, 16, 1e-3
TRANSFORMER = {"encoder_dims": [16, 32, 32], "num_transformer_blocks": 1}

WITHOUT, WITH, SHUFFLED = "no edges", "edges", "shuffled edges"
#: Weightings of the neighbours, and whether random stars take their place.
VARIANTS = {WITHOUT: (0, False), WITH: (WEIGHTINGS, False), SHUFFLED: (WEIGHTINGS, True)}
#: Largest ratio of the errors with edges and without, and largest relative difference of the numbers of parameters.
LARGEST_RATIO, LARGEST_DIFFERENCE = 0.7, 0.05
#: Least ratio with shuffled edges, where seeds do not scatter more than that.
LEAST_SHUFFLED = 0.97


def write_stars(path: Path, stars: int, points: int, seed: int) -> None:
    """Write mock stars; those of a group count as one when they are split."""
    data = simulate_light_curves(
        stars,
        seed=seed,
        points=(points, points),
        duration=(DURATION, DURATION),
        shared_sampling=True,
        group_size=GROUP,
        trend_variance=TREND_VARIANCE,
    )
    data.metadata["star"] = data.metadata["group"]
    write_light_curves(path, data)


def options_of(path: Path, variant: str, epochs: int, seed: int) -> ReconstructionOptions:
    """The run of a variant."""
    neighbors, shuffled = VARIANTS[variant]
    edges = {"edges": "knn", "k": GROUP - 1, "shuffle_edges": shuffled}
    return ReconstructionOptions.from_dict(
        {
            "data": {"path": str(path), "val": HELD_OUT, "test": 0.0, "batch_size": BATCH_SIZE, **edges},
            "model": {"name": "transformer", "arguments": dict(TRANSFORMER), "neighbors": neighbors},
            "optimizer": {"learning_rate": LEARNING_RATE},
            "trainer": {"max_epochs": epochs, "accelerator": "cpu", "progress_bar": False, "tensorboard": False},
            "seed": seed,
        }
    )


def hidden_error(found: dict[str, Any]) -> float:
    """Mean squared error on hidden points."""
    return float(found["errors"]["hidden"]["mse"])


def ratios(found: dict[int, dict[str, dict[str, Any]]], variant: str) -> list[float]:
    """The error of a variant, as a share of that without edges, for each seed."""
    return [hidden_error(runs[variant]) / hidden_error(runs[WITHOUT]) for runs in found.values()]


def verdicts(found: dict[int, dict[str, dict[str, Any]]]) -> list[str]:
    """What is required, and whether it is reached."""

    def said(reached: bool) -> str:
        return "reached" if reached else "MISSED"

    edges, shuffled = ratios(found, WITH), ratios(found, SHUFFLED)
    mean, control = statistics.mean(edges), statistics.mean(shuffled)
    spread = statistics.stdev(shuffled) if len(shuffled) > 1 else 0.0
    least = min(LEAST_SHUFFLED, 1 - spread)
    runs = next(iter(found.values()))
    larger = runs[WITH]["parameters"] / runs[WITHOUT]["parameters"] - 1
    return [
        f"with edges / without: {mean:.3f} ({', '.join(f'{r:.3f}' for r in edges)}), required <= {LARGEST_RATIO:g}: "
        + said(mean <= LARGEST_RATIO),
        f"with shuffled edges / without: {control:.3f} ({', '.join(f'{r:.3f}' for r in shuffled)}), required >= "
        f"{least:.3f}, the lesser of {LEAST_SHUFFLED:g} and 1 less the seeds' scatter: " + said(control >= least),
        f"parameters with edges: {larger:+.2%}, required within {LARGEST_DIFFERENCE:.0%}: "
        + said(abs(larger) <= LARGEST_DIFFERENCE),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train all variants with all seeds."""
    parser = measure.argument_parser(__doc__)
    parser.add_argument("--stars", type=int, default=STARS, help="mock stars")
    parser.add_argument("--points", type=int, default=POINTS, help="points of a light curve")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="epochs of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds")
    args = parser.parse_args(arguments)
    logging.getLogger("stgraph").setLevel(logging.WARNING)
    report = measure.Report("neighbor_context", args.threads, args.results)
    table = [["seed", "variant", "parameters", "seconds", "hidden", "visible", "linear interpolation", "zero"]]
    found: dict[int, dict[str, dict[str, Any]]] = {}
    for seed in args.seeds:
        with tempfile.TemporaryDirectory(prefix="neighbor-context-") as folder:
            path = Path(folder) / "stars.h5"
            write_stars(path, args.stars, args.points, seed)
            found[seed] = {}
            for name in VARIANTS:
                found[seed][name] = train_and_judge(options_of(path, name, args.epochs, seed))
                hidden = hidden_error(found[seed][name])
                print(f"seed {seed}, {name}: hidden {hidden:.4f}", flush=True)
        for name, run in found[seed].items():
            errors = [run["errors"]["hidden"], run["errors"]["visible"]]
            errors += [run["baselines"][simple]["hidden"] for simple in (LINE, "zero")]
            cells = [str(seed), name, str(run["parameters"]), f"{run['training_seconds']:.1f}"]
            table.append(cells + [f"{error['mse']:.4f}" for error in errors])
            report.records.append({"seed": seed, "variant": name, **run})
    report.note(
        f"{args.stars} stars in groups of {GROUP}, {args.points} points in {DURATION:g} days, {args.epochs} epochs in "
        f"batches of {BATCH_SIZE}; mean squared errors of held-out groups:\n{measure.format_table(table)}\n"
    )
    for text in verdicts(found):
        report.note(text)
    report.finish()


if __name__ == "__main__":
    main()
