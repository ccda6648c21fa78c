"""The methods that the grid of image fusion compares, and their options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stgraph.errors import InputError
from stgraph.models.fusion import AffineFusion, BicubicFusion, ImageFusion, LatentEstimationFusion
from stgraph.models.options import nearest_name
from stgraph.tasks.published_fusion import PUBLISHED_SCENES

__all__ = ["NETWORKS", "grid_arguments", "grid_methods", "method_settings"]

#: Forms of the method of stgraph.
NETWORKS = ("published", "default")


def grid_arguments(
    dataset: str, num_endmembers: int | None, hidden_size: int, epochs: int | None, seed: int
) -> dict[str, Any]:
    """Return the arguments of a network of either form.

    Raises:
        InputError: If the scene is unknown, or a number is missing or below 1.
    """
    given = {"num_endmembers": num_endmembers, "hidden_size": hidden_size, "epochs": epochs}
    for name, value in given.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; expected at least 1")
    if dataset not in PUBLISHED_SCENES and dataset != "other":
        names = [*PUBLISHED_SCENES, "other"]
        raise InputError(f"unknown dataset {dataset!r}{nearest_name(dataset, names)}")
    if num_endmembers is None and dataset == "other":
        raise InputError("num_endmembers is missing; expected a number for a scene that is none of the published ones")
    count = PUBLISHED_SCENES[dataset].num_endmembers if num_endmembers is None else num_endmembers
    return {"count": count, "hidden": hidden_size, "seed": seed} | ({} if epochs is None else {"epochs": epochs})


def grid_methods(bands: int, methods: Sequence[str], arguments: dict[str, Any]) -> dict[str, ImageFusion]:
    """Return the methods to run with a number of multispectral bands, by name; bicubic and affine are always there.

    What is not better than these two has learned nothing.

    Raises:
        InputError: If a method is unknown, there is none, or an argument is out of range.
    """
    unknown = [name for name in methods if name not in NETWORKS]
    if unknown or not methods:
        raise InputError(f"methods are {list(methods)}; expected one or more of {list(NETWORKS)}")
    networks = {
        "published": lambda: LatentEstimationFusion.published(
            prior=bands == 1, prior_factor=4, boundary="zero", **arguments
        ),
        "default": lambda: LatentEstimationFusion(boundary="zero", **arguments),
    }
    return {
        "bicubic": BicubicFusion(),
        "affine": AffineFusion(),
        **{name: networks[name]() for name in NETWORKS if name in methods},
    }


def method_settings(fusion: ImageFusion) -> dict[str, Any]:
    """Return all that the result of a method depends on beside the pair; nothing for those without options."""
    if not isinstance(fusion, LatentEstimationFusion):
        return {}
    names = ("count", "endmembers", "members", "denoise", "correction", "boundary", "prior", "spatial")
    return {**{name: getattr(fusion, name) for name in names}, **fusion.training._asdict()}
