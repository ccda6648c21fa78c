"""What each part of SpecTra-Net is worth: every combination of its parts, trained on the data sets, in one table.

    python -m benchmarks.ablation --budget short --processes 2
    python -m benchmarks.ablation --budget full --variants "*+mgat+sfe+tgating" --name ablation_transport

A variant is named by its transport (off, semi_relaxed, balanced, relaxed) and the other parts that are on, such as
``balanced+mgat+tgating``. Without GOT there is no spatial part, so MGAT has no effect and those variants run once.

Each finished run leaves a small file in the work folder, named by all its settings, and is not repeated: an interrupted
study goes on where it stopped, and ``--table-only`` makes the tables of what is there. The name says nothing of the
presets and the code, so take another work folder after changing these. METR-LA's week needs STGRAPH_DATA.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import itertools
import json
import math
import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmarks import measure
from stgraph.models.options import SpecTraNetOptions
from stgraph.tasks.folder import replace_file, write_json
from stgraph.tasks.options import DATASETS, RunOptions

CONFIGS = measure.ROOT / "configs"

#: What the data sets without a configuration share.
TRAINING = {"model": {"preset": "default"}, "loss": {"huber_delta": 0.5}, "optimizer": {"learning_rate": 2e-3}}

#: Settings of each data set: a configuration of ``stgraph train``, or what would stand in one.
SETS: dict[str, Path | dict[str, Any]] = {
    "germany_pm10": CONFIGS / "germany_pm10.yaml",
    "colorado_climate": TRAINING
    | {"data": {"path": "colorado_climate", "batch_size": 8, "split": [7, 1, 2]}, "trainer": {"max_epochs": 6}},
    "ireland_wind": TRAINING
    | {"data": {"path": "ireland_wind", "batch_size": 32, "split": [7, 1, 2]}, "trainer": {"max_epochs": 8}},
    "north_america_temperature": CONFIGS / "north_america_temperature.yaml",
    "metr_la_week": CONFIGS / "metr_la_week.yaml",
}


class Budget(NamedTuple):
    """How long to train; ``None`` leaves it to the settings of the data set."""

    epochs: int | None = None
    batches: int | None = None
    batch_size: int | None = None


#: The short budget takes small batches: where time is short, more steps are worth more than smoother ones.
BUDGETS: dict[str, dict[str, Budget]] = {
    "full": {},
    "short": {
        "germany_pm10": Budget(3, 25, 16),
        "colorado_climate": Budget(3, 15, 8),
        "ireland_wind": Budget(3, 40, 32),
        "north_america_temperature": Budget(3, 10, 4),
        "metr_la_week": Budget(3, 25, 8),
    },
}

OFF = "off"
TRANSPORTS = {OFF: "off", "semi_relaxed": "row softmax", "balanced": "balanced", "relaxed": "relaxed"}
METRICS = ("mae", "rmse")

#: Errors and seconds of the finished runs, by data set, variant and seed.
Records = dict[tuple[str, "Variant", int], dict[str, Any]]


class Variant(NamedTuple):
    """Which parts are on."""

    got: str
    mgat: bool
    sfe: bool
    tgating: bool

    def __str__(self) -> str:
        return "+".join([self.got, *(part for part in ("mgat", "sfe", "tgating") if getattr(self, part))])

    def options(self) -> dict[str, Any]:
        """The model options that make the variant."""
        transport = {} if self.got == OFF else {"got_transport": self.got, "use_mgat": self.mgat}
        return {"use_got": self.got != OFF, "use_sfe": self.sfe, "use_tgating": self.tgating, **transport}

    def cells(self) -> list[str]:
        """The first cells of its row."""
        mgat, *others = ("on" if part else "off" for part in self[1:])
        return [TRANSPORTS[self.got], "-" if self.got == OFF else mgat, *others]


VARIANTS = [
    Variant(got, mgat, sfe, tgating)
    for got, mgat, sfe, tgating in itertools.product(TRANSPORTS, (False, True), (False, True), (False, True))
    if got != OFF or not mgat
]

#: What to compare: the variants that have the first values with those that differ from them in the second.
EFFECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "GOT row softmax, from off (no MGAT)": ({"got": "semi_relaxed", "mgat": False}, {"got": OFF}),
    "GOT balanced, from off (no MGAT)": ({"got": "balanced", "mgat": False}, {"got": OFF}),
    "GOT relaxed, from off (no MGAT)": ({"got": "relaxed", "mgat": False}, {"got": OFF}),
    "GOT balanced, from row softmax": ({"got": "balanced"}, {"got": "semi_relaxed"}),
    "GOT relaxed, from row softmax": ({"got": "relaxed"}, {"got": "semi_relaxed"}),
    "GOT relaxed, from balanced": ({"got": "relaxed"}, {"got": "balanced"}),
    "MGAT on, from off": ({"mgat": True}, {"mgat": False}),
    "SFE on, from off": ({"sfe": True}, {"sfe": False}),
    "T-Gating on, from off": ({"tgating": True}, {"tgating": False}),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training, with the settings of a :class:`RunOptions` as nested dictionaries."""

    data_set: str
    variant: Variant
    seed: int
    settings: dict[str, Any]

    @property
    def name(self) -> str:
        """A name that differs wherever a setting does."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:12]
        return f"{self.data_set}-{self.variant}-seed{self.seed}-{digest}"


def settings_of(data_set: str, budget: Budget) -> dict[str, Any]:
    """The settings of a data set with the training time of the budget, without what only concerns a single run."""
    source = SETS[data_set]
    settings = dict(source) if isinstance(source, dict) else yaml.safe_load(source.read_text(encoding="utf-8"))
    data, trainer = dict(settings["data"]), dict(settings["trainer"])
    data["batch_size"] = budget.batch_size or data["batch_size"]
    trainer["max_epochs"] = budget.epochs or trainer["max_epochs"]
    trainer["limit_train_batches"] = budget.batches or trainer.get("limit_train_batches")
    trainer |= {"accelerator": "cpu", "progress_bar": False, "tensorboard": False}
    kept = {k: v for k, v in settings.items() if k not in ("output", "seed", "seeds")}
    return kept | {"data": data, "trainer": trainer, "baselines": [], "calibrate": False, "report": False}


def plan(args: argparse.Namespace) -> list[Run]:
    """All runs of the study; seeds outermost, so that what exists of an interrupted one is balanced."""
    runs = []
    for seed, data_set, variant in itertools.product(args.seeds, args.sets, args.variants):
        settings = settings_of(data_set, args.budgets[data_set])
        model = {**settings.get("model", {}), **args.model, **variant.options()}
        SpecTraNetOptions.from_keywords(**model).resolve()
        settings |= {"model": model, "seed": seed}
        RunOptions.from_dict(settings).check()
        runs.append(Run(data_set, variant, seed, settings))
    return runs


def execute(run: Run, work: Path) -> dict[str, Any]:
    """Train, keep the errors in a file of the work folder, and delete everything else."""
    from stgraph.tasks import train

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="ablation-") as folder:
        results = train(RunOptions.from_dict({**run.settings, "output": str(Path(folder) / "run")}))
        validation = _best_epoch(Path(folder) / "run" / "metrics.csv", results["best_epoch"])
    parts = {"val": validation, "test": results["test"]["global"]}
    errors = {f"{part}_{metric}": float(parts[part][metric]) for part in parts for metric in METRICS}
    if not all(map(math.isfinite, errors.values())):
        raise ArithmeticError(f"training diverged: {errors}")
    about = {"best_epoch": results["best_epoch"], "seconds": time.perf_counter() - start, "settings": run.settings}
    record: dict[str, Any] = errors | about
    write_json(work / f"{run.name}.json", record)
    return record


def _best_epoch(path: Path, epoch: int) -> dict[str, float]:
    """The validation errors of the epoch whose weights were kept."""
    with path.open(newline="", encoding="utf-8") as file:
        row = next(row for row in csv.DictReader(file) if row.get("val_mae") and int(row["epoch"]) == epoch)
    return {metric: float(row[f"val_{metric}"]) for metric in METRICS}


def execute_all(runs: Sequence[Run], work: Path, processes: int) -> int:
    """Train in worker processes with one thread each; return how many runs failed."""
    # Workers are started afresh and read this before they load torch.
    os.environ["OMP_NUM_THREADS"] = "1"
    work.mkdir(parents=True, exist_ok=True)
    start, failed = time.perf_counter(), 0
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        futures = {pool.submit(execute, run, work): run for run in runs}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                run, error = futures[future], future.exception()
                left = (time.perf_counter() - start) / done * (len(runs) - done) / 60
                head = f"{done}/{len(runs)} ({left:.0f} min left) {run.data_set} {run.variant} seed {run.seed}"
                if error is not None:
                    failed += 1
                    print(f"{head}: FAILED: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                else:
                    text = "validation MAE {val_mae:.4g}, test MAE {test_mae:.4g}, {seconds:.1f} s"
                    print(f"{head}: {text.format(**future.result())}", flush=True)
        finally:
            pool.shutdown(cancel_futures=True)
    return failed


def read_records(runs: Iterable[Run], work: Path) -> Records:
    """What the finished ones of the runs left in the work folder."""
    files = {(run.data_set, run.variant, run.seed): work / f"{run.name}.json" for run in runs}
    return {key: json.loads(path.read_text(encoding="utf-8")) for key, path in files.items() if path.is_file()}


def errors_table(records: Records, args: argparse.Namespace) -> str:
    """Mean and standard deviation of the MAE over seeds; a star marks the lowest validation mean of each set."""
    rows = [["GOT", "MGAT", "SFE", "T-Gating"], *(variant.cells() for variant in args.variants)]
    for data_set, part in itertools.product(args.sets, ("val", "test")):
        found: dict[Variant, list[float]] = {variant: [] for variant in args.variants}
        for (name, variant, _), record in records.items():
            if name == data_set:
                found[variant].append(record[f"{part}_mae"])
        lowest = min((v for v in found if found[v]), key=lambda v: statistics.mean(found[v]), default=None)
        rows[0].append(f"{data_set} {part}")
        for row, variant in zip(rows[1:], args.variants, strict=True):
            mark = " *" if part == "val" and variant == lowest else ""
            row.append(_mean_and_deviation(found[variant], len(args.seeds)) + mark)
    return measure.format_table(rows)


def _mean_and_deviation(values: Sequence[float], expected: int) -> str:
    if not values:
        return ""
    text = f"{statistics.mean(values):.3f}"
    if len(values) > 1:
        text += f" +- {statistics.stdev(values):.3f}"
    return text if len(values) == expected else f"{text} ({len(values)})"


def effects(records: Records) -> dict[str, dict[str, list[float]]]:
    """Relative changes of the validation MAE from one choice to another, all else and the seed equal, by data set."""
    changes: dict[str, dict[str, list[float]]] = {}
    for label, (chosen, instead) in EFFECTS.items():
        for (data_set, variant, seed), record in records.items():
            other = records.get((data_set, variant._replace(**instead), seed))
            if other is not None and variant == variant._replace(**chosen):
                change = record["val_mae"] / other["val_mae"] - 1
                changes.setdefault(label, {}).setdefault(data_set, []).append(change)
    return changes


def effects_table(changes: Mapping[str, Mapping[str, Sequence[float]]], sets: Sequence[str]) -> str:
    """The mean change in per cent, and how many pairs of runs got better."""
    rows = [["change of the validation MAE", *sets, "mean of the sets"]]
    for label, found in changes.items():
        row = [label]
        for data_set in sets:
            pairs = found.get(data_set, [])
            better = sum(change < 0 for change in pairs)
            row.append(f"{100 * statistics.mean(pairs):+.2f}% ({better} of {len(pairs)} better)" if pairs else "")
        rows.append([*row, f"{100 * statistics.mean(statistics.mean(pairs) for pairs in found.values()):+.2f}%"])
    return measure.format_table(rows)


def describe_budget(data_set: str, budget: Budget) -> str:
    """One line on how long the runs on a data set train."""
    options = RunOptions.from_dict(settings_of(data_set, budget))
    data, trainer, rate = options.data, options.trainer, options.optimizer.learning_rate
    steps, horizon = data.input_steps or DATASETS[data_set][0], data.horizon or DATASETS[data_set][1]
    limit = "all" if trainer.limit_train_batches is None else f"at most {trainer.limit_train_batches}"
    batches = f"epochs: {trainer.max_epochs}, each of {limit} batches of {data.batch_size} windows"
    return f"{data_set}: {steps} steps in, {horizon} out; {batches}; learning rate {rate:g}"


NOTES = (
    "Errors are the MAE in data units over all channels, mean +- standard deviation over seeds: val on the",
    "validation period at the epoch of the lowest validation RMSE, test on the test period with the weights of that",
    "epoch. A number in brackets says how many seeds there are where some are missing; * is a set's lowest val.",
    "Without GOT there is no spatial part: MGAT has no effect there (-).",
    "Changes are of pairs of runs that are equal in all else and in the seed; below zero is better.",
)


def report(args: argparse.Namespace, runs: Sequence[Run], notes: Sequence[str]) -> str:
    """Write the tables of all finished runs as text and JSON; return the text."""
    records = read_records(runs, args.work)
    command = shlex.join(["python", "-m", "benchmarks.ablation", *(w for w in args.words if w != "--table-only")])
    about = measure.machine(threads=1) | {"processes": args.processes, "command": command, "budget": args.budget}
    about |= {"seeds": args.seeds, "model": args.model, "runs": f"{len(records)} of {len(runs)}"}
    if records:
        about["mean seconds per run"] = round(statistics.mean(record["seconds"] for record in records.values()), 1)
    if len(records) < len(runs):
        notes = [*notes, f"{len(runs) - len(records)} of {len(runs)} runs are missing."]
    budgets = [describe_budget(data_set, args.budgets[data_set]) for data_set in args.sets]
    tables = [errors_table(records, args), effects_table(effects(records), args.sets)]
    head = "\n".join(f"{key}: {value}" for key, value in about.items())
    parts = [args.name, head, "\n".join([*budgets, *notes]), *tables, "\n".join(NOTES)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    rows = [
        {"set": data_set, **variant._asdict(), "seed": seed, **{k: v for k, v in record.items() if k != "settings"}}
        for (data_set, variant, seed), record in records.items()
    ]
    document = {"name": args.name, "about": about, "budgets": budgets, "notes": [*notes, *NOTES]}
    args.results.mkdir(parents=True, exist_ok=True)
    write_json(args.results / f"{args.name}.json", document | {"runs": rows})
    replace_file(args.results / f"{args.name}.txt", text)
    return text


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--budget", choices=BUDGETS, default="short", help="full: as configured; short: a few small batches (default)")
    add("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET", help=f"some of {', '.join(SETS)}")
    add("--variants", nargs="+", default=["*"], metavar="PATTERN", help='names with wildcards, such as "*+mgat*"')
    add("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="SEED")
    for name in ("epochs", "batches"):
        add(f"--{name}", nargs="+", default=[], metavar="[SET=]N", help=f"other {name} than the budget's")
    add("--model", action="append", default=[], metavar="OPTION=VALUE", help="further option of the model; repeatable")
    add("--processes", type=int, default=2, help="runs at a time, with one thread each (default: 2)")
    add("--work", type=Path, default=Path("runs/ablation"), help="folder of finished runs (default: runs/ablation)")
    add("--results", type=Path, default=measure.RESULTS, help="folder of the tables (default: benchmarks/results)")
    add("--name", default="ablation", help="name of the files with the tables (default: ablation)")
    add("--table-only", action="store_true", help="train nothing; make the tables of the runs that are finished")
    args = parser.parse_args(words)
    args.words = list(words)
    patterns = args.variants
    args.variants = [v for v in VARIANTS if any(fnmatchcase(str(v), pattern) for pattern in patterns)]
    try:
        if not args.variants:
            raise ValueError(f"--variants {patterns} matches none of {', '.join(map(str, VARIANTS))}")
        if args.processes < 1:
            raise ValueError(f"--processes is {args.processes}; expected at least 1")
        args.budgets, args.model = _budgets(args), dict(map(_option, args.model))
    except ValueError as error:
        parser.error(str(error))
    return args


def _option(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    if not key or not value:
        raise ValueError(f"--model {text} is not of the form OPTION=VALUE")
    if key in VARIANTS[-1].options():
        raise ValueError(f"--model {key} is what the variants differ in; choose among them with --variants")
    return key, yaml.safe_load(value)


def _budgets(args: argparse.Namespace) -> dict[str, Budget]:
    budgets = {data_set: BUDGETS[args.budget].get(data_set, Budget()) for data_set in args.sets}
    for field in ("epochs", "batches"):
        for word in getattr(args, field):
            data_set, _, number = word.rpartition("=")
            if (data_set and data_set not in budgets) or not number.isdecimal() or int(number) < 1:
                raise ValueError(f"--{field} {word} is not of the form NUMBER or SET=NUMBER with one of the sets")
            for name in [data_set] if data_set else budgets:
                budgets[name] = budgets[name]._replace(**{field: int(number)})
    return budgets


def main(words: Sequence[str] | None = None) -> int:
    """Run what is missing of the study and write its tables; the exit code tells whether all runs are there."""
    args = parse(sys.argv[1:] if words is None else words)
    notes = []
    if "metr_la_week" in args.sets and not args.table_only:
        from stgraph.data.datasets.locate import stgraph_data_folder

        try:
            stgraph_data_folder("metr_la_week")
        except FileNotFoundError as error:
            notes.append(f"metr_la_week is skipped: {error}")
            args.sets.remove("metr_la_week")
    runs = plan(args)
    finished = read_records(runs, args.work)
    todo = [run for run in runs if (run.data_set, run.variant, run.seed) not in finished]
    print(*notes, f"{len(runs)} runs, of which {len(finished)} are finished", sep="\n", flush=True)
    failed = 0 if args.table_only else execute_all(todo, args.work, args.processes)
    print("\n" + report(args, runs, notes), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
