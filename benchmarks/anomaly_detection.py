"""Detectors of anomalies in spectra and in series, on anomalies whose place and kind are known.

    python benchmarks/anomaly_detection.py --part spectra --seeds 3 --threads 1

Spectra: 600 mock galaxies of 1001 points, of which 60 get one anomaly; set A is made of formulas, set B of the
eigenspectra of the SDSS (needs STGRAPH_DATA and astropy). Two tables: anomalies of a region (line, bump, noisy, gap,
step), and spectra of broken or swapped fibres (dead_pixels, swapped). Nothing is known about which spectra are
anomalous: every method learns from the spectra that it judges. Principal components, isolation forest and local
outlier factor get the same spectra as our detectors: in the rest frame, scaled by median and interquartile range, bad
points filled with the median of the others; "our errors and windows" also gives principal components the known errors
and the windows of our detector. The documented autoencoder is trained as documented, on all spectra as observed, scaled
to 0 to 1, for 50 epochs.

Series: the first 60 % of the steps are for learning, events are injected into the rest. Scores of windows become scores
of points (the largest of the windows that hold a point); precision, recall and F1 count points.

Methods without a rule of their own flag what lies above the median + 5 * 1.4826 median absolute deviations of the
scores. No option was chosen by the labels. Seconds are processor time of training and scoring together.

Each finished cell leaves a small file in the work folder and is not repeated: a run that was interrupted goes on where
it stopped, and ``--tables-only`` makes the tables of what is there. The names of the files say nothing of the code:
take another work folder after changing it.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import logging
import re
import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks import anomaly_detection_series as series
from benchmarks import anomaly_detection_spectra as spectra
from benchmarks import measure
from stgraph.tasks.folder import write_json

SPECTRA, POINTS = 600, 1001
PARTS = ("spectra", "series")
REGIONS, WHOLE, EVENTS = "regions", "whole", "events"
Records = list[dict[str, Any]]


class Cell(NamedTuple):
    """One fit on one set with one seed."""

    part: str
    data: str
    injection: str
    fit: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its file."""
        fit = re.sub(r"\W+", "_", self.fit).strip("_")
        return "-".join((self.part, self.data, self.injection, fit, str(self.seed)))


def cells(args: argparse.Namespace) -> Iterator[Cell]:
    """All cells, those that take long last."""
    if "spectra" in args.part:
        late = ("documented", "bottleneck", "no_skip", "documented_bottleneck")
        quick = [fit for fit in args.fits if fit not in late]
        slow = [fit for fit in late if fit in args.fits]
        for seed, injection, name, fit in itertools.product(range(args.seeds), (REGIONS, WHOLE), args.sets, quick):
            yield Cell("spectra", name, injection, fit, seed)
        for fits, injection in ((slow[:2], REGIONS), (slow[:2], WHOLE), (slow[2:], REGIONS), (slow[2:], WHOLE)):
            for seed, fit, name in itertools.product(range(args.seeds), fits, args.sets):
                yield Cell("spectra", name, injection, fit, seed)
    if "series" in args.part:
        for seed, name, method in itertools.product(range(args.seeds), args.series, series.METHODS):
            yield Cell("series", name, EVENTS, method, seed)


def run(cell: Cell, args: argparse.Namespace) -> Records:
    """What the methods of a cell reach."""
    if cell.part == "spectra":
        found = spectra.judge(_spectra(cell.data, cell.injection, cell.seed, args), cell.fit)
    else:
        found = series.judge(series.make_case(_series(cell.data), series.FRACTIONS[cell.data], cell.seed), cell.fit)
    about = {name: getattr(cell, name) for name in ("part", "data", "injection", "seed")}
    return [about | {"threads": args.threads} | record for record in found]


def _spectra(name: str, injection: str, seed: int, args: argparse.Namespace) -> spectra.Case:
    return _case(name, injection, args.spectra, args.points, seed, args.epochs)


_case = functools.lru_cache(maxsize=1)(spectra.make_case)
_series = functools.lru_cache(maxsize=1)(series.series)


def run_all(wanted: Iterable[Cell], args: argparse.Namespace) -> None:
    """Run the cells that have not run yet."""
    args.work.mkdir(parents=True, exist_ok=True)
    for cell in wanted:
        path = args.work / f"{cell.name}.json"
        if path.is_file():
            continue
        found = run(cell, args)
        write_json(path, {"records": found})
        for record in found:
            print(f"{cell.name} {record['method']}: AUPRC {record['auprc']:.3f}, {record['seconds']:.1f} s", flush=True)


def read(wanted: Iterable[Cell], work: Path) -> Records:
    """What the finished cells left in the work folder."""
    paths = (work / f"{cell.name}.json" for cell in wanted)
    return [record for path in paths if path.is_file() for record in json.loads(path.read_text())["records"]]


def known(records: Records, *keys: str) -> list[float]:
    """The values of some records that are known."""
    values = (functools.reduce(lambda value, key: (value or {}).get(key), keys, record) for record in records)
    return [value for value in values if value is not None]


def spread(records: Records, *keys: str, digits: int = 3) -> str:
    """Mean and standard deviation over the seeds."""
    values = known(records, *keys)
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def mean(records: Records, *keys: str, digits: int = 2) -> str:
    """Mean over the seeds."""
    values = known(records, *keys)
    return f"{statistics.mean(values):.{digits}f}" if values else ""


def by_method(records: Records) -> dict[str, Records]:
    """The records of each method, the best mean AUPRC first."""
    methods: dict[str, Records] = {}
    for record in records:
        methods.setdefault(record["method"], []).append(record)
    return dict(sorted(methods.items(), key=lambda item: -statistics.mean(known(item[1], "auprc"))))


SCORES = {"AUPRC": "auprc", "AUROC": "auroc", "precision": "precision", "recall": "recall", "F1": "f1"}


def main_table(records: Records, extra: dict[str, tuple[str, int]]) -> str:
    """Scores of all methods, mean ± standard deviation over the seeds."""
    rows = [["method", "rule", "seeds", *SCORES, "false positives", *extra, "s"]]
    for name, found in by_method(records).items():
        row = [name, found[0]["rule"], str(len(found)), *(spread(found, key) for key in SCORES.values())]
        row += [spread(found, "false_positive_rate", digits=4)]
        row += [mean(found, key, digits=digits) for key, digits in extra.values()]
        rows.append([*row, mean(found, "seconds", digits=1)])
    return measure.format_table(rows)


def kind_table(records: Records, names: dict[str, str]) -> str:
    """Scores of each kind, mean over the seeds."""
    kinds = sorted({kind for record in records for kind in record["kinds"]})
    rows = [["method", *(f"{kind} {name}" for kind in kinds for name in names)]]
    for name, found in by_method(records).items():
        rows.append([name, *(mean(found, "kinds", kind, each) for kind in kinds for each in names.values())])
    return measure.format_table(rows)


def lead(records: Records, ours: Sequence[str]) -> str:
    """Whether the first of our methods has a higher mean AUPRC than all that are not ours; and the best of ours."""
    scores = {name: statistics.mean(known(found, "auprc")) for name, found in by_method(records).items()}
    others = {name: value for name, value in scores.items() if name not in ours}
    if ours[0] not in scores or not others:
        return "leads on AUPRC: not measured"
    peer = max(others, key=others.__getitem__)
    said = f"{ours[0]} {scores[ours[0]]:.3f}, best other: {peer} {others[peer]:.3f}"
    best = max((name for name in scores if name in ours), key=scores.__getitem__)
    also = f"; best of ours: {best} {scores[best]:.3f}" if best != ours[0] else ""
    return ("leads on AUPRC: " if scores[ours[0]] > others[peer] else "does not lead on AUPRC: ") + said + also


def copying_table(records: Records) -> str:
    """How much of the anomalies the forms of the autoencoder copy."""
    rows = [["set", "network", "seeds", "inside / outside", "share left", "clean RMSE"]]
    copied = [record for record in records if record.get("left") is not None]
    for data in sorted({record["data"] for record in copied}):
        for name, found in by_method([record for record in copied if record["data"] == data]).items():
            scores = (
                spread(found, key, digits=d) for key, d in (("inside_over_outside", 2), ("left", 3), ("clean_rmse", 4))
            )
            rows.append([data, name.removesuffix(", documented rule"), str(len(found)), *scores])
    return measure.format_table(rows)


def of(records: Records, **keys: str) -> Records:
    """The records with these values."""
    return [record for record in records if all(record[key] == value for key, value in keys.items())]


def tables(records: Records) -> list[str]:
    """All tables of what has run."""
    texts = []
    for injection, data in itertools.product((REGIONS, WHOLE), spectra.SETS):
        some = of(records, part="spectra", injection=injection, data=data)
        if some:
            kinds = ", ".join(spectra.INJECTIONS[injection])
            texts.append(
                f"spectra, set {data} ({spectra.SETS[data]}), {kinds}\n{main_table(some, {'IoU': ('iou', 2)})}\n\n"
                f"AUPRC of each kind against the clean spectra, and its recall\n"
                f"{kind_table(some, {'AUPRC': 'auprc', 'recall': 'recall'})}\n\n{lead(some, spectra.OURS)}\n"
            )
    copied = of(records, part="spectra", injection=REGIONS)
    if any(record.get("left") is not None for record in copied):
        texts.append(
            "What autoencoders copy: mean absolute residual inside of injected regions over that of clean spectra, and "
            f"the share of what was injected that is left in the residual (0: all copied)\n{copying_table(copied)}\n"
        )
    for data in series.SETS:
        some = of(records, part="series", data=data)
        if some:
            found = {"found": ("found", 2), "delay": ("delay", 1), "known after": ("known", 1)}
            strict = {"found at 1 %": ("found_strict", 2), "known after at 1 %": ("known_strict", 1)}
            kinds = {"AUPRC": "auprc", "found": "found", "delay": "delay", "at 1 %": "found_strict"}
            texts.append(
                f"series, {data} ({series.SETS[data]}), points and events\n{main_table(some, found | strict)}\n\n"
                "AUPRC of the points of each kind against those without events, share of the events found, median "
                f"delay, and share found at 1 % false positives\n{kind_table(some, kinds)}\n\n"
                f"{lead(some, series.OURS)}\n"
            )
    return texts


RULES = (
    "Mean ± standard deviation over the seeds. Rules: own = the detector's own threshold (graph residual: median + 5 * "
    "1.4826 MAD of the logarithms of one plus the scores; series residual: a probability of 1e-3 per window); "
    "MAD = median + "
    "5 * 1.4826 MAD of the scores; documented = 95th percentiles, coverage above 0.3, overlaps counted twice. False "
    "positives: share of the clean spectra (points) that are flagged. IoU: found and injected region, mean over the "
    "anomalous spectra. Found: share of the events of which a step is flagged; delay: steps from the beginning of an "
    "event to its first flagged step, median of the events found; known after: to the end of the first flagged window "
    "that touches it, with the steps after it that a method looks at. Thresholds differ in how many clean points they "
    "flag, and more flags find more events: at 1 % compares all methods where 1 % of the clean points are above the "
    "threshold. s: seconds of processor time of training and scoring.\n"
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what has not run yet, and write the tables of all that has."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--part", nargs="+", choices=PARTS, default=list(PARTS), help="what to run")
    add("--seeds", type=int, default=3, help="number of seeds")
    add("--threads", type=int, default=1, help="threads torch may use")
    add("--output", type=Path, default=measure.RESULTS, help="folder for the JSON and text results")
    add("--work", type=Path, default=Path("runs/anomaly_detection"), help="folder of finished cells")
    add("--tables-only", action="store_true", help="run nothing; make the tables of what is finished")
    add("--sets", nargs="+", choices=spectra.SETS, default=list(spectra.SETS), help="sets of spectra")
    add("--fits", nargs="+", choices=spectra.FITS, default=list(spectra.FITS), help="methods for spectra")
    add("--series", nargs="+", choices=series.SETS, default=list(series.SETS), help="sets of series")
    add("--spectra", type=int, default=SPECTRA, help="number of spectra")
    add("--points", type=int, default=POINTS, help="points of a spectrum")
    add("--epochs", type=int, help="epochs of all networks, to see that everything runs")
    args = parser.parse_args(arguments)
    logging.getLogger("stgraph").setLevel(logging.WARNING)
    report = measure.Report("anomaly_detection", args.threads, args.output)
    if not args.tables_only:
        run_all(cells(args), args)
    everything = argparse.Namespace(**{**vars(args), "part": PARTS, "sets": list(spectra.SETS)})
    everything.fits, everything.series = list(spectra.FITS), list(series.SETS)
    wanted = list(cells(everything))
    report.records = read(wanted, args.work)
    report.note(f"{args.spectra} spectra of {args.points} points, {spectra.FRACTION:.0%} anomalous. {RULES}")
    missing = sum(not (args.work / f"{cell.name}.json").is_file() for cell in wanted)
    if missing:
        report.note(f"{missing} of {len(wanted)} fits have not run: the column seeds tells which methods lack them.\n")
    for text in tables(report.records):
        report.note(text)
    report.finish()


if __name__ == "__main__":
    torch.set_num_interop_threads(1)
    main()
