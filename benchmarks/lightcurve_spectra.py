"""What the spectra of a mock light curve cost, from drawing the curve to the normalised channels.

``mock`` draws the light curves, of 200 to 999 points each. ``finufft`` and ``torch`` draw them and make of them
density, autocorrelation and F-statistic at 1024 logarithmic frequencies with seven tapers, by the two engines of the
Fourier transform; before they are timed, both must give the same spectra. Each repeat draws other curves, so tapers of
lengths that did not occur before are part of the time; in a set of many thousands nearly all lengths have occurred.

The targets are milliseconds per curve on one core, so ``--threads 1`` is the default.
"""

from __future__ import annotations

import importlib.util
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence

from torch_geometric.data import Data

from benchmarks import measure
from stgraph.data.light_curves import spectra_of
from stgraph.data.simulation.light_curves import simulate_light_curves

CURVES, QUICK = 200, 4
ENGINES = {"finufft": "finufft", "torch": "gridding"}
#: Largest number of milliseconds per curve.
TARGETS = {"finufft": 20.0, "torch": 60.0}
#: Largest difference of normalised values, relative to the largest one.
TOLERANCE = 1e-4


def mock(count: int, calls: Iterator[int]) -> Callable[[], Data]:
    """Light curves that were not drawn before."""
    return lambda: simulate_light_curves(count, first=count * next(calls))


def transform(name: str, count: int, calls: Iterator[int]) -> Callable[[], Data]:
    """The spectra of such curves."""
    draw = mock(count, calls)
    return lambda: spectra_of(draw(), engine=ENGINES[name])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all engines."""
    parser = measure.argument_parser(__doc__)
    parser.set_defaults(threads=1, repeats=5, warmup=1)
    parser.add_argument("--quick", action="store_true", help="a few curves, to see that everything runs")
    args = parser.parse_args(arguments)
    report = measure.Report("lightcurve_spectra", args.threads, args.results)
    count = QUICK if args.quick else CURVES
    names = [name for name in ENGINES if name == "torch" or importlib.util.find_spec("finufft") is not None]
    results = {name: transform(name, QUICK, itertools.count())().x for name in names}
    if len(names) > 1:
        measure.check_equal("finufft and torch", results["finufft"], results["torch"], TOLERANCE)
    calls = itertools.count(1)
    steps: dict[str, measure.Step] = {"mock": mock(count, calls)}
    steps |= {name: transform(name, count, calls) for name in names}
    seconds = measure.time_in_turns(steps, args.repeats, args.warmup)
    for name, values in seconds.items():
        cost = 1e3 * statistics.median(values) / count
        target = TARGETS.get(name)
        verdict = "" if target is None else f" (<= {target:g}: {'reached' if cost <= target else 'MISSED'})"
        report.note(f"{name}: {cost:.2f} ms per curve{verdict}")
        report.records.append({"case": name, "curves": count, "milliseconds_per_curve": cost, "target": target})
    if len(names) > 1:
        report.compare(f"{count} curves", "finufft", "torch", seconds)
    report.finish()


if __name__ == "__main__":
    main()
