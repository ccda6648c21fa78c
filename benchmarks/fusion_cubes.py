"""The cubes of the benchmark of image fusion, with their true wavelengths, and the pairs of images made from them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.ndimage import gaussian_filter

from stgraph.data.datasets.locate import stgraph_data_folder
from stgraph.data.simulation.fusion import FusionPair, simulate_pair

Array = NDArray[np.float32]
SIGMA, HALF_SIZE = 3.4, 7


class Cube(NamedTuple):
    """A hyperspectral image of reflectance or radiance: values (H, W, C), none negative, and wavelengths (C) in nm."""

    values: Array
    wavelengths: NDArray[np.float64]


class Case(NamedTuple):
    """What one pair is made from; the signal-to-noise ratios are in dB."""

    cube: str
    ratio: int
    psf: str
    bands: int
    snr_hsi: float
    snr_msi: float
    seed: int


def _read(folder: str, file: str) -> dict[str, Any]:
    found: dict[str, Any] = loadmat(str(stgraph_data_folder(folder) / file))
    return found


def _samson() -> Cube:
    cube = _read("hsi_samson", "Samson.mat")["Y"].T.reshape(95, 95, 156, order="F")
    return Cube(cube, np.linspace(401, 889, 156))


def _jasper() -> Cube:
    found = _read("hsi_jasper", "jasperRidge2_R198.mat")
    cube = found["Y"].T.reshape(100, 100, 198, order="F")
    return Cube(cube, np.linspace(380, 2500, 224)[found["SlectBands"].ravel() - 1])


def _indian_pines() -> Cube:
    with np.load(stgraph_data_folder("hsi_indian_pines") / "indian_pines.npz") as found:
        return Cube(found["cube"], found["wavelength_nm"].astype(np.float64))


def _gulfport() -> Cube:
    found = _read("hsi_gulfport", "an_hsi_image_sub_for_demo.mat")
    return Cube(np.maximum(found["hsi_img_sub"], 0), found["wavelengths"].ravel().astype(np.float64))


def _pavia() -> Cube:
    found = _read("hsi_pavia_rgb_pair", "reg_pavia_dataset.mat")
    return Cube(found["I1"], found["wl"].ravel() * 1000)


def _mixture() -> Cube:
    """Smooth mixtures of four Gaussian spectra, to see that everything runs where there are no data."""
    generator = np.random.default_rng(0)
    fields = gaussian_filter(generator.standard_normal((4, 24, 24)), (0, 3, 3))
    shares = np.exp(fields / fields.std())
    wavelengths = np.linspace(400, 900, 24)
    spectra = np.exp(-(((wavelengths - np.array([450, 560, 680, 830])[:, None]) / 90) ** 2))
    return Cube(np.einsum("khw,kc->hwc", shares / shares.sum(axis=0), spectra), wavelengths)


#: How each cube is read; the last one needs no data and is not part of the results.
CUBES: dict[str, Callable[[], Cube]] = {
    "Samson": _samson,
    "Jasper Ridge": _jasper,
    "Indian Pines": _indian_pines,
    "Gulfport": _gulfport,
    "Pavia": _pavia,
    "mixture": _mixture,
}
REAL = tuple(name for name in CUBES if name != "mixture")
ABOUT = (
    "Cubes: Samson 95 x 95 x 156 (401-889 nm), Jasper Ridge 100 x 100 x 198 (408-2453 nm), Indian Pines crop 100 x 100 "
    "x 200 (400-2499 nm), Gulfport 51 x 88 x 72 (368-1043 nm; negative values set to 0, and 13.5 % of its pixels are "
    "marked as invalid by its authors but count here), Pavia 80 x 50 x 103 (430-860 nm), all with their true "
    "wavelengths, clipped to the 1st and 99th percentile and scaled to 0 to 1, and cropped to multiples of the ratio. "
    "Pavia is the low-resolution cube of a registered pair, taken as the truth: the pair itself cannot be used without "
    "resampling, since its cube is rotated by 10 degrees against its colour image and sampled at 1 to 4.4 and 4.5 "
    "pixels; nor does it have a truth, or a known response of its colours."
)


@functools.lru_cache(maxsize=4)
def load_cube(name: str) -> Cube:
    """Read a cube."""
    cube = CUBES[name]()
    return Cube(np.ascontiguousarray(cube.values, dtype=np.float32), cube.wavelengths)


def make_pair(case: Case) -> FusionPair:
    """The two images of a case and the truth."""
    cube = load_cube(case.cube)
    return simulate_pair(
        cube.values,
        ratio=case.ratio,
        psf=case.psf,
        sigma=SIGMA,
        half_size=HALF_SIZE,
        bands=case.bands,
        wavelengths=cube.wavelengths,
        snr_spatial=case.snr_hsi,
        snr_spectral=case.snr_msi,
        seed=case.seed,
    )
