"""Predictions of points that a model could not see: blocks are hidden in turn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stgraph.errors import InputError, InputTypeError

__all__ = ["hidden_block_masks", "predict_hidden", "uncertainty_deviation"]


def hidden_block_masks(length: int, block: int, passes: int = 4, *, offset: int = 0) -> Tensor:
    r"""Masks that hide blocks of a series in turn, so that each point is hidden in exactly one of them.

    Mask :math:`p` hides the blocks :math:`p, p + P, p + 2P, \ldots`, so that between hidden blocks :math:`P - 1` blocks
    are visible.

    Args:
        length: Number of points :math:`L` of the series.
        block: Points of a block.
        passes: Number of masks :math:`P`.
        offset: Number of points by which all blocks begin earlier; the first one is then shorter.

    Shapes:
        - **output:** :math:`(P, L)` bool, True where a point is hidden; a mask hides nothing where there are fewer
          blocks than masks

    Raises:
        InputError: If a number cannot be used, or a mask would hide the whole series.

    Examples:
        >>> hidden_block_masks(6, block=2, passes=2).int()
        tensor([[1, 1, 0, 0, 1, 1],
                [0, 0, 1, 1, 0, 0]], dtype=torch.int32)
    """
    limits = (("length", length, 2), ("block", block, 1), ("passes", passes, 2), ("offset", offset, 0))
    for name, value, least in limits:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InputError(f"{name} is {value!r}; expected an int of at least {least}")
    number = (torch.arange(length) + offset % block) // block
    if int(number[-1]) == 0:
        raise InputError(f"block is {block}; expected less than the {length} points of the series, which it would hide")
    return number % passes == torch.arange(passes).unsqueeze(-1)


def predict_hidden(
    reconstruct: Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]],
    x: Tensor,
    mask: Tensor,
    block: int,
    passes: int = 4,
) -> tuple[Tensor, Tensor | None]:
    r"""Predict each point by a model that did not see it, nor the other points of its block.

    The model is called once for each of ``passes`` complementary masks (:func:`hidden_block_masks`), and from each call
    the hidden points are taken. An autoencoder cannot copy an anomaly into its reconstruction this way.

    Args:
        reconstruct: Called with the series, 0 where hidden, and where they are hidden (the blocks of the pass, and bad
            points); returns the mean, and the logarithm of its variance or ``None``.
        x: Series.
        mask: Where a point is good.
        block: Points of a block; an anomaly narrower than it is hidden as a whole in one pass, unless it lies across
            the border of two blocks.
        passes: Number of masks.

    Shapes:
        - **x**, **mask**, each argument and result of ``reconstruct``, **output:** :math:`(N, L, C)`

    Returns:
        tuple[Tensor, Tensor | None]: Mean and logarithm of the variance; ``None`` if the model gives none.

    Raises:
        InputError: If a shape or number does not fit, also of what ``reconstruct`` returns.
        InputTypeError: If ``x`` is not of a floating type or ``mask`` is not boolean.

    Examples:
        >>> x = torch.tensor([[1.0], [2.0], [3.0], [4.0]]).unsqueeze(0)
        >>> mean, _ = predict_hidden(lambda x, hidden: (x, None), x, torch.ones_like(x, dtype=torch.bool), block=1)
        >>> mean.flatten().tolist()  # a copy of what is visible has nothing where it is not
        [0.0, 0.0, 0.0, 0.0]
    """
    _check_series(x, mask)
    mean, log_variance = torch.zeros_like(x), None
    for number, row in enumerate(hidden_block_masks(x.shape[1], block, passes).to(x.device)):
        if not bool(row.any()):
            continue
        chosen = row.unsqueeze(-1)
        hidden = chosen | ~mask
        found, found_log_variance = reconstruct(x.masked_fill(hidden, 0.0), hidden)
        _check_result("the mean", found, x)
        mean = torch.where(chosen, found, mean)
        if number == 0 and found_log_variance is not None:
            log_variance = torch.zeros_like(x)
        if (found_log_variance is None) != (log_variance is None):
            raise InputError("reconstruct gives a variance in some calls only; expected it in all or none")
        if found_log_variance is not None and log_variance is not None:
            _check_result("the logarithm of the variance", found_log_variance, x)
            log_variance = torch.where(chosen, found_log_variance, log_variance)
    return mean, log_variance


def uncertainty_deviation(
    x: Tensor, mean: Tensor, log_variance: Tensor | None, error: Tensor | None, mask: Tensor
) -> Tensor:
    r"""Deviation from a prediction in units of the uncertainty of both, :math:`(x - \mu) / \sqrt{e^v + \sigma^2}`.

    Args:
        x: Series.
        mean: Prediction :math:`\mu`.
        log_variance: Logarithm :math:`v` of the prediction's variance; without it, only the error counts.
        error: Standard deviation :math:`\sigma` of the noise of ``x``, in its units; 0 without it.
        mask: Where a point is good.

    Shapes:
        - **all**, **output:** :math:`(N, L, C)`; the output is 0 at bad points

    Raises:
        InputError: If a shape does not fit, or a good point has no uncertainty at all.
        InputTypeError: If ``x`` is not of a floating type or ``mask`` is not boolean.

    Examples:
        >>> x, good = torch.full((1, 2, 1), 10.0), torch.tensor([[[True], [False]]])
        >>> error = torch.full_like(x, 4.0)
        >>> log_variance = torch.full_like(x, 9.0).log()
        >>> uncertainty_deviation(x, torch.zeros_like(x), log_variance, error, good).flatten()
        tensor([2., 0.])
    """
    _check_series(x, mask)
    _check_result("mean", mean, x)
    variance = torch.zeros_like(x)
    if log_variance is not None:
        _check_result("log_variance", log_variance, x)
        variance = variance + log_variance.exp()
    if error is not None:
        _check_result("error", error, x)
        variance = variance + error.square()
    if not bool((variance > 0)[mask].all()):
        raise InputError("good points have no uncertainty; expected a log_variance, or an error above 0 at them")
    return torch.where(mask, (x - mean) / torch.where(mask, variance, 1.0).sqrt(), 0.0)


def _check_series(x: Tensor, mask: Tensor) -> None:
    if not x.is_floating_point():
        raise InputTypeError(f"x is of type {x.dtype}; expected a floating type")
    if mask.dtype != torch.bool:
        raise InputTypeError(f"mask is of type {mask.dtype}; expected torch.bool")
    if x.dim() != 3:
        raise InputError(f"x has shape {tuple(x.shape)}; expected (N, L, C)")
    _check_result("mask", mask, x)


def _check_result(name: str, value: Tensor, x: Tensor) -> None:
    if value.shape != x.shape:
        raise InputError(f"{name} has shape {tuple(value.shape)}; expected {tuple(x.shape)}, that of x")
