"""Scores of latent vectors by how far they lie from those of normal data."""

from __future__ import annotations

import math

import torch
from scipy.special import gammaincinv
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["latent_score", "ledoit_wolf"]

METHODS = ("mahalanobis", "knn")
# Share of normal latents that the final covariance is estimated from (of a normal distribution).
KEPT_SHARE = 0.975
DISTANCE_ENTRIES = 2**22  # distances held at once


def latent_score(
    latents: Tensor, reference: Tensor | None = None, *, method: str = "mahalanobis", k: int = 16
) -> Tensor:
    r"""Score latent vectors by their distance from reference ones.

    - ``"mahalanobis"``: :math:`\sqrt{(z - m)^\top \Sigma^{-1} (z - m)}` with the coordinate-wise median :math:`m` and a
      covariance shrunk to a multiple of the identity (:func:`ledoit_wolf`). It is estimated from the half of the
      reference nearest to the median (distances in units of each coordinate's median absolute deviation), rescaled so
      that the median distance is that of a normal distribution, and estimated once more from the reference latents
      within 97.5 % of such a distribution: anomalies in the reference cannot hide themselves.
    - ``"knn"``: mean Euclidean distance to the ``k`` nearest reference latents, or to all where there are fewer. It
      needs no shape of the distribution.

    Args:
        latents: Latent vectors.
        reference: Latent vectors of normal objects. (default: ``latents``, of which ``"knn"`` leaves out the one
            that is scored)
        method: ``"mahalanobis"`` or ``"knn"``.
        k: Number of neighbours of ``"knn"``.

    Shapes:
        - **latents:** :math:`(N, d)`
        - **reference:** :math:`(M, d)`
        - **output:** :math:`(N)`, NaN for latents that are not finite; these are left out of the reference, too

    Raises:
        InputError: If a shape, ``method`` or ``k`` cannot be used, or the reference has too few latents (two for
            ``"mahalanobis"``, which must differ; one other for ``"knn"``).
        InputTypeError: If a tensor is not of a floating type.

    References:
        Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004). Rousseeuw and
        Van Driessen, "A Fast Algorithm for the Minimum Covariance Determinant Estimator" (1999), for concentration on a
        half and reweighting. Ramaswamy et al., "Efficient Algorithms for Mining Outliers from Large Data Sets" (2000).

    Examples:
        >>> latents = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]])
        >>> latent_score(latents, method="knn", k=1)
        tensor([5., 5., 5.])
    """
    _check(latents, reference, method, k)
    points = latents.double()
    valid = points.isfinite().all(dim=-1)
    scores = points.new_full(valid.shape, torch.nan)
    known = points[valid] if reference is None else reference.double()
    known = known[known.isfinite().all(dim=-1)]
    if method == "knn":
        scores[valid] = _mean_distance(points[valid], known, k, leave_out=reference is None)
    else:
        center = known.median(dim=0).values if len(known) else known.sum(dim=0)
        scores[valid] = _squared_mahalanobis(points[valid] - center, _robust_covariance(known - center)).sqrt()
    return scores.to(latents.dtype)


def ledoit_wolf(deviations: Tensor) -> Tensor:
    r"""Covariance shrunk towards a multiple of the identity, :math:`(1 - s) S + s \, \tfrac{\mathrm{tr} S}{d} I`.

    The shrinkage :math:`s` is the estimate of Ledoit and Wolf for the smallest expected squared error.

    Args:
        deviations: Deviations from the centre.

    Shapes:
        - **deviations:** :math:`(n, d)`
        - **output:** :math:`(d, d)`

    References:
        Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices" (2004).

    Examples:
        >>> ledoit_wolf(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    count, dimension = deviations.shape
    covariance = deviations.T @ deviations / count
    identity = torch.eye(dimension, dtype=deviations.dtype, device=deviations.device)
    target = covariance.trace() / dimension * identity
    distance = (covariance - target).square().sum()
    noise = (deviations.square().sum(dim=-1).square().mean() - covariance.square().sum()) / count
    shrinkage = torch.where(distance > 0, noise / distance, 1.0).clamp(0.0, 1.0)
    return torch.lerp(covariance, target, shrinkage)


def _robust_covariance(deviations: Tensor) -> Tensor:
    """Covariance of deviations from the median, without those that are far."""
    if not bool((deviations != 0).any()):
        raise InputError(f"the reference has {len(deviations)} latents, all equal; expected at least two that differ")
    spread = deviations.abs().median(dim=0).values
    spread = torch.where(spread > 0, spread, deviations.square().mean(dim=0).sqrt())
    near = (deviations / torch.where(spread > 0, spread, 1.0)).square().sum(dim=-1)
    # Quantiles of the chi-squared distribution, which squared distances of a normal distribution follow.
    middle, limit = (2 * float(gammaincinv(deviations.shape[1] / 2, share)) for share in (0.5, KEPT_SHARE))
    covariance = _of_nearest(deviations, near <= near.median())
    squares = _squared_mahalanobis(deviations, covariance)
    covariance = _of_nearest(deviations, squares <= squares.median() * (limit / middle))
    median = _squared_mahalanobis(deviations, covariance).median()
    return covariance * (median / middle) if bool(median > 0) else covariance


def _of_nearest(deviations: Tensor, kept: Tensor) -> Tensor:
    """Covariance of those that are kept; of all where the kept ones are all at the median."""
    part = deviations[kept]
    return ledoit_wolf(part if bool((part != 0).any()) else deviations)


def _squared_mahalanobis(deviations: Tensor, covariance: Tensor) -> Tensor:
    # With eigenvectors, as a covariance may be singular where shrinkage is 0; such directions get the smallest
    # variance that can be told from rounding.
    variance, directions = torch.linalg.eigh(covariance)
    floor = variance.amax() * torch.finfo(variance.dtype).eps * len(variance)
    squares: Tensor = ((deviations @ directions).square() / variance.clamp(min=floor)).sum(dim=-1)
    return squares


def _mean_distance(points: Tensor, known: Tensor, k: int, leave_out: bool) -> Tensor:
    """Mean distance of each point to its nearest known ones, without itself if the known ones are the points."""
    available = len(known) - int(leave_out)
    if available < 1:
        raise InputError(f"the reference has {len(known)} finite latents; expected at least {1 + int(leave_out)}")
    means = [points.new_zeros(0)]
    rows = max(1, DISTANCE_ENTRIES // len(known))
    for start in range(0, len(points), rows):
        # Not by a matrix product, which loses the distances of near points to cancellation.
        block = torch.cdist(points[start : start + rows], known, compute_mode="donot_use_mm_for_euclid_dist")
        if leave_out:
            block.diagonal(offset=start).fill_(math.inf)
        means.append(block.topk(min(k, available), dim=-1, largest=False).values.mean(dim=-1))
    return torch.cat(means)


def _check(latents: Tensor, reference: Tensor | None, method: str, k: int) -> None:
    if method not in METHODS:
        raise InputError(f"method is {method!r}; expected one of {METHODS}")
    if not isinstance(k, int) or k < 1:
        raise InputError(f"k is {k!r}; expected an int of at least 1")
    for name, value in (("latents", latents), ("reference", latents if reference is None else reference)):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise InputTypeError(f"{name} is {getattr(value, 'dtype', type(value))}; expected a floating-point tensor")
        if value.dim() != 2 or value.shape[1] != latents.shape[-1] or value.shape[1] < 1:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected (latents, {latents.shape[-1]})")
