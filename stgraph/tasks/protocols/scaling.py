"""Mean and deviation of the training values as each protocol takes them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import torch
from torch import Tensor

from stgraph.data.datamodule import SeriesDataModule
from stgraph.models.base import Forecaster
from stgraph.nn.scalers import StandardScaler, unit_where_constant
from stgraph.tasks.protocols.protocol import Family, Protocol, check_family, get_protocol

__all__ = ["fit_under_protocol", "step_weights"]


def step_weights(
    protocol: Protocol, starts: Mapping[str, Tensor], num_steps: int, input_steps: int, family: Family = "speed"
) -> Tensor:
    """Return how often each step enters the statistics of the scaler, ``[T]``.

    Args:
        protocol: The protocol, whose scaler counts nulls as zeros.
        starts: First steps of the windows of each stage.
        num_steps: Number of steps T of the series.
        input_steps: Number of input steps P.
        family: Family of the data set.

    Example:
        >>> from stgraph.tasks.protocols import PROTOCOLS
        >>> starts = {"train": torch.arange(3), "val": torch.tensor([3]), "test": torch.tensor([4])}
        >>> step_weights(PROTOCOLS["dcrnn"], starts, 7, input_steps=2).tolist()
        [1.0, 2.0, 2.0, 1.0, 0.0, 0.0, 0.0]
    """
    train, steps = starts["train"], torch.arange(num_steps)
    if protocol.scaler == "train_windows":
        change = torch.zeros(num_steps + 1, dtype=torch.float64)
        change.index_add_(0, train, torch.ones_like(train, dtype=torch.float64))
        change.index_add_(0, train + input_steps, -torch.ones_like(train, dtype=torch.float64))
        return change[:-1].cumsum(0)
    if protocol.scaler == "before_validation":
        end = int(starts["val"].min()) - 1
    else:
        shares = protocol.shares[check_family(family)]
        end = math.floor(Fraction(shares[0], sum(shares)) * num_steps)
    return (steps < max(end, 1)).double()


@torch.no_grad()
def fit_under_protocol(
    model: Forecaster, datamodule: SeriesDataModule, protocol: str | Protocol | None, family: Family = "speed"
) -> None:
    """Give a fitted model the scaler that a protocol asks for.

    A standardising scaler gets the protocol's mean and deviation, of all training values with nulls as zeros. Other
    scalers keep what the model fitted to the observed values, as the harnesses standardise alone; so does the scaler
    under a protocol that takes observed values.

    Args:
        model: The model, after :meth:`~stgraph.models.Forecaster.fit`.
        datamodule: The data.
        protocol: The protocol or its name; ``None`` changes nothing.
        family: Family of the data set.
    """
    if protocol is None:
        return
    rule, scaler = get_protocol(protocol), model.scaler
    if rule.scaler == "observed" or type(scaler) is not StandardScaler:
        return
    x = datamodule.series.x
    weights = step_weights(rule, datamodule.starts, x.shape[1], datamodule.input_steps, family).to(x.device)
    used = weights.nonzero().flatten()
    period = slice(int(used[0]), int(used[-1]) + 1)
    values, weights = x[:, period].double(), (weights[period] / weights.sum()).view(1, -1, 1)
    nodes = (0,) if scaler.per == "channel" else ()
    center = (values * weights).sum(1, keepdim=True)
    center = center.mean(nodes, keepdim=True) if nodes else center
    variance = ((values - center).square() * weights).sum(1, keepdim=True)
    scale = (variance.mean(nodes, keepdim=True) if nodes else variance).sqrt()
    scaler.center.copy_(center)
    scaler.scale.copy_(unit_where_constant(scale, center))
