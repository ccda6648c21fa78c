"""Errors of an autoencoder beside those of simple reconstructions of the same points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import observed_entries
from stgraph.data.series_scaling import unscale
from stgraph.metrics import GaussianMetrics, ReconstructionMetrics, reconstruction_errors
from stgraph.models.autoencoders.reconstructor import SeriesReconstructor
from stgraph.ops.interpolation import linear_interpolation
from stgraph.tasks.checkpoints import write_atomically
from stgraph.tasks.reconstruction_data import ReconstructionData

__all__ = ["Reconstructed", "evaluate_reconstruction", "reconstruct"]

# What a batch says of its samples, by the names of the result.
_FROM_BATCH = {
    "target": "x",
    **{
        name: name
        for name in ("mask", "hidden", "node", "start", "block_size", "mask_ratio", "padding", "error", "time")
    },
}
_MOST_CLASSES = 30
_MEASURES = ("mse", "mae", "rmse", "r2", "correlation")


class Reconstructed(NamedTuple):
    """Reconstructed stretches of series, in scaled units.

    Shapes:
        - **mean, target, mask, hidden, log_variance, error:** :math:`(S, L, C)`; **time, padding:** :math:`(S, L)`
        - **node, start, block_size, mask_ratio:** :math:`(S)`; **encoded:** :math:`(S, d)`
    """

    mean: Tensor
    target: Tensor
    mask: Tensor
    hidden: Tensor
    node: Tensor
    start: Tensor
    block_size: Tensor
    mask_ratio: Tensor
    padding: Tensor
    encoded: Tensor | None = None
    log_variance: Tensor | None = None
    error: Tensor | None = None
    time: Tensor | None = None


@torch.no_grad()
def reconstruct(
    model: SeriesReconstructor,
    loader: Iterable[Data],
    device: torch.device | str = "cpu",
    *,
    pool: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Reconstructed:
    """Reconstruct all samples of a loader; the result lies on the CPU.

    Args:
        model: The model.
        loader: The batches.
        device: Where to compute.
        pool: Makes of latent features, and of where the series is padding, what is kept as ``encoded``; without it
            nothing is kept.
    """
    model.eval()
    columns: dict[str, list[Tensor]] = {name: [] for name in Reconstructed._fields}
    for batch in loader:
        count = int(batch.batch_size)
        output = model(batch.to(device))
        found = {
            "mean": output["mean"].float(),
            "encoded": None,
            "log_variance": output["log_variance"].float() if model.uncertainty else None,
            **{name: batch.get(source) for name, source in _FROM_BATCH.items()},
        }
        if pool is not None:
            found["encoded"] = pool(output.get("latent", output["encoded"]).float(), batch.padding[:count])
        for name, value in found.items():
            if value is not None:
                columns[name].append(value[:count].cpu())
    return Reconstructed(**{name: torch.cat(parts) for name, parts in columns.items() if parts})


def evaluate_reconstruction(
    model: SeriesReconstructor,
    data: ReconstructionData,
    stage: str,
    device: torch.device | str = "cpu",
    table: Path | None = None,
) -> dict[str, Any]:
    """Return the errors of a stage on hidden, visible and all points, with those of simple reconstructions.

    Args:
        model: The model.
        data: The series of the run.
        stage: ``"train"``, ``"val"`` or ``"test"``.
        device: Where to compute.
        table: CSV file to write with a row for each stretch of a series.

    Returns:
        dict: ``errors`` in scaled units, ``baselines`` alike, ``by`` class where the metadata has classes,
        ``data_units`` for each channel, and ``uncertainty`` where the model predicts one.
    """
    found = reconstruct(model, data.loader(stage), device)
    candidates = {"model": found.mean, **simple_reconstructions(found, data)}
    errors = {name: _errors(found, mean) for name, mean in candidates.items()}
    result: dict[str, Any] = {
        "errors": errors.pop("model"),
        "baselines": errors,
        "data_units": {name: _in_data_units(found, mean, data.data) for name, mean in candidates.items()},
    }
    if found.log_variance is not None:
        result["uncertainty"] = _uncertainty(found)
    rows = reconstruction_errors(found.mean, found.target, found.mask, found.hidden, found.error)
    classes = _classes(data.data, found.node)
    if classes:
        result["by"] = {name: _by_class(rows, labels) for name, labels in classes.items()}
    if table is not None:
        _write_table(table, found, rows, classes, data.data)
    return result


def simple_reconstructions(found: Reconstructed, data: ReconstructionData) -> dict[str, Tensor]:
    """What is easy to say about hidden points: a line between visible ones, the centre, the training mean of a place.

    The mean of each place, a bin or a step, is that of the run's training series; another file has none.
    """
    steps = torch.arange(found.target.shape[1], dtype=torch.float64)
    time = steps.expand(found.target.shape[:2]) if found.time is None else found.time
    line = linear_interpolation(time, found.target, found.mask & ~found.hidden)
    center = "climatology" if data.options.data.scaling == "climatology" else "zero"
    simple = {"linear_interpolation": line, center: torch.zeros_like(line)}
    if data.split:
        places = found.start[:, None] + torch.arange(line.shape[1])
        simple["training_mean"] = _training_mean(data)[places]
    return simple


def _training_mean(data: ReconstructionData) -> Tensor:
    """Mean of each place over the training series, ``[T, C]``."""
    train, nodes = data.stage_data("train"), data.nodes["train"]
    x, mask = train.x, observed_entries(train)
    if nodes is not None:
        x, mask = x[nodes], mask[nodes]
    mean: Tensor = x.masked_fill(~mask, 0.0).sum(dim=0) / mask.sum(dim=0).clamp(min=1)
    return mean


def _errors(found: Reconstructed, mean: Tensor) -> dict[str, dict[str, float]]:
    metrics = ReconstructionMetrics(sync_on_compute=False)
    metrics.update(mean, found.target, found.mask, found.hidden, found.error)
    values = metrics.compute()
    names = [*_MEASURES, "count", *(("chi2", "reduced_chi2") if found.error is not None else ())]
    return {part: {n: float(values[f"{part}_{n}"]) for n in names} for part in ("hidden", "visible", "all")}


def _in_data_units(found: Reconstructed, mean: Tensor, data: Data) -> dict[str, dict[str, float]]:
    """Errors of hidden points for each channel, in the units of the data."""
    names = data.get("channel_names")
    names = [str(i) for i in range(mean.shape[2])] if names is None else names
    difference = unscale(mean - found.target, data, found.node, found.start, spread=True).double()
    counted = found.mask & found.hidden
    result = {}
    for index, name in enumerate(names):
        values = difference[..., index][counted[..., index]]
        known = values.numel() > 0
        result[str(name)] = {
            "mae": float(values.abs().mean()) if known else math.nan,
            "rmse": float(values.square().mean().sqrt()) if known else math.nan,
        }
    return result


def _uncertainty(found: Reconstructed) -> dict[str, float]:
    metrics = GaussianMetrics(sync_on_compute=False)
    assert found.log_variance is not None
    metrics.update(found.mean, found.log_variance, found.target, found.mask, found.hidden)
    return {name: float(value) for name, value in metrics.compute().items()}


def _classes(data: Data, node: Tensor) -> dict[str, np.ndarray[Any, Any]]:
    metadata = data.get("metadata") or {}
    columns = {name: np.asarray(values) for name, values in metadata.items()}
    texts = {name: values.astype(str) for name, values in columns.items() if values.dtype.kind in "UO"}
    # Names, of stars or files, are no classes.
    classes = {name: values for name, values in texts.items() if len(np.unique(values)) <= _MOST_CLASSES}
    return {name: values[node.numpy()] for name, values in classes.items() if name != "star"}


def _by_class(rows: dict[str, Tensor], labels: np.ndarray[Any, Any]) -> dict[str, dict[str, float]]:
    """Mean squared errors over the points of each class."""
    result = {}
    for label in np.unique(labels):
        chosen = torch.from_numpy(labels == label)
        result[str(label)] = {"count": float(rows["all_count"][chosen].sum())}
        for part in ("hidden", "visible", "all"):
            count, mse = rows[f"{part}_count"][chosen], rows[f"{part}_mse"][chosen]
            total = count.sum()
            result[str(label)][part] = float((mse.nan_to_num() * count).sum() / total) if total else math.nan
    return result


def _write_table(
    path: Path, found: Reconstructed, rows: dict[str, Tensor], classes: dict[str, Any], data: Data
) -> None:
    import pandas as pd

    names = data.get("node_names")
    node = found.node.numpy()
    columns: dict[str, Any] = {
        "series": node if names is None else np.asarray(names)[node],
        "start": found.start.numpy(),
        "block_size": found.block_size.numpy(),
        "mask_ratio": found.mask_ratio.numpy(),
        **classes,
        **{name: values.numpy() for name, values in rows.items()},
    }
    write_atomically(path, lambda temporary: pd.DataFrame(columns).to_csv(temporary, index=False))
