"""The grid of runs of which SpectraMorph (arXiv:2510.20814) publishes means, for a cube that the user has."""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.images import to_image
from stgraph.data.images.image import as_cube, as_float32
from stgraph.data.simulation.fusion import FusionPair, simulate_pair
from stgraph.data.simulation.fusion.cube import percentile_limits, scaled
from stgraph.errors import InputError
from stgraph.metrics.image import fusion_metrics
from stgraph.models.fusion import ImageFusion, LatentEstimationFusion
from stgraph.ops.fusion import psf_kernel, sensor_response
from stgraph.tasks.environment import fingerprint
from stgraph.tasks.fusion_grid_methods import grid_arguments, grid_methods, method_settings
from stgraph.tasks.fusion_grid_records import GridRecords
from stgraph.tasks.fusion_images import check_finite_image
from stgraph.tasks.published_fusion import PUBLISHED_RUNS, PUBLISHED_SCENES

__all__ = ["GRID_METRICS", "FusionGridRow", "grid_means", "reproduce_fusion"]

_logger = logging.getLogger("stgraph")

#: Metrics in the order of the tables.
GRID_METRICS = ("psnr", "sam", "ergas", "ssim", "uiqi", "rmse")

_SMALLEST_SIDE = 11  # of the windows of SSIM
Progress = Callable[[str, int, int], None]


class FusionGridRow(NamedTuple):
    """One method on one pair of images.

    Attributes:
        dataset: The scene.
        ratio: Ratio of the resolutions r.
        bands: Number of multispectral bands b.
        psf: Point-spread function.
        method: ``"bicubic"``, ``"affine"``, ``"published"`` or ``"default"``.
        psnr: PSNR in dB, like all metrics as in the published tables.
        sam: Spectral angle in degrees.
        ergas: ERGAS, with the factor 25.
        ssim: SSIM.
        uiqi: UIQI.
        rmse: Root mean squared error.
        seconds: Time of the fusion, without that of the metrics.
        published_psnr: PSNR of this run in the paper; ``None`` where it is not known, as below.
        published_sam: Spectral angle in the paper.
        published_ergas: ERGAS in the paper.
    """

    dataset: str
    ratio: int
    bands: int
    psf: str
    method: str
    psnr: float
    sam: float
    ergas: float
    ssim: float
    uiqi: float
    rmse: float
    seconds: float
    published_psnr: float | None = None
    published_sam: float | None = None
    published_ergas: float | None = None


class _Run(NamedTuple):
    ratio: int
    bands: int
    psf: str

    def __str__(self) -> str:
        return f"r {self.ratio} b {self.bands} {self.psf}"


def reproduce_fusion(
    cube: Any,
    dataset: str,
    *,
    settings: Sequence[tuple[int, int]] = ((4, 4),),
    psfs: Sequence[str] = ("gaussian",),
    methods: Sequence[str] = ("published",),
    num_endmembers: int | None = None,
    hidden_size: int = 1024,
    epochs: int | None = None,
    seed: int = 42,
    runs: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> list[FusionGridRow]:
    r"""Make pairs of images from a cube as published, fuse them, and judge the results as published.

    The pairs have stretched wavelengths, zeros beyond the border, 35 and 40 dB of signal to noise, and are not cropped
    (:func:`~stgraph.data.simulation.fusion.simulate_pair`); ``"airy"`` is the published kernel of that name. The
    published form of the network (:meth:`~stgraph.models.fusion.LatentEstimationFusion.published`) has the coarse
    spectral prior with one band only. The default form gets the same pairs and knows of the zeros. Both know the
    point-spread function. The metrics are those of :func:`~stgraph.metrics.image_compat.compat_metrics`.

    Args:
        cube: The hyperspectral image, an array, a tensor or the graph of a grid. Negative radiances are clipped with
            all below the 1st percentile.
        dataset: A scene of :data:`~stgraph.tasks.published_fusion.PUBLISHED_SCENES`, or ``"other"``.
        settings: Ratios and numbers of multispectral bands (r, b).
        psfs: Names of point-spread functions, each of which is combined with each setting.
        methods: Which forms of the method to run, ``"published"`` and ``"default"``; bicubic interpolation and the
            affine fit are always run.
        num_endmembers: Number of endmembers. (default: that of the scene)
        hidden_size: Width of the network.
        epochs: Number of epochs. (default: 2500 in the published, 1000 in the default form)
        seed: Seed of the noise and of the network.
        runs: File of finished runs (JSON lines), which are not repeated unless their settings or the cube changed; it
            is rewritten after each run. (default: none)
        progress: Called with the name of a run, how many of its epochs are done, and how many there are.

    Shapes:
        - **cube:** :math:`(H, W, C)`

    Returns:
        list: A :class:`FusionGridRow` for each method of each run.

    Raises:
        InputError: If an argument is unknown or out of range, the cube holds NaN or is too small, or the file of
            finished runs cannot be used.
        InputTypeError: If the cube does not hold real numbers.

    Examples:
        >>> cube = np.random.default_rng(0).random((16, 16, 20))
        >>> rows = reproduce_fusion(cube, "other", num_endmembers=3, hidden_size=4, epochs=2)
        >>> [row.method for row in rows]
        ['bicubic', 'affine', 'published']
    """
    arguments = grid_arguments(dataset, num_endmembers, hidden_size, epochs, seed)
    grid = [_Run(ratio, bands, psf) for (ratio, bands), psf in itertools.product(settings, psfs)]
    fusions = {run: grid_methods(run.bands, methods, arguments) for run in grid}
    if not fusions:
        raise InputError(f"settings are {list(settings)} and psfs {list(psfs)}; expected at least one of each")
    records = GridRecords(runs)
    # The name is taken again, so that a cube that nobody else holds is not kept beside the scaled one.
    cube = _as_values(cube)
    _check_grid(cube.shape, list(fusions), arguments["count"])
    _warn_of_size(dataset, cube.shape)
    cube = _normalised(cube)
    digest = fingerprint(Data(x=cube))["x"]
    rows = []
    for index, run in enumerate(fusions, 1):
        results = _results(run, fusions[run], cube, {"cube": digest, "seed": seed}, records, progress)
        shown = ", ".join(f"{name} {one['psnr']:.2f} dB {one['sam']:.3f} degrees" for name, one in results.items())
        _logger.info("%d of %d, %s: %s", index, len(fusions), run, shown)
        rows += [_row(dataset, run, name, one) for name, one in results.items()]
    return rows


def grid_means(rows: Sequence[FusionGridRow]) -> dict[str, dict[str, float]]:
    """Return the mean of each metric over the runs, by method.

    Examples:
        >>> row = FusionGridRow("other", 4, 4, "gaussian", "affine", 30.0, 2.0, 1.0, 0.5, 0.5, 0.03, 1.0)
        >>> grid_means([row, row._replace(psf="delta", psnr=40.0)])["affine"]["psnr"]
        35.0
    """
    names = dict.fromkeys(row.method for row in rows)
    return {
        name: {
            metric: float(np.mean([getattr(row, metric) for row in rows if row.method == name]))
            for metric in GRID_METRICS
        }
        for name in names
    }


def _row(dataset: str, run: _Run, method: str, results: dict[str, float]) -> FusionGridRow:
    known = PUBLISHED_RUNS.get((dataset, *run), {})
    values: dict[str, Any] = {**results, **{f"published_{name}": value for name, value in known.items()}}
    return FusionGridRow(dataset, *run, method, **values)


def _results(
    run: _Run,
    fusions: dict[str, ImageFusion],
    cube: Tensor,
    common: dict[str, Any],
    records: GridRecords,
    progress: Progress | None,
) -> dict[str, dict[str, float]]:
    """Metrics and seconds by method, found in the file or computed."""
    results, pair = {}, None
    for name, fusion in fusions.items():
        settings = {**run._asdict(), "method": name, **common, **method_settings(fusion)}
        found = records.find(settings)
        if found is None:
            pair = _simulate(cube, run, common["seed"]) if pair is None else pair
            found = _judged(fusion, pair, f"{name} {run}", progress)
            records.add(settings, found)
        results[name] = found
    return results


def _simulate(cube: Tensor, run: _Run, seed: int) -> FusionPair:
    pair = simulate_pair(
        cube,
        ratio=run.ratio,
        psf=_kernel(run.psf),
        bands=run.bands,
        wavelengths="stretched",
        boundary="zero",
        crop=False,
        seed=seed,
        normalise=False,
    )
    # Its truth is a copy of the cube, which is the largest thing here.
    return pair._replace(truth=cube)


def _judged(fusion: ImageFusion, pair: FusionPair, title: str, progress: Progress | None) -> dict[str, float]:
    """Fuse a pair and compare the result with the truth."""
    start = time.perf_counter()
    lr_hsi, hr_msi = (image.permute(2, 0, 1).contiguous() for image in (pair.lr_hsi, pair.hr_msi))
    if isinstance(fusion, LatentEstimationFusion):
        total = fusion.training.epochs

        def on_epoch(member: int, epoch: int, loss: float) -> None:
            if progress is not None:
                progress(title, epoch + 1, total)

        image = fusion.estimate(lr_hsi, hr_msi, pair.srf, pair.psf, pair.ratio, on_epoch).image()
    else:
        image = fusion.fuse(lr_hsi, hr_msi, pair.srf, pair.psf, pair.ratio).clamp_(0, 1)
    seconds = time.perf_counter() - start
    metrics = fusion_metrics(image.permute(1, 2, 0), pair.truth, pair.ratio, compat=True)
    return {**{name: metrics[name] for name in GRID_METRICS}, "seconds": seconds}


def _kernel(psf: str) -> Tensor:
    return psf_kernel(psf, compat=True) if psf == "airy" else psf_kernel(psf)


def _as_values(cube: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return as_float32(as_cube(to_image(cube) if isinstance(cube, Data) else cube, "cube"))


def _normalised(values: np.ndarray[Any, np.dtype[np.float32]]) -> Tensor:
    check_finite_image(values, "cube")
    # Copied where it cannot be written to, of which torch would warn.
    tensor = torch.from_numpy(np.require(values, requirements=["W"]))
    return scaled(tensor, *percentile_limits(tensor))


def _check_grid(shape: tuple[int, ...], runs: Sequence[_Run], count: int) -> None:
    """Refuse what would fail in the middle of the grid."""
    height, width, channels = shape
    if channels == 1:
        raise InputError(
            f"cube has one band of {height} x {width} pixels; expected a hyperspectral image: one stored as bands by "
            "pixels is read with layout='bands_pixels', rows and columns"
        )
    if min(height, width) < _SMALLEST_SIDE:
        raise InputError(f"cube has {height} x {width} pixels; expected at least {_SMALLEST_SIDE} x {_SMALLEST_SIDE}")
    for run in runs:
        if not 1 <= run.ratio <= min(height, width):
            raise InputError(f"ratio is {run.ratio}; expected 1 to {min(height, width)} with {height} x {width} pixels")
        pixels = (height // run.ratio) * (width // run.ratio)
        if count > min(channels, pixels):
            raise InputError(
                f"num_endmembers is {count}; expected at most {min(channels, pixels)}: the low-resolution image of "
                f"{run} has {channels} bands and {pixels} pixels"
            )
        _kernel(run.psf)
        sensor_response(run.bands, "stretched", channels=channels)


def _warn_of_size(dataset: str, shape: tuple[int, ...]) -> None:
    if dataset == "other":
        return
    scene = PUBLISHED_SCENES[dataset]
    if shape != scene[1:4]:
        _logger.warning(
            "cube has %d x %d pixels and %d bands, that of %s %d x %d pixels and %d bands: the published values are of "
            "another cut",
            *shape,
            *scene[:4],
        )
