"""A small hyperspectral cube in a file, for the tests of ``stgraph fuse``."""

from __future__ import annotations

import numpy as np

#: Number of bands, and the first and the last wavelength in nm as the commands take them.
BANDS, WAVELENGTHS = 10, "420,900"


def write_cube(folder):
    """Three smooth materials on 18 x 17 pixels, in units of a sensor."""
    y, x = np.mgrid[:18, :17]
    shares = np.stack([np.sin(x / 5) ** 2, np.cos(y / 6) ** 2, np.full(x.shape, 0.3)], axis=-1)
    spectra = np.exp(-(((np.linspace(420, 900, BANDS) - np.array([[480], [600], [780]])) / 80) ** 2))
    path = folder / "cube.npy"
    np.save(path, (1000 * shares @ spectra).astype(np.float32))
    return str(path)
