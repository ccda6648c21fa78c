"""A fusion run: from the options to a folder with the image and all about it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.tasks.environment import describe_environment, peak_memory_mb
from stgraph.tasks.folder import write_json
from stgraph.tasks.fusion_input import FusionInput, read_fusion_input
from stgraph.tasks.fusion_judging import BASELINES, judge_baselines, judge_image
from stgraph.tasks.fusion_methods import WholeImage, describe_estimate, make_fusion, start_fusion
from stgraph.tasks.fusion_options import FusionOptions
from stgraph.tasks.fusion_outputs import (
    FusionFolder,
    Progress,
    check_size_of_file,
    read_result,
    write_errors,
    write_estimate,
    write_image_file,
)

if TYPE_CHECKING:
    from stgraph.models.fusion.estimate import FusionEstimate

__all__ = ["Progress", "run_fusion"]

_logger = logging.getLogger("stgraph")

_BATCH_SIZE = 16384


def run_fusion(options: FusionOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Read or make two images, fuse them, and write the folder of the run.

    Equal options give equal bits on one machine. The folder is made once the networks are trained; figures are drawn
    from it by others.

    Args:
        options: The options.
        progress: Called with what is being done ("training", "writing", "judging"), how much of it is done, and how
            much there is.

    Returns:
        dict: The content of ``results.json``.

    Raises:
        FileNotFoundError: If a file is missing; as below, nothing has been changed then.
        InputError: If an option, an image or the output folder cannot be used.
        ImportError: If a kind of file needs an extra that is missing.
    """
    start = time.perf_counter()
    options.check()
    folder = FusionFolder(options.output_dir)
    folder.check_output(options)
    log_dir = Path(options.log_dir).expanduser().absolute()
    _check_log(log_dir)
    options, pair = read_fusion_input(options)
    check_size_of_file(options, pair)
    with _log_file(log_dir / f"{pair.name}.log", bool(options.verbose)) as log:
        for line in _describe(options, pair):
            log.say(line)
        estimate = _estimate(options, pair, progress)
        stored = dataclasses.replace(options, overwrite=False, output_dir=str(folder.path))
        images = Data(lr_hsi=pair.lr_hsi, hr_msi=pair.hr_msi, srf=pair.srf)
        folder.create(stored, describe_environment(options.seed, images))
        with folder.filled():
            results = _write(folder, options, pair, estimate, progress)
            results["seconds"] = time.perf_counter() - start
            results["peak_memory_mb"] = peak_memory_mb()
            write_json(folder.results, results)
        if results["correction"] is not None:
            log.say(f"  {results['correction']['reason']}")
        for line in _summary(results):
            log.note(line)
    return results


def _estimate(options: FusionOptions, pair: FusionInput, progress: Progress | None) -> FusionEstimate | WholeImage:
    """Train the networks, or compute the image by another method."""
    total = options.members * options.epochs

    def on_epoch(member: int, epoch: int, loss: float) -> None:
        if progress is not None:
            progress("training", member * options.epochs + epoch + 1, total)

    common = {"boundary": options.boundary, "seed": options.seed}
    fusion = make_fusion(options.method, common, _arguments(options))
    # What is neither known nor to be estimated is the mean of a block.
    psf = torch.ones(1, 1) if pair.psf is None else pair.psf
    return start_fusion(fusion, pair.lr_hsi, pair.hr_msi, pair.srf, psf, pair.ratio, on_epoch)


def _arguments(options: FusionOptions) -> dict[str, Any]:
    """Return the arguments of the network; other methods have their own."""
    if options.method != "latent_estimation":
        return {}
    return {
        "count": options.num_endmembers,
        "endmembers": options.endmembers,
        "hidden": options.hidden_size,
        "constraint": options.constraint,
        "epochs": options.epochs,
        "init_lr": options.init_lr,
        "max_lr": options.max_lr,
        "final_lr": options.final_lr,
        "schedule": options.schedule,
        "batch_size": options.training_batch_size,
        "tile": options.training_tile,
        "prior": options.spec_prior,
        "prior_factor": options.prior_downsample if options.spatial == "none" else None,
        "prior_upsample": options.prior_upsample,
        "spatial": None if options.spatial == "none" else options.spatial,
        "held_out": options.held_out,
        "patience": options.patience,
        "members": options.members,
        "denoise": options.denoise,
        "correction": None if options.correction == "none" else options.correction,
        "inference_batch_size": options.inference_batch_size or _BATCH_SIZE,
    }


def _write(
    folder: FusionFolder,
    options: FusionOptions,
    pair: FusionInput,
    estimate: FusionEstimate | WholeImage,
    progress: Progress | None,
) -> dict[str, Any]:
    """Write all but ``results.json``, of which most is returned."""
    path = folder.result(pair.name, options.output_file_type)
    uncertainty = write_image_file(path, estimate, pair, progress)
    write_estimate(folder, estimate, pair, uncertainty)
    described = describe_estimate(estimate)
    if pair.psf_estimate is not None:
        described["psf_estimate"] = pair.psf_estimate
    return {
        "method": options.method,
        "preset": options.preset,
        "synthetic": options.synthetic,
        "result": path.name,
        "ratio": pair.ratio,
        "size": [*estimate.size, estimate.bands],
        "low_resolution_size": list(pair.lr_hsi.shape[1:]),
        "multispectral_bands": pair.hr_msi.shape[0],
        **_judge(folder, path, options.method, pair, progress),
        "mean_uncertainty": None if uncertainty is None else float(np.sqrt(np.square(uncertainty).mean())),
        **described,
        "radiometric_match": pair.radiometric_match,
        "scaling": pair.scaling,
        "seed": options.seed,
        "threads": torch.get_num_threads(),
    }


def _judge(
    folder: FusionFolder, path: Path, method: str, pair: FusionInput, progress: Progress | None
) -> dict[str, Any]:
    """Judge the image and the baselines, and write where and in which bands the image is off."""
    done = 0

    def on_judged() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress("judging", done, 1 + len(BASELINES))

    image = read_result(path)
    judged, bands = judge_image(image, pair)
    if bands is not None:
        write_errors(folder, image, pair, bands)
    del image  # before those of the baselines are made
    on_judged()
    return {**judged, "baselines": judge_baselines(method, judged, pair, on_judged)}


def _describe(options: FusionOptions, pair: FusionInput) -> list[str]:
    channels, height, width = pair.lr_hsi.shape
    bands, rows, columns = pair.hr_msi.shape
    source = options.mat_file if options.synthetic else f"{options.lr_hsi_file} and {options.hr_msi_file}"
    lines = [
        f"{options.method} on {source}",
        f"  low-resolution hyperspectral image {height} x {width} x {channels}, multispectral image {rows} x {columns} "
        f"x {bands}, ratio {pair.ratio}",
    ]
    for part in ("psf", "srf"):
        file = getattr(options, f"{part}_file")
        if file is not None and not getattr(options, f"provide_{part}"):
            lines.append(f"  {part}_file {file} is not used, as provide_{part} is false")
    if pair.psf_estimate is not None:
        found = pair.psf_estimate
        lines.append(
            f"  point-spread function estimated: standard deviations {found['sigma1']:.2f} and {found['sigma2']:.2f} "
            f"pixels, shift {found['shift'][0]:.2f} rows and {found['shift'][1]:.2f} columns"
        )
    if pair.radiometric_match is not None:
        correlations = ", ".join(f"{value:.3f}" for value in pair.radiometric_match["correlation"])
        lines.append(f"  radiometric match: correlation of the bands {correlations}")
    return lines


def _summary(results: dict[str, Any]) -> list[str]:
    """Say what came out of a run; who started it shows the results in a way of their own."""
    lines = []
    for method, judged in {results["method"]: results, **(results["baselines"] or {})}.items():
        for name in ("metrics", "published_metrics", "quality_without_reference"):
            if judged[name] is not None:
                values = ", ".join(f"{key} {value:.4g}" for key, value in judged[name].items())
                lines.append(f"  {name.replace('_', ' ')} of {method}: {values}")
    rows, columns, bands = results["size"]
    lines.append(f"  {results['result']}: {rows} x {columns} x {bands} in {results['seconds']:.1f} s")
    return lines


class _Log:
    """Lines to a file, and some of them to the logger of the package unless the run is silent."""

    def __init__(self, handler: logging.Handler, verbose: bool) -> None:
        self.handler, self.verbose = handler, verbose

    def say(self, line: str) -> None:
        if self.verbose and _logger.isEnabledFor(logging.INFO):
            _logger.info(line)
        else:
            self.note(line)

    def note(self, line: str) -> None:
        self.handler.handle(_logger.makeRecord(_logger.name, logging.INFO, __file__, 0, line, (), None))


@contextlib.contextmanager
def _log_file(path: Path, verbose: bool) -> Iterator[_Log]:
    """Add what the package says to a file, also its warnings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    _logger.addHandler(handler)
    try:
        yield _Log(handler, verbose)
    finally:
        _logger.removeHandler(handler)
        handler.close()


def _check_log(folder: Path) -> None:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"log_dir {folder} cannot be written: {place} is not a writable folder")
