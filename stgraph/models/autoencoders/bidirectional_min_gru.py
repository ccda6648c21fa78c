"""Recurrent states of both directions that predict each point of a long series from the points around it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stgraph.errors import InputError, InputTypeError
from stgraph.models.autoencoders.base import Autoencoder
from stgraph.models.autoencoders.sequences import check_padding, check_sequence, sequence_times, zero_padding
from stgraph.nn.log_period_encoding import LogPeriodEncoding, time_since_first
from stgraph.nn.min_gru import make_recurrence

__all__ = ["BidirectionalMinGRU"]

# The metadata pass through three hidden layers of this width.
_METADATA_WIDTHS = (128, 128, 128)
_METADATA_EMBEDDING = 32
# Sines and cosines of this many channels are mixed to the learned encoding of the time.
_WAVES = 32
# Predicted variances lie between exp(-15) and exp(15) in the unit of scaled series.
_LOG_VARIANCE = 15.0


class BidirectionalMinGRU(Autoencoder):
    r"""Minimal recurrent networks in both directions at full resolution, for series of tens of thousands of points.

    The channels of each point, a learned encoding of its time and, optionally, embeddings of metadata and of spectra
    make the input of two stacks of minimal recurrent layers (Feng et al., "Were RNNs all we needed?", 2024), one for
    each direction. A layer but the last adds its states to its input. :meth:`predict` tells each point from the
    forward state k steps before it, the backward state k steps after it, the time that has passed since the last
    point that each has seen, and the time of the point: it never sees the point itself. Trained with
    :class:`~stgraph.nn.bounded_horizon.BoundedHorizonLoss`, it fills gaps and, at the end of a series, continues it.

    With flux and error, a hidden size of 64 and 13 metadata fields there are 88 938 parameters.

    Args:
        hidden_channels: Number of features of the state of each direction.
        num_layers: Number of recurrent layers of each direction.
        cell: ``"gru"`` or ``"lstm"``.
        time_channels: Width of the learned encoding of the time since the first point.
        metadata_channels: Number of metadata of each series, such as 13 properties of a star; 0 for none.
        spectral_channels: Width of an embedding of the spectra of each series; 0 for none. It joins the input of
            every step through a linear layer, which is the same as adding a projection of it.
        in_channels: Number of input channels, such as flux and error.
        out_channels: Number of values that are predicted.

    Shapes:
        - **x:** :math:`(B, L, C_{in})`, time :math:`(B, L)` or :math:`(L)` in days, best in float64; positions
          :math:`0 \ldots L - 1` without. key_padding_mask :math:`(B, L)`, True at points to skip: padding, and gaps
          of a common sampling. metadata :math:`(B, M)`, spectral :math:`(B, S)`
        - **output:** ``reconstructed`` and ``log_variance`` :math:`(B, L, C_{out})`, mean and logarithm of the
          variance at horizon 1; ``forward_states`` and ``backward_states`` :math:`(B, L, d)`, which have seen the
          points up to, or from, their own; ``encoded`` :math:`(B, L, 2 d)`, both states. All but the states are 0
          where points are skipped.

    Raises:
        InputError: If a size is below 1, an option has no such value, or the input does not fit.

    Examples:
        >>> model = BidirectionalMinGRU(hidden_channels=8)
        >>> x, time = torch.zeros(3, 10, 2), torch.arange(10, dtype=torch.float64)
        >>> output = model(x, time)
        >>> output["reconstructed"].shape, output["encoded"].shape
        (torch.Size([3, 10, 1]), torch.Size([3, 10, 16]))
        >>> mean, log_variance = model.predict(output, 4, time)
        >>> mean.shape
        torch.Size([3, 10, 1])
    """

    bidirectional = True
    predicts_variance = True

    def __init__(
        self,
        hidden_channels: int = 64,
        num_layers: int = 2,
        cell: str = "gru",
        time_channels: int = 8,
        *,
        metadata_channels: int = 0,
        spectral_channels: int = 0,
        in_channels: int = 2,
        out_channels: int = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, 2 * hidden_channels)
        for name, value, least in (
            ("num_layers", num_layers, 1),
            ("time_channels", time_channels, 1),
            ("metadata_channels", metadata_channels, 0),
            ("spectral_channels", spectral_channels, 0),
        ):
            if value < least:
                raise InputError(f"{name} is {value}; expected at least {least}")
        self.hidden_channels, self.num_layers, self.cell = hidden_channels, num_layers, cell
        self.metadata_channels, self.spectral_channels = metadata_channels, spectral_channels
        self.waves = LogPeriodEncoding(_WAVES)
        self.lin_time = nn.Linear(_WAVES, time_channels)
        self.metadata_encoder: nn.Sequential | None = None
        width = in_channels + time_channels + spectral_channels
        if metadata_channels:
            self.metadata_encoder = _mlp(metadata_channels, *_METADATA_WIDTHS, _METADATA_EMBEDDING)
            width += _METADATA_EMBEDDING
        self.lin_in = nn.Linear(width, hidden_channels)
        self.forward_stack = _Stack(hidden_channels, num_layers, cell, reverse=False)
        self.backward_stack = _Stack(hidden_channels, num_layers, cell, reverse=True)
        # Both states, the time of the point and the two distances.
        features = 2 * hidden_channels + time_channels + 2
        self.head = _mlp(features, hidden_channels, hidden_channels, 2 * out_channels)

    def forward(
        self,
        x: Tensor,
        time: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        *,
        metadata: Tensor | None = None,
        spectral: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the states and the prediction of each point from its neighbours."""
        check_sequence(x, self.in_channels)
        check_padding(key_padding_mask, x)
        time = sequence_times(time, x)
        parts = [zero_padding(x, key_padding_mask), self._encode_time(time, key_padding_mask).to(x.dtype)]
        _check_extra("metadata", metadata, x, self.metadata_channels)
        _check_extra("spectral", spectral, x, self.spectral_channels)
        if metadata is not None and self.metadata_encoder is not None:
            metadata = self.metadata_encoder(metadata)
        parts += [extra.unsqueeze(1).expand(-1, x.shape[1], -1) for extra in (metadata, spectral) if extra is not None]
        h = self.lin_in(torch.cat(parts, dim=-1))
        states = {
            "forward_states": self.forward_stack(h, key_padding_mask),
            "backward_states": self.backward_stack(h, key_padding_mask),
        }
        mean, log_variance = self.predict(states, 1, time, key_padding_mask)
        both = torch.cat([states["forward_states"], states["backward_states"]], dim=-1)
        return {
            "reconstructed": mean,
            "log_variance": log_variance,
            "encoded": zero_padding(both, key_padding_mask),
            **states,
        }

    def predict(
        self,
        states: Mapping[str, Tensor],
        horizon: int,
        time: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Predict each point from the states ``horizon`` steps before and after it.

        Args:
            states: ``forward_states`` and ``backward_states`` of the output.
            horizon: Distance of the states in steps. Where a series has no step there, the state is 0.
            time: Times in days, as in the forward pass.
            key_padding_mask: True at points that were skipped.

        Returns:
            The means and the logarithms of the variances, ``[B, L, C_out]`` each, 0 at padding.
        """
        if horizon < 1:
            raise InputError(f"horizon is {horizon}; expected at least 1")
        forward_states, backward_states = states["forward_states"], states["backward_states"]
        time = sequence_times(time, forward_states)
        features = [
            _delay(forward_states, horizon),
            _advance(backward_states, horizon),
            self._encode_time(time, key_padding_mask).to(forward_states.dtype),
            _log_distances(time, horizon, key_padding_mask, self.waves.min_period).to(forward_states.dtype),
        ]
        mean, log_variance = self.head(torch.cat(features, dim=-1)).chunk(2, dim=-1)
        log_variance = log_variance.clamp(-_LOG_VARIANCE, _LOG_VARIANCE)
        return zero_padding(mean, key_padding_mask), zero_padding(log_variance, key_padding_mask)

    def extra_repr(self) -> str:
        """Show the sizes and options."""
        return (
            f"hidden_channels={self.hidden_channels}, num_layers={self.num_layers}, cell={self.cell!r}, "
            f"in_channels={self.in_channels}, out_channels={self.out_channels}"
        )

    def _encode_time(self, time: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        encoded: Tensor = self.lin_time(self.waves(time, key_padding_mask).to(self.lin_time.weight.dtype))
        return encoded


class _Stack(nn.Module):
    """The recurrent layers of one direction."""

    def __init__(self, channels: int, num_layers: int, cell: str, *, reverse: bool) -> None:
        super().__init__()
        self.reverse = reverse
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(num_layers))
        self.cells = nn.ModuleList(make_recurrence(cell, channels, channels) for _ in range(num_layers))

    def forward(self, h: Tensor, key_padding_mask: Tensor | None) -> Tensor:
        """Return the states of the last layer, which keep their value where points are skipped."""
        states = h
        for norm, cell in zip(self.norms, self.cells, strict=True):
            states = cell(norm(h), key_padding_mask, reverse=self.reverse)
            h = h + states
        return states


def _mlp(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with GELU between them."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.GELU()]
    return nn.Sequential(*layers[:-1])


def _delay(x: Tensor, steps: int, value: float = 0.0) -> Tensor:
    """Entry i becomes entry i - steps of ``[B, L, d]``."""
    steps = min(steps, x.shape[1])
    return F.pad(x[:, : x.shape[1] - steps], (0, 0, steps, 0), value=value)


def _advance(x: Tensor, steps: int, value: float = 0.0) -> Tensor:
    """Entry i becomes entry i + steps of ``[B, L, d]``."""
    steps = min(steps, x.shape[1])
    return F.pad(x[:, steps:], (0, 0, 0, steps), value=value)


def _log_distances(time: Tensor, horizon: int, key_padding_mask: Tensor | None, unit: float) -> Tensor:
    """log(1 + time / unit) from the last and to the next point that the states have seen; 0 without one."""
    time = time_since_first(time, key_padding_mask).unsqueeze(-1)
    before = after = time
    if key_padding_mask is not None:
        skipped = key_padding_mask.unsqueeze(-1)
        before = time.masked_fill(skipped, -math.inf).cummax(dim=1).values
        after = time.masked_fill(skipped, math.inf).flip(1).cummin(dim=1).values.flip(1)
    passed = time - _delay(before, horizon, -math.inf)
    coming = _advance(after, horizon, math.inf) - time
    distances = torch.cat([passed, coming], dim=-1)
    return torch.log1p(distances.masked_fill(distances.isinf(), 0).clamp_min(0) / unit)


def _check_extra(name: str, value: Tensor | None, x: Tensor, channels: int) -> None:
    """Require numbers ``[B, channels]`` exactly if the model was made for them."""
    expected = (x.shape[0], channels) if channels else None
    found = None if value is None else tuple(value.shape)
    if found != expected:
        raise InputError(f"{name} has shape {found}; expected {expected}")
    if value is not None and value.dtype != x.dtype:
        raise InputTypeError(f"{name} has dtype {value.dtype}; expected that of x, {x.dtype}")
