"""Pooling of a sequence of latent features to one vector, from its real positions alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["POOLING_MODES", "pool_sequence", "pooled_channels"]

#: Number of segments of the multi-scale pooling.
_SEGMENTS = 4


def pool_sequence(
    h: Tensor, mode: str = "mean", *, key_padding_mask: Tensor | None = None, bidirectional: bool = False
) -> Tensor:
    r"""Pool a sequence of features to one vector for each row of a batch.

    Padding never enters, whatever it holds, and may stand anywhere; the real positions count in their order. A row
    without a real position gives 0. With :math:`n` real positions :math:`h_0 \dots h_{n-1}` the modes give

    - ``"mean"``: their mean;
    - ``"final"``: :math:`h_{n-1}`; with ``bidirectional``, whose first half of the channels is a forward and second
      half a backward recurrence, the forward half of :math:`h_{n-1}` and the backward half of :math:`h_0`;
    - ``"max"``: the largest value of each channel;
    - ``"multiscale"``: 12 vectors, one after another: mean, standard deviation, maximum, minimum; means of four equal
      segments, of which number :math:`s` holds positions :math:`\lfloor sn/4 \rfloor` to
      :math:`\lceil (s+1)n/4 \rceil - 1`, so that none is empty; :math:`h_0`, :math:`h_{n-1}`; mean and standard
      deviation of the differences :math:`h_{i+1} - h_i`, 0 where :math:`n = 1`;
    - ``"flatten"``: all positions one after another, 0 at padding.

    Standard deviations are those of the population (divided by :math:`n`).

    Args:
        h: Features of each position.
        mode: ``"mean"``, ``"final"``, ``"max"``, ``"multiscale"`` or ``"flatten"``.
        key_padding_mask: True at padding; ``None`` where all positions are real.
        bidirectional: Whether the halves of the channels run in opposite directions; only for ``"final"``.

    Shapes:
        - **h:** :math:`(B, L, H)`, **key_padding_mask:** :math:`(B, L)`
        - **output:** :math:`(B, H)`, :math:`(B, 12 H)` for ``"multiscale"``, :math:`(B, L H)` for ``"flatten"``

    Raises:
        InputError: If the mode is unknown, or a shape does not fit.
        InputTypeError: If the mask is not of booleans.

    Examples:
        >>> import torch
        >>> h = torch.tensor([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]])
        >>> padding = torch.tensor([[False, False, True]])
        >>> pool_sequence(h, "mean", key_padding_mask=padding)
        tensor([[2., 3.]])
        >>> pool_sequence(h, "final", key_padding_mask=padding, bidirectional=True)
        tensor([[3., 4.]])
        >>> pool_sequence(h, "multiscale", key_padding_mask=padding).shape
        torch.Size([1, 24])
    """
    _check(h, mode, key_padding_mask, bidirectional)
    if key_padding_mask is None:
        count = torch.full((h.shape[0],), h.shape[1], device=h.device)
    else:
        h = h.masked_fill(key_padding_mask.unsqueeze(-1), 0.0)
        count = h.shape[1] - key_padding_mask.sum(dim=1)
    if mode == "flatten":
        return h.flatten(1)
    if key_padding_mask is not None:
        # The real positions come first, in their order.
        order = key_padding_mask.long().argsort(dim=1, stable=True)
        h = h.gather(1, order.unsqueeze(-1).expand_as(h))
    if mode == "final" and bidirectional:
        half = h.shape[-1] // 2
        return torch.cat([_last(h, count)[:, :half], h[:, 0, half:]], dim=-1)
    return _POOLINGS[mode](h, count)


def pooled_channels(mode: str, channels: int, steps: int = 1) -> int:
    """Return the number of channels that :func:`pool_sequence` gives.

    Args:
        mode: As for :func:`pool_sequence`.
        channels: Number of channels of each position.
        steps: Number of positions, which counts for ``"flatten"`` alone.

    Raises:
        InputError: If the mode is unknown.

    >>> pooled_channels("multiscale", 64), pooled_channels("flatten", 64, steps=32)
    (768, 2048)
    """
    _check_mode(mode)
    return channels * {"multiscale": 12, "flatten": steps}.get(mode, 1)


def _check_mode(mode: str) -> None:
    if mode not in POOLING_MODES:
        raise InputError(f"mode is {mode!r}; expected one of {list(POOLING_MODES)}")


def _check(h: Tensor, mode: str, key_padding_mask: Tensor | None, bidirectional: bool) -> None:
    _check_mode(mode)
    if h.dim() != 3 or h.shape[1] == 0:
        raise InputError(f"h has shape {tuple(h.shape)}; expected (B, L, H) with at least one position")
    if key_padding_mask is not None:
        if key_padding_mask.dtype != torch.bool:
            raise InputTypeError(f"key_padding_mask is of {key_padding_mask.dtype}; expected torch.bool")
        if key_padding_mask.shape != h.shape[:2]:
            raise InputError(
                f"key_padding_mask has shape {tuple(key_padding_mask.shape)}; expected {tuple(h.shape[:2])}"
            )
    if bidirectional and mode != "final":
        raise InputError(f"bidirectional is for mode 'final'; mode is {mode!r}")
    if bidirectional and h.shape[-1] % 2:
        raise InputError(f"h has {h.shape[-1]} channels; a bidirectional one has an even number")


# Each of these takes h [B, L, H] with the real positions first and 0 after them, and their number [B].


def _mean(h: Tensor, count: Tensor) -> Tensor:
    return h.sum(dim=1) / count.clamp_min(1).unsqueeze(-1)


def _last(h: Tensor, count: Tensor) -> Tensor:
    return h[torch.arange(h.shape[0], device=h.device), (count - 1).clamp_min(0)]


def _max(h: Tensor, count: Tensor) -> Tensor:
    largest = h.masked_fill(_beyond(h, count), -torch.inf).amax(dim=1)
    return largest.masked_fill((count == 0).unsqueeze(-1), 0.0)


def _multiscale(h: Tensor, count: Tensor) -> Tensor:
    mean = _mean(h, count)
    difference = (h[:, 1:] - h[:, :-1]).masked_fill(_beyond(h[:, 1:], count - 1), 0.0)
    steps = (count - 1).clamp_min(0)
    change = _mean(difference, steps)
    return torch.cat(
        [
            mean,
            _deviation(h, mean, count),
            _max(h, count),
            -_max(-h, count),
            _segment_means(h, count).flatten(1),
            h[:, 0],
            _last(h, count),
            change,
            _deviation(difference, change, steps),
        ],
        dim=-1,
    )


def _beyond(h: Tensor, count: Tensor) -> Tensor:
    return (torch.arange(h.shape[1], device=h.device) >= count.unsqueeze(-1)).unsqueeze(-1)


def _deviation(h: Tensor, mean: Tensor, count: Tensor) -> Tensor:
    square = (h - mean.unsqueeze(1)).masked_fill(_beyond(h, count), 0.0).square()
    variance = _mean(square, count)
    # The gradient of the root is infinite at 0.
    positive = variance > 0
    return torch.where(positive, torch.where(positive, variance, 1.0).sqrt(), 0.0)


def _segment_means(h: Tensor, count: Tensor) -> Tensor:
    """Means [B, 4, H] of four equal segments of the real positions."""
    segment = torch.arange(_SEGMENTS, device=h.device)
    number = count.unsqueeze(-1)
    first = segment * number // _SEGMENTS
    end = ((segment + 1) * number + _SEGMENTS - 1) // _SEGMENTS
    position = torch.arange(h.shape[1], device=h.device)
    inside = (position >= first.unsqueeze(-1)) & (position < end.unsqueeze(-1))  # [B, 4, L]
    return inside.to(h.dtype) @ h / (end - first).clamp_min(1).unsqueeze(-1)


_POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mean": _mean,
    "final": _last,
    "max": _max,
    "multiscale": _multiscale,
}

#: Every way to pool a sequence.
POOLING_MODES: tuple[str, ...] = (*_POOLINGS, "flatten")
