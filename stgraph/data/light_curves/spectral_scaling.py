"""Spectra as training data: compressed by arcsinh, then each row scaled to mean 0 and standard deviation 1."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stgraph.errors import InputError

__all__ = ["NormalisedSpectra", "normalise_spectra", "restore_spectra"]

_LEAST_SPREAD = 1e-8  # added to the standard deviation: a constant row becomes 0


class NormalisedSpectra(NamedTuple):
    """Normalised rows ``[N, F]``, and the mean and standard deviation ``[N]`` of their compressed values."""

    values: Tensor
    mean: Tensor
    std: Tensor


def normalise_spectra(values: Tensor, scale: float | None = 1.0) -> NormalisedSpectra:
    r"""Compress spectra and scale each by itself to mean 0 and standard deviation 1.

    .. math::
        z = \frac{a - \bar a}{s_a + 10^{-8}}, \quad a = \sinh^{-1}(v / \mathrm{scale})

    The inverse hyperbolic sine is linear for values below the scale and logarithmic above; unlike the logarithm it
    takes zero and negative values.

    Args:
        values: Spectra or autocorrelations.
        scale: Value up to which the compression is about linear; :obj:`None` for no compression.

    Shapes:
        - **values:** :math:`(N, F)`
        - **output:** ``values`` :math:`(N, F)`, ``mean`` :math:`(N)` and ``std`` :math:`(N)`, float64

    Raises:
        InputError: If the scale is not positive, or the values are no rows.

    Examples:
        >>> normalised = normalise_spectra(torch.tensor([[1.0, 3.0, 5.0]]), scale=None)
        >>> normalised.mean, restore_spectra(*normalised, scale=None)
        (tensor([3.], dtype=torch.float64), tensor([[1., 3., 5.]], dtype=torch.float64))
    """
    if values.dim() != 2 or values.shape[1] == 0:
        raise InputError(f"values must have the shape (N, F) with F of at least 1, got {tuple(values.shape)}")
    if scale is not None and not 0 < scale < float("inf"):
        raise InputError(f"scale is {scale}; expected a positive number, or None for no compression")
    rows = values.double()
    compressed = rows if scale is None else torch.asinh(rows / scale)
    mean = compressed.mean(dim=1)
    centred = compressed - mean.unsqueeze(1)
    std = centred.square().mean(dim=1).sqrt()
    return NormalisedSpectra(centred / (std.unsqueeze(1) + _LEAST_SPREAD), mean, std)


def restore_spectra(values: Tensor, mean: Tensor, std: Tensor, scale: float | Tensor | None = 1.0) -> Tensor:
    r"""Undo :func:`normalise_spectra`: :math:`v = \sinh(z s_a + \bar a) \cdot \mathrm{scale}`.

    Args:
        values: Normalised spectra.
        mean: Mean of each row's compressed values.
        std: Their standard deviation.
        scale: The scale, one for all or for each row; :obj:`None` or NaN where there was no compression.

    Shapes:
        - **values, output:** :math:`(N, F)`; **mean**, **std:** :math:`(N)`; **scale:** :math:`(N)` or a number

    Raises:
        InputError: If the shapes do not fit.

    Examples:
        >>> normalised = normalise_spectra(torch.tensor([[0.0, 1.0, 100.0]]))
        >>> restore_spectra(*normalised).round(decimals=6).abs()
        tensor([[  0.,   1., 100.]], dtype=torch.float64)
    """
    factor = torch.as_tensor(float("nan") if scale is None else scale, dtype=torch.float64, device=values.device)
    shapes = [tuple(tensor.shape) for tensor in (values, mean, std, factor)]
    if len(shapes[0]) != 2 or shapes[1:3] != [shapes[0][:1]] * 2 or shapes[3] not in ((), shapes[0][:1]):
        raise InputError(
            "values must have the shape (N, F), mean and std (N), and scale (N) or be a number, got "
            f"{', '.join(map(str, shapes))}"
        )
    compressed = values.double() * (std.double().unsqueeze(1) + _LEAST_SPREAD) + mean.double().unsqueeze(1)
    factor = factor.expand(shapes[0][:1]).unsqueeze(1)
    return torch.where(factor.isnan(), compressed, torch.sinh(compressed) * factor)
