"""``stgraph fuse``: sharp hyperspectral images from a blurred one and a multispectral one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stgraph.cli.files import check_file, require, short
from stgraph.cli.fuse_options import FusionMetricsOptions
from stgraph.cli.fuse_simulation import simulate
from stgraph.cli.fuse_tables import band_table, fusion_table, result_tables
from stgraph.errors import InputError
from stgraph.tasks.fusion_options import FusionOptions

if TYPE_CHECKING:
    from stgraph.data.images import Image

__all__ = ["metrics", "run", "simulate"]


def run(options: FusionOptions) -> None:
    """Fuse two images, draw the figures of the run, and show how good the image is."""
    from stgraph.cli.fuse_figures import draw_run
    from stgraph.cli.fuse_progress import ProgressBars, silent
    from stgraph.tasks.fusion_outputs import FusionFolder
    from stgraph.tasks.fusion_run import run_fusion

    if not options.verbose:
        with silent():
            results = run_fusion(options)
            draw_run(FusionFolder(options.output_dir), results["result"], options.figure_format)
        return
    with ProgressBars() as bars:
        results = run_fusion(options, bars)
    folder = FusionFolder(options.output_dir)
    print(f"\n{result_tables(results)}")
    draw_run(folder, results["result"], options.figure_format)
    print(f"\nEverything about this run is in {short(folder.path)}")


def metrics(options: FusionMetricsOptions) -> None:
    """Print and write how far a fused image is from the true one."""
    example = "as stgraph fuse metrics fused.npy truth.npy"
    require(options.estimate, f"the file of the fused image, {example}")
    require(options.truth, f"the file of the true image, {example}")
    if options.ratio < 1:
        raise InputError(f"ratio is {options.ratio}; expected at least 1")
    _check_outputs(options)
    from stgraph.data.images import read_image
    from stgraph.metrics.image import fusion_metrics

    estimate, truth = read_image(options.estimate, options.key), read_image(options.truth, options.truth_key)
    _check_images(options, estimate, truth)
    results: dict[str, dict[str, float]] = {}
    for name in ("compat",) if options.compat else ("default", "compat"):
        extended = options.extended and not results  # which are the same in both
        compat = name == "compat"
        values = fusion_metrics(estimate.values, truth.values, options.ratio, compat=compat, extended=extended)
        results[name] = values
    print(fusion_table(results))
    _write_outputs(options, estimate, truth, results)


def _check_outputs(options: FusionMetricsOptions) -> None:
    for path in (options.per_band, options.error_map, options.json):
        check_file(path, options.overwrite)
    paths = [Path(path).absolute() for path in (options.per_band, options.error_map, options.json) if path is not None]
    if len(set(paths)) < len(paths):
        raise InputError("per_band, error_map and json name one file twice; expected different ones")
    if options.error_map is not None:
        from stgraph.report.fusion import check_figure_path

        check_figure_path(options.error_map)


def _check_images(options: FusionMetricsOptions, estimate: Image, truth: Image) -> None:
    sizes = [" x ".join(map(str, image.values.shape)) for image in (estimate, truth)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{options.estimate} is of {sizes[0]} and {options.truth} of {sizes[1]} rows, columns and bands; expected "
            "the same"
        )
    low, high = float(truth.values.min()), float(truth.values.max())
    if low < -0.5 or high > 1.5:
        print(
            f"warning: {options.truth} has values from {low:g} to {high:g}; PSNR, SSIM and the metrics of published "
            "tables are meant for values of about 0 to 1\n"
        )


def _write_outputs(
    options: FusionMetricsOptions, estimate: Image, truth: Image, results: dict[str, dict[str, float]]
) -> None:
    wavelength = estimate.wavelength if truth.wavelength is None else truth.wavelength
    written = []
    if options.per_band is not None:
        written.append(_write_bands(Path(options.per_band), estimate, truth, wavelength))
    if options.error_map is not None:
        from stgraph.report.fusion import save_fusion_figure
        from stgraph.report.image_errors import image_error_map

        figure = image_error_map(estimate.values, truth.values, wavelength=wavelength)
        written.append(save_fusion_figure(figure, options.error_map))
    if options.json is not None:
        from stgraph.tasks.folder import write_json

        inputs = {"estimate": options.estimate, "truth": options.truth, "ratio": options.ratio}
        write_json(Path(options.json), {**inputs, "metrics": results})
        written.append(Path(options.json))
    if written:
        print("\n" + "\n".join(short(path) for path in written))


def _write_bands(path: Path, estimate: Image, truth: Image, wavelength: Any) -> Path:
    from stgraph.metrics.image import band_metrics
    from stgraph.tasks.folder import replace_file

    values = {name: value.tolist() for name, value in band_metrics(estimate.values, truth.values).items()}
    replace_file(path, band_table(values, None if wavelength is None else wavelength.tolist()))
    return path
