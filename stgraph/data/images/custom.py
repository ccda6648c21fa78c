"""Point-spread functions and spectral responses that a user brings in files."""

from __future__ import annotations

from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from stgraph.data.checks import as_finite_array
from stgraph.data.images.stored import read_array
from stgraph.errors import InputError
from stgraph.ops.fusion.kernels import normalise_kernel
from stgraph.ops.fusion.response import normalise_response

__all__ = ["read_kernel", "read_response"]

_NOISE = 1e-3  # of the peak of a band: measured responses dip below zero by this much


def read_kernel(path: str | PathLike[str], key: str | None = None) -> Tensor:
    r"""Read a point-spread function from a file and divide it by its sum.

    Args:
        path: A file ``.mat``, ``.npy``, ``.npz``, ``.h5`` or ``.hdf5``.
        key: Name of the array, case-sensitive. (default: the only one)

    Shapes:
        - **output:** :math:`(m, m)` with odd :math:`m`, float64

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is damaged or of an unknown kind, the array is not there (lists those that are), or it
            is not two-dimensional, not square, of even size, not finite, or sums to 0.
        InputTypeError: If it is not numeric.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/psf.npy", [[0, 1, 0], [1, 4, 1], [0, 1, 0]])
        ...     read_kernel(f"{folder}/psf.npy")[1]
        tensor([0.1250, 0.5000, 0.1250], dtype=torch.float64)
    """
    stored = read_array(path, key)
    where = f"{path}: {stored.name}"
    values = as_finite_array(stored.values, where)
    try:
        return normalise_kernel(values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def read_response(path: str | PathLike[str], bands: int, key: str | None = None) -> Tensor:
    r"""Read the spectral response of a sensor from a file and let each of its rows sum to 1.

    A matrix with more rows than columns is transposed. Values slightly below 0, as measured responses have them (up to
    a thousandth of the largest of all), become 0.

    Args:
        path: A file ``.mat``, ``.npy``, ``.npz``, ``.h5`` or ``.hdf5``.
        bands: Bands C of the hyperspectral image, the number of columns.
        key: Name of the array, case-sensitive. (default: the only one)

    Shapes:
        - **output:** :math:`(b, C)`, float64

    Raises:
        FileNotFoundError: If there is no such file.
        InputError: If the file is damaged or of an unknown kind, the array is not there (lists those that are), or it
            is not two-dimensional, not finite, has another number of columns, a negative value, or a row of zeros.
        InputTypeError: If it is not numeric.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/srf.npy", [[1, 0], [1, 4], [2, 0]])
        ...     read_response(f"{folder}/srf.npy", bands=3)
        tensor([[0.2500, 0.2500, 0.5000],
                [0.0000, 1.0000, 0.0000]], dtype=torch.float64)
    """
    stored = read_array(path, key)
    where = f"{path}: {stored.name}"
    values = as_finite_array(stored.values, where)
    _check_not_negative(values, where)
    try:
        return normalise_response(values.clip(min=0), bands)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _check_not_negative(values: npt.NDArray[Any], where: str) -> None:
    bad = values < -_NOISE * values.max(initial=0.0)
    if bad.any():
        position = np.unravel_index(int(bad.argmax()), bad.shape)
        place = ", ".join(str(int(index)) for index in position)
        raise InputError(f"{where} must not be negative, but [{place}] is {values[position]:g}; {int(bad.sum())} are")
