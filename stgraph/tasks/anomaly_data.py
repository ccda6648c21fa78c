"""The spectra or series of an anomaly run: which are learned from, which choose the epoch, and which calibrate."""

from __future__ import annotations

import copy
import logging
import math

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.graph import observed_entries
from stgraph.data.selection import select_time
from stgraph.data.series_loader import SeriesLoader
from stgraph.data.series_scaling import ScaleSeries
from stgraph.data.spectra import select_spectra
from stgraph.errors import InputError
from stgraph.ops.anomaly.calibration import check_calibration_size
from stgraph.tasks.anomaly_options import AnomalyOptions

__all__ = ["AnomalyParts", "SpectraModule", "scaled"]

_logger = logging.getLogger("stgraph")


class AnomalyParts:
    """What a run judges, and what it keeps from training as normal.

    Spectra are drawn at random, those without a good point never for calibration; of a series the end is kept.

    Args:
        data: Prepared spectra or series.
        options: The resolved options of the run.

    Raises:
        InputError: If there is too little to divide.
    """

    def __init__(self, data: Data, options: AnomalyOptions) -> None:
        self.options = options
        self.calibration: Data | None = None
        share, count = options.data.calibration or 0.0, int(data.x.shape[0])
        #: Rows of the data that are judged; all of a series.
        self.rows = torch.arange(count)
        self.judged = data
        some = observed_entries(data).any(dim=2).any(dim=1)
        if not bool(some.any()):
            raise InputError(f"{options.data.path} has no good point at all; nothing can be learned from it")
        if share and options.data.kind == "series":
            first = round((1 - share) * data.x.shape[1])
            self.judged, self.calibration = select_time(data, slice(first)), select_time(data, slice(first, None))
        elif share:
            generator = torch.Generator().manual_seed(options.seed)
            order = some.nonzero()[:, 0]
            order = order[torch.randperm(len(order), generator=generator)]
            kept = order[: max(1, round(share * len(order)))]
            is_kept = torch.zeros(count, dtype=torch.bool)
            is_kept[kept] = True
            self.rows = (~is_kept).nonzero()[:, 0]
            self.judged, self.calibration = select_spectra(data, self.rows), select_spectra(data, kept.sort().values)
        rate = options.detector.false_alarm_rate
        if rate is not None and self.calibration is not None:
            check_calibration_size(int(self.calibration.x.shape[0]), rate)
            self._tell_least(rate)

    def _tell_least(self, rate: float) -> None:
        """Say how many must be flagged together: no p-value is below one over the number that calibrate, and one."""
        if self.options.data.kind != "spectra":
            return
        judged = int(observed_entries(self.judged).any(dim=2).any(dim=1).sum())
        least = math.ceil(judged / ((self.calibration_size + 1) * rate))
        if least > 1:
            _logger.warning(
                "%d calibration spectra: at a rate of %g none of %d spectra can be flagged, or at least %d together; "
                "a larger data.calibration lets fewer be flagged",
                self.calibration_size,
                rate,
                judged,
                least,
            )

    @property
    def calibration_size(self) -> int:
        """Number of spectra, or of steps of a series, that calibrate."""
        if self.calibration is None:
            return 0
        return int(self.calibration.x.shape[self.options.data.kind == "series"])


def scaled(data: Data, options: AnomalyOptions) -> Data:
    """Scale each spectrum for the autoencoder over its good points, and its errors alike."""
    result = copy.copy(data)
    return ScaleSeries(options.data.scaling or "robust")(result)


class SpectraModule(LightningDataModule):
    """Batches of scaled spectra that train an autoencoder, and of those that choose its best epoch.

    Args:
        data: Prepared spectra, those kept for calibration left out.
        options: The resolved options of the run.

    Raises:
        InputError: If too few have data.
    """

    def __init__(self, data: Data, options: AnomalyOptions) -> None:
        super().__init__()
        self.options = options
        self.data = scaled(data, options)
        self.data.mask = observed_entries(self.data)
        some = self.data.mask.any(dim=2).any(dim=1).nonzero()[:, 0]
        generator = torch.Generator().manual_seed(options.seed)
        order = some[torch.randperm(len(some), generator=generator)]
        number = max(1, round(options.data.val * len(some)))
        if number >= len(some):
            raise InputError(f"{len(some)} spectra have data; data.val {options.data.val} leaves none to train on")
        self.nodes: dict[str, Tensor] = {"val": order[:number].sort().values, "train": order[number:].sort().values}

    def loader(self, stage: str) -> SeriesLoader:
        """Return the batches of a stage, shuffled for training alone."""
        return SeriesLoader(
            self.data,
            nodes=self.nodes[stage],
            batch_size=self.options.data.batch_size or 32,
            shuffle=stage == "train",
            seed=self.options.seed,
        )

    def train_dataloader(self) -> SeriesLoader:
        """Return the training batches."""
        return self.loader("train")

    def val_dataloader(self) -> SeriesLoader:
        """Return the validation batches."""
        return self.loader("val")

    def transfer_batch_to_device(self, batch: Data, device: torch.device, dataloader_idx: int) -> Data:
        """Move a batch."""
        return batch.to(device)
