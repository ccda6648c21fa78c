"""ConvLSTM: recurrent networks whose states are images, for series on grids."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.models.baselines.checks import at_least
from stgraph.models.baselines.neural import NeuralBaseline

__all__ = ["ConvLSTM", "ConvLSTMLayer", "as_images"]


def as_images(x: Tensor, batch: Data) -> Tensor:
    """Turn values of the cells of a grid ``[B, N, P, C]`` into images ``[B, P, C, H, W]``.

    Raises:
        InputError: If the batch has no grid, or one of another number of cells.

    Examples:
        >>> as_images(torch.zeros(2, 12, 5, 1), Data(grid=(3, 4))).shape
        torch.Size([2, 5, 1, 3, 4])
    """
    grid = batch.get("grid")
    if grid is None:
        raise InputError("the batch has no grid, and this model needs values on a regular grid (H, W)")
    height, width = (int(size) for size in grid)
    if height * width != x.shape[1]:
        raise InputError(f"batch.grid is {(height, width)}; expected {x.shape[1]} cells, as batch.x has nodes")
    cells: Tensor = x.unflatten(1, (height, width))
    return cells.permute(0, 3, 4, 1, 2)


class ConvLSTMLayer(nn.Module):
    r"""A recurrent layer with peepholes whose input, cells and outputs are images.

    .. math::
        i_t &= \sigma(W_{xi} * X_t + W_{hi} * H_{t-1} + w_{ci} \odot C_{t-1} + b_i) \\
        f_t &= \sigma(W_{xf} * X_t + W_{hf} * H_{t-1} + w_{cf} \odot C_{t-1} + b_f) \\
        C_t &= f_t \odot C_{t-1} + i_t \odot \tanh(W_{xc} * X_t + W_{hc} * H_{t-1} + b_c) \\
        o_t &= \sigma(W_{xo} * X_t + W_{ho} * H_{t-1} + w_{co} \odot C_t + b_o) \\
        H_t &= o_t \odot \tanh(C_t)

    Convolutions see zeros outside the image. A peephole has one weight per channel, as the parameter counts of the
    paper tell.

    Args:
        in_channels: Number of channels F of the input; 0 for a layer that has no input.
        hidden_channels: Number of channels F' of the state.
        input_kernel: Side of the convolution of the input, an odd number.
        state_kernel: Side of the convolution of the state, an odd number.

    Shapes:
        - **x:** ``[B, T, F, H, W]``, or ``None``
        - **state:** two images ``[B, F', H, W]``, the output and the cells; zeros if absent
        - **output:** ``[B, T, F', H, W]`` and the last state

    Examples:
        >>> layer = ConvLSTMLayer(2, 5, input_kernel=3, state_kernel=3)
        >>> layer(torch.zeros(1, 4, 2, 6, 7))[0].shape
        torch.Size([1, 4, 5, 6, 7])
    """

    def __init__(self, in_channels: int, hidden_channels: int, *, input_kernel: int, state_kernel: int) -> None:
        super().__init__()
        self.hidden_channels = hidden_channels
        self.bias = nn.Parameter(torch.zeros(4 * hidden_channels, 1, 1))
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_channels, 1, 1))
        self.from_input = _convolution(in_channels, hidden_channels, input_kernel) if in_channels else None
        self.from_state = _convolution(hidden_channels, hidden_channels, state_kernel)

    def forward(
        self, x: Tensor | None, state: tuple[Tensor, Tensor] | None = None, steps: int = 0
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs of all steps of ``x``, or of ``steps`` steps without input, and the last state."""
        if x is None or self.from_input is None:
            inputs = [self.bias] * steps
        else:
            mapped = self.from_input(x.flatten(0, 1)) + self.bias  # all steps at once
            inputs = list(mapped.unflatten(0, x.shape[:2]).unbind(1))
        if state is None:
            zeros = torch.zeros_like(inputs[0][:, : self.hidden_channels])
            state = zeros, zeros
        output, cells = state
        to_enter, to_forget, to_leave = self.peepholes
        outputs = []
        for step in inputs:
            enter, forget, new, leave = (step + self.from_state(output)).chunk(4, dim=1)
            enter, forget = torch.sigmoid(enter + to_enter * cells), torch.sigmoid(forget + to_forget * cells)
            cells = forget * cells + enter * torch.tanh(new)
            output = torch.sigmoid(leave + to_leave * cells) * torch.tanh(cells)
            outputs.append(output)
        return torch.stack(outputs, dim=1), (output, cells)


class ConvLSTM(NeuralBaseline):
    r"""An encoder and a forecaster of stacked convolutional LSTM layers, for series on grids.

    The encoder reads the P input steps. The forecaster has the same layers in reverse order and starts from their last
    states; its first layer has no input. A linear map of the outputs of all its layers gives each of the Q steps. No
    parameter depends on the size of the grid. The paper cuts its images into patches, whose pixels become channels;
    here a cell of the grid is one pixel.

    From Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting",
    NeurIPS 2015.

    Args:
        in_channels: Number of channels C of the input.
        input_steps: Number of input steps P.
        horizon: Number of forecast steps Q.
        num_nodes: Taken as every forecaster takes it; the model is the same for every number of nodes.
        out_channels: Number of channels of the forecast, the first ones of the input; all by default.
        steps_per_cycle: Taken as every forecaster takes it; the model uses no calendar.
        scaler: Name of the scaler (see :func:`stgraph.nn.make_scaler`).
        hidden_channels: Number of channels of each layer of the encoder, from the input on.
        input_kernel: Side of the convolutions of the inputs, an odd number.
        state_kernel: Side of the convolutions of the states, an odd number.

    Shapes:
        - **batch:** ``x`` :math:`(B, N, P, C)`, ``grid`` :math:`(H, W)` with :math:`N = H W` cells, row-major,
          optionally ``x_mask``
        - **output:** :math:`(B, N, Q, C_{out})`

    Raises:
        InputError: If a value is out of range, or the data is no grid.

    Examples:
        >>> model = ConvLSTM(in_channels=2, input_steps=4, horizon=3, hidden_channels=[8, 6])
        >>> model.predict(torch.zeros(2, 30, 4, 2), grid=(5, 6)).shape
        torch.Size([2, 30, 3, 2])
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
        hidden_channels: Sequence[int] = (64, 64),
        input_kernel: int = 3,
        state_kernel: int = 3,
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
        widths = list(hidden_channels)
        if not widths or min(widths) < 1:
            raise InputError(f"hidden_channels is {widths}; expected a width of at least 1 for each layer")
        kernels = {"input_kernel": input_kernel, "state_kernel": state_kernel}
        at_least(1, **kernels)
        for name, value in kernels.items():
            if value % 2 == 0:
                raise InputError(f"{name} is {value}; expected an odd number")
        self.encoder = nn.ModuleList(
            ConvLSTMLayer(before, width, input_kernel=input_kernel, state_kernel=state_kernel)
            for before, width in zip([in_channels, *widths], widths, strict=False)
        )
        back = widths[::-1]
        self.forecaster = nn.ModuleList(
            ConvLSTMLayer(before, width, input_kernel=input_kernel, state_kernel=state_kernel)
            for before, width in zip([0, *back], back, strict=False)
        )
        self.head = nn.Conv2d(sum(widths), self.out_channels, 1)

    def forecast(self, x: Tensor, batch: Data) -> Tensor:
        """Return the scaled forecast ``[B, N, Q, C_out]``."""
        images = as_images(x, batch)
        windows, (height, width) = images.shape[0], images.shape[-2:]
        states = []
        for layer in self.encoder:
            images, state = layer(images)
            states.append(state)
        outputs: list[Tensor] = []
        for layer, state in zip(self.forecaster, reversed(states), strict=True):
            outputs.append(layer(outputs[-1] if outputs else None, state, self.horizon)[0])
        maps: Tensor = self.head(torch.cat(outputs, dim=2).flatten(0, 1))
        forecast = maps.view(windows, self.horizon, self.out_channels, height, width)
        return forecast.permute(0, 3, 4, 1, 2).flatten(1, 2)


def _convolution(in_channels: int, hidden_channels: int, kernel: int) -> nn.Conv2d:
    # The layer adds the one bias of each gate itself, also where there is no input.
    return nn.Conv2d(in_channels, 4 * hidden_channels, kernel, padding=kernel // 2, bias=False)
