"""Fuse two images in memory, with one call."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.images import from_image, to_image
from stgraph.data.images.image import as_cube, as_float32
from stgraph.errors import InputError
from stgraph.ops.fusion import normalise_kernel
from stgraph.ops.fusion.blur import Boundary
from stgraph.tasks.fusion_images import as_tensor, check_image_values, exact_ratio
from stgraph.tasks.fusion_methods import WholeImage, describe_estimate, image_pieces, make_fusion, start_fusion

if TYPE_CHECKING:
    from stgraph.models.fusion.estimate import FusionEstimate

__all__ = ["FusionResult", "fuse"]

# How far the rows of a response in memory may be from the sum 1.
_SUM_TOLERANCE = 1e-3


class FusionResult(NamedTuple):
    r"""A sharp hyperspectral image, and what is known about it.

    Attributes:
        graph: The grid graph of its pixels: ``x`` :math:`(H W, C, 1)`, ``pos``, ``grid``, and ``wavelength`` and
            ``georeference`` where they are known. It shares the memory of ``image``.
        image: The image :math:`(H, W, C)`, float32 in [0, 1].
        uncertainty: Expected error of each pixel, the root mean square over bands :math:`(H, W)`; None for methods
            that do not tell.
        endmembers: The endmembers :math:`(K, C)`; None for methods without.
        latent: The latent estimates :math:`(H, W, K)`; None for methods without.
        record: What was done, as plain values.
    """

    graph: Data
    image: npt.NDArray[np.float32]
    uncertainty: npt.NDArray[np.float32] | None
    endmembers: npt.NDArray[np.float32] | None
    latent: npt.NDArray[np.float32] | None
    record: dict[str, Any]


def fuse(
    lr_hsi: Any,
    hr_msi: Any,
    srf: Any,
    psf: Any = None,
    ratio: int | None = None,
    *,
    method: str = "latent_estimation",
    wavelengths: Any = None,
    boundary: Boundary = "reflect",
    seed: int = 42,
    **arguments: Any,
) -> FusionResult:
    r"""Make a sharp hyperspectral image from a blurred one and a multispectral one of the same place.

    Nothing is trained beforehand: the network learns from these two images. Both should be on the same radiometric
    scale, within about 0 to 1 (:func:`~stgraph.data.images.normalise_image`,
    :func:`~stgraph.ops.fusion.match_radiometry`).

    Args:
        lr_hsi: Low-resolution hyperspectral image, an array, a tensor or the graph of a grid.
        hr_msi: High-resolution multispectral image, likewise.
        srf: Spectral response of each multispectral band to the hyperspectral ones; rows sum to 1.
        psf: Blur of the hyperspectral image in pixels of the multispectral one; it is divided by its sum. (default:
            estimated from the images where the method needs it)
        ratio: High-resolution pixels along the edge of a low-resolution one. (default: from the sizes)
        method: ``"latent_estimation"``, or a method of :data:`stgraph.models.fusion.FUSIONS` to compare it with.
        wavelengths: Wavelengths of the hyperspectral bands in nm. (default: those of a graph)
        boundary: What is taken to be outside the images.
        seed: Seed of the endmembers and the networks.
        **arguments: Further arguments of the method, see
            :class:`~stgraph.models.fusion.latent_fusion.LatentEstimationFusion`.

    Shapes:
        - **lr_hsi:** :math:`(h, w, C)`, **hr_msi:** :math:`(r h, r w, b)`, **srf:** :math:`(b, C)`, **psf:**
          :math:`(m, m)` with odd m
        - **output:** see :class:`FusionResult`

    Raises:
        InputError: If shapes do not fit each other, values are missing or far from 0 to 1, rows of the response do not
            sum to 1, or an argument is out of range or unknown to the method.
        InputTypeError: If something is not numeric.

    Examples:
        >>> ramp = np.linspace(0.2, 0.8, 16, dtype=np.float32).reshape(4, 4, 1)
        >>> lr_hsi = np.concatenate([ramp, ramp / 2, ramp / 4], axis=2)
        >>> hr_msi = lr_hsi.repeat(2, axis=0).repeat(2, axis=1)[..., :2]
        >>> response = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
        >>> small = {"count": 2, "hidden": 8, "epochs": 5}
        >>> fused = fuse(lr_hsi, hr_msi, response, [[1.0]], wavelengths=[450.0, 550.0, 650.0], **small)
        >>> fused.image.shape, fused.latent.shape, fused.uncertainty.shape
        ((8, 8, 3), (8, 8, 2), (8, 8))
        >>> fused.graph.x.shape, fused.graph.grid, fused.graph.wavelength
        (torch.Size([64, 3, 1]), (8, 8), tensor([450., 550., 650.], dtype=torch.float64))
    """
    low, high = _as_image(lr_hsi, "lr_hsi"), _as_image(hr_msi, "hr_msi")
    if ratio is None:
        ratio = exact_ratio(low.shape, high.shape)
    response = _as_response(srf, high.shape[2], low.shape[2])
    kernel = None if psf is None else normalise_kernel(psf)
    wavelengths = _attribute(lr_hsi, "wavelength") if wavelengths is None else wavelengths
    fusion = make_fusion(method, {"boundary": boundary, "seed": seed}, arguments)
    estimate = start_fusion(fusion, as_tensor(low), as_tensor(high), response, kernel, ratio)
    image, uncertainty = _read_whole(estimate)
    graph = from_image(image, wavelength=wavelengths, georeference=_attribute(hr_msi, "georeference"))
    endmembers = latent = None
    if not isinstance(estimate, WholeImage):
        endmembers, latent = estimate.endmembers.cpu().numpy(), estimate.latent.permute(1, 2, 0).cpu().numpy()
    record = {"method": method, "ratio": ratio, **describe_estimate(estimate)}
    return FusionResult(graph, image, uncertainty, endmembers, latent, record)


def _as_image(value: Any, name: str) -> npt.NDArray[np.float32]:
    if isinstance(value, Data):
        mask = value.get("mask")
        if mask is not None and not bool(mask.all()):
            raise InputError(
                f"{name} has a mask, in which {int((~mask).sum())} of {mask.numel()} values are missing; expected an "
                "image without: fill them or cut them away"
            )
        values = to_image(value)
    else:
        plain = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
        values = as_float32(as_cube(plain, name))
    check_image_values(values, name)
    return values


def _as_response(srf: Any, bands: int, channels: int) -> Tensor:
    response = torch.as_tensor(np.asarray(srf.detach().cpu() if isinstance(srf, Tensor) else srf, dtype=np.float64))
    if response.shape != (bands, channels):
        raise InputError(
            f"srf has the shape {tuple(response.shape)}; expected ({bands}, {channels}), the bands of hr_msi and of "
            "lr_hsi"
        )
    sums = response.sum(dim=1)
    if not bool((sums - 1).abs().max() <= _SUM_TOLERANCE):
        raise InputError(
            f"rows of srf have sums from {float(sums.min()):.4g} to {float(sums.max()):.4g}; expected 1 each, as "
            "stgraph.ops.fusion.normalise_response makes them"
        )
    return response.float()


def _attribute(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Data) else None


def _read_whole(
    estimate: FusionEstimate | WholeImage,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    image = np.empty((*estimate.size, estimate.bands), dtype=np.float32)
    uncertainty = None if isinstance(estimate, WholeImage) else np.full(estimate.size, math.nan, dtype=np.float32)
    for window in image_pieces(estimate.size, estimate.bands):
        image[window] = estimate.spectra(window).permute(1, 2, 0).cpu().numpy()
        if uncertainty is not None and not isinstance(estimate, WholeImage):
            uncertainty[window] = estimate.uncertainty(window).cpu().numpy()
    return image, uncertainty
