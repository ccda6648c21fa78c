"""What a fusion run reads, checked before anything is trained."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stgraph.data.images import read_image, read_kernel
from stgraph.data.simulation.fusion import simulate_pair
from stgraph.data.simulation.fusion.cube import percentile_limits, read_cube, scaled
from stgraph.errors import InputError
from stgraph.models.fusion.members import FEWEST_BANDS
from stgraph.ops.fusion import estimate_psf, match_radiometry, psf_kernel
from stgraph.ops.fusion.blur import Boundary
from stgraph.tasks.fusion_images import as_tensor, check_image_values, check_radiances, exact_ratio
from stgraph.tasks.fusion_methods import plain_values
from stgraph.tasks.fusion_options import FusionOptions
from stgraph.tasks.fusion_response import find_response, read_wavelengths

__all__ = ["FusionInput", "read_fusion_input"]

_Limits = tuple[float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class FusionInput:
    r"""Two images of one place, and what is known about them.

    Args:
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral image.
        srf: Spectral response.
        psf: Point-spread function in pixels of the multispectral image, where it is known or estimated.
        ratio: Ratio of the resolutions.
        name: Name of the result, without an ending.
        truth: The sharp hyperspectral image, where both are made from it.
        wavelength: Wavelengths of the hyperspectral bands in nm, where known.
        georeference: Where the sharp image lies on the Earth, where known.
        scaling: Radiances that became 0 and 1, by the name of the image; empty where the images are as they were.
        psf_estimate: How the point-spread function was estimated.
        radiometric_match: How the multispectral image was brought to the scale of the hyperspectral one.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`, **psf:**
          :math:`(m, m)`, **truth:** :math:`(H, W, C)`, **wavelength:** :math:`(C)`
    """

    lr_hsi: Tensor
    hr_msi: Tensor
    srf: Tensor
    psf: Tensor | None
    ratio: int
    name: str
    truth: Tensor | None = None
    wavelength: npt.NDArray[np.float64] | None = None
    georeference: dict[str, Any] | None = None
    scaling: dict[str, _Limits] = dataclasses.field(default_factory=dict)
    psf_estimate: dict[str, Any] | None = None
    radiometric_match: dict[str, Any] | None = None


def read_fusion_input(options: FusionOptions) -> tuple[FusionOptions, FusionInput]:
    """Read or make both images, and fill in the options that depend on them.

    Args:
        options: The options, checked.

    Raises:
        FileNotFoundError: If a file is missing.
        InputError: If a file, or how the images fit each other and the options, cannot be used.
    """
    options = options.resolved()
    pair = _synthetic(options) if options.synthetic else _real(options)
    if options.estimate_psf:
        found = estimate_psf(
            pair.lr_hsi, pair.hr_msi, pair.srf, pair.ratio, options.kernel_size, boundary=_boundary(options)
        )
        psf = found.kernel.to(pair.lr_hsi)
        pair = dataclasses.replace(pair, psf=psf, psf_estimate=plain_values(found._replace(kernel=psf)))
    if options.match_radiometry:
        pair = _matched(pair, options)
    if options.method == "latent_estimation":
        options = _by_bands(options, pair)
    _check_network(options, pair)
    return options, pair


def _by_bands(options: FusionOptions, pair: FusionInput) -> FusionOptions:
    """Fill in what depends on whether the multispectral bands are too few to tell materials apart."""
    few = pair.hr_msi.shape[0] < FEWEST_BANDS
    if options.spatial is None:
        asked = (options.spec_prior, options.training_batch_size, options.training_tile)
        options = dataclasses.replace(options, spatial="mgat" if few and asked == (None, None, None) else "none")
    if options.spec_prior is None and options.spatial == "none":
        options = dataclasses.replace(options, spec_prior=few)
    return options


def _synthetic(options: FusionOptions) -> FusionInput:
    path = str(options.mat_file)
    image = read_image(path, options.mat_key, layout=options.layout, rows=options.rows, columns=options.columns)
    height, width, bands = image.values.shape
    if bands == 1:
        raise InputError(
            f"{path}: {image.name} has one band of {height} x {width} pixels; expected a hyperspectral image: one "
            "stored as bands by pixels needs layout='bands_pixels', rows and columns"
        )
    known = read_wavelengths(options.wavelengths, image, path)
    srf, kernel = find_response(options, options.num_msi_bands, known, bands), _kernel(options)
    try:
        cube = read_cube(image.values)
        limits = _limits(options, cube)
        pair = simulate_pair(
            cube if limits is None else scaled(cube, *limits),
            ratio=options.downsample_ratio,
            psf=kernel,
            bands=srf,
            snr_spatial=options.snr_spatial,
            snr_spectral=options.snr_spectral,
            boundary=_boundary(options),
            crop=bool(options.crop),
            seed=options.seed,
            normalise=False,
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    # Data sets of HDF5 files may have slashes in their names.
    key = re.sub(r"[^\w.-]", "_", options.mat_key or image.name or Path(path).stem)
    psf = "custom" if options.provide_psf else options.psf_type
    truth = pair.truth.float()
    if limits is None:
        check_image_values(truth.numpy(), path)
    return FusionInput(
        _channels_first(pair.lr_hsi),
        _channels_first(pair.hr_msi),
        pair.srf.float(),
        pair.psf.float(),
        pair.ratio,
        f"super_resolved_hsi_{key}_{psf}_{pair.ratio}_{pair.hr_msi.shape[2]}",
        truth,
        image.wavelength if isinstance(known, str) else known,
        image.georeference,
        {} if limits is None else {"cube": limits},
    )


def _real(options: FusionOptions) -> FusionInput:
    paths = {"lr_hsi": str(options.lr_hsi_file), "hr_msi": str(options.hr_msi_file)}
    images = {name: read_image(path) for name, path in paths.items()}
    for name, path in paths.items():
        (check_radiances if options.normalise else check_image_values)(images[name].values, path)
    low, high = images["lr_hsi"], images["hr_msi"]
    ratio = exact_ratio(low.values.shape, high.values.shape)
    known = read_wavelengths(options.wavelengths, low, paths["lr_hsi"])
    bands = options.num_bands_msi_non_synthetic
    srf = find_response(options, bands, known, low.values.shape[2])
    if srf.shape[0] != high.values.shape[2]:
        source = options.srf_file if options.provide_srf else options.sensor
        given = f"num_bands_msi_non_synthetic is {bands}" if source is None else f"the response {source} has {len(srf)}"
        raise InputError(
            f"{paths['hr_msi']} has {high.values.shape[2]} bands, and {given}; expected as many: give the spectral "
            "response of its bands by provide_srf and srf_file"
        )
    scaling: dict[str, _Limits] = {}
    tensors: dict[str, Tensor] = {}
    for name, path in paths.items():
        tensors[name], limits = _scaled_image(options, images[name].values, path)
        if limits is not None:
            scaling[name] = limits
    return FusionInput(
        tensors["lr_hsi"],
        tensors["hr_msi"],
        srf.float(),
        read_kernel(str(options.psf_file)).float() if options.provide_psf else None,
        ratio,
        "super_resolved_hsi",
        wavelength=low.wavelength if isinstance(known, str) else known,
        georeference=high.georeference,
        scaling=scaling,
    )


def _kernel(options: FusionOptions) -> Tensor:
    """The point-spread function ``[m, m]`` that makes the synthetic image."""
    if options.provide_psf:
        return read_kernel(str(options.psf_file))
    compat = {"compat": True} if options.preset == "published" and options.psf_type == "airy" else {}
    return psf_kernel(options.psf_type, options.sigma, options.kernel_size, **compat)


def _limits(options: FusionOptions, cube: Tensor) -> _Limits | None:
    if not options.normalise:
        return None
    if options.limits is not None:
        return options.limits[0], options.limits[1]
    return percentile_limits(cube)


def _scaled_image(options: FusionOptions, values: npt.NDArray[np.float32], path: str) -> tuple[Tensor, _Limits | None]:
    """A real image ``[C, H, W]`` in units in which two radiances are 0 and 1, and these radiances."""
    image = as_tensor(values)
    try:
        limits = _limits(options, image)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if limits is None:
        return image, None
    low, high = limits
    if options.preset == "published":
        return scaled(image, low, high), limits
    # Not clipped: what is bright in one image is not as bright in a coarser one, so that clipped ones would disagree.
    return (image - low) / (high - low), limits


def _matched(pair: FusionInput, options: FusionOptions) -> FusionInput:
    # Without a point-spread function, coarse pixels are means of blocks.
    psf = torch.ones(1, 1) if pair.psf is None else pair.psf
    match = match_radiometry(pair.lr_hsi, pair.hr_msi, pair.srf, psf, pair.ratio, _boundary(options))
    record = {name: getattr(match, name).tolist() for name in ("gain", "offset", "correlation")}
    return dataclasses.replace(pair, hr_msi=match.hr_msi, radiometric_match=record)


def _check_network(options: FusionOptions, pair: FusionInput) -> None:
    """Refuse numbers of the network that the images cannot fulfil."""
    if options.method != "latent_estimation":
        return
    channels, height, width = pair.lr_hsi.shape
    if options.num_endmembers > min(channels, height * width):
        raise InputError(
            f"num_endmembers is {options.num_endmembers}; expected at most {min(channels, height * width)}: the "
            f"low-resolution image has {channels} bands and {height * width} pixels"
        )
    if options.spec_prior and options.prior_downsample > min(height, width):
        raise InputError(
            f"prior_downsample is {options.prior_downsample}; expected at most {min(height, width)}: the "
            f"low-resolution image has {height} x {width} pixels"
        )


def _boundary(options: FusionOptions) -> Boundary:
    return options.boundary or "reflect"


def _channels_first(image: Tensor) -> Tensor:
    return image.float().permute(2, 0, 1).contiguous()
