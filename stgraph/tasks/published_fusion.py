"""What SpectraMorph (arXiv:2510.20814) publishes of image fusion, and on which scenes and settings.

This file imports nothing heavy, so that the command line can name the scenes without loading torch.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PUBLISHED_RUNS", "PUBLISHED_SCENES", "PUBLISHED_SETTINGS", "PublishedScene"]


class PublishedScene(NamedTuple):
    """A scene, and the means of its published runs.

    Attributes:
        title: Its name for a reader.
        rows: Rows of its usual cut.
        columns: Columns of its usual cut.
        bands: Number of bands C.
        num_endmembers: Number of endmembers K, that of its classes of land cover.
        psnr: Mean PSNR of the 80 runs in dB.
        sam: Mean spectral angle of the 80 runs in degrees.
    """

    title: str
    rows: int
    columns: int
    bands: int
    num_endmembers: int
    psnr: float
    sam: float


#: The scenes by the name that the command line uses.
PUBLISHED_SCENES: dict[str, PublishedScene] = {
    "washington_dc_mall": PublishedScene("Washington DC Mall", 1280, 307, 191, 7, 35.74, 2.634),
    "kennedy_space_center": PublishedScene("Kennedy Space Center", 512, 614, 176, 13, 27.37, 8.216),
    "pavia_university": PublishedScene("Pavia University", 610, 340, 103, 9, 33.33, 3.461),
    "pavia_center": PublishedScene("Pavia Center", 1096, 715, 102, 9, 34.42, 3.832),
    "botswana": PublishedScene("Botswana", 1476, 256, 145, 14, 37.14, 1.444),
}

#: Ratios and numbers of multispectral bands (r, b) that were run, each with ten point-spread functions.
PUBLISHED_SETTINGS: tuple[tuple[int, int], ...] = (
    (4, 4), (8, 4), (16, 4), (32, 4), (8, 1), (8, 3), (8, 8), (8, 16),
)  # fmt: skip

#: Metrics of single runs, by scene, ratio, number of bands and point-spread function.
PUBLISHED_RUNS: dict[tuple[str, int, int, str], dict[str, float]] = {
    ("pavia_center", 4, 4, "gaussian"): {"psnr": 35.87, "sam": 3.24, "ergas": 1.636},
}
