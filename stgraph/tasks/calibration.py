"""Split-conformal calibration of quantile forecasts on a validation period."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch_geometric.data import Data

from stgraph.errors import InputError

if TYPE_CHECKING:
    from stgraph.models import Forecaster

__all__ = ["calibrate_quantiles", "conformal_offset"]


def conformal_offset(residual: Tensor, observed: Tensor, level: float) -> Tensor:
    r"""Return the smallest shift after which at least a share ``level`` of exchangeable new targets lies below.

    With :math:`M` observed residuals it is the :math:`\lceil (M + 1) \, \text{level} \rceil`-th smallest, the
    finite-sample correction of split-conformal prediction (`Romano, Patterson and Candès, 2019
    <https://arxiv.org/abs/1905.03222>`_, for one-sided quantiles); the largest where that exceeds :math:`M`.

    Args:
        residual: Target minus quantile forecast, ``[M, ...]``.
        observed: True where the target is observed, shape of ``residual``.
        level: Level of the quantile, between 0 and 1.

    Returns:
        Tensor: The shift, ``[...]``; 0 where nothing was observed.

    Examples:
        >>> residual = torch.arange(1.0, 10.0)
        >>> conformal_offset(residual, torch.ones(9, dtype=torch.bool), level=0.8)
        tensor(8.)
    """
    count = observed.sum(dim=0)
    # Unobserved residuals sort to the end, behind every rank that can be asked for.
    ordered = residual.masked_fill(~observed, torch.inf).sort(dim=0).values
    # In float64, and less a rounding error: 10 * 0.7 must not become rank 8.
    rank = ((count + 1).double() * level - 1e-9).ceil().long()
    place = rank.minimum(count).clamp(min=1) - 1
    offset = ordered.gather(0, place.unsqueeze(0)).squeeze(0)
    return torch.where(count > 0, offset, 0.0)


@torch.no_grad()
def calibrate_quantiles(model: Forecaster, batches: Iterable[Data]) -> Tensor:
    """Set the offsets of a model's quantiles so that they cover what they claim on the given windows.

    The offset is one number per step, channel and level, found by :func:`conformal_offset` over all observed targets of
    these windows, which must not be those the model was trained on.

    Args:
        model: A forecaster with quantile outputs, on the device of the batches; it is left in evaluation mode.
        batches: Batches of windows.

    Returns:
        Tensor: The offsets ``[Q, C, L]``, also stored in ``model.quantile_offset``.

    Raises:
        InputError: If the model has no quantile outputs.
    """
    if model.quantiles is None:
        raise InputError("the model has no quantile outputs to calibrate; give it quantiles")
    model.eval()
    model.quantile_offset.zero_()
    residuals, masks = [], []
    for batch in batches:
        prediction = model(batch)
        target = batch.y[..., : model.out_channels]
        mask = batch.get("y_mask")
        observed = torch.ones_like(target, dtype=torch.bool) if mask is None else mask[..., : model.out_channels]
        residuals.append((target.unsqueeze(-1) - prediction).flatten(0, 1))
        masks.append(observed.flatten(0, 1))
    if residuals:
        residual, observed = torch.cat(residuals), torch.cat(masks)
        for i, level in enumerate(model.quantiles):
            model.quantile_offset[..., i] = conformal_offset(residual[..., i], observed, level)
    return model.quantile_offset
