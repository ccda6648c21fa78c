"""Recurrent layers whose gates do not depend on the state, so that all steps are computed at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError
from stgraph.nn.inits import uniform_fan_in
from stgraph.ops.linear_recurrence import linear_recurrence

__all__ = [
    "BidirectionalRecurrence",
    "MinGRU",
    "MinLSTM",
    "MinimalRecurrence",
    "RecurrentBlock",
    "make_recurrence",
]

# Mean memory of the slowest feature of a new layer, in steps.
_LONGEST_MEMORY = 128


class MinimalRecurrence(nn.Module):
    r"""Base class of the minimal recurrent layers, :math:`h_t = a_t h_{t-1} + (1 - a_t) \tilde h_t`.

    The share :math:`a_t` of the state that is kept and the candidate :math:`\tilde h_t = g(W x_t + b)` are functions
    of the input alone; :math:`g(x) = x + \tfrac12` for :math:`x \ge 0` and the logistic function elsewhere keeps
    states positive. New layers remember between 2 and 128 steps, spread evenly in the logarithm over the features
    (in the manner of Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018).

    Args:
        in_channels: Number of input features.
        channels: Number of features of the state.

    Shapes:
        - **x:** :math:`(..., T, C)`, **key_padding_mask:** :math:`(..., T)`, True at padding
        - **output:** :math:`(..., T, d)`, the state after each step

    Raises:
        InputError: If a number of channels is less than 1 or an input has another number of features.
    """

    #: Number of gates.
    num_gates: int

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("channels", channels)):
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        self.in_channels, self.channels = in_channels, channels
        self.weight = nn.Parameter(torch.empty((self.num_gates + 1) * channels, in_channels))
        self.bias = nn.Parameter(torch.empty((self.num_gates + 1) * channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, as :class:`torch.nn.Linear` does, and spread the memory of the features."""
        uniform_fan_in(self.weight, self.bias, fan_in=self.in_channels)
        memory = torch.logspace(1, math.log2(_LONGEST_MEMORY), self.channels, base=2.0, device=self.bias.device)
        with torch.no_grad():
            self._set_memory(self.bias.view(self.num_gates + 1, self.channels), (memory - 1).log())

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None, *, reverse: bool = False) -> Tensor:
        """Return the states after every step; padding leaves the state as it is.

        Args:
            x: The series.
            key_padding_mask: True at steps to skip.
            reverse: Read the series from its end to its start.
        """
        keep, new = self._gates(x)
        mask = None if key_padding_mask is None else ~key_padding_mask
        return linear_recurrence(keep, new, mask=mask, reverse=reverse)

    def step(self, x: Tensor, state: Tensor | None = None) -> Tensor:
        """Return the state ``[..., d]`` after one step ``x`` of shape ``[..., C]``, for series that still grow."""
        keep, new = self._gates(x)
        return new if state is None else keep * state + new

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.in_channels}, {self.channels}"

    def _gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The kept share of the state and what is added to it."""
        if x.shape[-1] != self.in_channels:
            raise InputError(f"x has shape {tuple(x.shape)}; expected {self.in_channels} features in the last place")
        parts = F.linear(x, self.weight, self.bias).unflatten(-1, (self.num_gates + 1, self.channels)).unbind(-2)
        logit = self._keep_logit(*parts[:-1])
        return torch.sigmoid(logit), torch.sigmoid(-logit) * _positive(parts[-1])

    def _keep_logit(self, *gates: Tensor) -> Tensor:
        """The logit of the share of the state that is kept."""
        raise NotImplementedError

    def _set_memory(self, bias: Tensor, logit: Tensor) -> None:
        """Set the biases ``[gates + 1, d]`` so that the kept share has these logits for an input of zero."""
        raise NotImplementedError


class MinGRU(MinimalRecurrence):
    r"""Minimal gated recurrent unit (Feng et al., "Were RNNs all we needed?", 2024).

    .. math::
        z_t = \sigma(W_z x_t + b_z), \quad h_t = (1 - z_t) h_{t-1} + z_t \, g(W_h x_t + b_h), \quad
        g(x) = \begin{cases} x + \tfrac12 & x \ge 0 \\ \sigma(x) & x < 0 \end{cases}

    See :class:`MinimalRecurrence` for the arguments and shapes.

    Examples:
        >>> import torch
        >>> layer = MinGRU(2, 8)
        >>> layer(torch.randn(4, 100, 2)).shape
        torch.Size([4, 100, 8])
        >>> sum(p.numel() for p in layer.parameters())
        48
    """

    num_gates = 1

    def _keep_logit(self, *gates: Tensor) -> Tensor:
        return -gates[0]

    def _set_memory(self, bias: Tensor, logit: Tensor) -> None:
        bias[0] = -logit


class MinLSTM(MinimalRecurrence):
    r"""Minimal long short-term memory with gates that add to one (Feng et al., "Were RNNs all we needed?", 2024).

    .. math::
        f_t = \sigma(W_f x_t + b_f), \quad i_t = \sigma(W_i x_t + b_i), \quad
        h_t = \frac{f_t}{f_t + i_t} h_{t-1} + \frac{i_t}{f_t + i_t} \, g(W_h x_t + b_h)

    with g as in :class:`MinGRU`. See :class:`MinimalRecurrence` for the arguments and shapes.

    Examples:
        >>> import torch
        >>> layer = MinLSTM(2, 8)
        >>> layer(torch.randn(4, 100, 2)).shape
        torch.Size([4, 100, 8])
        >>> sum(p.numel() for p in layer.parameters())
        72
    """

    num_gates = 2

    def _keep_logit(self, *gates: Tensor) -> Tensor:
        # f / (f + i) = sigmoid(log f - log i), which cannot divide 0 by 0.
        return F.logsigmoid(gates[0]) - F.logsigmoid(gates[1])

    def _set_memory(self, bias: Tensor, logit: Tensor) -> None:
        # The logit is log(f / i): f is near 1 and i = f exp(-logit).
        bias[0] = 4.0
        bias[1] = torch.logit(torch.sigmoid(bias[0]) * torch.exp(-logit))


class BidirectionalRecurrence(nn.Module):
    """Two minimal recurrent layers, one of which reads the series backwards.

    Args:
        in_channels: Number of input features.
        channels: Number of features of each of the two states.
        cell: ``"gru"`` or ``"lstm"``.

    Shapes:
        - **x:** :math:`(..., T, C)`, **key_padding_mask:** :math:`(..., T)`, True at padding
        - **output:** forward and backward states, each :math:`(..., T, d)`. The forward state at i depends on the
          points up to i, the backward state on those from i.

    Raises:
        InputError: If ``cell`` is unknown or a number of channels is less than 1.

    Examples:
        >>> import torch
        >>> layer = BidirectionalRecurrence(2, 8)
        >>> forward_states, backward_states = layer(torch.randn(4, 100, 2))
        >>> forward_states.shape, backward_states.shape
        (torch.Size([4, 100, 8]), torch.Size([4, 100, 8]))
    """

    def __init__(self, in_channels: int, channels: int, cell: str = "gru") -> None:
        super().__init__()
        self.forward_cell = make_recurrence(cell, in_channels, channels)
        self.backward_cell = make_recurrence(cell, in_channels, channels)

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        self.forward_cell.reset_parameters()
        self.backward_cell.reset_parameters()

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states of both directions."""
        return self.forward_cell(x, key_padding_mask), self.backward_cell(x, key_padding_mask, reverse=True)


class RecurrentBlock(nn.Module):
    r"""Pre-norm residual block of states in both directions and a feed-forward part.

    .. math::
        x \leftarrow x + [\overrightarrow{h}, \overleftarrow{h}](\mathrm{LN}\, x), \qquad
        x \leftarrow x + \mathrm{FF}(\mathrm{LN}\, x)

    Each direction has half of the channels; FF is linear to 1.5 d, GELU, linear to d.

    Args:
        channels: Number of features d, even.
        cell: ``"gru"`` or ``"lstm"``.
        dropout: Probability of dropout on both branches.

    Shapes:
        - **x:** :math:`(..., T, d)`, **key_padding_mask:** :math:`(..., T)`, True at padding
        - **output:** :math:`(..., T, d)`

    Raises:
        InputError: If ``cell`` is unknown, ``channels`` odd or less than 2, or ``dropout`` not a probability.

    Examples:
        >>> import torch
        >>> RecurrentBlock(8)(torch.randn(4, 100, 8)).shape
        torch.Size([4, 100, 8])
    """

    def __init__(self, channels: int, cell: str = "gru", dropout: float = 0.0) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise InputError(f"channels is {channels}; expected an even number of at least 2")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        self.norm1 = nn.LayerNorm(channels)
        self.recurrence = BidirectionalRecurrence(channels, channels // 2, cell)
        self.norm2 = nn.LayerNorm(channels)
        self.lin1 = nn.Linear(channels, 3 * channels // 2)
        self.lin2 = nn.Linear(3 * channels // 2, channels)
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self) -> None:
        """Draw new parameters."""
        for module in (self.norm1, self.recurrence, self.norm2, self.lin1, self.lin2):
            module.reset_parameters()

    def forward(self, x: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """Add what both directions tell to each point, then mix the channels of each point."""
        states = torch.cat(self.recurrence(self.norm1(x), key_padding_mask), dim=-1)
        x = x + self.dropout(states)
        out: Tensor = x + self.dropout(self.lin2(F.gelu(self.lin1(self.norm2(x)))))
        return out


def make_recurrence(cell: str, in_channels: int, channels: int) -> MinimalRecurrence:
    """Return a new :class:`MinGRU` (``"gru"``) or :class:`MinLSTM` (``"lstm"``).

    Raises:
        InputError: If ``cell`` is unknown.

    Examples:
        >>> make_recurrence("lstm", 2, 8)
        MinLSTM(2, 8)
    """
    cells: dict[str, type[MinimalRecurrence]] = {"gru": MinGRU, "lstm": MinLSTM}
    if cell not in cells:
        raise InputError(f"cell is {cell!r}; expected one of {sorted(cells)}")
    return cells[cell](in_channels, channels)


def _positive(x: Tensor) -> Tensor:
    """The function g: x + 1/2 for x >= 0, the logistic function elsewhere; both are 1/2 at 0."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))
