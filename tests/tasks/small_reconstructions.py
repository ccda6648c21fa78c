"""Small light curves and options for whole reconstruction runs in the tests."""

from __future__ import annotations

import numpy as np

from stgraph.data.light_curves import from_light_curves, write_light_curves
from stgraph.tasks.reconstruction_options import ReconstructionOptions


def make_curves(count=24, seed=0, points=(20, 40)):
    """Noisy sinusoids of different lengths at irregular times, with a class and a period each."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(*points, count)
    periods = generator.uniform(2.0, 8.0, count)
    times = [np.sort(generator.uniform(0.0, 20.0, n)) for n in lengths]
    fluxes = [
        10 + np.sin(2 * np.pi * t / p) + 0.05 * generator.standard_normal(len(t))
        for t, p in zip(times, periods, strict=True)
    ]
    metadata = {"period": periods, "lc_type": np.where(periods < 5, "fast", "slow")}
    errors = [np.full(len(t), 0.05) for t in times]
    return from_light_curves(times, fluxes, errors, names=[f"star {i}" for i in range(count)], metadata=metadata)


def write_curves(folder, **arguments):
    """Write curves to a file; return its path."""
    path = folder / "curves.h5"
    write_light_curves(path, make_curves(**arguments))
    return path


def reconstruction_options(folder, output="run", **top):
    """Options of a run that takes a second."""
    options = ReconstructionOptions(output=str(folder / output), **top)
    options.data.path, options.data.steps, options.data.batch_size = str(folder / "curves.h5"), 32, 5
    options.data.val = options.data.test = 0.2
    options.model.arguments = {"encoder_dims": [8, 8], "nhead": 2, "num_transformer_blocks": 1}
    options.optimizer.learning_rate = 1e-2
    options.trainer.max_epochs, options.trainer.log_every_n_steps = 2, 1
    options.trainer.accelerator, options.trainer.tensorboard, options.trainer.progress_bar = "cpu", False, False
    return options
