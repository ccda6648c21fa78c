"""Errors of a reconstruction, on hidden and on visible points."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["LOG_VARIANCE_RANGE", "LossSums", "ReconstructionLoss", "ReconstructionLossKind"]

ReconstructionLossKind = Literal["mse", "mae", "huber", "chi2", "gaussian_nll"]

# Measurement errors and variances below these say more of rounding than of the data.
_SMALLEST_ERROR = 1e-8

#: Logarithms of predicted variances are kept within this range.
LOG_VARIANCE_RANGE = (-12.0, 12.0)


class LossSums(NamedTuple):
    """Sums of the loss over hidden and visible points and the numbers of these points."""

    hidden: Tensor
    visible: Tensor
    hidden_count: Tensor
    visible_count: Tensor

    def stacked(self) -> Tensor:
        """All four numbers in float64, so that they can be added up over batches and processes."""
        return torch.stack([value.detach().double() for value in self])


class ReconstructionLoss(nn.Module):
    r"""Mean error over all observed points, or over hidden and visible ones with a weight.

    Args:
        kind: ``"mse"``, ``"mae"``, ``"huber"`` (of :obj:`huber_delta`), ``"chi2"`` (squares in units of the measurement
            errors) or ``"gaussian_nll"`` (negative log likelihood of a predicted mean and variance).
        hidden_weight: Weight :math:`\alpha` of hidden points, :math:`\alpha L_h + (1 - \alpha) L_v`; ``None`` counts
            all points alike.
        huber_delta: Where the Huber loss turns from squares to absolute values.

    Shapes:
        - **mean, target, observed, hidden, error, log_variance:** :math:`(B, L, C)`

    Raises:
        InputError: If the kind is unknown, a number is out of range, or what the kind needs is missing.

    Examples:
        >>> loss = ReconstructionLoss("mse")
        >>> target, observed = torch.zeros(1, 3, 1), torch.tensor([True, True, False]).view(1, 3, 1)
        >>> sums = loss.sums(torch.ones(1, 3, 1), target, observed, hidden=observed & False)
        >>> loss(sums).item(), sums.visible_count.item()
        (1.0, 2.0)
    """

    def __init__(
        self, kind: ReconstructionLossKind = "mse", hidden_weight: float | None = None, huber_delta: float = 1.0
    ) -> None:
        super().__init__()
        if kind not in get_args(ReconstructionLossKind):
            raise InputError(f"kind is {kind!r}; expected one of {', '.join(get_args(ReconstructionLossKind))}")
        if hidden_weight is not None and not 0 <= hidden_weight <= 1:
            raise InputError(f"hidden_weight is {hidden_weight}; expected a number from 0 to 1")
        if huber_delta <= 0:
            raise InputError(f"huber_delta is {huber_delta}; expected more than 0")
        self.kind, self.hidden_weight, self.huber_delta = kind, hidden_weight, huber_delta

    def sums(
        self,
        mean: Tensor,
        target: Tensor,
        observed: Tensor,
        hidden: Tensor,
        error: Tensor | None = None,
        log_variance: Tensor | None = None,
    ) -> LossSums:
        """Return the sums of the loss over the points of a batch."""
        if not mean.shape == target.shape == observed.shape == hidden.shape:
            shapes = ", ".join(str(tuple(value.shape)) for value in (mean, target, observed, hidden))
            raise InputError(f"mean, target, observed and hidden have the shapes {shapes}; expected the same")
        # Whatever stands where nothing was observed, NaN included, must not reach the gradient.
        target = target.float().masked_fill(~observed, 0.0)
        error = None if error is None else error.float().masked_fill(~observed, 1.0)
        point = self._points(mean.float(), target, error, log_variance)
        counted = hidden & observed, observed & ~hidden
        sums = [point.masked_fill(~part, 0.0).sum() for part in counted]
        return LossSums(*sums, *(part.sum().to(point.dtype) for part in counted))

    def forward(self, sums: LossSums, whole: Tensor | None = None, world_size: int = 1) -> Tensor:
        """Return the loss of a batch.

        Args:
            sums: The sums over the points of this process.
            whole: Numbers of hidden and visible points of all processes; those of this process by default.
            world_size: Number of processes: the mean of their losses is the loss of the whole batch.
        """
        hidden_count, visible_count = (sums.hidden_count, sums.visible_count) if whole is None else whole.unbind()
        if self.hidden_weight is None:
            total = (sums.hidden + sums.visible) / (hidden_count + visible_count).clamp(min=1)
        else:
            alpha = self.hidden_weight
            total = alpha * sums.hidden / hidden_count.clamp(min=1)
            total = total + (1 - alpha) * sums.visible / visible_count.clamp(min=1)
        return total * world_size

    def _points(self, mean: Tensor, target: Tensor, error: Tensor | None, log_variance: Tensor | None) -> Tensor:
        if self.kind == "mae":
            return (mean - target).abs()
        if self.kind == "huber":
            return F.huber_loss(mean, target, reduction="none", delta=self.huber_delta)
        square = (mean - target).square()
        if self.kind == "chi2":
            if error is None:
                raise InputError("the loss 'chi2' needs measurement errors, and the data has none (flux_error)")
            return square / error.clamp(min=_SMALLEST_ERROR).square()
        if self.kind == "gaussian_nll":
            if log_variance is None:
                raise InputError("the loss 'gaussian_nll' needs a model with uncertainty=True")
            log_variance = log_variance.float().clamp(*LOG_VARIANCE_RANGE)
            return 0.5 * (log_variance + square * (-log_variance).exp() + math.log(2 * math.pi))
        return square

    def extra_repr(self) -> str:
        """Return the settings."""
        return f"{self.kind!r}, hidden_weight={self.hidden_weight}"
