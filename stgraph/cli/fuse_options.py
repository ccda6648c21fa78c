"""Options of ``stgraph fuse`` (those of ``run`` are in :mod:`stgraph.tasks.fusion_options`)."""

from __future__ import annotations

import dataclasses
from typing import Literal

__all__ = ["FusionMetricsOptions", "SimulatePairOptions"]


@dataclasses.dataclass
class SimulatePairOptions:
    """Which pair of images to make of which cube; options that fuse run has too are called the same.

    Args:
        cube: File of the hyperspectral cube (.mat, .npy, .npz, .h5, .tif, .hdr), which is the truth.
        output: Folder for the images, the spectral response, the point-spread function and the recipe.
        mat_key: Name of the array in the file, case-sensitive; not needed where there is only one.
        layout: How the array is stored: by default rows, columns, bands; or bands by pixels, column by column.
        rows: Rows of the image, for layout="bands_pixels".
        columns: Columns of the image, for layout="bands_pixels".
        wavelengths: Wavelengths of the bands in nm: a number each, the first and the last, a file (.npy, .csv, .txt),
            or "stretched" for the invented ones of published tables; by default those of the file.
        srf_file: File of a spectral response, multispectral by hyperspectral bands, in place of num_msi_bands.
        num_msi_bands: Bands of the sensor whose response is taken: 1, 3 or 4 (IKONOS), 8 (WorldView-2) or 16
            (WorldView-3).
        fwhm_factor: Width of a band from edge to edge over the standard deviation of its Gaussian response.
        sensor: Sensor whose measured response is taken in place of num_msi_bands, as "Sentinel-2A" or "Landsat-8";
            needs the table spectral_response below the environment variable STGRAPH_DATA.
        sensor_bands: Names of the bands of the sensor; all by default.
        psf_file: File of a point-spread function, a square of odd edge, in place of psf_type.
        psf_type: Point-spread function of the low-resolution image.
        sigma: Its width in pixels of the high-resolution image.
        kernel_size: Pixels on either side of its centre.
        downsample_ratio: High-resolution pixels along the edge of a low-resolution one.
        crop: Cut off the last rows and columns so that the sizes are multiples of the ratio.
        snr_spatial: Signal-to-noise ratio of the low-resolution image in dB; .inf for no noise.
        snr_spectral: Signal-to-noise ratio of the multispectral image in dB; .inf for no noise.
        boundary: What is taken to be outside the cube.
        seed: Seed of the noise.
        format: Kind of the files; with tif, what is no image becomes npy.
        overwrite: Replace the pair that is already in the folder.
    """

    cube: str = ""
    output: str = ""
    mat_key: str | None = None
    layout: Literal["bands_pixels"] | None = None
    rows: int | None = None
    columns: int | None = None
    wavelengths: list[float | str] | str | None = None
    srf_file: str | None = None
    num_msi_bands: int = 4
    fwhm_factor: float = 4.2
    sensor: str | None = None
    sensor_bands: list[int | str] | None = None
    psf_file: str | None = None
    psf_type: Literal[
        "gaussian",
        "kolmogorov",
        "airy",
        "moffat",
        "sinc",
        "lorentzian2",
        "hermite",
        "parabolic",
        "gabor",
        "delta",
    ] = "gaussian"
    sigma: float = 3.4
    kernel_size: int = 7
    downsample_ratio: int = 4
    crop: bool = True
    snr_spatial: float = 35.0
    snr_spectral: float = 40.0
    boundary: Literal["reflect", "replicate", "zero"] = "reflect"
    seed: int = 42
    format: Literal["h5", "npy", "mat", "tif"] = "h5"
    overwrite: bool = False


@dataclasses.dataclass
class FusionMetricsOptions:
    """Which images to compare.

    Args:
        estimate: File of the fused image (.mat, .npy, .npz, .h5, .tif, .hdr), with values of about 0 to 1.
        truth: File of the true image, of the same size.
        ratio: Ratio of the resolutions of the two images that were fused, for ERGAS.
        key: Name of the array in the file of the fused image; not needed where there is only one.
        truth_key: Name of the array in the file of the true image; not needed where there is only one.
        compat: Show the metrics as published tables have them alone, and not beside the exact ones.
        extended: Show SCC, RASE, MS-SSIM and VIF as well.
        per_band: CSV file for the metrics of each band.
        error_map: Figure (.png or .jpg) of where and in which bands the images differ.
        json: JSON file for the metrics.
        overwrite: Replace these files.
    """

    estimate: str = ""
    truth: str = ""
    ratio: int = 4
    key: str | None = None
    truth_key: str | None = None
    compat: bool = False
    extended: bool = False
    per_band: str | None = None
    error_map: str | None = None
    json: str | None = None
    overwrite: bool = False
