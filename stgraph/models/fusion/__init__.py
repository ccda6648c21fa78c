"""Sharp hyperspectral images from a blurred one and a multispectral one: the network and what to compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stgraph.models.registry import find_class, load_class

if TYPE_CHECKING:
    from stgraph.models.fusion.affine import AffineFusion
    from stgraph.models.fusion.base import ImageFusion
    from stgraph.models.fusion.bicubic import BicubicFusion
    from stgraph.models.fusion.cnmf import CNMF
    from stgraph.models.fusion.correction import CorrectionRecord
    from stgraph.models.fusion.endmembers import make_endmembers
    from stgraph.models.fusion.estimate import FusionEstimate
    from stgraph.models.fusion.gsa import GSA
    from stgraph.models.fusion.hysure import HySure
    from stgraph.models.fusion.latent_estimation import CONSTRAINTS, LatentEstimationNetwork
    from stgraph.models.fusion.latent_fusion import LatentEstimationFusion
    from stgraph.models.fusion.prior import coarse_prior, enlarge
    from stgraph.models.fusion.sampling import held_out_blocks, tile_batches
    from stgraph.models.fusion.schedules import flat_schedule, one_cycle_schedule
    from stgraph.models.fusion.spatial_estimation import fit_spatial, predict_spatial
    from stgraph.models.fusion.spatial_network import SpatialEstimationNetwork
    from stgraph.models.fusion.training import FitRecord, fit_network, predict_batches, predict_pixels

__all__ = [
    "CNMF",
    "CONSTRAINTS",
    "FUSIONS",
    "GSA",
    "AffineFusion",
    "BicubicFusion",
    "CorrectionRecord",
    "FitRecord",
    "FusionEstimate",
    "HySure",
    "ImageFusion",
    "LatentEstimationFusion",
    "LatentEstimationNetwork",
    "SpatialEstimationNetwork",
    "coarse_prior",
    "enlarge",
    "fit_network",
    "fit_spatial",
    "flat_schedule",
    "get_fusion",
    "held_out_blocks",
    "make_endmembers",
    "one_cycle_schedule",
    "predict_batches",
    "predict_pixels",
    "predict_spatial",
    "tile_batches",
]

#: Every method by the name that configuration files use, as ``module:class``.
FUSIONS: dict[str, str] = {
    "affine": "stgraph.models.fusion.affine:AffineFusion",
    "bicubic": "stgraph.models.fusion.bicubic:BicubicFusion",
    "cnmf": "stgraph.models.fusion.cnmf:CNMF",
    "gsa": "stgraph.models.fusion.gsa:GSA",
    "hysure": "stgraph.models.fusion.hysure:HySure",
    "latent_estimation": "stgraph.models.fusion.latent_fusion:LatentEstimationFusion",
}

_PATHS = {path.split(":")[1]: path for path in FUSIONS.values()}
_PATHS["ImageFusion"] = "stgraph.models.fusion.base:ImageFusion"
_PATHS["make_endmembers"] = "stgraph.models.fusion.endmembers:make_endmembers"
_PATHS |= {
    name: f"stgraph.models.fusion.{module}:{name}"
    for module, names in {
        "correction": ("CorrectionRecord",),
        "estimate": ("FusionEstimate",),
        "latent_estimation": ("CONSTRAINTS", "LatentEstimationNetwork"),
        "prior": ("coarse_prior", "enlarge"),
        "sampling": ("held_out_blocks", "tile_batches"),
        "schedules": ("flat_schedule", "one_cycle_schedule"),
        "spatial_estimation": ("fit_spatial", "predict_spatial"),
        "spatial_network": ("SpatialEstimationNetwork",),
        "training": ("FitRecord", "fit_network", "predict_batches", "predict_pixels"),
    }.items()
    for name in names
}


def get_fusion(name: str) -> type[ImageFusion]:
    """Return the class of the fusion method called ``name``.

    Raises:
        InputError: If no method has that name.

    Examples:
        >>> get_fusion("affine").__name__
        'AffineFusion'
    """
    found: type[ImageFusion] = find_class("fusion", name, FUSIONS)
    return found


def __getattr__(name: str) -> Any:
    if name in _PATHS:
        return load_class(_PATHS[name])
    raise AttributeError(f"module 'stgraph.models.fusion' has no attribute {name!r}")
