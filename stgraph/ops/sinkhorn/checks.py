"""What a transport problem must satisfy before it is solved."""

from __future__ import annotations

import math
import numbers

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError
from stgraph.ops.sinkhorn.problem import Problem

__all__ = ["check_costs", "check_settings", "check_tensor", "check_values", "common_batch", "penalties"]


def check_settings(eps: float, max_iter: int, tol: float, relaxation: float | None) -> None:
    """Check the numbers that steer the solver."""
    for name, value in (("eps", eps), ("tol", tol), ("relaxation", 1.0 if relaxation is None else relaxation)):
        _check_number(name, value)
    _check_number("max_iter", max_iter, numbers.Integral, "an integer")
    if not 0 < eps < math.inf:
        raise InputError(f"eps is {eps}; expected a positive number")
    if max_iter < 1:
        raise InputError(f"max_iter is {max_iter}; expected at least 1")
    if not tol >= 0:
        raise InputError(f"tol is {tol}; expected a number of at least 0")
    if relaxation is not None and not 0 < relaxation < 2:
        raise InputError(f"relaxation is {relaxation}; expected a number between 0 and 2, or None")


def penalties(rho: float | tuple[float, float]) -> tuple[float, float]:
    """The penalties of both marginals."""
    pair = rho if isinstance(rho, tuple | list) else (rho, rho)
    for value in pair:
        _check_number("rho", value)
    if len(pair) != 2 or not all(value >= 0 for value in pair):
        raise InputError(f"rho is {rho}; expected a number of at least 0, or two of them")
    return float(pair[0]), float(pair[1])


def _check_number(name: str, value: object, kind: type = numbers.Real, expected: str = "a number") -> None:
    if isinstance(value, bool) or not isinstance(value, kind):
        raise InputTypeError(f"{name} is {value!r}; expected {expected}")


def check_tensor(name: str, value: Tensor, shape: tuple[int, ...] | None = None) -> None:
    """Check that ``value`` is a floating-point tensor whose shape broadcasts to ``shape``."""
    if not isinstance(value, Tensor):
        raise InputTypeError(f"{name} is of type {type(value).__name__}; expected a torch.Tensor")
    if not value.is_floating_point():
        raise InputTypeError(f"{name} has dtype {value.dtype}; expected floating point")
    if shape is None:
        return
    fits = value.dim() <= len(shape) and value.dim() >= 1 and value.shape[-1] == shape[-1]
    pairs = zip(reversed(value.shape[:-1]), reversed(shape[:-1]), strict=False)
    if not fits or any(came not in (1, expected) for came, expected in pairs):
        raise InputError(f"{name} has shape {tuple(value.shape)}; expected one that broadcasts to {shape}")


Side = tuple[str, Tensor | None, str, Tensor | None, int]


def common_batch(cost: Tensor, sides: tuple[Side, ...]) -> tuple[int, ...]:
    """Check the shapes of weights and masks; returns the batch dimensions of everything together."""
    batch = tuple(cost.shape[:-2])
    for name, weights, mask_name, mask, size in sides:
        if mask is not None and (not isinstance(mask, Tensor) or mask.dtype != torch.bool):
            raise InputTypeError(
                f"{mask_name} is {getattr(mask, 'dtype', type(mask))}; expected a tensor of torch.bool"
            )
        for label, value in ((name, weights), (mask_name, mask)):
            if value is None:
                continue
            if label == name:
                check_tensor(label, value)
            try:
                if value.dim() < 1 or value.shape[-1] != size:
                    raise RuntimeError
                batch = tuple(torch.broadcast_shapes(batch, value.shape[:-1]))
            except RuntimeError:
                raise InputError(
                    f"{label} has shape {tuple(value.shape)}; expected {(*cost.shape[:-2], size)} for a cost of shape "
                    f"{tuple(cost.shape)}, or one that broadcasts to it"
                ) from None
    return batch


def check_costs(cost: Tensor, name: str = "cost") -> None:
    """Check the values of a cost that is not empty."""
    low, high = cost.aminmax()
    if not bool(torch.isfinite(low)) or not bool(torch.isfinite(high)):
        raise InputError(f"{name} has NaN or infinite entries; expected finite numbers of at least 0")
    if low < 0:
        raise InputError(f"{name} has negative entries, the lowest is {float(low):g}; expected numbers of at least 0")


def check_values(cost: Tensor, problem: Problem) -> None:
    """Check the costs and marginals of a batch of problems."""
    if cost.shape[0] == 0:
        return
    check_costs(cost)
    a, b = problem.a, problem.b
    for name, weights in (("a", a), ("b", b)):
        low, high = weights.aminmax()
        if not bool(torch.isfinite(low)) or not bool(torch.isfinite(high)):
            raise InputError(f"{name} has NaN or infinite weights; expected finite numbers of at least 0")
        if low < 0:
            raise InputError(f"{name} has negative weights, the lowest is {float(low):g}; expected at least 0")
        empty = (weights <= 0).all(dim=-1)
        if bool(empty.any()):
            raise InputError(
                f"{name} has no positive weight in problem {int(empty.nonzero()[0])} of the batch "
                "(weights are zero or masked); expected at least one"
            )
    if problem.balanced:
        _check_masses(a.sum(dim=-1), b.sum(dim=-1), max(32 * torch.finfo(a.dtype).eps, 1e-6))


def _check_masses(a: Tensor, b: Tensor, tolerance: float) -> None:
    apart = (a - b).abs() > tolerance * torch.maximum(a, b)
    if bool(apart.any()):
        worst = int(apart.nonzero()[0])
        raise InputError(
            f"the marginals have different mass in problem {worst} of the batch: a sums to {float(a[worst]):.8g}, b to "
            f"{float(b[worst]):.8g}; balanced transport needs equal sums (normalise them, or set rho)"
        )
