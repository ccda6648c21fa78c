"""Graphs that come as files: METR-LA's pickled adjacency, tables of distances, matrices."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.checks import as_names, as_numeric_array, first_position
from stgraph.data.csv_files import read_csv
from stgraph.data.files import existing, reading
from stgraph.data.npz_files import open_npz
from stgraph.data.restricted_pickle import load_plain_pickle
from stgraph.data.table_columns import find_column, numeric_columns
from stgraph.errors import InputError, InputTypeError

__all__ = ["DistanceTable", "load_adjacency_pickle", "load_distance_table", "load_matrix"]

_logger = logging.getLogger("stgraph")
_FROM = ("from", "source", "src", "start")
_TO = ("to", "target", "dst", "end")
_COST = ("cost", "distance", "dist", "weight", "length")
_MATRIX_KEYS = ("adj", "adjacency", "matrix", "distance", "distances")


class DistanceTable(NamedTuple):
    """Distances of pairs of nodes, from ``edge_index[0]`` to ``edge_index[1]``, which are positions in ``node_ids``.

    Shapes:
        - **edge_index:** :math:`(2, E)` int64, **distance:** :math:`(E)` float64
    """

    node_ids: list[str]
    edge_index: Tensor
    distance: Tensor

    def dense(self) -> Tensor:
        """Matrix [N, N] of the distance from row to column, infinite for pairs that are not in the table."""
        num_nodes = len(self.node_ids)
        matrix = torch.full((num_nodes, num_nodes), torch.inf, dtype=torch.float64)
        matrix[self.edge_index[0], self.edge_index[1]] = self.distance
        return matrix


def load_adjacency_pickle(path: str | PathLike[str]) -> tuple[list[str], dict[str, int], npt.NDArray[Any]]:
    """Read an adjacency as METR-LA and PEMS-BAY publish it: a pickle of the ids, each id's position, and the matrix.

    The pickle may be of Python 2 or 3. NumPy arrays of numbers, lists, tuples, dictionaries, text and numbers are read
    and nothing else: no code of the file, of NumPy or of any module runs.

    Returns:
        The ids in order, a dictionary from id to position, and the matrix [N, N].

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, names anything but arrays, or holds something else than those three.

    Examples:
        >>> import pickle, tempfile, pathlib
        >>> content = pickle.dumps([["a", "b"], {"a": 0, "b": 1}, np.eye(2)], protocol=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "adj_mx.pkl").write_bytes(content)
        ...     load_adjacency_pickle(f"{folder}/adj_mx.pkl")[2]
        array([[1., 0.],
               [0., 1.]])
    """
    path = existing(path)
    with reading(path):
        content = load_plain_pickle(path)
    if not isinstance(content, (list, tuple)) or len(content) != 3:
        raise InputError(f"{path} must hold [ids, id to position, matrix], but holds a {type(content).__name__}")
    ids, positions, matrix = content
    if not isinstance(ids, (list, tuple)) or not isinstance(positions, Mapping) or not isinstance(matrix, np.ndarray):
        kinds = ", ".join(type(item).__name__ for item in content)
        raise InputError(f"{path} must hold [ids, id to position, matrix], but holds [{kinds}]")
    matrix = _check_square(matrix, str(path))
    names = as_names(ids, f"{path}: ids", matrix.shape[0])
    position = {str(name): index for name, index in positions.items()}
    if position != {name: index for index, name in enumerate(names)}:
        raise InputError(f"{path}: the positions do not belong to the ids")
    return names, position, matrix


def load_distance_table(
    path: str | PathLike[str], node_ids: Iterable[Any] | None = None, header: bool | None = None
) -> DistanceTable:
    """Read a CSV table of distances with the columns from, to and distance.

    Columns are found by their names (``from``, ``to``, ``cost`` or ``distance``), else the first three are taken. Of
    pairs that are listed several times the shortest distance counts.

    Args:
        path: The file.
        node_ids: The nodes in the order of the data; rows with other nodes are left out. (default: the nodes of the
            table in rising order; nodes without any row are then unknown)
        header: Whether the file has a line of column names. (default: looked at)

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, has fewer than three columns, or a distance is missing or negative.
        InputTypeError: If distances are not numbers.

    Examples:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = pathlib.Path(folder, "roads.csv").write_text("from,to,cost\\n8,3,120.0\\n3,8,90.5\\n")
        ...     table = load_distance_table(f"{folder}/roads.csv")
        >>> table.node_ids, table.edge_index.tolist(), table.distance.tolist()
        (['3', '8'], [[0, 1], [1, 0]], [90.5, 120.0])
    """
    path = existing(path)
    with reading(path):
        frame = read_csv(path, header)
    if frame.shape[1] < 3 or frame.empty:
        raise InputError(f"{path} must have the columns from, to and distance, got {list(frame.columns)}")
    found = [find_column(frame, None, names, "column") for names in (_FROM, _TO, _COST)]
    columns = list(frame.columns[:3]) if None in found else found
    distance = numeric_columns(frame[[columns[2]]])[:, 0].astype(np.float64)
    bad = ~(np.isfinite(distance) & (distance >= 0))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{path}: distances must be finite and not negative, but row {row} has {distance[row]}")
    if frame[columns[:2]].isna().any(axis=None):
        raise InputError(f"{path}: a row has no node in column {columns[0]!r} or {columns[1]!r}")
    return _index_distances(frame[columns[0]], frame[columns[1]], distance, node_ids, str(path))


def load_matrix(path: str | PathLike[str], key: str | None = None) -> npt.NDArray[Any]:
    """Read a square matrix (an adjacency, distances) from ``.npy``, ``.npz`` or ``.csv``.

    Args:
        path: The file.
        key: Array of an ``.npz`` archive. (default: ``adj``, ``adjacency``, ``matrix``, ``distance``, or the only
            square one)

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If it is damaged, or the matrix is not square or not finite.
    """
    path = existing(path)
    with reading(path):
        if path.suffix == ".npy":
            matrix = np.load(path, allow_pickle=False)
        elif path.suffix == ".npz":
            matrix = _matrix_of_archive(path, key)
        elif path.suffix == ".csv":
            matrix = numeric_columns(read_csv(path))
        else:
            raise InputError(f"a matrix must be an .npy, .npz or .csv file, got {path}")
    return _check_square(matrix, str(path))


def _index_distances(
    start: Any, end: Any, distance: npt.NDArray[np.float64], node_ids: Iterable[Any] | None, where: str
) -> DistanceTable:
    import pandas as pd

    ends = [_as_ids(start), _as_ids(end)]
    if node_ids is None:
        names = [str(item) for item in pd.Index(pd.concat(ends)).unique().sort_values()]
    else:
        listed = list(node_ids)
        names = as_names(listed, "node_ids", len(listed))
    order = pd.Index(names)
    source, target = (order.get_indexer(pd.Index(column.astype(str))) for column in ends)
    known = (source >= 0) & (target >= 0)
    if not known.any():
        raise InputError(f"{where}: no row has both its nodes among node_ids, which begin with {names[:3]}")
    if not known.all():
        _logger.info("%s: %d of %d rows left out, whose nodes are not wanted", where, (~known).sum(), known.size)
    pairs = pd.DataFrame({"source": source[known], "target": target[known], "distance": distance[known]})
    shortest = pairs.groupby(["source", "target"], sort=True, as_index=False)["distance"].min()
    edge_index = torch.from_numpy(shortest[["source", "target"]].to_numpy().T.astype(np.int64).copy())
    return DistanceTable(names, edge_index, torch.from_numpy(shortest["distance"].to_numpy().copy()))


def _as_ids(column: Any) -> Any:
    """Identifiers that sort as numbers where they are numbers; 12.0 is the identifier 12."""
    if column.dtype.kind == "f" and (column % 1 == 0).all():
        return column.astype(np.int64)
    return column if column.dtype.kind in "iu" else column.astype(str)


def _matrix_of_archive(path: Any, key: str | None) -> npt.NDArray[Any]:
    with open_npz(path) as archive:
        names = list(archive)
        if key is not None:
            if key not in names:
                raise InputError(f"{path} holds no array {key!r}; there are {', '.join(names)}")
            return np.asarray(archive[key])
        usual = [name for name in _MATRIX_KEYS if name in names]
        if usual:
            return np.asarray(archive[usual[0]])
        square = [name for name in names if archive[name].ndim == 2 and len(set(archive[name].shape)) == 1]
        if len(square) != 1:
            raise InputError(f"{path} holds {', '.join(names) or 'nothing'}; choose the matrix by key=")
        return np.asarray(archive[square[0]])


def _check_square(matrix: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    try:
        matrix = as_numeric_array(matrix, "matrix")
    except InputTypeError as error:
        raise InputTypeError(f"{where}: {error}") from error
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
        raise InputError(f"{where}: the matrix must be square, got the shape {matrix.shape}")
    bad = np.isnan(matrix)
    if bad.any():
        row, column = first_position(bad)
        raise InputError(f"{where}: the matrix must not hold NaN, but entry ({row}, {column}) is")
    return matrix
