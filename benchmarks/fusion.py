"""Methods of image fusion on pairs of images made from real cubes, with the truth known.

    STGRAPH_DATA=... python benchmarks/fusion.py --threads 1 --workers 2

Tables (``--tables``): main (ratios 4 and 8, two point-spread functions, 4 bands, 30 dB in both images, 3 seeds, of
variants one), less_noise (35 dB in the hyperspectral and 40 dB in the multispectral image, 1 seed), one_band (ratio
8, 1 seed) and uncertainty (the expected errors of an ensemble against the true ones, 1 seed). A seed is that of the
noise and of the method. Every method is given the two images, the response and the true point-spread function, in a
process of its own.

Each fit leaves one line in ``fits.jsonl`` of the work folder and is not repeated: a run that was interrupted goes on
where it stopped, and ``--tables-only`` makes the tables of what is there. The lines say nothing of the code: take
another work folder after changing it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks import fusion_methods as methods
from benchmarks import fusion_tables as tables
from benchmarks import measure
from benchmarks.fusion_cubes import ABOUT, CUBES, REAL, Case, make_pair
from stgraph.data.simulation.fusion import FusionPair
from stgraph.metrics.image import fusion_metrics
from stgraph.models.fusion import AffineFusion
from stgraph.ops.fusion import PSF_NAMES

PLAIN = ("bicubic", "affine", "cnmf", "gsa", "hysure", "published")
DENOISED = ("affine_denoised", "cnmf_denoised")
#: Methods that are run with every seed; the others, parts and variants, with the first alone.
REPEATED = (*PLAIN, "ours", "ours_3")
PARTS = ("ours_not_denoised", "ours_not_corrected", "ours_back_projected")


class Table(NamedTuple):
    """The pairs and methods of a table; ``seeds`` is the largest number of them."""

    title: str
    ratios: tuple[int, ...]
    psfs: tuple[str, ...]
    bands: int
    snr_hsi: float
    snr_msi: float
    seeds: int
    methods: tuple[str, ...]


TABLES = {
    "main": Table(
        "4 bands, 30 dB noise in both images",
        (4, 8),
        ("gaussian", "parabolic"),
        4,
        30.0,
        30.0,
        3,
        (*PLAIN, *DENOISED, "ours", "ours_psf", "ours_mgat", *PARTS),
    ),
    "less_noise": Table(
        "4 bands, 35 dB noise in the hyperspectral and 40 dB in the multispectral image, as in published tables",
        (4, 8),
        ("gaussian",),
        4,
        35.0,
        40.0,
        1,
        (*PLAIN, "published_2500", *DENOISED, "ours", *PARTS),
    ),
    "one_band": Table(
        "1 band, 30 dB noise in both images; the published network has the coarse spectral prior, ours sees neighbours",
        (8,),
        ("gaussian",),
        1,
        30.0,
        30.0,
        1,
        (*PLAIN, *DENOISED, "ours", "ours_psf", "ours_pixels", *PARTS),
    ),
    "uncertainty": Table(
        "Expected errors of an ensemble of 3; 4 bands, 30 dB noise in both images",
        (4, 8),
        ("gaussian",),
        4,
        30.0,
        30.0,
        1,
        ("ours_3",),
    ),
}
METRICS = tuple(tables.NAMES)
_FILE = threading.Lock()


def cases(name: str, args: argparse.Namespace) -> Iterator[Case]:
    """The pairs of a table, those of the first seed first."""
    table = TABLES[name]
    psfs = args.psfs if name == "main" and args.psfs else table.psfs
    for seed, cube, ratio, psf in itertools.product(
        range(min(args.seeds, table.seeds)), args.cubes, table.ratios, psfs
    ):
        yield Case(cube, ratio, psf, table.bands, table.snr_hsi, table.snr_msi, seed)


def wanted(args: argparse.Namespace) -> list[tuple[str, Case, str]]:
    """All fits as table, case and method."""
    return [
        (name, case, method)
        for name in args.tables
        for case in cases(name, args)
        for method in TABLES[name].methods
        if (not args.methods or method in args.methods) and (case.seed == 0 or method in REPEATED)
    ]


def key(name: str, case: Case, method: str) -> tuple[Any, ...]:
    """What tells a fit from all others."""
    return (name, method, *case)


def read(work: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The finished fits; lines that are not complete are left out."""
    path = work / "fits.jsonl"
    found = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        found[key(record["table"], Case(*(record[field] for field in Case._fields)), record["method"])] = record
    return found


def run_all(args: argparse.Namespace) -> None:
    """Run the fits that have not run yet, ``workers`` at a time; those of one pair one after the other."""
    args.work.mkdir(parents=True, exist_ok=True)
    finished = args.work / "fits.jsonl"
    if finished.is_file() and not finished.read_bytes().endswith(b"\n"):
        with finished.open("a") as file:
            file.write("\n")  # after a line that was interrupted
    done = read(args.work)
    missing: dict[tuple[str, Case], list[str]] = {}
    for name, case, method in wanted(args):
        if key(name, case, method) not in done:
            missing.setdefault((name, case), []).append(method)
    with ThreadPoolExecutor(args.workers) as pool:
        running = [pool.submit(run_case, name, case, names, args) for (name, case), names in missing.items()]
        for each in running:
            each.result()


def run_case(name: str, case: Case, names: Sequence[str], args: argparse.Namespace) -> None:
    """Run some methods on one pair; one that fails is told and left out, so that the others still run."""
    pair = make_pair(case)
    for method in names:
        with tempfile.TemporaryDirectory() as folder:
            methods.save_images(pair, folder)
            fit = methods.Fit(folder, method, case.ratio, case.bands, case.seed, args.threads, args.epochs)
            try:
                record = {"table": name, "method": method} | case._asdict() | {"threads": args.threads}
                record |= methods.run_in_child(fit) | score(pair, Path(folder))
            except (RuntimeError, ValueError) as error:
                print(f"{name}, {case}, {method} failed: {error}", file=sys.stderr, flush=True)
                continue
        with _FILE, (args.work / "fits.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")
        text = f"{tables.case_text(record)}, seed {case.seed}, {method}"
        print(f"{name}: {text}: {record['psnr']:.2f} dB, {record['sam']:.2f}°, {record['seconds']:.1f} s", flush=True)


def score(pair: FusionPair, folder: Path) -> dict[str, Any]:
    """How good the image of a folder is, and how good its expected errors are where it has some."""
    estimate = torch.from_numpy(np.load(folder / "estimate.npy")).permute(1, 2, 0).clamp(0, 1)
    found = fusion_metrics(estimate, pair.truth, pair.ratio)
    record: dict[str, Any] = {name: found[name] if math.isfinite(found[name]) else None for name in METRICS}
    if (folder / "expected.npy").is_file():
        true = (estimate.double() - pair.truth.double()).square().mean(dim=2).sqrt().numpy()
        record["uncertainty"] = judge_uncertainty(np.load(folder / "expected.npy"), true, affine_residual(pair))
    return record


def judge_uncertainty(expected: Any, true: Any, constant: float) -> dict[str, float]:
    """Agreement of the expected with the true errors (H, W), and that of one expected error for all pixels."""
    return {
        "rank_correlation": float(spearmanr(expected.ravel(), true.ravel()).statistic),
        "ratio": float(expected.mean() / true.mean()),
        "misfit": float(np.abs(expected - true).mean() / true.mean()),
        "constant_ratio": float(constant / true.mean()),
        "constant_misfit": float(np.abs(constant - true).mean() / true.mean()),
    }


def affine_residual(pair: FusionPair) -> float:
    """Root mean square of what the affine fit leaves of the low-resolution image."""
    low = pair.lr_hsi.permute(2, 0, 1)
    seen = torch.einsum("bc,chw->bhw", pair.srf, low)
    fitted = AffineFusion().fuse(low, seen, pair.srf, None, 1)
    return float((fitted - low).double().square().mean().sqrt())


ABOUT_MEASURES = (
    "PSNR (dB), SAM (degrees), ERGAS, SSIM and UIQI of the estimate, clipped to 0 to 1, against the truth: mean ± "
    "standard deviation over the seeds; variants have one seed. s: seconds of the wall clock in a process of its "
    "own, reading of the images left out; MiB: growth of its resident set at the peak over what was there before "
    "the fit, with the result; both medians. All methods are given the true point-spread function but 'PSF "
    "estimated'; bicubic, the affine fit and the published network do not use it. 'Denoised MSI' is given the "
    "multispectral image after the denoising that is part of ours. Leading compares 'ours', the defaults, with all "
    "that are not forms of it. In the summaries a case is a cube, ratio and point-spread function, each counting "
    "once."
)
ABOUT_UNCERTAINTY = (
    "Expected error and true error of a pixel: root mean square over the bands. Rank correlation: Spearman's, over the "
    "pixels; expected / true: ratio of the means over the pixels; misfit: mean |expected - true| over mean true. "
    "Constant: the residual of the affine fit on the low-resolution image as expected error of every pixel, whose rank "
    "correlation is 0 by nature."
)


def sections(records: dict[str, tables.Records]) -> Iterator[str]:
    """All tables of what has run."""
    for name, found in records.items():
        title = f"{name.replace('_', ' ').upper()}: {TABLES[name].title}"
        if name == "uncertainty":
            yield f"{title}\n{ABOUT_UNCERTAINTY}\n\n{tables.uncertainty_table(found)}\n"
            continue
        yield f"{title}\nSummary over the cases\n{tables.summary(found)}\n"
        for case in tables.by(found, tables.case_text).values():
            yield f"{name.replace('_', ' ')}: {tables.case_section(case)}"


def parser() -> argparse.ArgumentParser:
    """The flags."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = made.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES), help="tables to make")
    add("--cubes", nargs="+", choices=CUBES, default=list(REAL), help="cubes")
    add("--methods", nargs="+", choices=methods.METHODS, help="methods (default: all of each table)")
    add("--psfs", nargs="+", choices=PSF_NAMES, help="point-spread functions of the main table in place of its own")
    add("--seeds", type=int, default=3, help="largest number of seeds")
    add("--threads", type=int, default=1, help="threads of a fit")
    add("--workers", type=int, default=1, help="fits at a time")
    add("--epochs", type=int, help="epochs of all networks, to see that everything runs")
    add("--output", type=Path, default=measure.RESULTS, help="folder for the JSON and text results")
    add("--work", type=Path, default=Path("runs/fusion"), help="folder of the finished fits")
    add("--tables-only", action="store_true", help="run nothing; make the tables of what is finished")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what has not run yet, and write the tables of all that has."""
    args = parser().parse_args(arguments)
    report = measure.Report("fusion", args.threads, args.output)
    if not args.tables_only:
        logger = logging.getLogger("stgraph")
        level = logger.level
        logger.setLevel(logging.ERROR)  # that a cube is cropped to multiples of the ratio is said with the results
        try:
            run_all(args)
        finally:
            logger.setLevel(level)
    done = read(args.work)
    fits = wanted(args)
    found: dict[str, tables.Records] = {}
    for name, case, method in fits:
        record = done.get(key(name, case, method))
        if record is not None:
            found.setdefault(name, []).append(record)
    report.records = [record for some in found.values() for record in some]
    report.note(f"Threads of a fit: {args.threads}; fits at a time: {args.workers}.\n{ABOUT}\n{ABOUT_MEASURES}\n")
    missing = len(fits) - len(report.records)
    if missing:
        report.note(f"{missing} of {len(fits)} fits have not run: the columns seeds and cases tell which.\n")
    for text in sections(found):
        report.note(text)
    report.finish()


if __name__ == "__main__":
    main()
