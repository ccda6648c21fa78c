"""A long short-term memory on each node's window, with weights shared by all nodes."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["LSTM"]


class LSTM(NeuralBaseline):
    """A recurrent network that sees one node at a time, in the form of the LargeST benchmark.

    Values, the place in the day and the weekday of each step are embedded linearly; a stack of LSTM layers reads the
    window; a perceptron with one hidden layer maps the last output to the Q steps.

    From Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 1997; layout after Liu et al.,
    "LargeST: a benchmark dataset for large-scale traffic forecasting", NeurIPS 2023.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Number of nodes; the model is the same for every number of them.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Number of time steps of a day, or of a year where a step lasts a day or longer; 1 where the
            series has no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        embed_channels: Width of the embedding of a step.
        hidden_channels: Width of the LSTM layers.
        end_channels: Width of the hidden layer of the output.
        num_layers: Number of LSTM layers.
        dropout: Probability with which an output between two LSTM layers is dropped in training.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, optionally ``x_time`` :math:`(B, P)` and ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range.

    Examples:
        >>> import torch
        >>> model = LSTM(in_channels=1, input_steps=12, horizon=12, steps_per_cycle=96)
        >>> sum(p.numel() for p in model.parameters())
        97932
        >>> model.predict(torch.zeros(2, 5, 12, 1)).shape
        torch.Size([2, 5, 12, 1])
    """

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
        embed_channels: int = 32,
        hidden_channels: int = 64,
        end_channels: int = 512,
        num_layers: int = 2,
        dropout: float = 0.1,
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
        at_least(1, embed_channels=embed_channels, hidden_channels=hidden_channels)
        at_least(1, end_channels=end_channels, num_layers=num_layers)
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}; expected 0 <= dropout < 1")
        self.embed = nn.Linear(in_channels + 2, embed_channels)
        # PyTorch warns of a dropout that has no second layer to act before.
        between = dropout if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(embed_channels, hidden_channels, num_layers, batch_first=True, dropout=between)
        self.head = nn.Sequential(
            nn.Linear(hidden_channels, end_channels),
            nn.ReLU(),
            nn.Linear(end_channels, horizon * self.out_channels),
        )

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        windows, nodes = x.shape[:2]
        steps = self.embed(self.with_calendar(x, batch, weekday=True)).flatten(0, 1)
        last = self.lstm(steps)[0][:, -1]
        forecast: Tensor = self.head(last).view(windows, nodes, self.horizon, self.out_channels)
        return forecast
