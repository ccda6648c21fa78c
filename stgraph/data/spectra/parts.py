"""What one file says about spectra, and the contents of several files in one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch_geometric.data import Data

from stgraph.data.light_curves.metadata import Metadata, join_metadata
from stgraph.data.spectra.build import from_spectra
from stgraph.data.spectra.rows import as_rows, pad_rows
from stgraph.errors import InputError, InputTypeError

__all__ = ["FileSpectra", "build", "identifiers"]

_logger = logging.getLogger("stgraph")


@dataclass
class FileSpectra:
    """Arguments of :func:`~stgraph.data.spectra.from_spectra` that a file holds, and labels of anomalies."""

    where: str  # for messages
    wavelength: Any  # [L], [N, L] or a list of vectors
    flux: Any  # [N, L] or a list of vectors
    error: Any = None
    ivar: Any = None
    mask: Any = None
    names: list[str] | None = None
    sky: npt.NDArray[Any] | None = None  # [N, 2]
    redshift: npt.NDArray[Any] | None = None  # [N]
    metadata: Metadata = field(default_factory=dict)
    anomaly_mask: Any = None  # as mask, True = anomalous
    anomalous: npt.NDArray[Any] | None = None  # [N]
    frame: str | None = None  # of the wavelengths, "rest" after to_rest_frame

    @property
    def shared(self) -> bool:
        """Whether one axis holds for all spectra."""
        return isinstance(self.wavelength, np.ndarray) and self.wavelength.ndim == 1

    def rows(self, name: str) -> list[Any]:
        """A vector for each spectrum."""
        value = getattr(self, name)
        return [value] * len(self.flux) if name == "wavelength" and self.shared else list(value)

    def take(self, index: Sequence[int]) -> FileSpectra:
        """Some of the spectra, in the order given."""
        chosen: dict[str, Any] = {}
        for name in (item.name for item in fields(self)):
            value = getattr(self, name)
            if name in ("where", "frame") or value is None or (name == "wavelength" and self.shared):
                chosen[name] = value
            elif name == "metadata":
                chosen[name] = {key: vector[list(index)] for key, vector in value.items()}
            else:
                chosen[name] = value[list(index)] if isinstance(value, np.ndarray) else [value[row] for row in index]
        return FileSpectra(**chosen)


def build(parts: Sequence[FileSpectra]) -> Data:
    """Build the graph of all spectra.

    Raises:
        InputError: As :func:`~stgraph.data.spectra.from_spectra` does; names the file.
    """
    part = parts[0] if len(parts) == 1 else _join(parts)
    try:
        data = from_spectra(
            part.wavelength,
            part.flux,
            part.error,
            ivar=part.ivar,
            mask=part.mask,
            names=part.names,
            sky=part.sky,
            redshift=part.redshift,
            metadata=part.metadata or None,
        )
    except (InputError, InputTypeError) as error:
        raise type(error)(f"{part.where}: {error}") from error
    if part.anomaly_mask is not None:
        rows = as_rows(part.anomaly_mask, "anomaly_mask")
        labels = pad_rows(rows, np.array([len(row) for row in rows]), np.bool_)
        if labels.shape != data.x.shape[:2]:
            raise InputError(f"{part.where}: anomaly_mask must be as long as flux, {tuple(data.x.shape[:2])}")
        data.anomaly_mask = torch.from_numpy(labels).unsqueeze(2)
    if part.anomalous is not None:
        data.anomalous = torch.from_numpy(np.asarray(part.anomalous) != 0)
    if part.frame is not None:
        data.frame = part.frame
    return data


def identifiers(values: Any, where: str) -> list[str]:
    """Identifiers of objects as text, exactly: numbers of 17 digits do not fit a float.

    Raises:
        InputTypeError: If they are floats.

    Examples:
        >>> identifiers(np.array([39633297352951412]), "file")
        ['39633297352951412']
    """
    array = np.asarray(values)
    items = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
    if array.dtype.kind not in "iuSUOT" or any(isinstance(item, float) for item in items):
        raise InputTypeError(
            f"{where}: targetid must hold whole numbers or text, as floats lose digits of it; got {array.dtype}"
        )
    return [str(item).strip() for item in items]


def _join(parts: Sequence[FileSpectra]) -> FileSpectra:
    counts = [len(part.flux) for part in parts]
    first = parts[0].wavelength
    shared = all(part.shared and np.array_equal(part.wavelength, first) for part in parts)
    frames = {part.frame for part in parts}
    if len(frames) > 1:
        raise InputError(
            "the wavelengths of all files must be in the same frame, but some are at rest and some are not"
        )
    total = FileSpectra(
        f"{len(parts)} files",
        first if shared else [row for part in parts for row in part.rows("wavelength")],
        [row for part in parts for row in part.rows("flux")],
    )
    # Spectra of files without names are told apart by the file.
    total.names = [
        name
        for part, count in zip(parts, counts, strict=True)
        for name in part.names or [f"{part.where}:{row}" for row in range(count)]
    ]
    total.error, total.ivar = _join_errors(parts)
    total.mask = _join_known(parts, "mask", lambda row: np.ones(len(row), dtype=np.bool_))
    total.anomaly_mask = _join_known(parts, "anomaly_mask", lambda row: np.zeros(len(row), dtype=np.bool_))
    redshift = _join_known(parts, "redshift", lambda row: np.nan)
    total.redshift = None if redshift is None else np.array(redshift, dtype=np.float64)
    anomalous = _join_known(parts, "anomalous", lambda row: False)
    total.anomalous = None if anomalous is None else np.array(anomalous)
    known = [part.sky for part in parts if part.sky is not None]
    if len(known) == len(parts):
        total.sky = np.concatenate(known)
    elif known:
        _logger.warning("sky positions are left out: %s", _without(parts, "sky"))
    total.frame = parts[0].frame
    total.metadata = join_metadata([part.metadata for part in parts], counts)
    return total


def _join_known(parts: Sequence[FileSpectra], name: str, default: Callable[[Any], Any]) -> list[Any] | None:
    if all(getattr(part, name) is None for part in parts):
        return None
    return [
        value
        for part in parts
        for value in ([default(row) for row in part.flux] if getattr(part, name) is None else part.rows(name))
    ]


def _join_errors(parts: Sequence[FileSpectra]) -> tuple[list[Any] | None, list[Any] | None]:
    """Errors or inverse variances of all; inverse variances where files differ in what they hold."""
    if any(part.error is None and part.ivar is None for part in parts):
        missing = [part for part in parts if part.error is None and part.ivar is None]
        if len(missing) < len(parts):
            _logger.warning("errors are left out: %d of %d files have none", len(missing), len(parts))
        return None, None
    if all(part.ivar is None for part in parts):
        return [row for part in parts for row in part.rows("error")], None
    return None, [
        row if part.ivar is not None else _as_ivar(row)
        for part in parts
        for row in part.rows("error" if part.ivar is None else "ivar")
    ]


def _as_ivar(error: Any) -> npt.NDArray[np.float64]:
    values = np.asarray(error, dtype=np.float64)
    # The sign stays, so that negative errors are refused; an error of 0 or NaN marks a bad point.
    known = np.isfinite(values) & (values != 0)
    return np.divide(np.sign(values), values**2, out=np.zeros_like(values), where=known)


def _without(parts: Sequence[FileSpectra], name: str) -> str:
    missing = [part.where for part in parts if getattr(part, name) is None]
    return f"{len(missing)} of {len(parts)} files have none ({missing[0]}{', ...' if len(missing) > 1 else ''})"
