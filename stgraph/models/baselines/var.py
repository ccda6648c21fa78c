"""A vector autoregression over all nodes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.base import Baseline, slices
from stgraph.ops.missing import fill_with_nearest_observed

__all__ = ["VAR"]

_BLOCK = 1 << 22  # numbers in one temporary array of the normal equations
_MAX_FEATURES = 8192  # a Gram matrix of 512 MiB
_JITTER = 1e-6  # on the intercept, in units of observations


class VAR(Baseline):
    """Vector autoregression: each node and channel is a linear function of the last steps of all of them.

    The weights of one step ahead are fitted by least squares with a ridge penalty that spares the intercept; longer
    forecasts are iterated. Values are standardised with the training mean and deviation of each node. A missing value
    is replaced by the nearest observed one of its node (the last before it, or else the first after it), and by the
    mean where there is none; training steps at which nothing is observed are no targets.

    The model has ``(num_nodes * channels)**2 * order`` weights and is meant for up to some hundred nodes.

    From Hamilton, "Time series analysis", 1994; as a baseline of traffic forecasting, with order 3, from Li et al.,
    "Diffusion convolutional recurrent neural network", ICLR 2018.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P, at least ``order``.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default. The others are
            not used.
        order: Number of past steps.
        alpha: Ridge penalty, in units of observations.

    Shapes:
        - **batch.x**, **batch.x_mask:** ``[B, N, P, C]``
        - **output:** ``[B, N, Q, C]``

    Raises:
        InputError: If the order exceeds the window, the penalty is not positive, or the model is too large.

    Examples:
        >>> wave = torch.sin(0.3 * torch.arange(200.0)).view(1, 200, 1)
        >>> model = VAR(in_channels=1, input_steps=2, horizon=3, num_nodes=1, order=2, alpha=1e-6).fit(Data(x=wave))
        >>> torch.allclose(model(Data(x=wave[:, 100:102].unsqueeze(0)))[0], wave[:, 102:105], atol=1e-4)
        True
    """

    deviation: Tensor
    weight: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int,
        out_channels: int | None = None,
        order: int = 3,
        alpha: float = 1.0,
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels)
        if not 1 <= order <= input_steps:
            raise InputError(f"order is {order}; expected 1 to input_steps = {input_steps}")
        if alpha <= 0:
            raise InputError(f"alpha is {alpha}; expected more than 0")
        series = num_nodes * self.out_channels
        if 1 + order * series > _MAX_FEATURES:
            raise InputError(
                f"num_nodes is {num_nodes}, with {self.out_channels} channels and order {order} that makes "
                f"{1 + order * series} regressors; expected at most {_MAX_FEATURES}, for their square has to be held"
            )
        self.order, self.alpha = order, alpha
        self.register_buffer("deviation", torch.ones(num_nodes, self.out_channels, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(1 + order * series, series, dtype=torch.float64))

    def _fit(self, data: Data, starts: Tensor | None) -> None:
        steps = data.x.shape[1]
        if steps <= self.order:
            raise InputError(f"data has {steps} steps; expected more than order = {self.order}")
        x, mask = data.x[..., : self.out_channels], data.get("mask")
        if mask is not None:
            mask = mask[..., : self.out_channels]
        self._fit_deviation(x, mask)
        values = self._standardise(x, mask).permute(1, 0, 2).flatten(1)
        target = torch.arange(self.order, steps, device=values.device)
        if mask is not None:
            target = target[mask[:, self.order :].any(-1).any(0)]
        gram = self.weight.new_zeros(len(self.weight), len(self.weight))
        moment = torch.zeros_like(self.weight)
        past = torch.arange(-self.order, 0, device=values.device)
        for part in slices(len(target), _BLOCK // len(self.weight)):
            phi = self._features(values[target[part].unsqueeze(-1) + past])
            gram += phi.mT @ phi
            moment += phi.mT @ values[target[part]]
        penalty = gram.new_full((len(gram),), self.alpha)
        penalty[0] = _JITTER
        self.weight.copy_(torch.linalg.solve(gram + penalty.diag(), moment))

    def _fit_deviation(self, x: Tensor, mask: Tensor | None) -> None:
        square = (x - self.node_mean.unsqueeze(1)).square()
        if mask is None:
            deviation = square.mean(1).sqrt()
        else:
            deviation = (torch.where(mask, square, 0.0).sum(1) / mask.sum(1).clamp(min=1)).sqrt()
        # Relative to the level, so that rounding noise on a constant does not count as variation.
        constant = deviation <= 1e-9 * self.node_mean.abs().clamp(min=1e-3)
        self.deviation.copy_(torch.where(constant, 1.0, deviation))

    def _standardise(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return float64 values ``[..., T, C]`` about 0 without gaps."""
        values = (fill_with_nearest_observed(x, mask) - self.node_mean.unsqueeze(1)) / self.deviation.unsqueeze(1)
        return values if mask is None else torch.where(mask.any(dim=-2, keepdim=True), values, 0.0)

    def _features(self, past: Tensor) -> Tensor:
        """Return the regressors ``[B, 1 + p M]`` of the last p steps ``[B, p, M]``, the oldest first."""
        return torch.cat([past.new_ones(len(past), 1), past.flatten(1)], dim=1)

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        past = self._standardise(x, mask).transpose(1, 2).flatten(2)[:, -self.order :]
        steps = []
        for _ in range(self.horizon):
            ahead = self._features(past) @ self.weight
            steps.append(ahead)
            past = torch.cat([past[:, 1:], ahead.unsqueeze(1)], dim=1)
        scaled: Tensor = torch.stack(steps, dim=1).unflatten(2, self.deviation.shape).transpose(1, 2)
        return scaled * self.deviation.unsqueeze(1) + self.node_mean.unsqueeze(1)
