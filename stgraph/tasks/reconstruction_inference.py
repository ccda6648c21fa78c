"""What a trained autoencoder does with series: fill their gaps, and give each a latent vector."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.light_curves.gaps import insert_gap_times
from stgraph.data.series_loader import SeriesLoader
from stgraph.data.series_scaling import ScaleSeries, unscale
from stgraph.errors import CheckpointError, InputError
from stgraph.ops.pooling import pool_sequence
from stgraph.tasks.checkpoints import write_atomically
from stgraph.tasks.folder import RunFolder, read_options
from stgraph.tasks.reconstruction_data import ReconstructionData, connected
from stgraph.tasks.reconstruction_errors import Reconstructed, evaluate_reconstruction, reconstruct
from stgraph.tasks.reconstruction_input import kind_of, read_input
from stgraph.tasks.reconstruction_options import ReconstructionOptions
from stgraph.tasks.reconstruction_run import load_reconstructor, with_data

__all__ = ["FilledSeries", "LoadedReconstruction", "join_stretches", "write_filled"]


class FilledSeries(NamedTuple):
    """Series without gaps, in the units of the data.

    Shapes:
        - **values, deviation, observed:** :math:`(N, T, C)`; observed values are as they were, the others are
          reconstructed with a standard deviation (NaN where the model predicts none)
        - **time:** as in the graph; **real:** :math:`(N, T)`, False behind the end of a series
    """

    values: Tensor
    deviation: Tensor
    observed: Tensor
    time: Tensor | None
    real: Tensor


class LoadedReconstruction:
    """A reconstruction run read back from its folder.

    Args:
        folder: The folder.

    Raises:
        InputError: If it is not the folder of such a run.
        CheckpointError: If its checkpoint is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = RunFolder(folder)
        self.options = read_options(self.folder.config, ReconstructionOptions)
        self.model = load_reconstructor(self.folder.path)

    def read(self, path: str | None = None) -> Data:
        """Read the run's own data, or another file of the same kind.

        Raises:
            InputError: If it cannot be read or is of another kind.
            CheckpointError: If it has another number of channels.
        """
        options = self.options if path is None else with_data(self.options, path=path)
        kind = self.options.data.kind
        try:
            data = read_input(options.data)
        except InputError as error:
            if path is None or kind_of(path) == kind:
                raise
            raise InputError(f"{path} holds {kind_of(path)}; the run was trained on {kind} ({error})") from error
        self._check_frequency(data)
        if data.x.shape[2] != self.model.channels:
            raise CheckpointError(f"the model takes {self.model.channels} channels; the data has {data.x.shape[2]}")
        return data

    def _check_frequency(self, data: Data) -> None:
        """Refuse spectra whose bins mean other frequencies than those that the model was trained on."""
        known, given = self.model.frequency_range, data.get("frequency")
        if known is None or given is None or given.dim() != 1:
            return
        found = float(given[0]), float(given[-1])
        if not np.allclose(found, known, rtol=1e-6):
            raise InputError(
                f"the spectra have frequencies from {found[0]:.6g} to {found[1]:.6g} per day; the model was trained on "
                f"{known[0]:.6g} to {known[1]:.6g} (freq_min and freq_max of stgraph lightcurve spectra)"
            )

    def evaluate(self, path: str | None = None, *, table: Path | None = None, device: str = "cpu") -> dict[str, Any]:
        """Return the errors on the run's own test series or on all series of another file.

        Args:
            path: Another file.
            table: CSV file to write with a row for each stretch of a series.
            device: Where to compute.
        """
        data = ReconstructionData(self.read(path), self.options, split=path is None)
        stage = "test" if self.options.data.test > 0 else "val"
        return evaluate_reconstruction(self.model.to(device), data, stage, device, table)

    def fill(self, data: Data, device: str = "cpu", *, max_gap: float | None = None) -> FilledSeries:
        """Fill what was not observed: the masked entries, and the gaps of series with times of their own.

        Series longer than the model's stretches are filled in overlapping ones, and averaged with weights that fall
        towards the ends of a stretch.

        Args:
            data: The series, as :meth:`read` returns them.
            device: Where to compute.
            max_gap: Longest gap to fill of series with times of their own, in the unit of the times.
        """
        time = data.get("time")
        if time is not None and time.dim() == 2:
            data = insert_gap_times(data, max_gap=max_gap)
        elif max_gap is not None:
            raise InputError("max_gap is for series with times of their own; here all share them")
        scaled = self.scaled(data)
        found = reconstruct(self.model.to(device), self._loader(scaled, overlap=True), device)
        values = join_stretches(unscale(found.mean, scaled, found.node, found.start), found, data)
        deviation = torch.full_like(values, torch.nan)
        if found.log_variance is not None:
            spread = unscale((0.5 * found.log_variance).exp(), scaled, found.node, found.start, spread=True)
            deviation = join_stretches(spread, found, data)
        observed = torch.ones_like(data.x, dtype=torch.bool) if data.get("mask") is None else data.mask
        length = data.get("length")
        steps = torch.arange(data.x.shape[1])
        real = torch.ones(data.x.shape[:2], dtype=torch.bool) if length is None else steps < length[:, None]
        return FilledSeries(
            torch.where(observed, data.x, values),
            deviation.masked_fill(observed, 0.0),
            observed,
            data.get("time"),
            real,
        )

    def embed(self, data: Data, pooling: str = "mean", device: str = "cpu") -> Tensor:
        """Return a latent vector for each series ``[N, d]``; that of a long series is the mean over its stretches.

        Args:
            data: The series, as :meth:`read` returns them.
            pooling: How a latent sequence becomes a vector, see :func:`~stgraph.ops.pooling.pool_sequence`.
            device: Where to compute.
        """
        network = self.model.autoencoder

        def pool(encoded: Tensor, padding: Tensor) -> Tensor:
            if encoded.dim() == 3:
                mask = network.latent_mask(padding, encoded)
                both = network.bidirectional and pooling == "final"
                return pool_sequence(encoded, pooling, key_padding_mask=mask, bidirectional=both)
            if pooling != "mean":
                name = self.options.model.name
                raise InputError(f"pooling is {pooling!r}, but {name} gives one vector for each series")
            return encoded

        found = reconstruct(self.model.to(device), self._loader(self.scaled(data)), device, pool=pool)
        encoded = found.encoded
        assert encoded is not None
        total = encoded.new_zeros(data.x.shape[0], encoded.shape[1]).index_add(0, found.node, encoded)
        return total / torch.bincount(found.node, minlength=len(total)).clamp(min=1)[:, None]

    def scaled(self, data: Data) -> Data:
        """Return series scaled and connected as those that the run was trained on."""
        graph = copy.copy(data)
        if self.options.model.neighbors:
            graph = connected(graph, self.options)
        return ScaleSeries(self.options.data.scaling or "robust", self.options.data.steps_per_cycle)(graph)

    def _loader(self, scaled: Data, *, overlap: bool = False) -> SeriesLoader:
        steps = self.model.steps or scaled.x.shape[1]
        return SeriesLoader(
            scaled,
            steps=steps,
            stride=max(steps // 2, 1) if overlap else None,
            neighbors=self.options.model.neighbors > 0,
            batch_size=self.options.data.batch_size or 32,
        )


def join_stretches(windows: Tensor, found: Reconstructed, data: Data) -> Tensor:
    """Put stretches back on the time axis, ``[N, T, C]``."""
    nodes, steps, channels = data.x.shape
    length = windows.shape[1]
    place = torch.arange(length, dtype=windows.dtype)
    weight = torch.minimum(place + 1, length - place)[:, None].expand(length, channels)
    at = (found.node[:, None] * steps + found.start[:, None] + torch.arange(length)).flatten()
    total = windows.new_zeros(nodes * steps, channels).index_add(0, at, (windows * weight).flatten(0, 1))
    weights = weight.expand(len(windows), length, channels).flatten(0, 1)
    count = windows.new_zeros(nodes * steps, channels).index_add(0, at, weights)
    return (total / count.clamp(min=1)).view(nodes, steps, channels)


def write_filled(path: str | os.PathLike[str], filled: FilledSeries, data: Data) -> None:
    """Write filled series as ``.csv`` (a row for each point) or ``.npz`` (arrays).

    Raises:
        InputError: If the name of the file has another ending.
    """
    path = Path(path)
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {
            "values": filled.values.numpy(),
            "standard_deviation": filled.deviation.numpy(),
            "observed": filled.observed.numpy(),
            "real": filled.real.numpy(),
        }
        if filled.time is not None:
            arrays["time"] = filled.time.numpy()
        write_atomically(path, lambda temporary: np.savez(temporary, **arrays))
    elif path.suffix == ".csv":
        write_atomically(path, lambda temporary: _table(filled, data).to_csv(temporary, index=False))
    else:
        raise InputError(f"output is {str(path)!r}; expected a name that ends in .npz or .csv")


def _table(filled: FilledSeries, data: Data) -> Any:
    import pandas as pd

    node, step = filled.real.nonzero(as_tuple=True)
    channels = filled.values.shape[2]
    given = data.get("node_names"), data.get("channel_names")
    names = np.arange(filled.values.shape[0]) if given[0] is None else np.asarray(given[0])
    channel_names = np.arange(channels) if given[1] is None else np.asarray(given[1])
    columns: dict[str, Any] = {"series": np.repeat(names[node], channels)}
    if filled.time is not None:
        time = filled.time[node, step] if filled.time.dim() == 2 else filled.time[step]
        dates = time.numpy().view("datetime64[ns]") if time.dtype == torch.int64 else time.numpy()
        columns["time"] = np.repeat(dates, channels)
    else:
        columns["step"] = np.repeat(step.numpy(), channels)
    columns["channel"] = np.tile(channel_names, len(node))
    columns["value"] = filled.values[node, step].flatten().numpy()
    columns["standard_deviation"] = filled.deviation[node, step].flatten().numpy()
    columns["observed"] = filled.observed[node, step].flatten().numpy()
    return pd.DataFrame(columns)
