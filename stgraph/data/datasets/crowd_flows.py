"""BikeNYC and TaxiBJ: flows into and out of the cells of a city, of the ST-ResNet paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch_geometric.data import Data

from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, reading
from stgraph.data.graph import from_array
from stgraph.errors import InputError

__all__ = ["BikeNYC", "TaxiBJ", "read_crowd_flows"]

_MINUTES_PER_DAY = 1440
_TAXI_YEARS = (13, 14, 15, 16)


def read_crowd_flows(
    files: Sequence[str | PathLike[str]], *, slots_per_day: int, channel_names: Sequence[str] = ("inflow", "outflow")
) -> Data:
    r"""Read HDF5 files of crowd flows as DeepST and ST-ResNet publish them.

    Each holds ``data``, an array :math:`(T, 2, H, W)`, and ``date``, the day and slot of each step as text such as
    ``2014040101``, slots counted from 1. The files are put one after another. Steps that are not there are left out:
    the times jump over them. Nothing is known of the cells' coordinates: positions are the rows and columns.

    Args:
        files: The files in the order of their times.
        slots_per_day: Slots of a day: 24 for hours, 48 for half hours.
        channel_names: Names of the two channels.

    Shapes:
        - **x:** :math:`(H W, T, 2)`, **pos:** :math:`(H W, 2)`, **grid:** (H, W)

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged or of another layout, a slot does not exist, or times do not rise.
    """
    if not files:
        raise InputError("files must not be empty")
    parts = [_read_file(existing(file), slots_per_day) for file in files]
    grids = {values.shape[1:] for values, _ in parts}
    if len(grids) > 1:
        raise InputError(f"the files must be of the same grid, got the shapes {sorted(grids)}")
    values = np.concatenate([values for values, _ in parts])
    times = np.concatenate([times for _, times in parts])
    return from_array(values, time=times, grid=values.shape[1:3], channel_names=channel_names)


def _read_file(path: Path, slots_per_day: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.datetime64]]:
    """Values [T, H, W, 2] and times of a file."""
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        missing = [name for name in ("data", "date") if name not in file]
        if missing:
            raise InputError(f"{path} must hold data and date, got {', '.join(file) or 'nothing'}")
        values = np.asarray(file["data"][()], dtype=np.float32)
        dates = np.asarray(file["date"][()])
    if values.ndim != 4 or values.shape[1] != 2 or dates.shape != values.shape[:1]:
        raise InputError(
            f"{path}: data must have the shape (T, 2, H, W) and date (T), got {values.shape} and {dates.shape}"
        )
    return np.moveaxis(values, 1, 3), _read_dates(dates, slots_per_day, path)


def _read_dates(dates: npt.NDArray[Any], slots_per_day: int, path: Path) -> npt.NDArray[np.datetime64]:
    import pandas as pd

    text = pd.Series(dates).map(lambda item: item.decode() if isinstance(item, bytes) else str(item))
    fits = text.str.fullmatch(r"\d{10}")
    if not fits.all():
        raise InputError(f"{path}: dates must be days and slots such as 2014040101, got {text[~fits].iloc[0]!r}")
    slot = text.str[8:].astype(np.int64).to_numpy()
    wrong = (slot < 1) | (slot > slots_per_day)
    if wrong.any():
        raise InputError(f"{path}: slots must be 1 to {slots_per_day}, but date {text[wrong].iloc[0]} is of another")
    days = pd.to_datetime(text.str[:8], format="%Y%m%d", errors="coerce")
    if days.isna().any():
        raise InputError(f"{path}: {text[days.isna()].iloc[0]} is no date")
    midnight = days.to_numpy().astype("datetime64[m]").astype(np.int64)
    return (midnight + (slot - 1) * (_MINUTES_PER_DAY // slots_per_day)).astype("datetime64[m]")


class _CrowdFlows(SeriesDataset):
    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        processed: str | PathLike[str] | None = None,
    ) -> None:
        super().__init__(root, transform, pre_transform, force_reload, processed=processed)


class BikeNYC(_CrowdFlows):
    r"""BikeNYC: hires and returns of Citi Bike in New York on a grid of 16 x 8 cells, every hour.

    1 April to 30 September 2014, 4392 steps. Zeros are true zeros. See :func:`read_crowd_flows`.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.

    Shapes:
        - **x:** :math:`(128, 4392, 2)`, **pos:** :math:`(128, 2)`, **grid:** (16, 8)

    Example:
        >>> BikeNYC("datasets")[0].x.shape  # doctest: +SKIP
        torch.Size([128, 4392, 2])
    """

    name = "bike_nyc"

    def read(self) -> Data:
        """Parse the file."""
        files = [self.raw_path("NYC14_M16x8_T60_NewEnd.h5")]
        return read_crowd_flows(files, slots_per_day=24, channel_names=("new_flow", "end_flow"))


class TaxiBJ(_CrowdFlows):
    r"""TaxiBJ: taxis entering and leaving the cells of a grid of 32 x 32 over Beijing, every half hour.

    Parts of four years from 2013 to 2016, with days missing in between: the times jump over them. Zeros are true zeros.
    See :func:`read_crowd_flows`.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.

    Shapes:
        - **x:** :math:`(1024, T, 2)`, **pos:** :math:`(1024, 2)`, **grid:** (32, 32)

    Example:
        >>> TaxiBJ("datasets")[0].grid  # doctest: +SKIP
        (32, 32)
    """

    name = "taxi_bj"

    def read(self) -> Data:
        """Parse the files of the four years."""
        files = [self.raw_path(f"BJ{year}_M32x32_T30_InOut.h5") for year in _TAXI_YEARS]
        return read_crowd_flows(files, slots_per_day=48)
