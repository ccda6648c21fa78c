"""Back-projection that is guided by the multispectral image: corrections spread among pixels that look alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.fusion.blur import Boundary, check_boundary
from stgraph.ops.fusion.downsample import check_ratio
from stgraph.ops.fusion.kernels import check_kernel
from stgraph.ops.fusion.observation import observe, observe_adjoint

__all__ = ["BandEvidence", "grid_laplacian", "guided_back_projection"]

_LEAST_SIGNAL = 0.05  # variance of a correction over that of the noise, so that no component is held to 0 exactly
_LOWEST_NOISE = 1e-3  # as a share of what is missing: the limit of no noise, which rounding still allows to solve
_PRECISION = 1e-4  # of the residual of the conjugate gradients, relative to the right side


class BandEvidence(NamedTuple):
    r"""What the multispectral image tells of a correction.

    Attributes:
        response: What each component adds to each band :math:`(b, P)`.
        missing: What each band misses :math:`(b, H, W)`.
        noise: Standard deviation of the noise of each band :math:`(b)`.
    """

    response: Tensor
    missing: Tensor
    noise: Tensor


@torch.no_grad()
def guided_back_projection(
    missing: Tensor,
    noise: Tensor,
    psf: Tensor,
    ratio: int,
    similarity: Tensor,
    *,
    bands: BandEvidence | None = None,
    smoothness: float = 10.0,
    shrinkage: float = 0.03,
    iterations: int = 40,
    boundary: Boundary = "reflect",
) -> Tensor:
    r"""Find the sharp correction whose observation is what a coarse image misses, smooth where pixels look alike.

    The corrections :math:`d_p` of P spectral components minimise

    .. math::
        \sum_p \frac{\lVert A d_p - y_p \rVert^2}{\sigma_p^2}
        + \sum_b \frac{\lVert \sum_p g_{bp} d_p - m_b \rVert^2}{\tau_b^2}
        + \sum_p \frac{\kappa\, d_p^\top L\, d_p + \mu \lVert d_p \rVert^2}{s_p^2}

    with what the coarse image misses (y, noise :math:`\sigma`), what the multispectral bands miss (m, noise
    :math:`\tau`; see :class:`BandEvidence`), the variance :math:`s_p^2` of what is missing beyond its noise, and the
    Laplacian L of the graph of neighbouring pixels, whose edges weigh as much as the pixels look alike, divided by the
    mean degree. It is the mode of the posterior for Gaussian noise and a Gaussian Markov random field as the prior, as
    in the fusion by Wei, Dobigeon and Tourneret (IEEE TIP 24(11), 2015) with another prior, found by conjugate
    gradients: messages along the edges between coarse and sharp pixels and along those of the pixel grid. A noise
    below a thousandth of the corrections counts as that much. No gradient flows through.

    Args:
        missing: What each component of the coarse image misses, y.
        noise: Standard deviation :math:`\sigma` of the noise of the components.
        psf: Point-spread function in pixels of the sharp image.
        ratio: Sharp pixels r along the edge of a coarse one.
        similarity: Weights of the edges of the pixel grid, see :func:`~stgraph.ops.fusion.neighbor_similarity`.
        bands: What the multispectral image tells. (default: nothing)
        smoothness: Weight :math:`\kappa` of the differences between neighbours.
        shrinkage: Weight :math:`\mu` of the correction itself.
        iterations: Largest number of steps; fewer where the residual has fallen to 1e-4 of what it was.
        boundary: Values outside the image, see :func:`~stgraph.ops.fusion.blur`.

    Shapes:
        - **missing:** :math:`(P, h, w)`, **noise:** :math:`(P)`, **psf:** :math:`(m, m)`, **similarity:**
          :math:`(4, H, W)`
        - **output:** :math:`(P, H, W)`

    Raises:
        InputError: If shapes do not fit, a value is not finite, a noise or a weight is negative, or a number is out of
            range.
        InputTypeError: If the images are not all float32 or all float64.

    Examples:
        >>> from stgraph.ops.fusion import neighbor_similarity
        >>> similarity = neighbor_similarity(torch.tensor([[[0.0, 0.0, 1.0, 1.0]] * 2]), torch.tensor([0.01]))
        >>> missing = torch.tensor([[[1.0, 0.0]]])
        >>> correction = guided_back_projection(missing, torch.tensor([0.01]), torch.ones(1, 1), 2, similarity)
        >>> correction[0].round(decimals=1).abs()
        tensor([[1., 1., 0., 0.],
                [1., 1., 0., 0.]])
    """
    _check(missing, noise, psf, ratio, similarity, bands)
    check_boundary(boundary)
    if not (smoothness >= 0 and shrinkage > 0):
        raise InputError(f"smoothness must be 0 or more and shrinkage above 0, got {smoothness} and {shrinkage}")
    if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
        raise InputError(f"iterations must be a whole number of 1 or more, got {iterations!r}")
    size = (similarity.shape[1], similarity.shape[2])
    psf = psf.to(missing)
    power = missing.flatten(1).square().mean(dim=1)
    variance = _not_too_low(noise.to(missing).square(), power)
    scale = torch.maximum(power - variance, _LEAST_SIGNAL * variance).sqrt()[:, None, None]
    fit = scale / variance[:, None, None]
    degree = _degree(similarity)
    if bool(degree.any()):
        similarity, degree = similarity / degree.mean(), degree / degree.mean()
    gain, weight = _band_products(bands, scale[:, 0, 0])

    def normal(unit: Tensor) -> Tensor:
        """Apply the matrix of the normal equations to corrections in units of their scale."""
        correction = unit * scale
        seen = observe(correction, psf, ratio, boundary)
        result = fit * observe_adjoint(seen, psf, ratio, size, boundary)
        result += shrinkage * unit
        result += smoothness * grid_laplacian(unit, similarity, degree)
        if gain is not None:
            result += scale * torch.einsum("pq,qhw->phw", gain, correction)
        return result

    toward = fit * observe_adjoint(missing, psf, ratio, size, boundary)
    if bands is not None and weight is not None:
        toward += scale * torch.einsum("pb,bhw->phw", weight, bands.missing)
    return scale * _conjugate_gradients(normal, toward, iterations)


def grid_laplacian(image: Tensor, similarity: Tensor, degree: Tensor | None = None) -> Tensor:
    r"""Multiply an image by the Laplacian :math:`D - W` of the weighted graph of neighbouring pixels.

    Args:
        image: Bands of an image.
        similarity: Weights of the edges to the right, down-left, down and down-right of each pixel, 0 where there is
            no pixel; see :func:`~stgraph.ops.fusion.neighbor_similarity`.
        degree: Sum of the weights at each pixel. (default: computed)

    Shapes:
        - **image**, **output:** :math:`(P, H, W)`, **similarity:** :math:`(4, H, W)`, **degree:** :math:`(H, W)`

    Examples:
        >>> similarity = torch.zeros(4, 1, 2)
        >>> similarity[0, 0, 0] = 1  # from the first pixel to the right
        >>> grid_laplacian(torch.tensor([[[0.0, 1.0]]]), similarity)
        tensor([[[-1.,  1.]]])
    """
    result = image * (_degree(similarity) if degree is None else degree)
    for weight, (here, there) in zip(similarity, _edges(), strict=True):
        result[(..., *here)] -= weight[here] * image[(..., *there)]
        result[(..., *there)] -= weight[here] * image[(..., *here)]
    return result


def _edges() -> list[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Where the pixels with a neighbour to the right, down-left, down and down-right are, and these neighbours."""
    whole, first, last = slice(None), slice(None, -1), slice(1, None)
    return [
        ((whole, first), (whole, last)),
        ((first, last), (last, first)),
        ((first, whole), (last, whole)),
        ((first, first), (last, last)),
    ]


def _degree(similarity: Tensor) -> Tensor:
    degree = torch.zeros_like(similarity[0])
    for weight, (here, there) in zip(similarity, _edges(), strict=True):
        degree[here] += weight[here]
        degree[there] += weight[here]
    return degree


def _band_products(bands: BandEvidence | None, scale: Tensor) -> tuple[Tensor | None, Tensor | None]:
    r"""The products :math:`G^\top T G` and :math:`G^\top T` with the precisions T of the bands."""
    if bands is None:
        return None, None
    response = bands.response.to(scale)
    variance = _not_too_low(bands.noise.to(scale).square(), (response * scale).square().sum(dim=1))
    weight = (response / variance[:, None]).T
    return weight @ response, weight


def _not_too_low(variance: Tensor, power: Tensor) -> Tensor:
    """The variance of noise, or a small share of the power of what it is on."""
    return torch.maximum(variance, _LOWEST_NOISE**2 * power).clamp(min=torch.finfo(variance.dtype).tiny ** 0.5)


def _conjugate_gradients(matrix: Callable[[Tensor], Tensor], toward: Tensor, iterations: int) -> Tensor:
    solution, residual = torch.zeros_like(toward), toward.clone()
    direction, power = residual.clone(), _dot(residual, residual)
    enough = _PRECISION**2 * float(power)
    for _ in range(iterations):
        if float(power) <= enough:
            break
        image = matrix(direction)
        step = power / _dot(direction, image)
        solution += step.to(toward) * direction
        residual -= step.to(toward) * image
        before, power = power, _dot(residual, residual)
        direction.mul_((power / before).to(toward)).add_(residual)
    return solution


def _dot(first: Tensor, second: Tensor) -> Tensor:
    # Sums over parts, so that no copy in float64 is made of the whole.
    return torch.stack([(a * b).sum(dtype=torch.float64) for a, b in zip(first, second, strict=True)]).sum()


def _check(
    missing: Tensor, noise: Tensor, psf: Tensor, ratio: int, similarity: Tensor, bands: BandEvidence | None
) -> None:
    if missing.dtype not in (torch.float32, torch.float64) or similarity.dtype != missing.dtype:
        raise InputTypeError(
            f"missing and similarity must both be float32 or float64, got {missing.dtype} and {similarity.dtype}"
        )
    if missing.dim() != 3 or missing.numel() == 0:
        raise InputError(f"missing must be (components, rows, columns), none empty, got {tuple(missing.shape)}")
    if noise.shape != missing.shape[:1]:
        raise InputError(f"noise must be one value per component, got shape {tuple(noise.shape)}")
    check_kernel(psf, "psf")
    if similarity.dim() != 3 or similarity.shape[0] != 4:
        raise InputError(f"similarity must be (4, rows, columns), got {tuple(similarity.shape)}")
    _check_values({"missing": missing})
    _check_values({"noise": noise, "similarity": similarity}, lowest=0)
    height, width = similarity.shape[1:]
    check_ratio(ratio, height, width)
    if missing.shape[1:] != (height // ratio, width // ratio):
        raise InputError(
            f"missing must have {height // ratio} x {width // ratio} pixels, those of similarity over the ratio "
            f"{ratio}, got {tuple(missing.shape[1:])}"
        )
    if bands is None:
        return
    count = bands.missing.shape[0]
    expected = ((count, missing.shape[0]), (count, height, width), (count,))
    found = (tuple(bands.response.shape), tuple(bands.missing.shape), tuple(bands.noise.shape))
    if found != expected:
        raise InputError(f"bands must have response, missing and noise of the shapes {expected}, got {found}")
    if bands.missing.dtype != missing.dtype:
        raise InputTypeError(f"bands.missing must be {missing.dtype}, as missing is, got {bands.missing.dtype}")
    _check_values({"bands.response": bands.response, "bands.missing": bands.missing})
    _check_values({"bands.noise": bands.noise}, lowest=0)


def _check_values(tensors: dict[str, Tensor], lowest: float | None = None) -> None:
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise InputError(f"{name} must be finite, got NaN or infinity")
        if lowest is not None and bool((tensor < lowest).any()):
            raise InputError(f"{name} must be {lowest} or more, got {float(tensor.min()):g}")
