"""Ridge regression of each node on its own past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.base import Baseline, slices

__all__ = ["Ridge"]

_BLOCK = 1 << 22  # numbers in one temporary array of the normal equations
_JITTER = 1e-6  # on the intercept, in units of observations: keeps a node without targets solvable


class Ridge(Baseline):
    """Ridge regression from the P past values of a node and channel to its Q next, with separate weights for each node.

    Values are standardised with the node's training mean and deviation; a missing one is filled with the mean and
    marked by an indicator. Each step of the horizon is fitted to its own observed targets. The penalty spares the
    intercept; it is the one of ``alphas`` with the least squared error on the last tenth of the training windows, after
    which all training windows are used.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        alphas: Penalties to choose from, in units of observations.

    Shapes:
        - **batch.x**, **batch.x_mask:** ``[B, N, P, C]``
        - **output:** ``[B, N, Q, C]``

    Examples:
        >>> import torch
        >>> from torch_geometric.data import Data
        >>> wave = torch.sin(0.3 * torch.arange(200.0)).view(1, 200, 1)
        >>> model = Ridge(in_channels=1, input_steps=2, horizon=1, num_nodes=1, alphas=[1e-6]).fit(Data(x=wave))
        >>> forecast = model(Data(x=wave[:, 100:102].unsqueeze(0)))
        >>> torch.allclose(forecast.flatten(), wave[0, 102], atol=1e-4)
        True
    """

    deviation: Tensor
    weight: Tensor
    alpha: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int,
        out_channels: int | None = None,
        alphas: Sequence[float] = (0.1, 1.0, 10.0, 100.0, 1000.0),
    ) -> None:
        super().__init__(in_channels, input_steps, horizon, num_nodes=num_nodes, out_channels=out_channels)
        if not alphas or any(a <= 0 for a in alphas):
            raise InputError(f"alphas is {list(alphas)}; expected numbers above 0")
        # The largest first, as the first of equals is chosen: without evidence, shrink.
        self.alphas = tuple(sorted((float(a) for a in alphas), reverse=True))
        nodes, channels, size = num_nodes, self.out_channels, 1 + 2 * input_steps
        self.register_buffer("deviation", torch.ones(nodes, channels, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(nodes, channels, horizon, size, dtype=torch.float64))
        self.register_buffer("alpha", torch.zeros((), dtype=torch.float64))

    def _fit(self, data: Data, starts: Tensor | None) -> None:
        parts = self._split(self._check_starts(starts, data.x.shape[1]))
        size = 1 + (1 if data.get("mask") is None else 2) * self.input_steps
        rows = max(1, _BLOCK // (self.out_channels * self.horizon * size**2))
        candidates = self.weight.new_zeros(len(self.alphas), *self.weight.shape)
        error = self.weight.new_zeros(len(self.alphas))
        for nodes in slices(data.x.shape[0], rows):
            values, observed = self._standardise(data, nodes)
            fit, gap, validation = (self._normal_equations(values, observed, part) for part in parts)
            whole = fit + gap + validation
            for i, alpha in enumerate(self.alphas):
                error[i] += validation.squared_error(fit.solve(alpha))
                solved = whole.solve(alpha).view(-1, *self.weight.shape[1:3], size)
                candidates[i, nodes, ..., : solved.shape[-1]] = solved
        best = int(error.argmin())
        self.alpha.fill_(self.alphas[best])
        self.weight.copy_(candidates[best])

    def _check_starts(self, starts: Tensor | None, steps: int) -> Tensor:
        count = steps - self.input_steps - self.horizon + 1
        if count < 1:
            raise InputError(
                f"data has {steps} steps; expected at least input_steps + horizon = {self.input_steps + self.horizon}"
            )
        if starts is None:
            return torch.arange(count)
        if len(starts) == 0 or not 0 <= int(starts.min()) <= int(starts.max()) < count:
            raise InputError(f"starts has {len(starts)} entries; expected at least one, all between 0 and {count - 1}")
        return starts.sort().values

    def _split(self, starts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut off the last tenth for validation, and between the two the windows whose targets overlap with it."""
        boundary = starts[-max(1, len(starts) // 10)]
        fit, validation = starts + self.horizon <= boundary, starts >= boundary
        return starts[fit], starts[~fit & ~validation], starts[validation]

    def _standardise(self, data: Data, nodes: slice) -> tuple[Tensor, Tensor | None]:
        """Return the standardised series of some nodes as rows ``[n * C, T]``, 0 where missing, and their mask."""
        mask = data.get("mask")
        values = data.x[nodes, :, : self.out_channels] - self.node_mean[nodes].unsqueeze(1)
        if mask is not None:
            mask = mask[nodes, :, : self.out_channels]
            values = torch.where(mask, values, 0)
        count = values.new_tensor(values.shape[1]) if mask is None else mask.sum(1).clamp(min=1)
        deviation = (values.square().sum(1) / count).sqrt()
        # Relative to the level, so that rounding noise on a constant does not count as variation.
        constant = deviation <= 1e-9 * self.node_mean[nodes].abs().clamp(min=1e-3)
        self.deviation[nodes] = torch.where(constant, 1.0, deviation)
        rows = (values / self.deviation[nodes].unsqueeze(1)).transpose(1, 2).flatten(0, 1)
        return rows, None if mask is None else mask.transpose(1, 2).flatten(0, 1)

    def _normal_equations(self, values: Tensor, observed: Tensor | None, starts: Tensor) -> _NormalEquations:
        """Add up the normal equations of the windows, a bounded number of windows at a time."""
        past, steps = self.input_steps, torch.arange(self.input_steps + self.horizon, device=values.device)
        size = 1 + (1 if observed is None else 2) * past
        total = _NormalEquations.zeros(values, self.horizon, size, shared=observed is None)
        for part in slices(len(starts), _BLOCK // (len(values) * size**2)):
            index = starts[part].to(values.device).unsqueeze(-1) + steps
            window = values[:, index]
            columns = [torch.ones_like(window[..., :1]), window[..., :past]]
            target = window[..., past:]
            if observed is None:
                phi = torch.cat(columns, -1)
                gram = (phi.mT @ phi).unsqueeze(1)
            else:
                known = observed[:, index]
                phi = torch.cat([*columns, (~known[..., :past]).to(window.dtype)], -1)
                outer = (phi.unsqueeze(-1) * phi.unsqueeze(-2)).flatten(-2)
                gram = (known[..., past:].to(window.dtype).mT @ outer).view(*target.mT.shape[:2], size, size)
            total = total + _NormalEquations(gram, target.mT @ phi, target.square().sum(1))
        return total

    def _forecast(self, batch: Data, x: Tensor, mask: Tensor | None) -> Tensor:
        past = self.input_steps
        intercept, weight, missing_weight = torch.split(self.weight, [1, past, past], dim=-1)
        values = (x - self.node_mean.unsqueeze(1)) / self.deviation.unsqueeze(1)
        if mask is not None:
            values = torch.where(mask, values, 0)
        scaled = torch.einsum("bnpc,ncqp->bnqc", values, weight) + intercept.squeeze(-1).transpose(1, 2)
        if mask is not None:
            scaled = scaled + torch.einsum("bnpc,ncqp->bnqc", (~mask).to(values.dtype), missing_weight)
        return scaled * self.deviation.unsqueeze(1) + self.node_mean.unsqueeze(1)


class _NormalEquations(NamedTuple):
    """Least squares for M rows and Q steps; the Gram matrix is shared by the steps where no target is missing."""

    gram: Tensor  # [M, Q or 1, F, F]
    moment: Tensor  # [M, Q, F]
    squares: Tensor  # [M, Q]

    @classmethod
    def zeros(cls, like: Tensor, horizon: int, size: int, *, shared: bool) -> _NormalEquations:
        rows = len(like)
        return cls(
            like.new_zeros(rows, 1 if shared else horizon, size, size),
            like.new_zeros(rows, horizon, size),
            like.new_zeros(rows, horizon),
        )

    def __add__(self, other: object) -> _NormalEquations:
        if not isinstance(other, _NormalEquations):
            return NotImplemented
        return _NormalEquations(self.gram + other.gram, self.moment + other.moment, self.squares + other.squares)

    def solve(self, alpha: float) -> Tensor:
        """Return the weights ``[M, Q, F]`` for a penalty on all but the intercept."""
        penalty = self.gram.new_full((self.gram.shape[-1],), alpha)
        penalty[0] = _JITTER
        system = (self.gram + penalty.diag()).expand(*self.moment.shape, -1)
        solved: Tensor = torch.linalg.solve(system, self.moment.unsqueeze(-1))
        return solved.squeeze(-1)

    def squared_error(self, weight: Tensor) -> Tensor:
        """Return the sum of squared errors of some weights, a quadratic form."""
        fitted = (self.gram @ weight.unsqueeze(-1)).squeeze(-1)
        return (self.squares + (weight * (fitted - 2 * self.moment)).sum(-1)).sum()
