"""Principal components of a set of spectra of which points are missing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["SpectralComponents", "spectral_components"]

_COARSE = 1024  # points that a spectrum is averaged to, while that is at least two to one
_FULL_ITERATIONS = 2  # after those on averaged points; with one, steep slopes keep steps of the averages
_BLOCK = 2**18  # residuals held at once: about the cache of a core
_EXTRA = 5  # directions of the first guess beyond the components wanted
_LEAST_ERROR = 0.1  # of the median error: a point with an error below counts no more
_HUBER = 1.345  # of the spread of a row: usual corner of Huber's function, 95 % efficient for normal residuals
_SPREAD_POINTS = 256  # at least so many points of a row, if it has them, tell its spread
_LEAST_SPREAD = 1e-5  # of the mean absolute value: what a spread may fall to, above rounding


class SpectralComponents(NamedTuple):
    """Scores ``[N, count]`` of the spectra, orthonormal components ``[count, L]`` and mean spectrum ``[L]``."""

    scores: Tensor
    components: Tensor
    mean: Tensor


class _Fit(NamedTuple):
    """Scores ``[N, K]``, components ``[L, K]``, mean ``[L]``; variance ``[K]`` of the scores and that of the noise."""

    scores: Tensor
    components: Tensor
    mean: Tensor
    variance: Tensor
    noise: Tensor


def spectral_components(
    x: Tensor, mask: Tensor, count: int = 10, iterations: int = 10, *, error: Tensor | None = None, robust: bool = False
) -> SpectralComponents:
    r"""Find the principal components of spectra with missing points, :math:`x \approx \bar x + s C`.

    Scores and components, with the mean, are least-squares fits to the good points, each for given others in turn, as
    in `"EM Algorithms for PCA and SPCA" <https://papers.nips.cc/paper/1398-em-algorithms-for-pca-and-spca>`_ and, with
    weights, `"Principal Component Analysis with Noisy and/or Missing Data" <https://arxiv.org/abs/1208.4122>`_. Both
    are drawn to 0 by the noise over the variance of the component, so that a spectrum of few points gets no wild
    scores. The first guess has the mean in missing points. Spectra of 2048 points or more are averaged to about 1024
    for the iterations; two more at full length follow.

    Args:
        x: Spectra; scale them alike first.
        mask: True at good points.
        count: Number of components; where there are fewer (:math:`N - 1` or :math:`L`), the rest is 0.
        iterations: Number of turns; a few suffice unless much is missing.
        error: Standard errors, for weights of one over their square; those below a tenth of the median count as that.
        robust: Give points whose residual is beyond 1.345 standard deviations of their spectrum's residuals (from
            their median absolute value) less weight, in inverse proportion to it (Huber), and all spectra the same
            length in the first guess (spherical components, `Locantore et al. 1999
            <https://doi.org/10.1007/BF02595862>`_). A feature of one spectrum then hardly changes its scores.

    Shapes:
        - **x**, **mask**, **error:** :math:`(N, L)`
        - **output:** **scores** :math:`(N, count)`, 0 for a spectrum without good points; **components**
          :math:`(count, L)`, orthonormal, by falling variance, the largest entry of each positive; **mean**
          :math:`(L)`; where no spectrum has a good point, both are 0. All are float64 if **x** is, else float32.

    Raises:
        InputError: If shapes do not fit together, or a number is less than 1.
        InputTypeError: If values are no floating-point numbers, or the mask is not boolean.

    Examples:
        >>> x = torch.tensor([[1.0, 2.0, 0.0], [2.0, 4.0, 4.0], [3.0, 6.0, 6.0], [4.0, 8.0, 8.0]], dtype=torch.float64)
        >>> mask = torch.ones(4, 3, dtype=torch.bool)
        >>> mask[0, 2] = False
        >>> scores, components, mean = spectral_components(x, mask, count=1, iterations=50)
        >>> (mean + scores @ components)[0].round(decimals=3).tolist()
        [1.0, 2.0, 2.0]
    """
    _check(x, mask, error, count, iterations)
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    good = mask & x.isfinite()
    values = x.to(kind).masked_fill(~good, 0.0)
    points = good.sum(dim=0)
    center = (values.sum(dim=0, dtype=torch.float64) / points.clamp(min=1)).to(kind)
    values = (values - center).masked_fill_(~good, 0.0)
    scale = (values.abs().sum(dtype=torch.float64) / points.sum().clamp(min=1)).to(kind)
    scale = torch.where(scale > 0, scale, 1.0)
    values /= scale
    weight = good.to(kind) if error is None else _weights(error.to(kind), good)
    some = good.any(dim=1)
    rank = min(count, max(int(some.sum()) - 1, 0), int((points > 0).sum()))
    scores, components = x.new_zeros(x.shape[0], count, dtype=kind), x.new_zeros(count, x.shape[1], dtype=kind)
    mean = center
    if rank:
        if not bool(some.all()):  # else the copies would only take memory
            values, weight = values[some], weight[some]
        fit = _fit(values, weight, rank, iterations, robust)
        sign = fit.components.gather(0, fit.components.abs().argmax(dim=0, keepdim=True)).sign()
        scores[some, :rank] = fit.scores * scale * sign
        components[:rank] = (fit.components * sign).t()
        mean = center + fit.mean * scale
    return SpectralComponents(scores, components, mean)


def _fit(values: Tensor, weight: Tensor, rank: int, iterations: int, robust: bool) -> _Fit:
    step = values.shape[1] // _COARSE
    coarse = step > 1
    points = _averaged(values, weight, step) if coarse else (values, weight)
    fit = _first_guess(points[0], rank, robust)
    for _ in range(iterations):
        fit = _turn(fit, *points, robust=robust)
    if coarse:
        fit = fit._replace(components=fit.components.repeat_interleave(step, 0)[: values.shape[1]] / step**0.5)
        fit = fit._replace(scores=fit.scores * step**0.5, variance=fit.variance * step)
        fit = fit._replace(mean=fit.mean.repeat_interleave(step)[: values.shape[1]])
        for _ in range(_FULL_ITERATIONS):
            fit = _turn(fit, values, weight, robust=robust)
    noise, used = _residuals(fit, values, weight, robust)
    return fit._replace(scores=_scores(fit._replace(noise=noise), values, used))


def _turn(fit: _Fit, values: Tensor, weight: Tensor, robust: bool) -> _Fit:
    """Fit the scores, then the components and the mean, and put the components in order."""
    noise, used = _residuals(fit, values, weight, robust)
    fit = fit._replace(noise=noise)
    fit = fit._replace(scores=_scores(fit, values, used))
    components, mean = _loadings(fit, values, used)
    return _ordered(fit._replace(components=components, mean=mean))


def _first_guess(values: Tensor, rank: int, robust: bool) -> _Fit:
    """Components of the spectra with the mean, which is 0, in missing points, by three steps of the power method."""
    rows = torch.nn.functional.normalize(values, dim=1) if robust else values
    generator = torch.Generator().manual_seed(0)  # directions that do not depend on the order of the spectra
    width = min(rank + _EXTRA, *values.shape)
    basis = torch.randn(values.shape[1], width, generator=generator, dtype=torch.float64).to(values)
    for _ in range(3):
        basis = torch.linalg.qr(rows.t() @ (rows @ basis)).Q
    _, _, turn = torch.linalg.svd(rows @ basis, full_matrices=False)
    components = basis @ turn[:rank].t()
    zero = values.new_zeros(())
    return _ordered(_Fit(values @ components, components, values.new_zeros(values.shape[1]), zero, zero))


def _scores(fit: _Fit, values: Tensor, weight: Tensor) -> Tensor:
    """Weighted least squares in each row: ``[N, K]``."""
    rank = fit.components.shape[1]
    first, second = torch.triu_indices(rank, rank, device=values.device)
    products = fit.components[:, first] * fit.components[:, second]
    normal = _symmetric(weight @ products, rank)
    right = (weight * values) @ fit.components - weight @ (fit.mean.unsqueeze(1) * fit.components)
    return _solve(normal, right, fit.noise / _not_zero(fit.variance))


def _loadings(fit: _Fit, values: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted least squares in each column: components ``[L, K]`` and mean ``[L]``."""
    size = fit.variance.sqrt().clamp(min=float(_not_zero(fit.variance).sqrt().min()))
    design = torch.cat([fit.scores / size, torch.ones_like(fit.scores[:, :1])], dim=1)
    first, second = torch.triu_indices(design.shape[1], design.shape[1], device=values.device)
    normal = _symmetric(weight.t() @ (design[:, first] * design[:, second]), design.shape[1])
    # An entry of an orthonormal component is about 1 / sqrt(L); the mean is not drawn anywhere.
    ridge = torch.cat([fit.noise * values.shape[1] / size.square(), fit.noise.new_zeros(1)])
    solution = _solve(normal, (weight * values).t() @ design, ridge)
    return solution[:, :-1] / size, solution[:, -1]


def _ordered(fit: _Fit) -> _Fit:
    """Turn the components to orthonormal ones by falling variance, with scores of mean 0; the fit stays the same."""
    basis, triangle = torch.linalg.qr(fit.components)
    scores = fit.scores @ triangle.t()
    shift = scores.mean(dim=0)
    scores = scores - shift
    covariance = (scores.double().t() @ scores.double()) / scores.shape[0]
    variance, turn = torch.linalg.eigh(covariance)
    variance, turn = variance.flip(0).clamp(min=0).to(scores.dtype), turn.flip(1).to(scores.dtype)
    eps = torch.finfo(scores.dtype).eps
    exists = variance > eps * variance[0]  # what rounding left over is no component
    return _Fit(scores @ turn * exists, basis @ turn * exists, fit.mean + basis @ shift, variance * exists, fit.noise)


def _residuals(fit: _Fit, values: Tensor, weight: Tensor, robust: bool) -> tuple[Tensor, Tensor]:
    """Return the noise, the weighted mean square of the residuals, and the weights to use next."""
    used = torch.empty_like(weight) if robust else weight
    total = torch.zeros((), dtype=torch.float64, device=values.device)
    rows = max(1, _BLOCK // values.shape[1])
    for start in range(0, values.shape[0], rows):
        part = slice(start, start + rows)
        residual = values[part] - torch.addmm(fit.mean, fit.scores[part], fit.components.t())
        residual.mul_(weight[part].sqrt())
        square = residual.square()
        if robust:
            factor = _huber(residual.abs_(), weight[part] > 0)
            torch.mul(weight[part], factor, out=used[part])
            square.mul_(factor)
        total += square.sum(dim=1).sum(dtype=torch.float64)
    return (total / (weight > 0).sum()).to(values.dtype), used


def _huber(size: Tensor, good: Tensor) -> Tensor:
    """Weights of residuals by their absolute values; some hundred points suffice to tell the spread of a row."""
    thin = slice(None, None, max(1, size.shape[1] // _SPREAD_POINTS))
    spread = size[:, thin].masked_fill(~good[:, thin], torch.nan).nanmedian(dim=1, keepdim=True).values
    corner = _HUBER * (1.4826 * spread.nan_to_num(0.0)).clamp(min=_LEAST_SPREAD)
    return corner / torch.maximum(size, corner)


def _averaged(values: Tensor, weight: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Weighted means of ``step`` points each, and the sums of their weights."""
    more = -values.shape[1] % step
    total = torch.nn.functional.pad(weight, (0, more)).unflatten(1, (-1, step)).sum(dim=2)
    mean = torch.nn.functional.pad(weight * values, (0, more)).unflatten(1, (-1, step)).sum(dim=2)
    return torch.where(total > 0, mean / total, 0.0), total


def _weights(error: Tensor, good: Tensor) -> Tensor:
    known = good & error.isfinite()
    usual = error[known].median() if bool(known.any()) else error.new_ones(())
    usual = torch.where(usual > 0, usual, 1.0)
    return (usual / error.clamp(min=_LEAST_ERROR * float(usual))).square().masked_fill(~known, 0.0)


def _symmetric(upper: Tensor, size: int) -> Tensor:
    first, second = torch.triu_indices(size, size, device=upper.device)
    matrix = upper.new_empty(upper.shape[0], size, size)
    matrix[:, first, second] = upper
    matrix[:, second, first] = upper
    return matrix


def _solve(normal: Tensor, right: Tensor, ridge: Tensor) -> Tensor:
    """Solve normal equations ``[B, K, K]`` in float64; where nothing is known, the solution is 0."""
    size = normal.diagonal(dim1=1, dim2=2).amax(dim=1, keepdim=True).double()
    # As much as rounding has left uncertain, and something where there is nothing at all.
    least = 10 * torch.finfo(normal.dtype).eps * size + 1e-30
    matrix = normal.double() + torch.diag_embed(ridge.double() + least)
    solution: Tensor = torch.linalg.solve(matrix, right.double().unsqueeze(2))
    return solution.squeeze(2).to(right.dtype)


def _not_zero(variance: Tensor) -> Tensor:
    return variance.clamp(min=float(variance.max()) * torch.finfo(variance.dtype).eps).clamp(min=1e-30)


def _check(x: Tensor, mask: Tensor, error: Tensor | None, count: int, iterations: int) -> None:
    if x.dim() != 2:
        raise InputError(f"x has shape {tuple(x.shape)}; expected [N, L]")
    for name, value in (("mask", mask), ("error", error)):
        if value is not None and value.shape != x.shape:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected that of x, {tuple(x.shape)}")
    for name, value in (("x", x), ("error", error)):
        if value is not None and not value.is_floating_point():
            raise InputTypeError(f"{name} has dtype {value.dtype}; expected a floating dtype")
    if mask.dtype != torch.bool:
        raise InputTypeError(f"mask has dtype {mask.dtype}; expected torch.bool, True at good points")
    for name, number in (("count", count), ("iterations", iterations)):
        if number < 1:
            raise InputError(f"{name} is {number}; expected at least 1")
