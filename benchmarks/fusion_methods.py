"""The methods of image fusion that the benchmark compares, each fitted in a process of its own.

The process is given the two images, the response and, but for one method, the point-spread function; it does not see
the truth. Its memory is the growth of its resident set over what is there before the fit.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import measure
from stgraph.models.fusion import ImageFusion, get_fusion

if TYPE_CHECKING:  # importing graphs takes longer than most fits
    from stgraph.data.simulation.fusion import FusionPair

MARK = "fit:"
COUNT, EPOCHS = 9, 1000


class Fit(NamedTuple):
    """One fit: the files are in ``folder``; ``epochs`` stands in place of those of the networks."""

    folder: str
    method: str
    ratio: int
    bands: int
    seed: int
    threads: int
    epochs: int | None = None


class Method(NamedTuple):
    """A method: how its tables call it, what makes it, and what it is given.

    ``own`` are the forms of stgraph's own method, ``knows_psf`` those that are given the true point-spread function,
    ``denoised`` those for which the multispectral image is denoised first, as stgraph's own method does by itself, and
    ``uncertain`` those that also tell their expected error.
    """

    label: str
    make: Callable[[Fit], ImageFusion]
    own: bool = False
    knows_psf: bool = True
    denoised: bool = False
    uncertain: bool = False


def _plain(name: str) -> Callable[[Fit], ImageFusion]:
    return lambda fit: get_fusion(name)()


def _cnmf(fit: Fit) -> ImageFusion:
    from stgraph.models.fusion.cnmf import CNMF

    return CNMF(seed=fit.seed)


def _published(epochs: int) -> Callable[[Fit], ImageFusion]:
    def make(fit: Fit) -> ImageFusion:
        from stgraph.models.fusion.latent_fusion import LatentEstimationFusion

        # The published runs use the coarse prior with one band, and with no other number.
        return LatentEstimationFusion.published(
            count=COUNT, epochs=fit.epochs or epochs, prior=fit.bands == 1, seed=fit.seed
        )

    return make


def _ours(**options: Any) -> Callable[[Fit], ImageFusion]:
    def make(fit: Fit) -> ImageFusion:
        from stgraph.models.fusion.latent_fusion import LatentEstimationFusion

        return LatentEstimationFusion(count=COUNT, epochs=fit.epochs or EPOCHS, seed=fit.seed, **options)

    return make


#: All methods by the names of the command line.
METHODS: dict[str, Method] = {
    "bicubic": Method("bicubic", _plain("bicubic")),
    "affine": Method("affine fit", _plain("affine")),
    "cnmf": Method("CNMF", _cnmf),
    "gsa": Method("GSA", _plain("gsa")),
    "hysure": Method("HySure", _plain("hysure")),
    "published": Method("published network", _published(EPOCHS)),
    "published_2500": Method("published network, 2500 epochs", _published(2500)),
    "affine_denoised": Method("affine fit, denoised MSI", _plain("affine"), denoised=True),
    "cnmf_denoised": Method("CNMF, denoised MSI", _cnmf, denoised=True),
    "ours": Method("ours", _ours(), own=True),
    "ours_psf": Method("ours, PSF estimated", _ours(), own=True, knows_psf=False),
    "ours_mgat": Method("ours, MGAT on the pixel graph", _ours(spatial="mgat"), own=True),
    "ours_pixels": Method("ours, pixel by pixel with the prior", _ours(spatial=None), own=True),
    "ours_not_denoised": Method("ours, MSI not denoised", _ours(denoise=False), own=True),
    "ours_not_corrected": Method("ours, not corrected", _ours(correction=None), own=True),
    "ours_back_projected": Method("ours, back-projected", _ours(correction="back_projection"), own=True),
    "ours_3": Method("ours, 3 members", _ours(members=3), own=True, uncertain=True),
}


class Outcome(NamedTuple):
    """An image (C, H, W), the expected error of its pixels (H, W), and what the method says of itself."""

    image: Tensor
    expected: Tensor | None
    said: dict[str, Any]


def save_images(pair: FusionPair, folder: str) -> None:
    """Write what a method is given, bands first; the truth is not in it."""
    images = {"lr_hsi": pair.lr_hsi.permute(2, 0, 1), "hr_msi": pair.hr_msi.permute(2, 0, 1)}
    arrays = {name: image.numpy() for name, image in (images | {"srf": pair.srf, "psf": pair.psf}).items()}
    np.savez(Path(folder) / "images.npz", **arrays)  # type: ignore[arg-type]


def load_images(folder: str) -> dict[str, Tensor]:
    """Read what :func:`save_images` wrote: ``lr_hsi``, ``hr_msi``, ``srf`` and ``psf``."""
    with np.load(Path(folder) / "images.npz") as found:
        return {name: torch.from_numpy(np.ascontiguousarray(found[name])) for name in found.files}


def fuse(fit: Fit, images: dict[str, Tensor]) -> Outcome:
    """Run a method on the two images."""
    method = METHODS[fit.method]
    hr_msi = _denoised(images["hr_msi"]) if method.denoised else images["hr_msi"]
    psf = images["psf"] if method.knows_psf else None
    model: Any = method.make(fit)
    if not method.own:
        return Outcome(model.fuse(images["lr_hsi"], hr_msi, images["srf"], psf, fit.ratio), None, {})
    found = model.estimate(images["lr_hsi"], hr_msi, images["srf"], psf, fit.ratio)
    image = found.image()
    everywhere = (slice(0, image.shape[1]), slice(0, image.shape[2]))
    record = found.correction_record
    said = {"corrected": record.applied, "reason": record.reason, "parameters": found.parameters}
    return Outcome(image, found.uncertainty(everywhere) if method.uncertain else None, said)


def _denoised(image: Tensor) -> Tensor:
    from stgraph.ops.fusion.denoising import denoise_image, image_noise

    return denoise_image(image, image_noise(image))


def run_fit(fit: Fit) -> dict[str, Any]:
    """Run a method on the images of its folder, leave the result there, and return the cost."""
    torch.set_num_threads(fit.threads)
    images = load_images(fit.folder)
    warm = torch.rand(256, 256, requires_grad=True)
    (warm @ warm).sum().backward()  # thread pools and library buffers exist before the baseline is taken
    gc.collect()
    baseline, processor, start = measure._restart_peak(), time.process_time(), time.perf_counter()
    outcome = fuse(fit, images)
    cost = {
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - processor,
        "bytes": max(0, measure._peak_resident() - baseline),
    }
    np.save(Path(fit.folder) / "estimate.npy", outcome.image.float().numpy())
    if outcome.expected is not None:
        np.save(Path(fit.folder) / "expected.npy", outcome.expected.double().numpy())
    return cost | outcome.said


def run_in_child(fit: Fit) -> dict[str, Any]:
    """Call :func:`run_fit` in a fresh process."""
    return child([__file__, json.dumps(fit._asdict())], fit.threads, MARK)


def child(arguments: list[str], threads: int, mark: str) -> dict[str, Any]:
    """Run a script of this folder in a fresh process, and return what it printed behind the mark."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    environment["PYTHONPATH"] = os.pathsep.join([str(measure.ROOT), *filter(None, [environment.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=measure.ROOT, capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(mark)]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"{' '.join(arguments)} failed with code {done.returncode}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(lines[-1].removeprefix(mark))
    return found


if __name__ == "__main__":
    print(MARK + json.dumps(run_fit(Fit(**json.loads(sys.argv[1])))))
