"""DCRNN: an encoder and a decoder of gated recurrent units whose products are diffusion convolutions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least, check_calendar_channels
from stgraph.models.baselines.diffusion import diffuse, walk_powers
from stgraph.models.baselines.neural import NeuralBaseline
from stgraph.models.baselines.supports import GraphCache

__all__ = ["DCRNN", "DiffusionGRUCell"]

_Truth = tuple[Tensor, Tensor] | None  # scaled true values of a step and where they are observed


class DiffusionGRUCell(nn.Module):
    r"""A gated recurrent unit with the diffusion convolution

    .. math::
        \sum_{k=0}^{K} \left( (D_O^{-1} W)^k \, X \, \Theta_{k,1} + (D_I^{-1} W^\top)^k \, X \, \Theta_{k,2} \right)

    in place of its matrix products. Power 0 is the same for both walks and has one weight.

    The share of the input does not depend on the state: :meth:`project` gives it for all steps at once.

    Args:
        in_channels: Number of input channels.
        hidden_channels: Number of channels of the state.
        diffusion_steps: Largest power K.
    """

    def __init__(self, in_channels: int, hidden_channels: int, diffusion_steps: int) -> None:
        super().__init__()
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.diffusion_steps = diffusion_steps
        matrices = 1 + 2 * diffusion_steps
        self.input_weight = nn.Parameter(torch.empty(matrices * in_channels, 3 * hidden_channels))
        self.gate_weight = nn.Parameter(torch.empty(matrices * hidden_channels, 2 * hidden_channels))
        self.candidate_weight = nn.Parameter(torch.empty(matrices * hidden_channels, hidden_channels))
        self.bias = nn.Parameter(torch.empty(3 * hidden_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights as if those of input and state were one matrix (Glorot); gates start half open towards 1."""
        rows, hidden = self.gate_weight.shape[0] + self.input_weight.shape[0], self.hidden_channels
        gates, candidate = self.input_weight.split([2 * hidden, hidden], dim=1)
        with torch.no_grad():
            for weight in (gates, candidate, self.gate_weight, self.candidate_weight):
                bound = math.sqrt(6 / (rows + weight.shape[1]))
                weight.uniform_(-bound, bound)
            self.bias[: 2 * hidden] = 1.0
            self.bias[2 * hidden :] = 0.0

    def project(self, x: Tensor, powers: list[Tensor]) -> Tensor:
        """Return the share of inputs ``[N, B, C]`` in both gates and the candidate, ``[N, B, 3 H]``."""
        return self._convolve(x, powers, self.input_weight) + self.bias

    def forward(self, projected: Tensor, state: Tensor, powers: list[Tensor]) -> Tensor:
        """Return the next state ``[N, B, H]`` from the projected input ``[N, B, 3 H]`` and the state."""
        for_gates, for_candidate = projected.split([2 * self.hidden_channels, self.hidden_channels], dim=-1)
        gates = torch.sigmoid(for_gates + self._convolve(state, powers, self.gate_weight))
        reset, update = gates.chunk(2, dim=-1)
        candidate = torch.tanh(for_candidate + self._convolve(reset * state, powers, self.candidate_weight))
        return candidate + update * (state - candidate)

    def _convolve(self, x: Tensor, powers: list[Tensor], weight: Tensor) -> Tensor:
        return diffuse(powers, x, self.diffusion_steps).flatten(-2) @ weight


class DCRNN(NeuralBaseline):
    r"""Diffusion convolutional recurrent network: an encoder reads the window, a decoder writes the horizon.

    The decoder starts from the states of the encoder and a zero, and feeds itself its last forecast. In training it
    receives the true value in place of its forecast with probability :math:`\tau / (\tau + \exp(i / \tau))` after
    :math:`i` batches; one draw per step serves the whole batch. Where the true value is unobserved it keeps its own.

    The diffusion is the power series of the paper (see :class:`DiffusionGRUCell`). The code that its authors
    published computes the recurrence :math:`2 P x_{k-1} - x_{k-2}` instead, with matrices :math:`P` transposed.

    From Li et al., "Diffusion convolutional recurrent neural network: data-driven traffic forecasting", ICLR 2018.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes N; no weight depends on it.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        hidden_channels: Number of channels of each state.
        num_layers: Number of recurrent layers, in the encoder and in the decoder.
        diffusion_steps: Largest power of the random walks.
        calendar_channels: Number of calendar channels beside the input: 0, 1 for the time of day, 2 for the weekday
            also.
        sampling_decay: The constant :math:`\tau` of scheduled sampling, in batches.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``edge_index`` :math:`(2, E)`, optionally ``edge_weight``,
          ``x_time`` :math:`(B, P)` and ``x_mask``; in training ``y`` :math:`(B, N, Q, C)` and ``y_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or the batch has no graph.

    Examples:
        >>> model = DCRNN(in_channels=1, input_steps=12, horizon=3, hidden_channels=8)
        >>> edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
        >>> model.predict(torch.zeros(2, 3, 12, 1), edge_index=edge_index).shape
        torch.Size([2, 3, 3, 1])
    """

    batches_seen: Tensor

    def __init__(
        self,
        in_channels: int,
        input_steps: int,
        horizon: int,
        *,
        num_nodes: int | None = None,
        out_channels: int | None = None,
        steps_per_cycle: int = 1,
        scaler: str = "standard",
        hidden_channels: int = 64,
        num_layers: int = 2,
        diffusion_steps: int = 2,
        calendar_channels: int = 1,
        sampling_decay: float = 2000.0,
    ) -> None:
        super().__init__(
            in_channels,
            input_steps,
            horizon,
            num_nodes=num_nodes,
            out_channels=out_channels,
            steps_per_cycle=steps_per_cycle,
            scaler=scaler,
        )
        at_least(1, hidden_channels=hidden_channels, num_layers=num_layers, diffusion_steps=diffusion_steps)
        check_calendar_channels(calendar_channels)
        if not sampling_decay > 0:
            raise InputError(f"sampling_decay is {sampling_decay}; expected more than 0")
        self.hidden_channels, self.diffusion_steps = hidden_channels, diffusion_steps
        self.calendar_channels, self.sampling_decay = calendar_channels, sampling_decay

        def cells(first: int) -> nn.ModuleList:
            inputs = [first, *[hidden_channels] * (num_layers - 1)]
            return nn.ModuleList(DiffusionGRUCell(size, hidden_channels, diffusion_steps) for size in inputs)

        self.encoder = cells(in_channels + calendar_channels)
        self.decoder = cells(self.out_channels)
        self.lin_out = nn.Linear(hidden_channels, self.out_channels)
        self.register_buffer("batches_seen", torch.zeros((), dtype=torch.long))
        self._graph = GraphCache()

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        powers = self._graph(batch, lambda graph: walk_powers(graph, self.diffusion_steps))
        if self.calendar_channels:
            x = self.with_calendar(x, batch, weekday=self.calendar_channels == 2)
        states = [layer[:, -1] for layer in self.encode(x.permute(1, 2, 0, 3), powers)]
        return self._decode(states, powers, self._truth(batch)).permute(2, 0, 1, 3)

    def encode(self, x: Tensor, powers: list[Tensor]) -> list[Tensor]:
        """Return the states of each layer after each step, ``[N, P, B, H]``, for inputs ``[N, P, B, C]``."""
        layers = []
        for cell in cast("Iterable[DiffusionGRUCell]", self.encoder):
            projected = cell.project(x.flatten(1, 2), powers).unflatten(1, x.shape[1:3])
            state = x.new_zeros(x.shape[0], x.shape[2], self.hidden_channels)
            states = []
            for now in projected.unbind(1):
                state = cell(now, state, powers)
                states.append(state)
            x = torch.stack(states, dim=1)
            layers.append(x)
        return layers

    def sampling_probability(self) -> float:
        """Return the probability with which the decoder receives the true value in the next batch of training."""
        # The logistic function of log(tau) - i / tau is the same number and does not overflow.
        exponent = math.log(self.sampling_decay) - int(self.batches_seen) / self.sampling_decay
        return float(torch.sigmoid(torch.tensor(exponent, dtype=torch.float64)))

    def _decode(self, states: list[Tensor], powers: list[Tensor], truth: list[_Truth]) -> Tensor:
        nodes, windows = states[0].shape[:2]
        value = states[0].new_zeros(nodes, windows, self.out_channels)
        forecasts = []
        for true_value in truth:
            below = value
            for layer, cell in enumerate(cast("Iterable[DiffusionGRUCell]", self.decoder)):
                below = states[layer] = cell(cell.project(below, powers), states[layer], powers)
            value = self.lin_out(below)
            forecasts.append(value)
            if true_value is not None:
                value = torch.where(true_value[1], true_value[0], value)
        return torch.stack(forecasts, dim=1)

    def _truth(self, batch: Data) -> list[_Truth]:
        """For each step the scaled targets and where they are observed, ``[N, B, C]``, or None if not drawn."""
        if not self.training or batch.get("y") is None:
            return [None] * self.horizon
        target, mask = batch.y[..., : self.out_channels], batch.get("y_mask")
        observed = torch.ones_like(target, dtype=torch.bool) if mask is None else mask[..., : self.out_channels]
        pairs = zip(self.scaler.transform(target).permute(2, 1, 0, 3), observed.permute(2, 1, 0, 3), strict=True)
        drawn = (torch.rand(self.horizon) < self.sampling_probability()).tolist()
        self.batches_seen += 1
        return [pair if use else None for pair, use in zip(pairs, drawn, strict=True)]
