"""Pictures of reconstructions, of training and of latent vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from stgraph.cli.files import require, short
from stgraph.cli.lightcurve_options import PlotOptions
from stgraph.data.series_loader import SeriesLoader
from stgraph.errors import InputError
from stgraph.report.html import write_report
from stgraph.report.latents import latent_picture
from stgraph.report.reconstruction import error_boxes, reconstruction_grid
from stgraph.report.style import save_figure
from stgraph.report.training import training_curves
from stgraph.tasks.folder import RunFolder
from stgraph.tasks.latents import read_latents
from stgraph.tasks.reconstruction_data import ReconstructionData
from stgraph.tasks.reconstruction_errors import Reconstructed, reconstruct
from stgraph.tasks.reconstruction_inference import LoadedReconstruction
from stgraph.tasks.trainer import device_of

__all__ = ["ReconstructionFigures", "draw_training", "plot"]

_EXAMPLES_IN_TRAINING = 4


class ReconstructionFigures(Callback):
    """Draw reconstructions of validation series after the first epoch and after every so many.

    Args:
        every_n_epochs: Epochs between two figures.
    """

    def __init__(self, every_n_epochs: int = 10) -> None:
        self.every_n_epochs = every_n_epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the figure of this epoch."""
        epoch = trainer.current_epoch + 1
        if not trainer.is_global_zero or (epoch != 1 and epoch % self.every_n_epochs):
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        model: Any = pl_module.model
        found = reconstruct(model, [_examples(data, "val", _EXAMPLES_IN_TRAINING)], pl_module.device)
        model.train()
        folder = Path(trainer.default_root_dir) / "figures"
        save_figure(_grid(found, data), folder / f"reconstruction_epoch{epoch}.png")


def draw_training(folder: RunFolder) -> Path:
    """Draw the errors over the epochs of a run, and write its report."""
    save_figure(training_curves(folder.metrics), folder.figures / "training.png")
    return write_report(folder.path)


def plot(options: PlotOptions) -> None:
    """Draw the reconstructions and the training of a run, or the latent vectors of a table."""
    require(options.source, "the folder of a run, or a table of latent vectors")
    if not 1 <= options.examples <= 16:
        raise InputError(f"examples is {options.examples}; expected 1 to 16")
    source = Path(options.source)
    paths = _plot_run(options) if source.is_dir() else [_plot_latents(options)]
    for path in paths:
        print(short(path))


def _plot_run(options: PlotOptions) -> list[Path]:
    run = LoadedReconstruction(options.source)
    output = run.folder.figures if options.output is None else Path(options.output)
    data = ReconstructionData(run.read(), run.options)
    stage = "test" if run.options.data.test > 0 else "val"
    device = device_of(options.device)
    found = reconstruct(run.model.to(device), [_examples(data, stage, options.examples)], device)
    paths = [
        save_figure(_grid(found, data), output / "reconstructions.png"),
        save_figure(training_curves(run.folder.metrics), output / "training.png"),
    ]
    table = run.folder.errors
    if table.is_file():
        import pandas as pd

        rows = pd.read_csv(table)
        columns = [str(name) for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]
        classes = {name: rows[name].astype(str).tolist() for name in columns}
        classes.pop("series", None)
        if classes:
            figure = error_boxes(rows["hidden_mse"].to_numpy(), classes, name="MSE of hidden points")
            paths.append(save_figure(figure, output / "errors_by_class.png"))
    return paths


def _plot_latents(options: PlotOptions) -> Path:
    table = read_latents(options.source)
    if options.color is not None and options.color not in table.metadata:
        raise InputError(f"color is {options.color!r}; the table has {', '.join(table.metadata) or 'no columns'}")
    color = None if options.color is None else table.metadata[options.color]
    figure = latent_picture(table.latents, color, method=options.method, color_name=options.color)
    folder = Path(options.source).parent if options.output is None else Path(options.output)
    return save_figure(figure, folder / f"{Path(options.source).stem}_{options.method}.png")


def _examples(data: ReconstructionData, stage: str, count: int) -> Any:
    """The first samples of a stage as one batch."""
    loader: SeriesLoader = data.loader(stage)
    loader.batch_size = count
    return next(iter(loader))


def _grid(found: Reconstructed, data: ReconstructionData) -> Any:
    """Draw the first channel of some reconstructed stretches, in scaled units."""
    graph = data.data
    at: Any = found.time
    axis = "time"
    if at is None:
        frequency, steps = graph.get("frequency"), torch.arange(found.mean.shape[1]) + 1.0
        axis = "step" if frequency is None else "frequency"
        at = steps if frequency is None else frequency if frequency.dim() == 1 else frequency[found.node]
    channel_names = graph.get("channel_names")
    names = graph.get("node_names")
    return reconstruction_grid(
        np.asarray(at),
        found.target[..., 0].numpy(),
        found.mean[..., 0].numpy(),
        found.hidden[..., 0].numpy(),
        mask=found.mask[..., 0].numpy(),
        log_variance=None if found.log_variance is None else found.log_variance[..., 0].numpy(),
        block_size=found.block_size.tolist(),
        names=None if names is None else [str(names[i]) for i in found.node.tolist()],
        axis=axis,
        value_name=str(channel_names[0]) if channel_names else "Value",
        unit="scaled",
    )
