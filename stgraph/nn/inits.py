"""Initialisation of parameters that are not held by a :class:`torch.nn.Linear`."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["uniform_fan_in"]


@torch.no_grad()
def uniform_fan_in(*parameters: Tensor, fan_in: int) -> None:
    """Fill tensors uniformly within one over the square root of ``fan_in``, as :class:`torch.nn.Linear` does.

    >>> weight = torch.empty(2, 4)
    >>> uniform_fan_in(weight, fan_in=4)
    >>> bool((weight.abs() <= 0.5).all())
    True
    """
    bound = fan_in**-0.5
    for parameter in parameters:
        parameter.uniform_(-bound, bound)
