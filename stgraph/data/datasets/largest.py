"""LargeST: flows at up to 8600 detectors in California, one year."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.coordinates import Coordinates, as_positions
from stgraph.data.csv_files import read_csv
from stgraph.data.datasets.base import SeriesDataset
from stgraph.data.files import existing, reading
from stgraph.data.times import as_time
from stgraph.data.transforms import AdjacencyGraph
from stgraph.errors import InputError

__all__ = ["LargeST", "LargeSTSubset", "largest_gba", "largest_gla", "largest_sd", "read_largest"]

LargeSTSubset = Literal["ca", "gla", "gba", "sd"]

_DISTRICTS = {"gla": (7, 8, 12), "gba": (4,), "sd": (11,)}
_MINUTES = 15
_STEPS_AT_ONCE = 96  # a day: 20 MB of the raw file for all of California
_RAW, _RESAMPLED = "ca_his_raw_2019.h5", "ca_his_2019.h5"
_META, _ADJACENCY = "ca_meta.csv", "ca_rn_adj.npy"


def read_largest(
    flow: str | PathLike[str],
    meta: str | PathLike[str],
    adjacency: str | PathLike[str],
    *,
    subset: LargeSTSubset = "ca",
    coordinates: Coordinates = "local_plane",
    null_value: float | None = 0.0,
) -> Data:
    r"""Read the files in which LargeST is published.

    Flows are averaged over 15 minutes and rounded to whole vehicles, as in `"LargeST: A Benchmark Dataset for
    Large-Scale Traffic Forecasting" <https://arxiv.org/abs/2306.08259>`_; 15 minutes without any reading are missing
    (there they are filled with 0). The file is read a day at a time and only the detectors asked for are kept, in
    float32.

    Args:
        flow: ``ca_his_raw_2019.h5`` as published, in steps of 5 minutes, or ``ca_his_2019.h5`` as made from it, in
            steps of 15: a pandas table in HDF5 under the key ``t``.
        meta: ``ca_meta.csv``: a row for each detector in the order of the matrix.
        adjacency: ``ca_rn_adj.npy``: the matrix of weights by road distance.
        subset: ``"ca"`` for all detectors, ``"gla"`` (Greater Los Angeles: districts 7, 8 and 12), ``"gba"`` (Greater
            Bay Area: district 4) or ``"sd"`` (San Diego: district 11).
        coordinates: As in :func:`stgraph.data.from_array`; the detectors have longitude and latitude.
        null_value: Flow that stands for a missing one; :obj:`None` to take zeros for flows.

    Shapes:
        - **x**, **mask:** :math:`(N, T, 1)`, **pos:** :math:`(N, D)`, **edge_index:** :math:`(2, E)`, without loops,
          **edge_weight:** :math:`(E)`

    Raises:
        FileNotFoundError: If a file is not there.
        InputError: If a file is damaged, the three are not of the same detectors, or there is no such subset.
    """
    if subset not in get_args(LargeSTSubset):
        raise InputError(f"subset must be one of {', '.join(get_args(LargeSTSubset))}, got {subset!r}")
    table = _read_meta(existing(meta))
    num_all = len(table)
    rows = np.arange(num_all) if subset == "ca" else np.flatnonzero(table["District"].isin(_DISTRICTS[subset]))
    if rows.size == 0:
        raise InputError(f"{meta} has no detector of the districts {_DISTRICTS[subset]}")
    edge_index, weight = _read_edges(existing(adjacency), rows, num_all)
    table = table.iloc[rows]
    ids = table["ID"].astype(str).tolist()
    x, mask, time = _read_flow(existing(flow), ids, null_value)
    pos = as_positions(table[["Lng", "Lat"]].to_numpy(), rows.size, coordinates=coordinates)
    data = Data(x=x, pos=pos, time=as_time(time, x.size(1)), node_names=ids, channel_names=["flow"])
    if not bool(mask.all()):
        data.mask = mask
    graph: Data = AdjacencyGraph(edge_index=edge_index, edge_weight=weight)(data)
    return graph


def _read_meta(path: Path) -> Any:
    with reading(path):
        table = read_csv(path, header=True)
    missing = [name for name in ("ID", "Lat", "Lng", "District") if name not in table]
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(map(str, table))}")
    if table["ID"].duplicated().any():
        raise InputError(f"{path} has two rows for detector {table['ID'][table['ID'].duplicated()].iloc[0]}")
    return table


def _read_edges(path: Path, rows: npt.NDArray[np.int64], num_all: int) -> tuple[Any, Any]:
    """Edges among the detectors of these rows, without loops, and their weights."""
    with reading(path):
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    if matrix.shape != (num_all, num_all):
        raise InputError(f"{path} must be a matrix of the {num_all} detectors of the table, got {matrix.shape}")
    kept = np.array(matrix if rows.size == num_all else matrix[rows][:, rows], dtype=np.float32)
    np.fill_diagonal(kept, 0)
    edge_index = np.stack(np.nonzero(kept))
    return edge_index, kept[edge_index[0], edge_index[1]]


def _read_flow(path: Path, ids: list[str], null_value: float | None) -> tuple[Tensor, Tensor, npt.NDArray[Any]]:
    """Flows x [N, T, 1], their mask and the times."""
    import h5py

    with reading(path), h5py.File(path, "r") as file:
        group = _find_table(file, path)
        columns = _find_columns(group["block0_items"][()], ids, path)
        stamps = _read_times(group["axis1"], path)
        stored = group["block0_values"]
        if stored.shape != (stamps.size, group["block0_items"].size) or stamps.size == 0:
            raise InputError(f"{path}: the values have the shape {stored.shape}, which is not that of their labels")
        if (np.diff(stamps) <= np.timedelta64(0)).any():
            raise InputError(f"{path}: the times must rise")
        quarter = stamps.astype(np.int64) // _MINUTES
        step = quarter - quarter[0]
        # Time comes first in memory, as from_array has it: a window is then one run of it.
        x = np.zeros((int(step[-1]) + 1, len(ids), 1), dtype=np.float32)
        mask = np.zeros(x.shape, dtype=np.bool_)
        for at, mean in _means(stored, step, columns):
            observed = ~np.isnan(mean) if null_value is None else ~np.isnan(mean) & (mean != null_value)
            x[at, :, 0], mask[at, :, 0] = np.where(observed, mean, 0), observed
    if not mask.any():
        raise InputError(f"{path} has no observed value of these detectors")
    time = (_MINUTES * (quarter[0] + np.arange(len(x)))).astype("datetime64[m]")
    return torch.from_numpy(x).transpose(0, 1), torch.from_numpy(mask).transpose(0, 1), time


def _find_table(file: Any, path: Path) -> Any:
    import h5py

    groups = [item for item in file.values() if isinstance(item, h5py.Group)]
    tables = [group for group in groups if "block0_values" in group]
    if len(tables) != 1 or "block1_values" in tables[0]:
        raise InputError(f"{path} must hold one pandas table in the fixed format with numbers of one kind")
    if not tables[0]["block0_values"].attrs.get("transposed", True):
        raise InputError(f"{path}: its table is stored column by column; write it anew with DataFrame.to_hdf")
    return tables[0]


def _read_times(stored: Any, path: Path) -> npt.NDArray[np.datetime64]:
    kind = stored.attrs.get("kind", b"datetime64")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    if not kind.startswith("datetime64") or stored.dtype != np.int64:
        raise InputError(f"{path} must have the times of the steps as its index, got labels of kind {kind}")
    times: npt.NDArray[np.datetime64] = np.asarray(stored[()]).view(kind if "[" in kind else "datetime64[ns]")
    return times.astype("datetime64[m]")


def _find_columns(labels: npt.NDArray[Any], ids: list[str], path: Path) -> npt.NDArray[np.int64]:
    names = labels.astype(str) if labels.dtype.kind == "S" else labels.astype(np.int64).astype(str)
    position = {name: i for i, name in enumerate(names.tolist())}
    missing = [name for name in ids if name not in position]
    if missing:
        raise InputError(f"{path} lacks {len(missing)} of {len(ids)} detectors, the first is {missing[0]}")
    return np.array([position[name] for name in ids])


def _means(
    stored: Any, step: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Rounded means of the rows that belong to the same step, NaN where none was observed."""
    first_rows = np.flatnonzero(np.diff(step, prepend=-1))
    for begin in range(0, first_rows.size, _STEPS_AT_ONCE):
        starts = first_rows[begin : begin + _STEPS_AT_ONCE]
        later = begin + _STEPS_AT_ONCE
        end = int(first_rows[later]) if later < first_rows.size else len(step)
        rows = stored[int(starts[0]) : end][:, columns].astype(np.float64)
        observed = ~np.isnan(rows)
        total = np.add.reduceat(np.where(observed, rows, 0), starts - starts[0], axis=0)
        count = np.add.reduceat(observed, starts - starts[0], axis=0, dtype=np.int64)
        yield step[starts], np.where(count > 0, np.round(total / np.maximum(count, 1)), np.nan)


class LargeST(SeriesDataset):
    r"""LargeST: flow (vehicles in 5 minutes, averaged over 15) at detectors of Caltrans in California, 2019.

    35040 steps at 8600 detectors (``subset="ca"``), 3834 (``"gla"``), 2352 (``"gba"``) or 716 (``"sd"``). All subsets
    are read from the same files, which lie in the folder of ``largest_ca``. See :func:`read_largest`.

    Args:
        root, transform, pre_transform, force_reload, processed: As in
            :class:`~stgraph.data.datasets.base.SeriesDataset`.
        subset, coordinates, null_value: As in :func:`read_largest`.

    Shapes:
        - **x**, **mask:** :math:`(N, 35040, 1)`, **pos:** :math:`(N, 2)`

    Example:
        >>> LargeST("datasets", subset="sd")[0].x.shape  # doctest: +SKIP
        torch.Size([716, 35040, 1])
    """

    name = "largest_ca"

    def __init__(
        self,
        root: str | PathLike[str] | None = None,
        transform: Callable[[Data], Data] | None = None,
        pre_transform: Callable[[Data], Data] | None = None,
        force_reload: bool = False,
        *,
        subset: LargeSTSubset = "ca",
        coordinates: Coordinates = "local_plane",
        null_value: float | None = 0.0,
        processed: str | PathLike[str] | None = None,
    ) -> None:
        options = {"subset": subset, "coordinates": coordinates, "null_value": null_value}
        super().__init__(root, transform, pre_transform, force_reload, processed=processed, **options)

    @property
    def raw_file_names(self) -> list[str]:
        """The table and the matrix, and the raw flows unless those of 15 minutes are there."""
        return [_META, _ADJACENCY] if self.raw_path(_RESAMPLED).exists() else [_RAW, _META, _ADJACENCY]

    def read(self) -> Data:
        """Parse the files."""
        flow = self.raw_path(_RESAMPLED) if self.raw_path(_RESAMPLED).exists() else self.raw_path(_RAW)
        return read_largest(flow, self.raw_path(_META), self.raw_path(_ADJACENCY), **self.options)


def largest_gla(root: str | PathLike[str] | None = None, **options: Any) -> LargeST:
    """Greater Los Angeles of :class:`LargeST`, whose further arguments it takes."""
    return LargeST(root, subset="gla", **options)


def largest_gba(root: str | PathLike[str] | None = None, **options: Any) -> LargeST:
    """Greater Bay Area of :class:`LargeST`, whose further arguments it takes."""
    return LargeST(root, subset="gba", **options)


def largest_sd(root: str | PathLike[str] | None = None, **options: Any) -> LargeST:
    """San Diego of :class:`LargeST`, whose further arguments it takes."""
    return LargeST(root, subset="sd", **options)
