"""Where a transport plan takes the points."""

from __future__ import annotations

import torch
from torch import Tensor

from stgraph.errors import InputError
from stgraph.ops.sinkhorn.checks import check_tensor

__all__ = ["barycentric_projection"]


def barycentric_projection(plan: Tensor, y: Tensor) -> Tensor:
    r"""Move each row of a transport plan to the mean of the points it is sent to.

    .. math::
        T_i = \frac{\sum_j P_{ij}\, y_j}{\sum_j P_{ij}}

    Rows without mass are sent nowhere: their image, and its gradient, is 0.

    Args:
        plan: Plan P, at least 0, ``[..., n, m]``.
        y: Points, or any values, of the columns ``[..., m, D]``.

    Shapes:
        Leading dimensions are batch dimensions that broadcast against each other.

    Returns:
        Tensor: Images of the rows ``[..., n, D]``, differentiable by both arguments.

    Raises:
        InputError: If the shapes do not fit.
        InputTypeError: If an argument is not a floating-point tensor.

    References:
        Ferradans et al., "Regularized Discrete Optimal Transport" (2014).

    Examples:
        >>> import torch
        >>> plan = torch.tensor([[0.25, 0.25], [0.0, 0.5], [0.0, 0.0]])
        >>> barycentric_projection(plan, torch.tensor([[0.0], [1.0]]))
        tensor([[0.5000],
                [1.0000],
                [0.0000]])
    """
    for name, value in (("plan", plan), ("y", y)):
        check_tensor(name, value)
        if value.dim() < 2:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected at least two dimensions")
    try:
        torch.broadcast_shapes(plan.shape[:-2], y.shape[:-2])
        fits = plan.shape[-1] == y.shape[-2]
    except RuntimeError:
        fits = False
    if not fits:
        raise InputError(
            f"y has shape {tuple(y.shape)}; expected (..., {plan.shape[-1]}, dimension) for a plan of shape "
            f"{tuple(plan.shape)}"
        )
    dtype = torch.promote_types(plan.dtype, y.dtype)
    mass = plan.sum(dim=-1, keepdim=True).to(dtype)
    positive = mass > 0
    images = (plan.to(dtype) @ y.to(dtype)) / torch.where(positive, mass, 1.0)
    return torch.where(positive, images, 0.0)
