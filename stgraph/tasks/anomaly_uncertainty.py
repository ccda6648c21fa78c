"""Anomalies by the uncertainty of a reconstruction: what a model predicts of points that were hidden from it."""

from __future__ import annotations

import math
import os

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import observed_entries
from stgraph.data.series_loader import SeriesLoader
from stgraph.data.series_scaling import unscale
from stgraph.errors import InputError
from stgraph.ops.anomaly.hidden_blocks import predict_hidden, uncertainty_deviation
from stgraph.ops.anomaly.merging import merged_records, narrowest_windows
from stgraph.ops.anomaly.result import AnomalousRegions
from stgraph.ops.anomaly.window_scores import default_widths, score_threshold, standardise_windows, window_statistics
from stgraph.ops.anomaly.windows import regions_from_windows
from stgraph.tasks.anomaly_detection import FoundAnomalies
from stgraph.tasks.anomaly_input import node_names
from stgraph.tasks.reconstruction_errors import reconstruct
from stgraph.tasks.reconstruction_inference import LoadedReconstruction, join_stretches

__all__ = ["detect_by_uncertainty", "regions_of_deviation"]


@torch.no_grad()
def detect_by_uncertainty(
    run: str | os.PathLike[str],
    data: Data | str | None = None,
    *,
    block: int = 8,
    multiplier: float = 5.0,
    device: str = "cpu",
) -> FoundAnomalies:
    """Find what a reconstruction run with uncertainty did not expect.

    Blocks of points are hidden in turn, and each point is compared with what the model predicts of it from the others,
    in units of the predicted standard deviation and the measurement error. Windows of these deviations are judged
    against those of all series.

    Args:
        run: Folder of a run of ``stgraph lightcurve train`` with ``model.uncertainty``.
        data: Another file of the same kind, or series as the run reads them; the run's own data by default.
        block: Points that are hidden at a time; anomalies that are longer can be continued from their visible parts.
        multiplier: Robust standard deviations of the threshold above the median, as :func:`score_threshold` has it.
        device: Where to compute.

    Raises:
        InputError: If the run has no uncertainty, or the data or the block cannot be used.
    """
    if not 0 <= multiplier < math.inf:
        raise InputError(f"multiplier is {multiplier}; expected a finite number of at least 0")
    loaded = LoadedReconstruction(run)
    if not loaded.options.model.uncertainty:
        raise InputError(f"{loaded.folder.path} has no uncertainty; train it with --model.uncertainty true")
    if loaded.options.model.name == "multimodal":
        raise InputError(f"{loaded.folder.path} reconstructs series beside spectra, which cannot be hidden in blocks")
    series = data if isinstance(data, Data) else loaded.read(data)
    scaled = loaded.scaled(series)
    mask = observed_entries(scaled)
    steps = loaded.model.steps or scaled.x.shape[1]
    model = loaded.model.to(device)

    def predict(_: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        wanted = hidden & mask
        if not bool(wanted.any()):
            return torch.zeros_like(scaled.x), torch.zeros_like(scaled.x)
        loader = SeriesLoader(
            scaled,
            steps=steps,
            stride=max(steps // 2, 1),
            hidden=wanted,
            neighbors=loaded.options.model.neighbors > 0,
            batch_size=loaded.options.data.batch_size or 32,
        )
        found = reconstruct(model, loader, device)
        assert found.log_variance is not None
        variance = join_stretches(found.log_variance.exp(), found, scaled)
        tiny = torch.finfo(variance.dtype).tiny
        return join_stretches(found.mean, found, scaled), variance.clamp(min=tiny).log()

    mean, log_variance = predict_hidden(predict, scaled.x, mask, block)
    z = uncertainty_deviation(scaled.x, mean, log_variance, scaled.get("flux_error"), mask)
    rows = torch.arange(len(mean))
    expected = unscale(mean, scaled, rows, torch.zeros_like(rows))
    return FoundAnomalies(regions_of_deviation(z, mask, expected, multiplier), node_names(series), series)


def regions_of_deviation(z: Tensor, mask: Tensor, expected: Tensor, multiplier: float = 5.0) -> AnomalousRegions:
    r"""Judge windows of deviations against those of all series.

    Of several channels a window has the largest score.

    Args:
        z: Deviations in standard deviations, 0 at bad points.
        mask: True at good points.
        expected: What was expected.
        multiplier: Robust standard deviations of the threshold above the median, as :func:`score_threshold` has it.

    Shapes:
        - **z**, **mask**, **expected:** :math:`(N, L, C)`
    """
    nodes, length, channels = z.shape
    rows, good = (value.transpose(1, 2).flatten(0, 1) for value in (z, mask))
    statistics = window_statistics(rows, good, default_widths(length))
    windows = standardise_windows(statistics).score.unflatten(0, (nodes, channels))
    windows = _largest(windows, dim=1)
    score = _largest(windows, dim=1)
    threshold = score_threshold(score, multiplier)
    anomalous = score > threshold
    start, end = statistics.start, statistics.end
    channel = z.abs().argmax(dim=2, keepdim=True)
    flagged = (windows > threshold) & anomalous[:, None]
    flagged = narrowest_windows(flagged, z.gather(2, channel)[..., 0], start, end)
    regions = regions_from_windows(flagged, start, end, length)
    return AnomalousRegions(
        regions=regions,
        anomalous=anomalous,
        metadata=merged_records(regions, flagged, windows, start, "uncertainty"),
        score=score,
        no_data=~mask.any(dim=2).any(dim=1),
        rule="uncertainty",
        window_size=int((end - start).min()),
        window_start=start,
        window_end=end,
        window_score=windows,
        threshold=float(threshold),
        expected=expected.gather(2, channel)[..., 0],
        deviation=z.gather(2, channel)[..., 0],
    )


def _largest(values: Tensor, dim: int) -> Tensor:
    """Largest value along a dimension, NaN where all are."""
    largest = values.nan_to_num(-torch.inf).amax(dim=dim)
    return largest.masked_fill(largest == -torch.inf, torch.nan)
