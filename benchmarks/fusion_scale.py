"""A fused image of 1024 x 1024 pixels and 200 bands, written piece by piece, within 6 GB of memory.

    STGRAPH_DATA=... python benchmarks/fusion_scale.py --threads 2

The scene is synthetic: smooth random abundances of 12 spectra of the USGS library (needs STGRAPH_DATA), made of few
maps, so that the truth is never held whole. Blurred and shrunk by 4, and through 4 bands, with 30 dB of noise, it gives
the two images. A process of its own is given these, the response and the point-spread function, fuses them and writes
the result to an HDF5 file; the peak of its resident set counts everything in it, libraries too. The errors are computed
afterwards, strip by strip.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.io import loadmat
from torch import Tensor
from torch.nn import functional as F

from benchmarks import fusion_methods as methods
from benchmarks import measure
from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.images import ImageWriter
from stgraph.data.images.tiles import chunk_side
from stgraph.models.fusion import AffineFusion
from stgraph.ops.fusion import add_noise, apply_response, area_downsample, blur, psf_kernel, sensor_response

LIMIT = 6e9  # bytes
RATIO, MATERIALS, SNR, STRIP = 4, 12, 30.0, 64
MARK = "scale:"


class Scene(NamedTuple):
    """Maps of abundances times light (K, H, W), spectra (K, C), and their wavelengths (C) in nm."""

    maps: Tensor
    spectra: Tensor
    wavelengths: NDArray[np.float64]

    def truth(self, rows: slice) -> Tensor:
        """Some rows of the image (C, rows, W)."""
        return torch.einsum("kc,khw->chw", self.spectra, self.maps[:, rows])


class Task(NamedTuple):
    """What the process that fuses is told."""

    folder: str
    output: str
    epochs: int
    batch_size: int | None
    threads: int
    seed: int


def library(materials: int, bands: int, generator: torch.Generator) -> tuple[Tensor, NDArray[np.float64]]:
    """Some spectra of the USGS library (K, C) and their wavelengths in nm."""
    table = loadmat(str(stgraph_data_folder("usgs_library") / "USGS_1995_Library.mat"))["datalib"]
    table = table[np.argsort(table[:, 0])]
    chosen = table[np.linspace(0, len(table) - 1, bands).round().astype(int)]
    spectra = chosen[:, 3:]  # before them: wavelength in micrometres, width and number of the band
    spectra = spectra[:, (spectra >= 0).all(axis=0) & (spectra <= 1).all(axis=0)]  # deleted channels are -1.23e34
    some = torch.randperm(spectra.shape[1], generator=generator)[:materials]
    return torch.from_numpy(spectra).float().T[some].contiguous(), chosen[:, 0] * 1000


def make_scene(size: int, spectra: Tensor, wavelengths: NDArray[np.float64], generator: torch.Generator) -> Scene:
    """Abundances from smooth random fields of several scales, in light that varies by a fifth."""
    scales = (8, 32, 128)
    fields = torch.stack([_field(len(spectra), size, step, generator) * step**0.5 for step in scales]).sum(dim=0)
    light = 0.8 + 0.2 * torch.sigmoid(_field(1, size, 64, generator))
    return Scene(torch.softmax(fields, dim=0) * light, spectra, wavelengths)


def _field(count: int, size: int, step: int, generator: torch.Generator) -> Tensor:
    coarse = torch.randn(1, count, max(2, size // step), max(2, size // step), generator=generator)
    return F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)[0]


def save_images(scene: Scene, folder: Path, generator: torch.Generator) -> None:
    """Write the two images; blur and means act on the maps as they would on the bands, because both are linear."""
    psf = psf_kernel("gaussian").float()
    srf = sensor_response(4, scene.wavelengths).float()
    hr_msi = apply_response(scene.maps, srf @ scene.spectra.T)
    lr_hsi = apply_response(area_downsample(blur(scene.maps, psf), RATIO), scene.spectra.T)
    images = {"lr_hsi": add_noise(lr_hsi, SNR, generator), "hr_msi": add_noise(hr_msi, SNR, generator)}
    arrays = {name: image.numpy() for name, image in (images | {"srf": srf, "psf": psf}).items()}
    np.savez(folder / "images.npz", **arrays)  # type: ignore[arg-type]


def fuse_to_file(task: Task) -> dict[str, Any]:
    """The process that fuses: read the images, fit, and write the result window by window."""
    torch.set_num_threads(task.threads)
    images = methods.load_images(task.folder)
    imported = measure._peak_resident()
    start = time.perf_counter()
    estimate = make_estimate(task, images)
    fitted = time.perf_counter()
    write(estimate, task.output)
    return {
        "fit_seconds": fitted - start,
        "write_seconds": time.perf_counter() - fitted,
        "bytes": measure._peak_resident(),
        "bytes_before": imported,
    }


def make_estimate(task: Task, images: dict[str, Tensor]) -> Any:
    """The default method."""
    from stgraph.models.fusion.latent_fusion import LatentEstimationFusion

    method = LatentEstimationFusion(count=methods.COUNT, epochs=task.epochs, batch_size=task.batch_size, seed=task.seed)
    return method.estimate(images["lr_hsi"], images["hr_msi"], images["srf"], images["psf"], RATIO)


def write(estimate: Any, path: str) -> None:
    """Write an estimate in windows that are whole chunks of the file."""
    height, width = estimate.size
    side = max(1, 256 // chunk_side(estimate.bands)) * chunk_side(estimate.bands)
    with ImageWriter(path, (height, width, estimate.bands)) as writer:
        for row in range(0, height, side):
            for column in range(0, width, side):
                window = (slice(row, min(row + side, height)), slice(column, min(column + side, width)))
                writer.write(row, column, estimate.spectra(window).permute(1, 2, 0).numpy())


def errors(scene: Scene, read: Callable[[slice], Tensor]) -> dict[str, float]:
    """PSNR in dB and mean spectral angle in degrees of an image whose rows are read as (C, rows, W)."""
    squares, angles, pixels = 0.0, 0.0, 0
    for row in range(0, scene.maps.shape[1], STRIP):
        rows = slice(row, row + STRIP)
        truth, estimate = scene.truth(rows).double(), read(rows).double().clamp(0, 1)
        squares += float((truth - estimate).square().sum())
        cosine = F.cosine_similarity(truth, estimate, dim=0).clamp(-1, 1)
        angles += float(torch.rad2deg(torch.acos(cosine)).sum())
        pixels += cosine.numel()
    return {"psnr": -10 * math.log10(squares / (pixels * scene.spectra.shape[1])), "sam": angles / pixels}


def file_errors(scene: Scene, path: str) -> dict[str, float]:
    """The errors of the image in a file."""
    with h5py.File(path) as file:
        (image,) = file.values()
        return errors(scene, lambda rows: torch.from_numpy(image[rows]).permute(2, 0, 1))


def affine_errors(scene: Scene, folder: str) -> dict[str, float]:
    """The errors of the affine fit, which is held whole here."""
    images = methods.load_images(folder)
    image = AffineFusion().fuse(images["lr_hsi"], images["hr_msi"], images["srf"], None, RATIO)
    return errors(scene, lambda rows: image[:, rows])


def run(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Make the images, fuse them in a process of its own, and judge the result."""
    generator = torch.Generator().manual_seed(args.seed)
    spectra, wavelengths = library(MATERIALS, args.bands, generator)
    scene = make_scene(args.size, spectra, wavelengths, generator)
    save_images(scene, Path(folder), generator)
    task = Task(folder, f"{folder}/fused.h5", args.epochs, args.batch_size, args.threads, args.seed)
    found = methods.child([__file__, "--task", json.dumps(task._asdict())], args.threads, MARK)
    found |= {"file_bytes": Path(task.output).stat().st_size, "affine": affine_errors(scene, folder)}
    return found | file_errors(scene, task.output)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fuse one large image, and write what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--size", type=int, default=1024, help="rows and columns of the result")
    add("--bands", type=int, default=200, help="bands of the result")
    add("--epochs", type=int, default=300, help="epochs of the network")
    add("--batch-size", type=int, help="low-resolution pixels of a step (default: all)")
    add("--threads", type=int, default=2, help="threads torch may use")
    add("--seed", type=int, default=0, help="seed of the scene, the noise and the method")
    add("--results", type=Path, default=measure.RESULTS, help="folder for the JSON and text results")
    add("--task", help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.task:
        print(MARK + json.dumps(fuse_to_file(Task(**json.loads(args.task)))))
        return
    report = measure.Report("fusion_scale", args.threads, args.results)
    with tempfile.TemporaryDirectory() as folder:
        found = run(args, folder)
    report.records = [found | {"size": args.size, "bands": args.bands, "epochs": args.epochs}]
    for text in notes(args, found):
        report.note(text)
    report.finish()


def notes(args: argparse.Namespace, found: dict[str, Any]) -> list[str]:
    """What was found, in words."""
    size, bands, low, affine = args.size, args.bands, args.size // RATIO, found["affine"]
    peak, before, file = (found[key] / 1e9 for key in ("bytes", "bytes_before", "file_bytes"))
    reached = "reached" if found["bytes"] <= LIMIT else "MISSED"
    return [
        f"{size} x {size} x {bands} from {low} x {low} x {bands} and {size} x {size} x 4, {args.epochs} epochs; the "
        f"result takes {size**2 * bands * 4 / 1e9:.2f} GB as float32, its file {file:.2f} GB",
        f"peak resident memory of the process: {peak:.2f} GB, of which {before:.2f} GB are "
        f"libraries and the images; limit {LIMIT / 1e9:g} GB: {reached}",
        f"seconds: {found['fit_seconds']:.1f} to fit, {found['write_seconds']:.1f} to compute and write the result",
        f"against the truth: PSNR {found['psnr']:.2f} dB, SAM {found['sam']:.2f} degrees; the affine fit: "
        f"{affine['psnr']:.2f} dB, {affine['sam']:.2f} degrees",
    ]


if __name__ == "__main__":
    main()
