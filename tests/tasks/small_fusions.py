"""A small scene of three materials, files of it, and options for whole fusion runs in the tests."""

from __future__ import annotations

import numpy as np

from stgraph.data.simulation.fusion import simulate_pair
from stgraph.tasks.fusion_options import FusionOptions

WAVELENGTHS = np.linspace(420.0, 880.0, 12)


def make_cube(height=32, width=32):
    """Smooth maps of three materials times their spectra, in units of radiance."""
    row, column = np.meshgrid(np.linspace(0, 5, height), np.linspace(0, 4, width), indexing="ij")
    maps = np.stack([1 + np.sin(row), 1 + np.cos(column), 1 + np.sin(row + column)], axis=2)
    at = np.linspace(0, 1, 12)
    spectra = np.stack([1 + at, 2 - at, 1 + np.sin(3 * at)])
    return (100 * maps @ spectra).astype(np.float32)


def write_scene(folder, name="scene.npz", **size):
    """Write the scene with its wavelengths; return the path."""
    np.savez(folder / name, cube=make_cube(**size), wavelength=WAVELENGTHS)
    return folder / name


def write_pair(folder, gain=1.0):
    """Write a real pair: both images in radiances, those of the multispectral one times ``gain``; return the pair."""
    pair = simulate_pair(make_cube(), sigma=2.0, half_size=4, wavelengths=WAVELENGTHS, normalise=False)
    np.savez(folder / "low.npz", cube=pair.lr_hsi.numpy(), wavelength=WAVELENGTHS)
    np.save(folder / "sharp.npy", gain * pair.hr_msi.numpy())
    return pair


def fusion_options(folder, path=None, output="run", **others):
    """Options of a run that takes a moment; a network of them is tiny."""
    small = {"num_endmembers": 3, "hidden_size": 8, "epochs": 3, "verbose": 0}
    places = {"output_dir": str(folder / output), "log_dir": str(folder / "logs")}
    if path is None:
        files = {"lr_hsi_file": str(folder / "low.npz"), "hr_msi_file": str(folder / "sharp.npy")}
        given = {"synthetic": False, "num_bands_msi_non_synthetic": 4, "kernel_size": 4, **files}
    else:
        given = {"mat_file": str(path)}
    return FusionOptions(**{**small, **places, **given, **others})
