"""What a blurred sensor sees of a sharp image, as a linear operator: edges of a graph, a convolution, its transpose."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import Boundary, blur, boundary_index, check_boundary, check_image
from stgraph.ops.fusion.downsample import area_downsample, area_weights, check_ratio
from stgraph.ops.fusion.kernels import check_kernel

__all__ = ["check_pair", "observation_graph", "observe", "observe_adjoint"]


def observe(image: Tensor, psf: Tensor, ratio: int, boundary: Boundary = "reflect") -> Tensor:
    r"""Blur an image and average it over areas: the operator :math:`A = \mathrm{downsample} \circ \mathrm{blur}`.

    Args:
        image: Bands of the sharp image.
        psf: Point-spread function in pixels of the sharp image.
        ratio: Sharp pixels r along the edge of a coarse one.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **image:** :math:`(*, C, H, W)`, **psf:** :math:`(m, m)` with odd m
        - **output:** :math:`(*, C, \lfloor H/r \rfloor, \lfloor W/r \rfloor)`

    Raises:
        InputError: If a shape does not fit, or the ratio or the boundary is none.
        InputTypeError: If the image is not of float32 or float64 or the ratio not a whole number.

    Examples:
        >>> observe(torch.tensor([[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]), torch.ones(1, 1), 2)
        tensor([[[3.5000, 5.5000]]])
    """
    return area_downsample(blur(image, psf, boundary), ratio)


def observe_adjoint(
    image: Tensor, psf: Tensor, ratio: int, size: tuple[int, int], boundary: Boundary = "reflect"
) -> Tensor:
    r"""Apply the transpose of :func:`observe`, :math:`\langle A x, y \rangle = \langle x, A^\top y \rangle`.

    Args:
        image: Bands of a coarse image y.
        psf: Point-spread function in pixels of the sharp image.
        ratio: Sharp pixels r along the edge of a coarse one.
        size: Rows H and columns W of the sharp image.
        boundary: Values outside the sharp image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **image:** :math:`(*, C, \lfloor H/r \rfloor, \lfloor W/r \rfloor)`, **psf:** :math:`(m, m)` with odd m
        - **output:** :math:`(*, C, H, W)`

    Raises:
        InputError: If a shape does not fit, or the ratio or the boundary is none.
        InputTypeError: If the image is not of float32 or float64 or the ratio not a whole number.

    Examples:
        >>> observe_adjoint(torch.tensor([[[4.0, 8.0]]]), torch.ones(1, 1), 2, (2, 4))
        tensor([[[1., 1., 2., 2.],
                 [1., 1., 2., 2.]]])
    """
    check_image(image)
    check_kernel(psf, "psf")
    check_ratio(ratio, *size)
    rows, columns = size[0] // ratio, size[1] // ratio
    if image.shape[-2:] != (rows, columns):
        raise InputError(f"image must have {rows} x {columns} pixels, {size} over {ratio}, got {tuple(image.shape)}")
    down, across = area_weights(size[0], rows).to(image), area_weights(size[1], columns).to(image)
    half = psf.shape[0] // 2
    spread = F.pad(down.mT @ image @ across, (half,) * 4)
    spread = blur(spread, psf.flip(0, 1), "zero")
    for axis, length in ((-2, size[0]), (-1, size[1])):
        spread = _fold(spread, boundary_index(length, half, boundary, image.device), length, axis)
    return spread


def observation_graph(
    height: int, width: int, psf: Tensor, ratio: int, boundary: Boundary = "reflect"
) -> tuple[Tensor, Tensor]:
    r"""The operator of :func:`observe` as edges from sharp to coarse pixels, both numbered row by row.

    Each coarse pixel is joined to the sharp pixels under its footprint. Edges of weight 0 are left out, and a sharp
    pixel that the boundary repeats has one edge.

    Args:
        height: Rows H of the sharp image.
        width: Columns W of the sharp image.
        psf: Point-spread function in pixels of the sharp image.
        ratio: Sharp pixels r along the edge of a coarse one.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Returns:
        ``edge_index`` (row 0 the sharp pixels, row 1 the coarse ones, sorted by these) and ``edge_weight``, of the
        dtype and device of the PSF. The weights of a coarse pixel add up to the sum of the PSF, with the boundary
        ``"zero"`` to less at the border.

    Shapes:
        - **psf:** :math:`(m, m)` with odd m
        - **output:** :math:`(2, E)` and :math:`(E)`

    Raises:
        InputError: If the kernel is none, or the ratio or the boundary is none.
        InputTypeError: If the kernel is not of a floating dtype or the ratio not a whole number.

    Examples:
        >>> edge_index, edge_weight = observation_graph(2, 4, torch.ones(1, 1), 2)
        >>> edge_index
        tensor([[0, 1, 4, 5, 2, 3, 6, 7],
                [0, 0, 0, 0, 1, 1, 1, 1]])
        >>> edge_weight[:4]
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    if not psf.is_floating_point():
        raise InputTypeError(f"psf must be of a floating dtype, got {psf.dtype}")
    check_kernel(psf, "psf")
    check_ratio(ratio, height, width)
    half, device = psf.shape[0] // 2, psf.device
    row, row_area = _footprint(height, height // ratio, half, check_boundary(boundary), device)
    column, column_area = _footprint(width, width // ratio, half, boundary, device)
    weight = _footprint_weights(psf, row_area.to(psf), column_area.to(psf))
    sharp = row[:, None, :, None] * width + column[None, :, None, :]
    coarse = torch.arange(row.shape[0] * column.shape[0], device=device).view(row.shape[0], -1, 1, 1)
    inside = (row >= 0)[:, None, :, None] & (column >= 0)[None, :, None, :] & (weight != 0)
    number = (coarse * (height * width) + sharp)[inside]
    edges, merged = number.unique(return_inverse=True)
    edge_weight = weight.new_zeros(edges.shape[0]).index_add(0, merged, weight[inside])
    return torch.stack([edges % (height * width), edges // (height * width)]), edge_weight


def check_pair(lr_hsi: Tensor, hr_msi: Tensor, srf: Tensor, ratio: int) -> None:
    """Refuse two images ``[C, h, w]`` and ``[b, H, W]`` that do not fit each other, the response or the ratio."""
    for name, image in (("lr_hsi", lr_hsi), ("hr_msi", hr_msi)):
        if not isinstance(image, Tensor) or image.dtype not in (torch.float32, torch.float64):
            found = image.dtype if isinstance(image, Tensor) else type(image).__name__
            raise InputTypeError(f"{name} must be a tensor of float32 or float64, got {found}")
        if image.dim() != 3 or image.numel() == 0:
            raise InputError(f"{name} must have the shape (bands, rows, columns), got {tuple(image.shape)}")
        bad = int((~image.isfinite()).sum())
        if bad:
            raise InputError(f"{name} must be finite, got {bad} values that are NaN or infinite")
    if lr_hsi.dtype != hr_msi.dtype:
        raise InputTypeError(f"lr_hsi and hr_msi must be of one dtype, got {lr_hsi.dtype} and {hr_msi.dtype}")
    high, low = tuple(hr_msi.shape[1:]), tuple(lr_hsi.shape[1:])
    check_ratio(ratio, *high)
    if low != (high[0] // ratio, high[1] // ratio):
        raise InputError(f"hr_msi must have {ratio} times the pixels of lr_hsi {low}, which is the ratio, got {high}")
    expected = (hr_msi.shape[0], lr_hsi.shape[0])
    if srf.shape != expected:
        raise InputError(f"srf must have the shape {expected}, bands of hr_msi and lr_hsi, got {tuple(srf.shape)}")


def _footprint(size: int, target: int, half: int, boundary: Boundary, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixels of an axis that each coarse pixel sees, and how much of it lies in each of those that it covers."""
    coarse = torch.arange(target, device=device)
    first = coarse * size // target
    length = int((-((coarse + 1) * -size // target) - first).max())
    covered = first[:, None] + torch.arange(length, device=device)
    # The last coarse pixels may cover fewer pixels than the others; what lies beyond the axis counts as 0.
    area = F.pad(area_weights(size, target).to(device), (0, length)).gather(1, covered)
    index = F.pad(boundary_index(size, half, boundary, device), (0, length), value=-1)
    seen = first[:, None] + torch.arange(length + 2 * half, device=device)
    return index[seen], area


def _footprint_weights(psf: Tensor, row_area: Tensor, column_area: Tensor) -> Tensor:
    """Weights ``[h, w, rows, columns]`` of the footprints: the mirrored kernel, moved over the covered pixels."""
    size = psf.shape[0]
    rows, columns = row_area.shape[1], column_area.shape[1]
    padded = F.pad(psf, (columns - 1,) * 2 + (rows - 1,) * 2)
    # Position a of a footprint gets to covered pixel s by the kernel's entry s - a + size - 1.
    moved = padded.flip(0, 1).unfold(0, size + rows - 1, 1).unfold(1, size + columns - 1, 1)
    moved = moved.flip(0, 1)
    by_row = torch.einsum("is,stab->itab", row_area, moved)
    return torch.einsum("jt,itab->ijab", column_area, by_row)


def _fold(image: Tensor, index: Tensor, length: int, axis: int) -> Tensor:
    """Add up the positions that :func:`boundary_index` takes from the same pixel."""
    kept = (index >= 0).nonzero()[:, 0]
    shape = list(image.shape)
    shape[axis] = length
    return image.new_zeros(shape).index_add(axis, index[kept], image.index_select(axis, kept))
