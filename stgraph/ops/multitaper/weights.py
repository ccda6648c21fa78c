"""Weights of the eigenspectra, and what follows from them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["WeightedSpectrum", "adaptive_spectrum", "jackknife_std", "plain_spectrum"]

_TOLERANCE = 1e-10
_MAX_ITERATIONS = 100
_FLOOR = 1e-30  # of the level of white noise: keeps the weights of an empty spectrum defined


class WeightedSpectrum(NamedTuple):
    """A spectrum ``[B, F]``, its degrees of freedom ``[B, F]`` and the weights ``[B, K, F]`` that made it."""

    psd: Tensor
    dof: Tensor
    weights: Tensor


def plain_spectrum(eigenspectra: Tensor) -> WeightedSpectrum:
    """The mean of eigenspectra ``[B, K, F]``."""
    psd = eigenspectra.mean(dim=1)
    weights = torch.ones_like(eigenspectra)
    return WeightedSpectrum(psd, torch.full_like(psd, 2 * eigenspectra.shape[1]), weights)


def adaptive_spectrum(eigenspectra: Tensor, eigenvalues: Tensor, noise: Tensor) -> WeightedSpectrum:
    r"""The weighted mean of eigenspectra in which tapers that leak count less where the spectrum is low.

    Solves :math:`S = \sum_k \lambda_k b_k^2 S_k / \sum_k \lambda_k b_k^2` with
    :math:`b_k = S / (\lambda_k S + (1 - \lambda_k) \sigma^2 \Delta)` by iteration (Thomson, 1982, Proceedings of the
    IEEE 70, 1055). Each frequency stops by itself, so a result does not depend on what else is in the batch.

    Args:
        eigenspectra: :math:`S_k`, ``[B, K, F]``.
        eigenvalues: :math:`\lambda_k`, ``[B, K]``.
        noise: Level :math:`\sigma^2 \Delta` of white noise of the same variance, ``[B]``.
    """
    num_curves, num_tapers, num_freqs = eigenspectra.shape
    columns = eigenspectra.transpose(0, 1).reshape(num_tapers, -1)  # [K, B F]
    curve = torch.arange(num_curves, device=noise.device).repeat_interleave(num_freqs)
    level = torch.where(noise > 0, noise, torch.ones_like(noise))[curve]
    ratios = eigenvalues.t()[:, curve]
    leaks = (1 - ratios) * level
    spectrum = _fixed_point(columns, ratios, leaks, _FLOOR * level)
    weights = _weights(spectrum, ratios, leaks)
    psd = _weighted_mean(columns, weights).reshape(num_curves, num_freqs)
    dof = (2 * weights.sum(dim=0) ** 2 / (weights**2).sum(dim=0)).reshape(num_curves, num_freqs)
    return WeightedSpectrum(psd, dof, weights.reshape(num_tapers, num_curves, num_freqs).transpose(0, 1))


def _fixed_point(columns: Tensor, ratios: Tensor, leaks: Tensor, floor: Tensor) -> Tensor:
    """Iterate each of the columns ``[K, M]`` until it moves no more."""
    spectrum = current = torch.maximum(columns[:2].mean(dim=0), floor)
    place = torch.arange(spectrum.numel(), device=spectrum.device)
    moving = torch.ones_like(place, dtype=torch.bool)
    weighted = ratios * columns
    for _ in range(_MAX_ITERATIONS):
        # The weights but for a factor that does not depend on the taper: ratio / (ratio + leak / spectrum)**2.
        inverse = torch.addcmul(ratios, leaks, 1 / current).square_()
        updated = torch.maximum((weighted / inverse).sum(dim=0) / (ratios / inverse).sum(dim=0), floor)
        still = moving & ((updated - current).abs() >= _TOLERANCE * current)
        current, moving = torch.where(moving, updated, current), still
        number = int(moving.sum())
        if 2 * number < moving.numel():  # a smaller problem is worth the copies
            spectrum = spectrum.index_copy(0, place, current)
            place, current, floor = place[moving], current[moving], floor[moving]
            ratios, leaks, weighted = ratios[:, moving], leaks[:, moving], weighted[:, moving]
            moving = moving[moving]
        if number == 0:
            break
    return spectrum.index_copy(0, place, current)


def _weights(spectrum: Tensor, ratios: Tensor, leaks: Tensor) -> Tensor:
    return ratios * (spectrum / (ratios * spectrum + leaks)) ** 2


def _weighted_mean(columns: Tensor, weights: Tensor) -> Tensor:
    return (weights * columns).sum(dim=0) / weights.sum(dim=0)


def jackknife_std(eigenspectra: Tensor, weights: Tensor) -> Tensor:
    """Standard deviation ``[B, F]`` of the log of a spectrum from leaving out each taper in turn.

    The usual jackknife variance is multiplied by (K - 1) / (K - 1/2), which removes its bias for spectra of Gaussian
    noise (Thomson and Chave, 1991, in Haykin, "Advances in Spectrum Analysis and Array Processing", vol. 1; Thomson,
    2007, IEEE Signal Processing Magazine 24, 20). The weights are kept as they are.
    """
    num_tapers = eigenspectra.shape[1]
    weighted = weights * eigenspectra
    total, total_weight = weighted.sum(dim=1, keepdim=True), weights.sum(dim=1, keepdim=True)
    logs = ((total - weighted) / (total_weight - weights)).log()
    plain = (num_tapers - 1) * logs.var(dim=1, correction=0)
    return (plain * (num_tapers - 1) / (num_tapers - 0.5)).sqrt()
