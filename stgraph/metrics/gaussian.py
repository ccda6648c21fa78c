"""Scores of Gaussian reconstructions: likelihood, CRPS and the coverage of central intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from stgraph.errors import InputError
from stgraph.metrics.reconstruction import named, rows, split_points, sum_parts, with_all
from stgraph.metrics.sums import ratio

__all__ = ["COVERAGE_LEVELS", "GaussianMetrics", "gaussian_scores"]

#: Nominal coverages that are reported unless others are asked for.
COVERAGE_LEVELS = (0.5, 0.68, 0.9, 0.95)


class GaussianMetrics(Metric):
    r"""Scores of Gaussian reconstructions over a data set, on hidden, visible and all real points.

    The reconstruction of a point is a normal distribution of mean :math:`\mu` and variance :math:`\sigma^2`, which has
    to contain the noise of the target. With :math:`z = (y - \mu) / \sigma`, :meth:`compute` returns a dictionary with
    the keys ``hidden_nll``, ``visible_nll``, ``all_nll`` and likewise

    - ``nll``: mean negative logarithm of the density, :math:`\frac12 (\log 2\pi\sigma^2 + z^2)`;
    - ``crps``: mean continuous ranked probability score, :math:`\sigma (z (2\Phi(z) - 1) + 2\varphi(z) -
      1/\sqrt\pi)`, in the units of the target (T. Gneiting and A. E. Raftery, "Strictly Proper Scoring Rules,
      Prediction, and Estimation", Journal of the American Statistical Association 102, 2007);
    - ``coverage_0.9`` and so on: share of the targets in the central interval of that probability.

    A value is nan for a part without points.

    Args:
        levels: Probabilities of the central intervals.
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** mean, logarithm of the variance, target and masks, all of the same shape :math:`(B, ...)`
        - **compute:** scalars, float64

    Raises:
        InputError: If a level is not between 0 and 1, or given twice.

    Examples:
        >>> metrics = GaussianMetrics(levels=[0.68])
        >>> target, real = torch.tensor([[0.5, -3.0]]), torch.ones(1, 2, dtype=torch.bool)
        >>> metrics.update(torch.zeros(1, 2), torch.zeros(1, 2), target, real, real)
        >>> float(metrics.compute()["hidden_coverage_0.68"])
        0.5
    """

    full_state_update = False
    is_differentiable = False
    count: Tensor
    sums: Tensor

    def __init__(self, levels: Sequence[float] = COVERAGE_LEVELS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.levels = _check_levels(levels)
        self.add_state("count", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("sums", torch.zeros(2 + len(self.levels), 2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, mean: Tensor, log_variance: Tensor, target: Tensor, observed_mask: Tensor, hidden_mask: Tensor
    ) -> None:
        """Add a batch.

        Args:
            mean: Mean of the reconstruction.
            log_variance: Natural logarithm of its variance.
            target: Target; NaN counts as not observed.
            observed_mask: True at real points.
            hidden_mask: True where the network did not see the target; only real points count.

        Raises:
            InputError: If a shape does not fit.
            InputTypeError: If a mask is not boolean.
        """
        count, sums = _series_sums(mean, log_variance, target, observed_mask, hidden_mask, self.levels)
        self.count += count.sum(0)
        self.sums += sums.sum(0)

    def compute(self) -> dict[str, Tensor]:
        """Return the scores of each part over all that was added."""
        return _scores(self.count, self.sums, self.levels)


def gaussian_scores(
    mean: Tensor,
    log_variance: Tensor,
    target: Tensor,
    observed_mask: Tensor,
    hidden_mask: Tensor,
    *,
    levels: Sequence[float] = COVERAGE_LEVELS,
) -> dict[str, Tensor]:
    """Return the scores of :class:`GaussianMetrics` for each series, such as the rows of a table.

    Args:
        mean: Mean of the reconstruction.
        log_variance: Natural logarithm of its variance.
        target: Target; NaN counts as not observed.
        observed_mask: True at real points.
        hidden_mask: True where the network did not see the target; only real points count.
        levels: Probabilities of the central intervals.

    Shapes:
        - **input:** all of the same shape :math:`(N, ...)`
        - **output:** a dictionary of tensors :math:`(N)`, float64, with the keys of :class:`GaussianMetrics`

    Raises:
        InputError: If a shape does not fit, or a level is not between 0 and 1 or given twice.
        InputTypeError: If a mask is not boolean.

    Examples:
        >>> import torch
        >>> real = torch.ones(2, 3, dtype=torch.bool)
        >>> zeros = torch.zeros(2, 3)
        >>> gaussian_scores(zeros, zeros, zeros, real, real, levels=[0.9])["hidden_coverage_0.9"].tolist()
        [1.0, 1.0]
    """
    checked = _check_levels(levels)
    return _scores(*_series_sums(mean, log_variance, target, observed_mask, hidden_mask, checked), checked)


def _check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    checked = tuple(float(level) for level in levels)
    if any(not 0 < level < 1 for level in checked) or len(set(checked)) < len(checked):
        raise InputError(f"levels is {list(checked)}; expected different numbers between 0 and 1")
    return checked


def _series_sums(
    mean: Tensor,
    log_variance: Tensor,
    target: Tensor,
    observed_mask: Tensor,
    hidden_mask: Tensor,
    levels: tuple[float, ...],
) -> tuple[Tensor, Tensor]:
    """Return the counts ``[N, 2]`` and the sums ``[N, 2 + levels, 2]`` of likelihood, CRPS and targets inside."""
    parts = split_points(target, observed_mask, hidden_mask, mean=mean, log_variance=log_variance)
    real = parts.any(dim=-1)
    m, v, y = (torch.where(real, rows(x).double(), 0.0) for x in (mean, log_variance, target))
    sigma = (v / 2).exp()
    z = (y - m) / sigma
    nll = (math.log(2 * math.pi) + v + z.square()) / 2
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    crps = sigma * (z * torch.erf(z / math.sqrt(2)) + 2 * density - 1 / math.sqrt(math.pi))
    bounds = math.sqrt(2) * torch.erfinv(z.new_tensor(levels))
    inside = [(z.abs() <= bound).double() for bound in bounds]
    return parts.sum(1).double(), sum_parts(parts, nll, crps, *inside)


def _scores(count: Tensor, sums: Tensor, levels: tuple[float, ...]) -> dict[str, Tensor]:
    """Turn counts ``[..., 2]`` and sums ``[..., 2 + levels, 2]`` into scores ``[...]`` of each part."""
    names = ["nll", "crps", *(f"coverage_{level:g}" for level in levels)]
    values = ratio(with_all(sums), with_all(count).unsqueeze(-2))
    return named(dict(zip(names, values.unbind(-2), strict=True)))
