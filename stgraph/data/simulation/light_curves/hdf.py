"""Mock light curves in an HDF5 file, drawn and written part by part."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stgraph.data.light_curves.hdf5 import LIGHT_CURVE_FORMAT, put_array, put_metadata, write_hdf5
from stgraph.data.simulation.light_curves.curves import Curves, concatenate, count_points, draw_curves, names_of
from stgraph.data.simulation.light_curves.draws import Ints
from stgraph.data.simulation.light_curves.recipe import Recipe, check_count
from stgraph.errors import InputError, InputTypeError

__all__ = ["write_mock_light_curves"]

_MATRICES = {"flux": "f4", "flux_err": "f4", "time": "f8", "mask": "?"}
_ROWS = 32  # curves in a compressed piece of the file
# Noise cannot be packed: higher levels take more time and save nothing.
_PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_mock_light_curves(
    path: str | os.PathLike[str],
    num_curves: int = 50_000,
    *,
    seed: int = 42,
    chunk_size: int = 2048,
    **settings: Any,
) -> Path:
    r"""Draw light curves and write them to an HDF5 file, of which only a part is held in memory at a time.

    The file has the datasets ``flux``, ``flux_err`` (float32), ``time`` (float64, days) and ``mask`` (True = real),
    each :math:`(N, L)` with the length L of the longest curve, ``length`` and ``targetid`` (the curves' names)
    :math:`(N)`, the group ``metadata`` with :math:`(N)` entries each, and the attributes ``n_samples``,
    ``max_length``, ``seed`` and ``format``. :func:`~stgraph.data.light_curves.read_light_curves` makes of it what
    :func:`~stgraph.data.simulation.light_curves.simulate_light_curves` gives for the same settings.

    The file is written under a temporary name beside it and renamed at the end.

    Args:
        path: The file, ``.h5`` or ``.hdf5``; an existing one is replaced.
        num_curves: Number of curves N.
        seed: Seed of all random numbers.
        chunk_size: Number of curves drawn and written at a time; does not change the result.
        **settings: ``classes``, ``samplings``, ``duration``, ``points``, ``snr``, ``flare_rate`` and
            ``transit_fraction`` of :func:`~stgraph.data.simulation.light_curves.simulate_light_curves`.

    Returns:
        The path of the file.

    Raises:
        InputError: If a setting cannot be used, or there is no such folder.
        InputTypeError: If a setting is of the wrong type.

    Examples:
        >>> import tempfile, h5py
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_mock_light_curves(f"{folder}/mock.h5", 5, points=(20, 30))
        ...     with h5py.File(path) as file:
        ...         sorted(file), file["flux"].shape[0], int(file.attrs["n_samples"])
        (['flux', 'flux_err', 'length', 'mask', 'metadata', 'targetid', 'time'], 5, 5)
    """
    check_count("num_curves", num_curves, 1, 2**40)
    check_count("chunk_size", chunk_size, 1, 2**40)
    known = [field.name for field in fields(Recipe) if field.name != "seed"]
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise InputTypeError(f"there is no setting {', '.join(unknown)}; there are {', '.join(known)}")
    recipe = Recipe(seed=seed, **settings)
    path = Path(path).expanduser()
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise InputError(f"path is {path}; expected a name that ends in .h5 or .hdf5")
    parts = [np.arange(begin, min(begin + chunk_size, num_curves)) for begin in range(0, num_curves, chunk_size)]
    metadata: list[dict[str, npt.NDArray[Any]]] = []
    with write_hdf5(path) as file:
        lengths = [count_points(recipe, index) for index in parts]
        width = max(int(length.max()) for length in lengths)
        file.attrs.update({"format": LIGHT_CURVE_FORMAT, "n_samples": num_curves, "max_length": width, "seed": seed})
        for name, dtype in _MATRICES.items():
            chunks = (min(_ROWS, num_curves), width)
            file.create_dataset(name, (num_curves, width), dtype, chunks=chunks, **_PACKED)
        for index, length in zip(parts, lengths, strict=True):
            curves = draw_curves(recipe, index, length, width)
            _write(file, index, curves)
            metadata.append(curves.metadata)
        put_array(file, "length", np.concatenate(lengths))
        put_array(file, "targetid", names_of(np.arange(num_curves)))
        put_metadata(file, concatenate(metadata))
    return path


def _write(file: Any, index: Ints, curves: Curves) -> None:
    rows = slice(int(index[0]), int(index[-1]) + 1)
    file["flux"][rows], file["flux_err"][rows], file["time"][rows] = curves.flux, curves.flux_error, curves.time
    file["mask"][rows] = np.arange(curves.flux.shape[1]) < curves.length[:, None]
