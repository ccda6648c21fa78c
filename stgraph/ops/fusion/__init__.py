"""The forward model of image fusion: what a blurred and a multispectral sensor see of a hyperspectral image."""

from __future__ import annotations

from stgraph.ops.fusion.backprojection import back_project, back_project_graph
from stgraph.ops.fusion.blur import Boundary, blur, boundary_index
from stgraph.ops.fusion.denoising import denoise_image, image_noise, neighbor_similarity
from stgraph.ops.fusion.downsample import area_downsample, area_weights
from stgraph.ops.fusion.endmembers import extract_endmembers
from stgraph.ops.fusion.guard import GuardedBackProjection, PSFAgreement, back_project_guarded, psf_agreement
from stgraph.ops.fusion.guided import BandEvidence, grid_laplacian, guided_back_projection
from stgraph.ops.fusion.kernels import PSF_NAMES, normalise_kernel, psf_kernel
from stgraph.ops.fusion.noise import add_noise, noise_deviation
from stgraph.ops.fusion.observation import observation_graph, observe, observe_adjoint
from stgraph.ops.fusion.psf_estimation import PSFEstimate, estimate_psf
from stgraph.ops.fusion.radiometry import RadiometricMatch, match_radiometry
from stgraph.ops.fusion.response import (
    SENSOR_BANDS,
    SensorBand,
    apply_response,
    band_response,
    normalise_response,
    sensor_response,
    stretched_wavelengths,
)
from stgraph.ops.fusion.tiling import Tile, tiles

__all__ = [
    "PSF_NAMES",
    "SENSOR_BANDS",
    "BandEvidence",
    "Boundary",
    "GuardedBackProjection",
    "PSFAgreement",
    "PSFEstimate",
    "RadiometricMatch",
    "SensorBand",
    "Tile",
    "add_noise",
    "apply_response",
    "area_downsample",
    "area_weights",
    "back_project",
    "back_project_graph",
    "back_project_guarded",
    "band_response",
    "blur",
    "boundary_index",
    "denoise_image",
    "estimate_psf",
    "extract_endmembers",
    "grid_laplacian",
    "guided_back_projection",
    "image_noise",
    "match_radiometry",
    "neighbor_similarity",
    "noise_deviation",
    "normalise_kernel",
    "normalise_response",
    "observation_graph",
    "observe",
    "observe_adjoint",
    "psf_agreement",
    "psf_kernel",
    "sensor_response",
    "stretched_wavelengths",
    "tiles",
]
