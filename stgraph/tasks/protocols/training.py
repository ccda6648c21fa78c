"""A series split, fed and masked as a protocol does it."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.data.datamodule import SeriesDataModule
from stgraph.errors import InputError
from stgraph.tasks.options import DataOptions
from stgraph.tasks.protocols.protocol import Family, Protocol, check_family

__all__ = ["as_inputs", "forward_fill", "protocol_datamodule"]

#: What a protocol fixes in place of these options.
_FIXED = ("test", "val_start", "test_start", "windows", "stride", "max_gap", "period_break")

_logger = logging.getLogger("stgraph")


def protocol_datamodule(
    series: Data, options: DataOptions, seed: int, protocol: Protocol, family: Family
) -> SeriesDataModule:
    """Split a series into windows as a protocol does it, and feed and mask them so.

    The protocol's shares take the place of ``data.split``. Inputs carry no mask: a null is the value 0, or the last
    observed one. Training and validation count the targets that the protocol's loss counts; the test keeps the observed
    ones, so that its forecasts can be scored under any protocol.

    Args:
        series: The series, 0 where unobserved.
        options: The data options.
        seed: Seed of the order of the windows.
        protocol: The protocol; not ``strict``, which takes its split from the options.
        family: Family of the data set.

    Raises:
        InputError: If an option asks for other periods or windows, or a part has no window.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    for name in _FIXED:
        if getattr(options, name) != defaults[name]:
            raise InputError(
                f"data.{name} is {getattr(options, name)!r}, but the protocol {protocol.name!r} fixes the split; "
                f"leave data.{name} out or use the protocol 'strict'"
            )
    shares = list(protocol.shares[check_family(family)])
    if options.split is not None and _proportions(options.split) != _proportions(shares):
        _logger.warning("the protocol %s splits %s, not %s", protocol.name, shares, options.split)
    if options.input_steps is None or options.horizon is None:
        raise InputError("input_steps and horizon are not set; call resolve_data first")
    loss_mask = _loss_mask(series, protocol, family)
    series, input_mask = as_inputs(series, protocol, family)
    return SeriesDataModule(
        series,
        input_steps=options.input_steps,
        horizon=options.horizon,
        starts=protocol.starts(series.x.shape[1], options.input_steps, options.horizon, family),
        batch_size=options.batch_size,
        seed=seed,
        input_mask=input_mask,
        loss_mask=loss_mask,
    )


def as_inputs(series: Data, protocol: Protocol, family: Family) -> tuple[Data, bool]:
    """Return a series whose unobserved values are what a protocol feeds to models, and whether they see the mask."""
    rule = protocol.inputs[family]
    if rule == "forward_fill":
        series = copy.copy(series)
        series.x = forward_fill(series.x, series.get("mask"))
    return series, rule == "mask"


def _proportions(shares: Sequence[float]) -> list[Fraction]:
    exact = [Fraction(str(share)) for share in shares]
    return [share / (sum(exact) or 1) for share in exact]


def _loss_mask(series: Data, protocol: Protocol, family: Family) -> Tensor | None:
    """Return which values count as targets of the loss; ``None`` for the observed ones."""
    if family in protocol.loss_unmasked:
        # A view of one entry: it takes no memory, however long the series.
        return torch.ones(1, 1, 1, dtype=torch.bool).expand(series.x.shape)
    if protocol.nulls == "mask":
        return None
    # Unobserved values are 0, the null of the traffic sets.
    counted: Tensor = series.x.abs() > protocol.tolerance
    return counted


def forward_fill(x: Tensor, mask: Tensor | None) -> Tensor:
    """Put the last observed value of the node in the place of each unobserved one; before the first, 0.

    >>> x = torch.tensor([0.0, 5.0, 0.0, 7.0]).view(1, 4, 1)
    >>> forward_fill(x, x > 0).flatten().tolist()
    [0.0, 5.0, 5.0, 7.0]
    """
    if mask is None:
        return x
    step = torch.arange(x.shape[1]).view(1, -1, 1)
    last = torch.where(mask, step, -1).cummax(dim=1).values
    return torch.where(last >= 0, x.gather(1, last.clamp(min=0)), 0.0)
