"""Ways of fusion by name, and how their results are read piece by piece."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stgraph.errors import InputError
from stgraph.models.fusion import FUSIONS, ImageFusion
from stgraph.models.registry import find_class

if TYPE_CHECKING:
    from stgraph.models.fusion.estimate import FusionEstimate

__all__ = [
    "FUSION_METHODS",
    "WholeImage",
    "describe_estimate",
    "image_pieces",
    "make_fusion",
    "plain_values",
    "start_fusion",
]

#: Every way of fusion by name, as ``module:class``.
FUSION_METHODS = {"latent_estimation": "stgraph.models.fusion.latent_fusion:LatentEstimationFusion", **FUSIONS}

_PIECE_VALUES = 2**24


@dataclasses.dataclass
class WholeImage:
    """The result of a method that makes the whole image at once, read piece by piece like that of a network."""

    image: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return int(self.image.shape[1]), int(self.image.shape[2])

    @property
    def bands(self) -> int:
        """Number of bands."""
        return int(self.image.shape[0])

    def spectra(self, window: tuple[slice, slice]) -> Tensor:
        """Return the piece ``[C, rows, columns]``, in [0, 1]."""
        return self.image[:, window[0], window[1]].clamp(0, 1)


def make_fusion(name: str, common: dict[str, Any], arguments: dict[str, Any]) -> ImageFusion:
    """Build a way of fusion.

    Args:
        name: Its name.
        common: Arguments that it is given if it takes them.
        arguments: Arguments that it has to take.

    Raises:
        InputError: If there is no such way, or it does not take an argument.
    """
    build: Any = find_class("fusion", name, FUSION_METHODS)
    taken = inspect.signature(build).parameters
    unknown = [argument for argument in arguments if argument not in taken]
    if unknown:
        raise InputError(f"method {name!r} has no argument {unknown[0]!r}; it takes {', '.join(taken) or 'none'}")
    fusion: ImageFusion = build(**{key: value for key, value in common.items() if key in taken} | arguments)
    return fusion


def start_fusion(
    fusion: ImageFusion,
    lr_hsi: Tensor,
    hr_msi: Tensor,
    srf: Tensor,
    psf: Tensor | None,
    ratio: int,
    on_epoch: Callable[[int, int, float], None] | None = None,
) -> FusionEstimate | WholeImage:
    """Train or compute what is needed to read the image piece by piece.

    Args:
        fusion: The way of fusion.
        lr_hsi: Low-resolution hyperspectral image.
        hr_msi: High-resolution multispectral image.
        srf: Spectral response.
        psf: Point-spread function.
        ratio: Ratio of the resolutions.
        on_epoch: Called with the number of the network, that of the epoch, and its loss.

    Shapes:
        - **lr_hsi:** :math:`(C, h, w)`, **hr_msi:** :math:`(b, H, W)`, **srf:** :math:`(b, C)`, **psf:** :math:`(m, m)`
    """
    estimate: Any = getattr(fusion, "estimate", None)
    if estimate is None:
        return WholeImage(fusion.fuse(lr_hsi, hr_msi, srf, psf, ratio))
    found: FusionEstimate = estimate(lr_hsi, hr_msi, srf, psf, ratio, on_epoch=on_epoch)
    return found


def describe_estimate(estimate: FusionEstimate | WholeImage) -> dict[str, Any]:
    """Return what a network did, as plain values; of other methods there is nothing to tell."""
    if isinstance(estimate, WholeImage):
        return {"parameters": 0, "multiply_adds": None, "members": [], "correction": None, "psf_estimate": None}
    return {
        "parameters": estimate.parameters,
        "multiply_adds": estimate.multiply_adds,
        "members": [
            {
                "epochs": len(record.losses),
                "best_epoch": record.best_epoch,
                "last_loss": record.losses[-1] if record.losses else None,
                "last_held_out_loss": record.held_out_losses[-1] if record.held_out_losses else None,
                "lowest_held_out_loss": min(record.held_out_losses, default=None),
                "seconds": record.seconds,
            }
            for record in estimate.records
        ],
        "correction": plain_values(estimate.correction_record),
        "psf_estimate": plain_values(estimate.psf_estimate),
    }


def plain_values(record: Any) -> dict[str, Any] | None:
    """Return the fields of a dataclass or a named tuple as numbers, texts and lists."""
    if record is None:
        return None
    names = record._fields if hasattr(record, "_fields") else [field.name for field in dataclasses.fields(record)]
    values = {name: getattr(record, name) for name in names}
    return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in values.items()}


def image_pieces(size: tuple[int, int], bands: int, multiple: int = 1) -> Iterator[tuple[slice, slice]]:
    """Yield windows of whole rows that cover an image, each of about 16 million values.

    >>> list(image_pieces((5, 2**20), 8, multiple=2))[:2]
    [(slice(0, 2, None), slice(0, 1048576, None)), (slice(2, 4, None), slice(0, 1048576, None))]
    """
    height, width = size
    step = max(1, _PIECE_VALUES // (width * bands * multiple)) * multiple
    for row in range(0, height, step):
        yield slice(row, min(row + step, height)), slice(0, width)
