"""Endmembers: a few spectra that the spectra of all pixels of a scene are mixtures of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["check_spectra", "extract_endmembers"]

# A swap has to enlarge the simplex by more than rounding does, or swaps could go on for ever.
_GROWTH = 1 + 1e-6


def extract_endmembers(spectra: Tensor, count: int, method: str = "vca", seed: int = 42) -> Tensor:
    r"""Take ``count`` endmembers from the geometry of the spectra, which are clipped to [0, 1] first.

    - ``"vca"``: vertex component analysis (Nascimento and Dias, IEEE TGRS 43(4), 2005). In the subspace of the
      leading ``count`` singular vectors, take the pixel that lies farthest along a random direction orthogonal to
      those taken, again and again. The subspace is not scaled by the projection on the mean as in the paper, so that
      dark pixels are not favoured.
    - ``"nfindr"``: N-FINDR (Winter, SPIE 3753, 1999). In the subspace of ``count - 1`` principal components, swap
      pixels in as long as the volume of the simplex grows; it starts from the pixels of ``"atgp"``.
    - ``"atgp"``: automatic target generation process (Ren and Chang, IEEE TAES 39(4), 2003). Take the pixel with the
      largest norm after orthogonal projection away from those taken, again and again.
    - ``"pca"``: the mean and the leading ``count - 1`` principal components, each as long as the standard deviation
      along it and with its largest entry positive. These may be negative; they span the spectra best.

    The first three return spectra of pixels of the scene. Non-negative matrix factorisation is the default of
    :func:`stgraph.models.fusion.make_endmembers`, which takes these methods, too.

    Args:
        spectra: One spectrum per pixel, on the scale of reflectances.
        count: Number of endmembers K, at most the number of pixels and of bands.
        method: ``"vca"``, ``"nfindr"``, ``"atgp"`` or ``"pca"``.
        seed: Seed of the random directions of ``"vca"``; the others draw nothing.

    Shapes:
        - **spectra:** :math:`(n, C)`
        - **output:** :math:`(K, C)`, with the dtype and device of the spectra

    Raises:
        InputError: If the count does not fit, no method has that name, a value is not finite, or the spectra span
            fewer dimensions than ``count`` pure pixels need.
        InputTypeError: If the spectra are not of a floating dtype.

    Examples:
        >>> pure = torch.tensor([[1.0, 0.0, 0.2], [0.0, 1.0, 0.4]])
        >>> weights = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.3, 0.7], [0.0, 1.0]])
        >>> extract_endmembers(weights @ pure, 2, "nfindr").sort(dim=0).values
        tensor([[0.0000, 0.0000, 0.2000],
                [1.0000, 1.0000, 0.4000]])
    """
    check_spectra(spectra, count)
    if method not in _METHODS:
        raise InputError(f"method is {method!r}; expected one of {sorted(_METHODS)}")
    values = spectra.clamp(0, 1).double()
    return _METHODS[method](values, count, seed).to(spectra.dtype)


def check_spectra(spectra: Tensor, count: int) -> None:
    """Raise unless ``count`` endmembers can be taken from ``spectra``, ``[n, C]``.

    Raises:
        InputError: If the spectra are not a finite matrix or the count does not fit.
        InputTypeError: If the spectra are not of a floating dtype.

    Examples:
        >>> check_spectra(torch.zeros(5, 3), 3)
    """
    if not spectra.is_floating_point():
        raise InputTypeError(f"spectra have dtype {spectra.dtype}; expected a floating dtype")
    if spectra.dim() != 2:
        raise InputError(f"spectra have shape {tuple(spectra.shape)}; expected (pixels, bands)")
    if not 1 <= count <= min(spectra.shape):
        raise InputError(
            f"count is {count}; expected 1 to {min(spectra.shape)}, the smaller of {spectra.shape[0]} pixels and "
            f"{spectra.shape[1]} bands"
        )
    bad = int((~spectra.isfinite()).sum())
    if bad:
        raise InputError(f"{bad} values of spectra are not finite; expected finite values only")


def _atgp_indices(values: Tensor, count: int) -> Tensor:
    residual = values.clone()
    smallest = torch.finfo(values.dtype).eps * max(values.shape) * torch.linalg.matrix_norm(values)
    indices = []
    for found in range(count):
        norms = residual.norm(dim=1)
        index = norms.argmax()
        if norms[index] <= smallest:
            raise InputError(f"spectra span {found} dimensions; expected at least {count} for as many endmembers")
        indices.append(index)
        direction = residual[index] / norms[index]
        residual = residual - torch.outer(residual @ direction, direction)
    return torch.stack(indices)


def _atgp(values: Tensor, count: int, _seed: int) -> Tensor:
    return values[_atgp_indices(values, count)]


def _vca(values: Tensor, count: int, seed: int) -> Tensor:
    # The eigenvectors of the second moments are the right singular vectors, without one row for every pixel.
    eigenvalues, vectors = torch.linalg.eigh(values.T @ values)
    rank = int((eigenvalues > eigenvalues[-1] * values.shape[1] * torch.finfo(values.dtype).eps).sum())
    if rank < count:
        raise InputError(f"spectra span {rank} dimensions; expected at least {count} for as many endmembers")
    points = values @ vectors[:, -count:]
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(count, count, generator=generator, dtype=values.dtype).to(values.device)
    # Orthonormal columns that span the pixels taken so far.
    basis = points.new_zeros(count, 0)
    indices = []
    for direction in directions:
        orthogonal = direction - basis @ (basis.T @ direction)
        index = (points @ orthogonal).abs().argmax()
        indices.append(index)
        basis = torch.linalg.qr(points[torch.stack(indices)].T).Q
    return values[torch.stack(indices)]


def _nfindr(values: Tensor, count: int, _seed: int) -> Tensor:
    points = torch.cat([torch.ones_like(values[:, :1]), _scores(values, count - 1)], dim=1)
    indices = _atgp_indices(points, count)
    while True:
        # Barycentric coordinates: putting pixel n in the place of vertex k multiplies the volume by |coordinate|.
        growth = torch.linalg.solve(points[indices].T, points.T).abs()
        best = int(growth.argmax())
        vertex, pixel = divmod(best, points.shape[0])
        if growth[vertex, pixel] <= _GROWTH:
            return values[indices]
        indices[vertex] = pixel


def _principal_axes(values: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean ``[C]``, leading axes ``[count, C]`` with the largest entry positive, and variances ``[count]``."""
    mean = values.mean(dim=0)
    centred = values - mean
    variances, vectors = torch.linalg.eigh(centred.T @ centred / values.shape[0])
    axes = vectors[:, variances.shape[0] - count :].flip(1).T
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    return mean, axes * largest.sign(), variances[variances.shape[0] - count :].flip(0)


def _scores(values: Tensor, count: int) -> Tensor:
    """Coordinates along the principal axes with variance 1, or 0 where they vary by rounding alone."""
    mean, axes, variances = _principal_axes(values, count)
    smallest = torch.finfo(values.dtype).eps * values.shape[1] * (values - mean).square().mean(dim=0).sum()
    scale = torch.where(variances > smallest, variances.rsqrt(), 0)
    return (values - mean) @ axes.T * scale


def _pca(values: Tensor, count: int, _seed: int) -> Tensor:
    mean, axes, variances = _principal_axes(values, count - 1)
    return torch.cat([mean[None], axes * variances.clamp(min=0).sqrt()[:, None]])


_METHODS: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "atgp": _atgp,
    "nfindr": _nfindr,
    "pca": _pca,
    "vca": _vca,
}
