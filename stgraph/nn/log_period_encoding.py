"""Encoding of irregular times by sines and cosines of many periods."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stgraph.errors import InputError

__all__ = ["LogPeriodEncoding", "time_since_first"]


class LogPeriodEncoding(nn.Module):
    r"""Encode the times of irregular series by waves whose periods are spaced evenly in their logarithm.

    .. math::
        e_{2j} = s \sin(2 \pi t / P_j), \quad e_{2j + 1} = s \cos(2 \pi t / P_j), \qquad
        P_j = P_{min} (P_{max} / P_{min})^{j / (d / 2 - 1)}

    The time :math:`t` is counted from the first real point of each series. The difference and the number of turns are
    taken in float64, as a Julian date of 2 454 833 days in float32 is known to a quarter of a day only; so a shift of
    all times does not change the encoding.

    Args:
        channels: Width d of the encoding, even.
        min_period: Shortest period in days; 0.00278 days are four minutes.
        max_period: Longest period in days; 1640 days are 4.5 years.
        learned_scale: Learn the factor s, which is 1 otherwise and at the start.

    Shapes:
        - **input:** times in days :math:`(..., L)`, key_padding_mask :math:`(..., L)`, True at padding
        - **output:** :math:`(..., L, d)`, in float32, or the wider dtype of the learned scale

    Raises:
        InputError: If the width is odd or below 2, or the periods are not ``0 < min_period < max_period``.

    Examples:
        >>> import torch
        >>> encoding = LogPeriodEncoding(4, min_period=1.0, max_period=100.0)
        >>> time = torch.tensor([0.0, 0.25, 3.5], dtype=torch.float64)
        >>> encoding(time).shape
        torch.Size([3, 4])
        >>> bool((encoding(time + 2454833) == encoding(time)).all())
        True
    """

    scale: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        min_period: float = 0.00278,
        max_period: float = 1640.0,
        *,
        learned_scale: bool = False,
    ) -> None:
        super().__init__()
        if channels < 2 or channels % 2:
            raise InputError(f"channels is {channels}; expected an even number of at least 2")
        if not (0 < min_period < max_period and math.isfinite(max_period)):
            raise InputError(
                f"min_period is {min_period} and max_period {max_period}; expected 0 < min_period < max_period < inf"
            )
        self.channels = channels
        self.min_period, self.max_period = float(min_period), float(max_period)
        self.register_parameter("scale", nn.Parameter(torch.ones(())) if learned_scale else None)

    def reset_parameters(self) -> None:
        """Set the scale to 1."""
        if self.scale is not None:
            nn.init.ones_(self.scale)

    def periods(self, device: torch.device | None = None) -> Tensor:
        """Return the periods in days, ``[channels / 2]`` in float64."""
        # Made on the spot: a buffer would be rounded when the module is brought to a lower precision.
        low, high = math.log(self.min_period), math.log(self.max_period)
        return torch.linspace(low, high, self.channels // 2, dtype=torch.float64, device=device).exp()

    def forward(self, time: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
        """Encode times in days.

        Args:
            time: Times of each series.
            key_padding_mask: True at padding, whose times do not matter.
        """
        turns = time_since_first(time, key_padding_mask).unsqueeze(-1) / self.periods(time.device)
        # Whole turns are dropped before the precision is: a million of them would leave no phase in float32.
        angle = (2 * math.pi * turns.remainder(1)).to(torch.float32 if self.scale is None else self._dtype())
        waves = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)
        return waves if self.scale is None else self.scale * waves

    def extra_repr(self) -> str:
        """Show the width and the periods."""
        scaled = ", learned_scale=True" if self.scale is not None else ""
        return f"{self.channels}, min_period={self.min_period}, max_period={self.max_period}{scaled}"

    def _dtype(self) -> torch.dtype:
        assert self.scale is not None
        return torch.promote_types(self.scale.dtype, torch.float32)


def time_since_first(time: Tensor, key_padding_mask: Tensor | None = None) -> Tensor:
    """Return the times since the first real point of each series, in float64; 0 at padding.

    Args:
        time: Times ``[..., L]`` in any unit.
        key_padding_mask: True at padding, ``[..., L]``.

    Raises:
        InputError: If the mask has another shape than the times.

    Examples:
        >>> time_since_first(torch.tensor([100.0, 101.5, 0.0]), torch.tensor([False, False, True]))
        tensor([0.0000, 1.5000, 0.0000], dtype=torch.float64)
    """
    time = time.double()
    if key_padding_mask is None:
        return time - time[..., :1]
    if key_padding_mask.shape != time.shape:
        raise InputError(f"key_padding_mask has shape {tuple(key_padding_mask.shape)}; expected {tuple(time.shape)}")
    first = (~key_padding_mask).to(torch.uint8).argmax(dim=-1, keepdim=True)
    return (time - time.gather(-1, first)).masked_fill(key_padding_mask, 0)
