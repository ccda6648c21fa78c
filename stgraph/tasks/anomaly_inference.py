"""What a detector that was fitted finds in other data."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path

from torch_geometric.data import Data

from stgraph.data.files import existing
from stgraph.errors import CheckpointError, InputError
from stgraph.tasks.anomaly_data import AnomalyParts
from stgraph.tasks.anomaly_detection import FoundAnomalies, decide, judge, load_detector, on_cpu
from stgraph.tasks.anomaly_input import anomaly_kind_of, node_names, prepare, read_anomaly_input, resolve_anomaly_input
from stgraph.tasks.anomaly_options import AnomalyOptions
from stgraph.tasks.folder import RunFolder, read_options
from stgraph.tasks.options import DATASETS

__all__ = ["LoadedAnomaly"]

_logger = logging.getLogger("stgraph")


class LoadedAnomaly:
    """An anomaly run read back from its folder.

    Args:
        folder: The folder.

    Raises:
        InputError: If it is not the folder of such a run.
        CheckpointError: If its detector is damaged.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = RunFolder(folder)
        if self.folder.is_run and not self.folder.is_anomaly:
            raise InputError(f"{self.folder.path} holds another kind of run; expected one of stgraph anomaly train")
        self.options = read_options(self.folder.config, AnomalyOptions)
        if not self.folder.detector.is_file():
            raise InputError(f"{self.folder.path} holds a run that is not finished; continue it with --resume")
        self.detector, self.description = load_detector(self.folder.detector)

    def read(self, path: str | os.PathLike[str] | None = None, *, catalog: str | None = None) -> Data:
        """Read the run's own data, or another file of the same kind, and bring it to the grid of the run.

        Args:
            path: Another file.
            catalog: Table with redshifts and positions of its spectra.

        Raises:
            InputError: If it cannot be read or is of another kind.
            CheckpointError: If it has other nodes or channels.
        """
        if path is None:
            if catalog is not None:
                raise InputError("catalog is for another file of spectra; the run has that of data.catalog")
            return prepare(read_anomaly_input(self.options.data), self.options.data)
        kind = anomaly_kind_of(str(path if str(path) in DATASETS else existing(path)))
        if kind != self.options.data.kind:
            raise InputError(f"{path} holds {kind}; the run was trained on {self.options.data.kind}")
        options = dataclasses.replace(self.options.data, path=str(path), catalog=catalog)
        return self.prepare(read_anomaly_input(resolve_anomaly_input(options)))

    def prepare(self, data: Data) -> Data:
        """Bring data to the grid and the frame of the run.

        Raises:
            InputError: If they lack what that takes, such as redshifts.
            CheckpointError: If they have other nodes or channels than the series of the run.
        """
        if self.options.data.kind == "series":
            ours = self.description["nodes"], self.description["channels"]
            theirs = int(data.x.shape[0]), int(data.x.shape[2])
            if ours != theirs:
                raise CheckpointError(
                    f"the data has {theirs[0]} nodes and {theirs[1]} channels; the run was trained on {ours[0]} and "
                    f"{ours[1]}"
                )
        return prepare(data, self.options.data, self.description["wavelength"])

    def detect(
        self,
        data: Data | str | os.PathLike[str] | None = None,
        *,
        catalog: str | None = None,
        device: str = "cpu",
    ) -> FoundAnomalies:
        """Return what does not fit in other data of the kind that the run was trained on.

        Args:
            data: A file, or spectra or series as they were read, none of them those of the fit; by default the run's
                own data, each spectrum compared with the others.
            catalog: Table with redshifts and positions of the spectra of a file.
            device: Where to compute.

        Raises:
            InputError: If the data cannot be used. The logger ``stgraph`` warns of the file of the fit itself.
        """
        if data is None:
            return judge(self.detector, AnomalyParts(self.read(catalog=catalog), self.options), device)
        if catalog is not None and isinstance(data, Data):
            raise InputError("catalog is for a file of spectra; data was read already")
        prepared = self.prepare(data) if isinstance(data, Data) else self.read(data, catalog=catalog)
        if not isinstance(data, Data) and self.options.data.kind == "spectra" and self._fitted_to(data):
            _logger.warning(
                "%s is what the detector was fitted to: each spectrum is a neighbour of its own, and p-values hold for "
                "other spectra only; without naming data each is compared with the others",
                data,
            )
        found = self.detector.to(device).detect(prepared.clone().to(device))
        rate = self.options.detector.false_alarm_rate
        found = on_cpu(decide(found, rate))
        return FoundAnomalies(found, node_names(prepared), prepared)

    def _fitted_to(self, path: str | os.PathLike[str]) -> bool:
        own = Path(str(self.options.data.path))
        return own.exists() and existing(path).samefile(own)
