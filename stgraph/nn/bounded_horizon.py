"""A loss for predicting each point of a series from points at a distance on both sides."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["BoundedHorizonLoss", "draw_horizon", "gaussian_horizon_loss", "has_sources", "longest_horizon"]

#: Predicts all points at a horizon in steps: the means and the logarithms of the variances, each ``[..., L, C]``.
Predictor = Callable[[int], tuple[Tensor, Tensor]]

_DISTRIBUTIONS = ("uniform", "log_uniform")


class BoundedHorizonLoss(nn.Module):
    r"""Negative log likelihood of every point, predicted from the points k steps before and after it.

    In training, one horizon k is drawn for each call from 1 to :math:`\min(K, L/2 - 1)`; in evaluation, the loss is
    the mean over fixed horizons, so that two epochs can be compared.

    Args:
        max_horizon: The longest horizon K in steps.
        distribution: ``"uniform"`` or ``"log_uniform"``, which draws short horizons more often.
        evaluation_horizons: Horizons in evaluation; those that a series is too short for are left out.

    Shapes:
        - **target, error:** :math:`(..., L, C)`, **observed:** :math:`(..., L, C)`, True at real values
        - **output:** a scalar

    Raises:
        InputError: If a horizon is less than 1, the distribution is unknown, or a series has fewer than 4 steps.

    Examples:
        The best prediction of white noise of variance 1 is its mean; the loss is then the entropy, 1.42.

        >>> import torch
        >>> x = torch.randn(1, 10_000, 1, generator=torch.Generator().manual_seed(0))
        >>> loss = BoundedHorizonLoss().eval()
        >>> value = loss(lambda horizon: (torch.zeros_like(x), torch.zeros_like(x)), x, torch.ones_like(x).bool())
        >>> bool((value - 1.42).abs() < 0.05)
        True
    """

    def __init__(
        self,
        max_horizon: int = 128,
        distribution: str = "uniform",
        evaluation_horizons: Sequence[int] = (1, 2, 4, 8),
    ) -> None:
        super().__init__()
        if max_horizon < 1:
            raise InputError(f"max_horizon is {max_horizon}; expected at least 1")
        _check_distribution(distribution)
        if 1 not in evaluation_horizons or min(evaluation_horizons) < 1:
            raise InputError(f"evaluation_horizons is {tuple(evaluation_horizons)}; expected 1 and others above it")
        self.max_horizon = max_horizon
        self.distribution = distribution
        self.evaluation_horizons = tuple(evaluation_horizons)

    def forward(
        self,
        predict: Predictor,
        target: Tensor,
        observed: Tensor,
        error: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the loss at one drawn horizon in training, the mean over the fixed ones in evaluation.

        Args:
            predict: Gives the means and the logarithms of the variances at a horizon.
            target: The values.
            observed: True at real values.
            error: Standard deviations of the measurements in the unit of ``target``.
            generator: Draws the horizon.
        """
        if not self.training:
            return torch.stack(list(self.evaluate(predict, target, observed, error).values())).mean()
        horizon = draw_horizon(target.shape[-2], self.max_horizon, self.distribution, generator=generator)
        return gaussian_horizon_loss(*predict(horizon), target, observed, horizon, error)

    def evaluate(
        self, predict: Predictor, target: Tensor, observed: Tensor, error: Tensor | None = None
    ) -> dict[int, Tensor]:
        """Return the loss at each of the fixed horizons that the series is long enough for."""
        longest = longest_horizon(target.shape[-2])
        return {
            horizon: gaussian_horizon_loss(*predict(horizon), target, observed, horizon, error)
            for horizon in self.evaluation_horizons
            if horizon <= longest
        }


def draw_horizon(
    steps: int,
    max_horizon: int = 128,
    distribution: str = "uniform",
    *,
    generator: torch.Generator | None = None,
) -> int:
    r"""Draw a horizon from 1 to :math:`\min(K, L/2 - 1)`, so that some point has a source on both sides.

    Args:
        steps: Number of steps L of the series.
        max_horizon: The longest horizon K in steps.
        distribution: ``"uniform"`` over the integers, or ``"log_uniform"``: k = floor(exp(u)) with u uniform.
        generator: Source of the random number.

    Raises:
        InputError: If a series has fewer than 4 steps, the horizon is less than 1 or the distribution is unknown.

    Examples:
        >>> draw_horizon(4)
        1
    """
    if max_horizon < 1:
        raise InputError(f"max_horizon is {max_horizon}; expected at least 1")
    _check_distribution(distribution)
    longest = min(max_horizon, longest_horizon(steps))
    share = torch.rand((), generator=generator, dtype=torch.float64).item()
    drawn = share * longest + 1 if distribution == "uniform" else math.exp(share * math.log(longest + 1))
    return min(int(drawn), longest)


def gaussian_horizon_loss(
    mean: Tensor,
    log_variance: Tensor,
    target: Tensor,
    observed: Tensor,
    horizon: int,
    error: Tensor | None = None,
) -> Tensor:
    r"""Mean Gaussian negative log likelihood of the points that are observed and have observed sources.

    .. math::
        \tfrac12 \left(\log 2 \pi s_i^2 + (y_i - \mu_i)^2 / s_i^2\right), \qquad s_i^2 = e^{v_i} + \epsilon_i^2

    A point counts if it is observed and if the points k steps before and after it exist and have an observed value.

    Args:
        mean: Predicted means.
        log_variance: Logarithms v of the predicted variances, without the errors of measurement.
        target: The values.
        observed: True at real values.
        horizon: The distance k of the sources in steps.
        error: Standard deviations of the measurements.

    Shapes:
        - **mean, log_variance, target, observed, error:** :math:`(..., L, C)`
        - **output:** a scalar, 0 if no point counts

    Raises:
        InputError: If the shapes do not fit or the horizon is less than 1.

    Examples:
        >>> import torch
        >>> zero, real = torch.zeros(5, 1), torch.ones(5, 1).bool()
        >>> round(gaussian_horizon_loss(zero, zero, zero, real, 2).item(), 3)
        0.919
    """
    for name, value in (("mean", mean), ("log_variance", log_variance), ("observed", observed), ("error", error)):
        if value is not None and value.shape != target.shape:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected that of target, {tuple(target.shape)}")
    counted = observed & has_sources(observed.any(dim=-1), horizon).unsqueeze(-1)
    variance = log_variance.exp()
    if error is not None:
        variance = variance + error.where(counted, 0).square()
    residual = (target - mean).where(counted, 0)
    losses = 0.5 * (math.log(2 * math.pi) + variance.log() + residual.square() / variance)
    return losses.where(counted, 0).sum() / counted.sum().clamp_min(1)


def has_sources(observed: Tensor, horizon: int) -> Tensor:
    """Where the points ``horizon`` steps before and after are there and observed, ``[..., L]``.

    >>> has_sources(torch.tensor([True, True, False, True, True]), 1).tolist()
    [False, False, True, False, False]
    """
    if horizon < 1:
        raise InputError(f"horizon is {horizon}; expected at least 1")
    both = torch.zeros_like(observed)
    if observed.shape[-1] > 2 * horizon:
        both[..., horizon:-horizon] = observed[..., : -2 * horizon] & observed[..., 2 * horizon :]
    return both


def longest_horizon(steps: int) -> int:
    """Return the longest horizon at which some point has a source on both sides.

    Raises:
        InputError: If a series has fewer than 4 steps.
    """
    if steps < 4:
        raise InputError(f"a series has {steps} steps; expected at least 4")
    return steps // 2 - 1


def _check_distribution(distribution: str) -> None:
    if distribution not in _DISTRIBUTIONS:
        raise InputError(f"distribution is {distribution!r}; expected one of {list(_DISTRIBUTIONS)}")
