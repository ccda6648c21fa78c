"""Write an image block by block, so that it is never held whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from os import PathLike
from types import TracebackType
from typing import Any

import numpy as np

from stgraph.data.checks import first_position
from stgraph.data.images.image import as_band_wavelengths, as_cube, as_float32
from stgraph.data.images.outputs import array_name, check_image_path, renamed_when_complete
from stgraph.data.images.stored import GEOREFERENCE, WAVELENGTH, georeference_text
from stgraph.errors import InputError

__all__ = ["ImageWriter", "chunk_side"]

_CHUNK_VALUES = 2**18  # 1 MiB of float32, what HDF5 keeps of a data set in memory


def chunk_side(bands: int) -> int:
    """Rows and columns of the square in which an HDF5 file keeps all bands together."""
    return max(1, math.isqrt(_CHUNK_VALUES // bands))


class ImageWriter:
    r"""Write an image of float32 block by block to an ``.h5`` file (compressed) or an ``.npy`` memory map.

    The file gets its name at the end of the ``with`` statement, in place of any older one. After an error, or if pixels
    were never written, nothing is left. An ``.h5`` file holds a data set named like the file, with the wavelengths and
    the georeference (as JSON) as its attributes; ``.npy`` has no place for them.

    Blocks whose corners are multiples of :func:`~stgraph.data.images.tiles.chunk_side` are compressed once.

    Args:
        path: The file, ``.h5``, ``.hdf5`` or ``.npy``.
        shape: Height, width and bands (H, W, C) of the whole image.
        wavelength: Wavelengths of the bands in nm.
        georeference: Where the image lies on the Earth, as plain values.

    Shapes:
        - **wavelength:** :math:`(C)`

    Raises:
        InputError: If the ending is another one, the folder is missing or cannot be written to, or the shape or the
            wavelengths do not fit.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with ImageWriter(f"{folder}/scene.npy", (4, 2, 3)) as writer:
        ...         for row in (0, 2):
        ...             writer.write(row, 0, np.full((2, 2, 3), row))
        ...     np.load(f"{folder}/scene.npy")[:, 0, 0]
        array([0., 0., 2., 2.], dtype=float32)
    """

    def __init__(
        self,
        path: str | PathLike[str],
        shape: tuple[int, int, int],
        *,
        wavelength: Any = None,
        georeference: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = check_image_path(path)
        if self.path.suffix.lower() not in (".h5", ".hdf5", ".npy"):
            raise InputError(f"images are written block by block to .h5, .hdf5 and .npy files, got {path}")
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"shape must be the height, the width and the bands, each at least 1, got {shape}")
        self.shape = (int(shape[0]), int(shape[1]), int(shape[2]))
        self.wavelength = None if wavelength is None else as_band_wavelengths(wavelength, self.shape[2])
        self.georeference = georeference
        self._stack = ExitStack()
        self._array: Any = None
        self._written = np.zeros(self.shape[:2], dtype=np.bool_)

    def __enter__(self) -> ImageWriter:
        import h5py

        self._written[:] = False
        with ExitStack() as stack:
            temporary = stack.enter_context(renamed_when_complete(self.path))
            if self.path.suffix.lower() == ".npy":
                self._array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=self.shape)
            else:
                self._array = self._create(stack.enter_context(h5py.File(temporary, "w")))
            self._stack = stack.pop_all()
        return self

    def write(self, row: int, column: int, block: Any) -> None:
        r"""Write a block.

        Args:
            row: Row of the image at which it begins.
            column: Column of the image at which it begins.
            block: Its values.

        Shapes:
            - **block:** :math:`(h, w, C)`

        Raises:
            InputError: If the writer is not open, or the block has other bands or reaches beyond the image.
        """
        if self._array is None:
            raise InputError("blocks can only be written inside the with statement of an ImageWriter")
        values = as_float32(as_cube(block, "block"))
        height, width, bands = values.shape
        inside = 0 <= row <= self.shape[0] - height and 0 <= column <= self.shape[1] - width
        if bands != self.shape[2] or not inside:
            raise InputError(
                f"block must lie within the image of {self.shape} and have all its bands, got {values.shape} at row "
                f"{row}, column {column}"
            )
        place = (slice(row, row + height), slice(column, column + width))
        self._array[place] = values
        self._written[place] = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path.suffix.lower() == ".npy":
            self._array.flush()
        self._array = None
        if error is None and not self._written.all():
            missed = first_position(~self._written)
            error = InputError(
                f"{self.path} is not kept: {int((~self._written).sum())} of its {self._written.size} pixels were never "
                f"written, the first at row {missed[0]}, column {missed[1]}"
            )
            with self._stack:
                raise error
        self._stack.__exit__(kind, error, trace)

    def _create(self, file: Any) -> Any:
        """The data set of an HDF5 file."""
        side = chunk_side(self.shape[2])
        chunks = (min(side, self.shape[0]), min(side, self.shape[1]), self.shape[2])
        dataset = file.create_dataset(
            array_name(self.path),
            self.shape,
            np.float32,
            chunks=chunks,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
        )
        if self.wavelength is not None:
            dataset.attrs[WAVELENGTH] = self.wavelength
        if self.georeference is not None:
            dataset.attrs[GEOREFERENCE] = georeference_text(self.georeference)
        return dataset
