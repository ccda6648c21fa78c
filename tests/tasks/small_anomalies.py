"""Small spectra, networks and grids, and options for whole anomaly runs in the tests."""

from __future__ import annotations

import numpy as np
import torch

from stgraph.data.simulation.anomalies import analytic_galaxies, inject
from stgraph.data.spectra import write_object_spectra
from stgraph.tasks.anomaly_options import AnomalyOptions


def make_spectra(count=32, length=96, seed=0, *, labelled=True):
    """Galaxies, some with a step; the last one has no data."""
    data = analytic_galaxies(count, length=length, seed=seed)
    if labelled:
        data = inject(data, kinds=("step",), fraction=0.1, seed=1)
    data.mask[-1] = False
    data.x[-1] = 0
    data.flux_error[-1] = 0
    data.no_data = ~data.mask.any(dim=2).any(dim=1)
    if labelled:
        data.anomalous[-1] = False
        data.anomaly_mask[-1] = False
    return data


def write_spectra(folder, name="spectra.h5", **arguments):
    """Write spectra to a file; return its path."""
    write_object_spectra(folder / name, make_spectra(**arguments))
    return folder / name


def write_network(folder, nodes=8, steps=160, *, grid=None):
    """Write sensors that follow a common curve, one of them with a spike; return the path of the file."""
    generator = np.random.default_rng(0)
    t = np.arange(steps)
    values = (np.sin(t / 9) + np.sin(t / 31))[:, None] + 0.1 * generator.standard_normal((steps, nodes))
    values[100:102, 3] += 4.0
    path = folder / ("network.npy" if grid is None else "grid.npy")
    array = values.astype(np.float32)
    np.save(path, array if grid is None else array.reshape(steps, *grid, 1))
    if grid is None:
        np.save(folder / "coords.npy", generator.random((nodes, 2)))
    return path


def anomaly_options(folder, path, output="run", **top):
    """Options of a run that takes a second."""
    options = AnomalyOptions(output=str(folder / output), **top)
    options.data.path = str(path)
    options.trainer.accelerator, options.trainer.tensorboard, options.trainer.progress_bar = "cpu", False, False
    if path.suffix == ".npy":
        options.detector.arguments = {"long_widths": [8, 16]}
        options.data.arguments = {} if path.stem == "grid" else {"coords": str(folder / "coords.npy")}
    else:
        options.detector.arguments = {"k": 6, "components": 3}
    return options


def autoencoder_options(folder, path, preset="bottleneck", output="run", **top):
    """Options of a run that trains a small autoencoder."""
    options = anomaly_options(folder, path, output, **top)
    options.detector.name, options.model.preset, options.data.val = "autoencoder", preset, 0.2
    options.model.arguments = {"widths": [6, 4]} | ({"latent_dim": 4} if preset == "bottleneck" else {})
    options.data.batch_size, options.trainer.max_epochs, options.trainer.log_every_n_steps = 8, 2, 1
    if preset != "bottleneck":
        options.rule.window_size, options.detector.arguments = 10, None
    return options


def tensors_equal(first, second):
    """Whether two dictionaries hold the same tensors, bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
