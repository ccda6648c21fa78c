"""The windows of training, validation and test under each rule of splitting."""

from __future__ import annotations

import math
from fractions import Fraction

from torch import Tensor

from stgraph.data.datamodule import STAGES
from stgraph.data.splits import split_by_ratio, split_windows, window_starts
from stgraph.errors import InputError

__all__ = ["split_starts"]


def split_starts(
    rule: str, shares: tuple[int, int, int], num_steps: int, input_steps: int, horizon: int
) -> dict[str, Tensor]:
    """Return the first steps of the windows of each stage (see :class:`~stgraph.tasks.protocols.Protocol`).

    >>> {stage: len(starts) for stage, starts in split_starts("windows_gap", (72, 8, 20), 34272, 12, 12).items()}
    {'train': 24648, 'val': 2728, 'test': 6849}
    """
    if rule == "steps":
        periods = split_by_ratio(num_steps, shares)
        parts = [window_starts(num_steps, input_steps, horizon, within=period) for period in periods]
        return dict(zip(STAGES, parts, strict=True))
    starts = window_starts(num_steps, input_steps, horizon)
    if rule == "windows":
        return split_windows(starts, shares)._asdict()
    train, val, test = (_test_rest if rule == "windows_test_rest" else _gap)(len(starts), shares, input_steps)
    named = dict(zip(STAGES, (starts[train], starts[val], starts[test]), strict=True))
    empty = [stage for stage, part in named.items() if len(part) == 0]
    if empty:
        raise InputError(f"{len(starts)} windows split by {shares} leave none for {' and '.join(empty)}")
    return named


def _test_rest(count: int, shares: tuple[int, int, int], input_steps: int) -> tuple[slice, slice, slice]:
    train, val = (round(Fraction(share, sum(shares)) * count) for share in shares[:2])
    return slice(0, train), slice(train, train + val), slice(train + val, count)


def _gap(count: int, shares: tuple[int, int, int], input_steps: int) -> tuple[slice, slice, slice]:
    """Cut off test, then validation from what is left, and drop P windows at the end of training and validation."""
    train, val, test = shares
    test_start = count - math.floor(Fraction(test, sum(shares)) * count)
    val_start = test_start - math.floor(Fraction(val, train + val) * test_start)
    return (
        slice(0, max(val_start - input_steps, 0)),
        slice(val_start, max(test_start - input_steps, val_start)),
        slice(test_start, count),
    )
