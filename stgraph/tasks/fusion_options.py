"""The configuration of a fusion run: what ``config.yaml`` holds and the flags of ``stgraph fuse run``.

This file imports nothing heavy, so that the command line can print its help without loading torch.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from stgraph.tasks.fusion_option_checks import NETWORK_ONLY, SYNTHETIC_ONLY, check_fusion_options

__all__ = ["FUSION_PRESETS", "FusionOptions"]

#: What each preset says about the options that are null. Where a preset says nothing, the data decide.
FUSION_PRESETS: dict[str, dict[str, Any]] = {
    "default": {
        "boundary": "reflect",
        "crop": True,
        "held_out": 0.1,
        "denoise": True,
        "correction": "guided",
    },
    "published": {
        "wavelengths": "stretched",
        "boundary": "zero",
        "crop": False,
        "spec_prior": False,
        "spatial": "none",
        "held_out": 0.0,
        "denoise": False,
        "correction": "none",
        "match_radiometry": False,
        "estimate_psf": False,
    },
}


@dataclasses.dataclass
class FusionOptions:
    """The run as a whole.

    Args:
        synthetic: Make both images from one hyperspectral cube, which is then the truth; otherwise read both.
        mat_file: File of the hyperspectral cube (.mat, .npy, .npz, .h5, .tif, .hdr), for synthetic.
        mat_key: Name of the array in it, case-sensitive; not needed where there is only one.
        layout: How the array is stored: by default rows, columns, bands; or bands by pixels, column by column.
        rows: Rows of the image, for layout="bands_pixels".
        columns: Columns of the image, for layout="bands_pixels".
        hr_msi_file: File of the high-resolution multispectral image, for synthetic=false.
        lr_hsi_file: File of the low-resolution hyperspectral image of the same place, for synthetic=false.
        num_bands_msi_non_synthetic: Bands of the multispectral image (1, 3, 4, 8 or 16), for synthetic=false without
            a response of one's own.
        preset: "default" is the most exact way; "published" repeats that of the published tables, with stretched
            wavelengths, an image that is dark outside, no denoising, no correction and no held-out pixels.
        method: Way of fusion: by default the latent estimation network; the others are to compare it with.
        wavelengths: Wavelengths of the hyperspectral bands in nm: a number each, the first and the last, a file (.npy,
            .csv, .txt), or "stretched" for the invented ones of the published tables; by default those of the file.
        provide_srf: Read the spectral response from srf_file.
        srf_file: File of the spectral response, multispectral by hyperspectral bands.
        num_msi_bands: Bands of the sensor whose response is taken: 1, 3 or 4 (IKONOS), 8 (WorldView-2) or 16
            (WorldView-3).
        fwhm_factor: Width of a band from edge to edge over the standard deviation of its Gaussian response.
        sensor: Sensor whose measured response is taken in place of num_msi_bands, as "Sentinel-2A" or "Landsat-8";
            needs the table spectral_response below the environment variable STGRAPH_DATA.
        sensor_bands: Names of the bands of the sensor; all by default.
        provide_psf: Read the point-spread function from psf_file.
        psf_file: File of the point-spread function, a square of odd edge.
        psf_type: Point-spread function of the synthetic low-resolution image.
        sigma: Its width in pixels of the high-resolution image.
        kernel_size: Pixels on either side of its centre, also for a point-spread function that is estimated.
        estimate_psf: Estimate the point-spread function from the two images; by default where none is known.
        downsample_ratio: High-resolution pixels along the edge of a low-resolution one, for synthetic; otherwise that
            of the two files.
        crop: Cut off the last rows and columns of the synthetic cube so that its sizes are multiples of the ratio; that
            of the preset by default.
        snr_spatial: Signal-to-noise ratio of the synthetic low-resolution image in dB; .inf for no noise.
        snr_spectral: Signal-to-noise ratio of the synthetic multispectral image in dB; .inf for no noise.
        boundary: What is taken to be outside the images; that of the preset by default.
        normalise: Map the 1st and the 99th percentile of an image to 0 and 1, and clip what lies beyond, for
            synthetic=false in the result alone; false where images lie in 0 to 1 already.
        limits: Two radiances that become 0 and 1 in place of the percentiles, in both images.
        match_radiometry: Bring the multispectral image to the radiometric scale of the hyperspectral one; by default
            for synthetic=false.
        num_endmembers: Number of endmembers.
        endmembers: How endmembers are found in the low-resolution image.
        hidden_size: Neurons of the hidden layer.
        constraint: What the latent estimate is held to; nothing by default.
        spec_prior: Also give the network the low-resolution spectra around each pixel; by default where there are
            fewer than 3 multispectral bands.
        prior_downsample: Scale at which these are taken in training; that of spatial="mgat" is its own.
        prior_upsample: How they are enlarged.
        spatial: "mgat" lets the network see neighbouring pixels, by attention on the graph of pixels; by default with
            one or two bands, unless spec_prior, training_batch_size or training_tile is given.
        epochs: Passes over the low-resolution pixels.
        schedule: Learning rate along the epochs: up and down, or max_lr throughout.
        init_lr: Learning rate at the start.
        max_lr: Greatest learning rate.
        final_lr: Learning rate of the last epoch.
        training_batch_size: Pixels drawn for each step of training; all by default, which is best.
        training_tile: Edge in pixels of the tiles that make a step each, as in the published code.
        inference_batch_size: Pixels at a time when the image is made, 16384 by default; the result is the same.
        held_out: Share of the low-resolution pixels that only measure the error; that of the preset by default.
        patience: Epochs without a lower held-out error after which training stops and goes back to the best; all
            epochs by default.
        members: Networks trained from different seeds, whose mean is the result and whose spread its uncertainty.
        denoise: Remove noise from the multispectral image first; that of the preset by default.
        correction: How the result is brought in line with the low-resolution image; that of the preset by default.
        seed: Seed of the noise, the endmembers and the networks.
        output_dir: Folder of the results.
        output_file_type: Kind of the file with the result; h5 for large images.
        figure_format: Kind of the figures.
        log_dir: Folder of the log file.
        overwrite: Replace the run that is already in output_dir.
        verbose: 1 prints shapes and metrics, 0 nothing.
    """

    synthetic: bool = True
    mat_file: str | None = None
    mat_key: str | None = None
    layout: Literal["bands_pixels"] | None = None
    rows: int | None = None
    columns: int | None = None
    hr_msi_file: str | None = None
    lr_hsi_file: str | None = None
    num_bands_msi_non_synthetic: int = 3
    preset: Literal["default", "published"] = "default"
    method: Literal["latent_estimation", "affine", "bicubic", "cnmf", "gsa", "hysure"] = "latent_estimation"
    wavelengths: list[float | str] | str | None = None
    provide_srf: bool = False
    srf_file: str | None = None
    num_msi_bands: int = 4
    fwhm_factor: float = 4.2
    sensor: str | None = None
    sensor_bands: list[int | str] | None = None
    provide_psf: bool = False
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
    estimate_psf: bool | None = None
    downsample_ratio: int = 4
    crop: bool | None = None
    snr_spatial: float = 35.0
    snr_spectral: float = 40.0
    boundary: Literal["reflect", "replicate", "zero"] | None = None
    normalise: bool = True
    limits: list[float] | None = None
    match_radiometry: bool | None = None
    num_endmembers: int = 7
    endmembers: Literal["nmf", "vca", "nfindr", "atgp", "pca"] = "nmf"
    hidden_size: int = 1024
    constraint: Literal["nonnegative", "simplex"] | None = None
    spec_prior: bool | None = None
    prior_downsample: int = 4
    prior_upsample: Literal["nearest", "bilinear", "bicubic"] = "nearest"
    spatial: Literal["mgat", "none"] | None = None
    epochs: int = 2500
    schedule: Literal["one_cycle", "flat"] = "one_cycle"
    init_lr: float = 1e-3
    max_lr: float = 1e-2
    final_lr: float = 1e-6
    training_batch_size: int | None = None
    training_tile: int | None = None
    inference_batch_size: int | None = None
    held_out: float | None = None
    patience: int | None = None
    members: int = 1
    denoise: bool | None = None
    correction: Literal["guided", "back_projection", "none"] | None = None
    seed: int = 42
    output_dir: str = "outputs"
    output_file_type: Literal["numpy", "h5", "matlab", "tif", "envi"] = "numpy"
    figure_format: Literal["jpg", "png"] = "jpg"
    log_dir: str = "logs"
    overwrite: bool = False
    verbose: int = 1

    def check(self) -> None:
        """Refuse values that can be seen to be wrong without the data.

        Raises:
            InputError: If a value is out of range, or an option has no effect beside the others.
        """
        check_fusion_options(self)

    def resolved(self) -> FusionOptions:
        """Return the options with what the preset and the mode say about those that are null.

        How the default preset shows the network what is around a pixel stays null, as it depends on the number of
        bands.
        """
        said = {
            "match_radiometry": not self.synthetic,
            "estimate_psf": self._without_psf,
            **FUSION_PRESETS[self.preset],
        }
        estimated = said["estimate_psf"] if self.estimate_psf is None else self.estimate_psf
        if self._without_psf and not estimated:
            said["correction"] = "none"
        if self.sensor is not None or self.provide_srf:
            said.pop("wavelengths", None)
        if self.spatial == "mgat":  # what a pixel's neighbours show takes the place of the prior
            said.pop("spec_prior", None)
        unused: tuple[str, ...] = () if self.synthetic else SYNTHETIC_ONLY
        unused += () if self.method == "latent_estimation" else NETWORK_ONLY
        filled = {name: value for name, value in said.items() if getattr(self, name) is None and name not in unused}
        return dataclasses.replace(self, **filled)

    @property
    def _without_psf(self) -> bool:
        return not self.synthetic and not self.provide_psf

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> FusionOptions:
        """Build options from a dictionary such as the content of ``config.yaml``."""
        return cls(**values)
