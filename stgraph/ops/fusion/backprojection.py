"""Back-projection: a sharp image is corrected by what its observation misses of the coarse one."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import Boundary, check_boundary, check_image
from stgraph.ops.fusion.downsample import check_ratio
from stgraph.ops.fusion.kernels import check_kernel
from stgraph.ops.fusion.observation import observe, observe_adjoint

__all__ = ["Upsampling", "back_project", "back_project_graph"]

#: How corrections get from coarse to sharp pixels.
Upsampling = Literal["bicubic", "adjoint"]

_VALUES_AT_ONCE = 2**22  # bands are corrected in groups of about this many values, whatever their number
_SMALLEST_SHARE = 0.5  # of the weight that a sharp pixel sends on average


def back_project(
    estimate: Tensor,
    lr_hsi: Tensor,
    psf: Tensor,
    ratio: int,
    *,
    steps: int = 1,
    upsample: Upsampling = "bicubic",
    boundary: Boundary = "reflect",
    relax: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    r"""Add to an estimate X, enlarged by U, what its observation misses of the coarse image Y.

    .. math::
        X \leftarrow X + \omega\, U (Y - A X), \qquad A = \mathrm{downsample} \circ \mathrm{blur}

    (Irani and Peleg, CVGIP 53(3), 1991). U is bicubic interpolation, or the transpose of A divided by the weight
    :math:`A^\top 1` that reaches each sharp pixel (by no less than half its mean, so that pixels which are hardly
    seen are hardly changed). A few steps help; more amplify the noise of Y.

    Args:
        estimate: High-resolution hyperspectral image X.
        lr_hsi: Low-resolution hyperspectral image Y.
        psf: Point-spread function in pixels of the sharp image.
        ratio: Sharp pixels r along the edge of a coarse one.
        steps: Number of corrections.
        upsample: ``"bicubic"`` or ``"adjoint"``.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.
        relax: Share :math:`\omega` of the correction, in (0, 2).
        out: Where the result goes; may be the estimate itself, or memory-mapped. (default: a new tensor) A few bands
            are corrected at a time, so that no further image is held.

    Shapes:
        - **estimate**, **out**, **output:** :math:`(C, H, W)`, **lr_hsi:** :math:`(C, h, w)`, **psf:** :math:`(m, m)`

    Raises:
        InputError: If shapes do not fit or an argument is out of range.
        InputTypeError: If the images are not both float32 or both float64.

    Examples:
        >>> estimate, lr_hsi = torch.tensor([[[0.0, 2.0], [0.0, 2.0]]]), torch.tensor([[[3.0]]])
        >>> back_project(estimate, lr_hsi, torch.ones(1, 1), 2)
        tensor([[[2., 4.],
                 [2., 4.]]])
    """
    _check_images(estimate, lr_hsi, out)
    check_ratio(ratio, *estimate.shape[1:])
    height, width = estimate.shape[1:]
    if lr_hsi.shape[1:] != (height // ratio, width // ratio):
        raise InputError(
            f"estimate must have {ratio} times the pixels of lr_hsi {tuple(lr_hsi.shape[1:])}, which is the ratio, got "
            f"{(height, width)}"
        )
    check_kernel(psf, "psf")
    check_boundary(boundary)
    _check_steps(steps, relax)
    if upsample not in get_args(Upsampling):
        raise InputError(f"upsample must be one of {', '.join(get_args(Upsampling))}, got {upsample!r}")
    weight = None
    if upsample == "adjoint":
        ones = torch.ones_like(lr_hsi[:1])
        weight = _received(observe_adjoint(ones, psf, ratio, (height, width), boundary), lr_hsi[0].numel())
    result = torch.empty_like(estimate) if out is None else out
    size = max(1, _VALUES_AT_ONCE // (height * width))
    for sharp, coarse, target in zip(estimate.split(size), lr_hsi.split(size), result.split(size), strict=True):
        corrected = sharp
        for _ in range(steps):
            missing = coarse - observe(corrected, psf, ratio, boundary)
            if weight is None:
                enlarged = F.interpolate(missing[None], (height, width), mode="bicubic", align_corners=False)[0]
            else:
                enlarged = observe_adjoint(missing, psf, ratio, (height, width), boundary) / weight
            corrected = corrected + relax * enlarged
        target.copy_(corrected)
    return result


def back_project_graph(
    estimate: Tensor,
    coarse: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor,
    *,
    mask: Tensor | None = None,
    steps: int = 1,
    relax: float = 1.0,
) -> Tensor:
    r"""Correct sharp nodes by messages from the coarse nodes that see them.

    A coarse node i adds up the spectra of the sharp nodes j that it sees, compares them with its own, and sends the
    difference back, by the same weights:

    .. math::
        \mathbf{x}_j \leftarrow \mathbf{x}_j + \omega\, \frac{\sum_i a_{ij} m_i
        (\mathbf{y}_i - \sum_k a_{ik} \mathbf{x}_k)}{\max(\sum_i a_{ij} m_i,\, n / 2N)}

    On the edges of :func:`~stgraph.ops.fusion.observation_graph` this is :func:`back_project` with
    ``upsample="adjoint"``; any other sampling has edges of its own.

    Args:
        estimate: Spectra x of the sharp nodes.
        coarse: Spectra y of the coarse nodes; values without data may be anything.
        edge_index: Sharp and coarse nodes of the edges.
        edge_weight: Weights a of the edges; those of a coarse node add up to 1.
        mask: True where the coarse nodes have data; the others send nothing.
        steps: Number of corrections.
        relax: Share :math:`\omega` of the correction, in (0, 2).

    Shapes:
        - **estimate**, **output:** :math:`(N, C)`, **coarse:** :math:`(n, C)`, **edge_index:** :math:`(2, E)`,
          **edge_weight:** :math:`(E)`, **mask:** :math:`(n)` or :math:`(n, C)`, bool

    Raises:
        InputError: If shapes or node numbers do not fit or an argument is out of range.
        InputTypeError: If the spectra are not both float32 or both float64, or the mask is not bool.

    Examples:
        >>> edge_index, edge_weight = torch.tensor([[0, 1, 2], [0, 0, 1]]), torch.tensor([0.5, 0.5, 1.0])
        >>> estimate, coarse = torch.tensor([[0.0], [2.0], [5.0]]), torch.tensor([[3.0], [torch.nan]])
        >>> back_project_graph(estimate, coarse, edge_index, edge_weight, mask=torch.tensor([True, False]))
        tensor([[2.],
                [4.],
                [5.]])
    """
    _check_graph(estimate, coarse, edge_index, edge_weight, mask)
    _check_steps(steps, relax)
    nodes, observations = estimate.shape[0], coarse.shape[0]
    # _check_graph has compared the node numbers with the sizes.
    matrix = torch.sparse_coo_tensor(
        edge_index.flip(0), edge_weight.to(estimate), (observations, nodes), check_invariants=False
    ).coalesce()
    transpose = matrix.t().coalesce()
    known = torch.ones_like(coarse[:, :1], dtype=torch.bool) if mask is None else mask.view(observations, -1)
    weight = _received(torch.sparse.mm(transpose, known.to(estimate)), observations)
    for _ in range(steps):
        missing = (coarse - torch.sparse.mm(matrix, estimate)).masked_fill(~known, 0)
        estimate = estimate + relax * torch.sparse.mm(transpose, missing) / weight
    return estimate


def _received(weight: Tensor, observations: int) -> Tensor:
    """What corrections are divided by, from the weight that reaches each sharp pixel ``[N, *]`` or ``[1, H, W]``."""
    pixels = weight.shape[0] if weight.dim() == 2 else weight[0].numel()
    return weight.clamp(min=_SMALLEST_SHARE * observations / pixels)


def _check_images(estimate: Tensor, lr_hsi: Tensor, out: Tensor | None) -> None:
    for name, image in (("estimate", estimate), ("lr_hsi", lr_hsi)):
        check_image(image)
        if image.dim() != 3:
            raise InputError(f"{name} must have the shape (bands, rows, columns), got {tuple(image.shape)}")
    if estimate.dtype != lr_hsi.dtype:
        raise InputTypeError(f"estimate and lr_hsi must be of one dtype, got {estimate.dtype} and {lr_hsi.dtype}")
    if estimate.shape[0] != lr_hsi.shape[0]:
        raise InputError(f"estimate must have the {lr_hsi.shape[0]} bands of lr_hsi, got {estimate.shape[0]}")
    if out is not None and (out.shape != estimate.shape or out.dtype != estimate.dtype):
        raise InputError(
            f"out must be like the estimate, {estimate.dtype} {tuple(estimate.shape)}, got {out.dtype} "
            f"{tuple(out.shape)}"
        )


def _check_steps(steps: int, relax: float) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise InputError(f"steps must be a whole number of 0 or more, got {steps!r}")
    if not 0 < relax < 2:
        raise InputError(f"relax must be above 0 and below 2, got {relax}")


def _check_graph(
    estimate: Tensor, coarse: Tensor, edge_index: Tensor, edge_weight: Tensor, mask: Tensor | None
) -> None:
    for name, spectra in (("estimate", estimate), ("coarse", coarse)):
        if spectra.dtype not in (torch.float32, torch.float64) or spectra.dtype != estimate.dtype:
            raise InputTypeError(f"estimate and coarse must both be float32 or float64, {name} is {spectra.dtype}")
        if spectra.dim() != 2 or spectra.shape[1] != estimate.shape[-1] or spectra.numel() == 0:
            raise InputError(f"estimate and coarse must be (nodes, bands) of one width, {name} is {spectra.shape}")
    if edge_index.dim() != 2 or edge_index.shape[0] != 2 or edge_weight.shape != edge_index.shape[1:]:
        raise InputError(
            f"edge_index must be (2, E) and edge_weight (E), got {tuple(edge_index.shape)} and "
            f"{tuple(edge_weight.shape)}"
        )
    limits = torch.tensor([[estimate.shape[0]], [coarse.shape[0]]], device=edge_index.device)
    if bool(((edge_index < 0) | (edge_index >= limits)).any()):
        raise InputError(f"edge_index must number {estimate.shape[0]} sharp and {coarse.shape[0]} coarse nodes")
    if mask is None:
        return
    if mask.dtype != torch.bool:
        raise InputTypeError(f"mask must be bool, got {mask.dtype}")
    if mask.shape not in (coarse.shape[:1], coarse.shape):
        raise InputError(
            f"mask must have the shape {tuple(coarse.shape[:1])} or {tuple(coarse.shape)}, got {mask.shape}"
        )
