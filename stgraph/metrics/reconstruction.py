"""Errors of reconstructions on hidden, visible and all real points, per series and over a data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from stgraph.errors import InputError, InputTypeError
from stgraph.metrics.sums import ratio

__all__ = ["PARTS", "ReconstructionMetrics", "merge_joint_moments", "reconstruction_errors", "split_points"]

#: The parts of a series, in the order of the last dimension of the results.
PARTS = ("hidden", "visible", "all")
# A sum of squares about a mean is rounding where it is below count * (this * mean) ** 2.
_ROUNDING = 2.0**-45


class ReconstructionMetrics(Metric):
    r"""Errors of reconstructions over a data set, on hidden, visible and all real points.

    Every point has the same weight, however the points are divided into batches and processes. :meth:`compute` returns
    a dictionary with the keys ``hidden_mse``, ``visible_mse``, ``all_mse`` and likewise

    - ``count``: the number of points;
    - ``mse``, ``mae``, ``rmse``: mean squared and mean absolute error, and the root of the former;
    - ``r2``: :math:`1 - \sum (\hat y - y)^2 / \sum (y - \bar y)^2`, with the mean over the points of the part;
    - ``correlation``: Pearson's coefficient of correlation of reconstruction and target;
    - ``chi2``, ``reduced_chi2``: :math:`\sum ((\hat y - y) / \sigma)^2`, and that over the number of points that have a
      measurement error :math:`\sigma`. (No number of fitted parameters is subtracted, since a network has no telling
      one.)

    A value is nan where nothing can be said: without points, without measurement errors, or where a part does not vary.

    Args:
        kwargs: Arguments of :class:`torchmetrics.Metric`.

    Shapes:
        - **update:** reconstruction, target, masks and measurement errors, all of the same shape :math:`(B, ...)`
        - **compute:** scalars, float64

    Examples:
        >>> metrics = ReconstructionMetrics()
        >>> target, real = torch.tensor([[1.0, 2.0, 3.0, 0.0]]), torch.tensor([[True, True, True, False]])
        >>> metrics.update(target + 0.5, target, real, torch.tensor([[True, False, False, False]]))
        >>> result = metrics.compute()
        >>> float(result["hidden_mse"]), float(result["all_r2"]), int(result["all_count"])
        (0.25, 0.625, 3)
    """

    full_state_update = False
    is_differentiable = False
    sums: Tensor
    moments: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("sums", torch.zeros(4, 2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("moments", torch.zeros(6, 2, dtype=torch.float64), dist_reduce_fx=merge_joint_moments)

    def update(
        self,
        prediction: Tensor,
        target: Tensor,
        observed_mask: Tensor,
        hidden_mask: Tensor,
        error: Tensor | None = None,
    ) -> None:
        """Add a batch.

        Args:
            prediction: Reconstruction.
            target: Target; NaN counts as not observed.
            observed_mask: True at real points.
            hidden_mask: True where the network did not see the target; only real points count.
            error: Measurement errors; those that are not positive and finite do not count.

        Raises:
            InputError: If a shape does not fit.
            InputTypeError: If a mask is not boolean.
        """
        sums, moments = _series_sums(prediction, target, observed_mask, hidden_mask, error)
        self.sums += sums.sum(0)
        self.moments = merge_joint_moments(torch.cat([self.moments.unsqueeze(0), moments]))

    def compute(self) -> dict[str, Tensor]:
        """Return the measures of each part over all that was added."""
        return _measures(self.sums, self.moments)


def reconstruction_errors(
    prediction: Tensor,
    target: Tensor,
    observed_mask: Tensor,
    hidden_mask: Tensor,
    error: Tensor | None = None,
) -> dict[str, Tensor]:
    """Return the measures of :class:`ReconstructionMetrics` for each series, such as the rows of a table.

    Args:
        prediction: Reconstruction.
        target: Target; NaN counts as not observed.
        observed_mask: True at real points.
        hidden_mask: True where the network did not see the target; only real points count.
        error: Measurement errors; those that are not positive and finite do not count.

    Shapes:
        - **input:** all of the same shape :math:`(N, ...)`
        - **output:** a dictionary of tensors :math:`(N)`, float64, with the keys of :class:`ReconstructionMetrics`

    Raises:
        InputError: If a shape does not fit.
        InputTypeError: If a mask is not boolean.

    Examples:
        >>> import torch
        >>> target, real = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.ones(2, 2, dtype=torch.bool)
        >>> errors = reconstruction_errors(torch.zeros(2, 2), target, real, torch.tensor([[True, False], [True, True]]))
        >>> errors["hidden_mae"].tolist(), errors["visible_count"].tolist()
        ([1.0, 4.0], [1.0, 0.0])
    """
    sums, moments = _series_sums(prediction, target, observed_mask, hidden_mask, error)
    return _measures(sums, moments)


def split_points(target: Tensor, observed_mask: Tensor, hidden_mask: Tensor, **others: Tensor) -> Tensor:
    """Check shapes and types, and return which points of each series are hidden and which are visible, ``[N, P, 2]``.

    Args:
        target: Target ``[N, ...]``; NaN counts as not observed.
        observed_mask: True at real points, shape of ``target``.
        hidden_mask: True where the network did not see the target, shape of ``target``.
        others: What else must have the shape of ``target``.

    Raises:
        InputError: If a shape does not fit.
        InputTypeError: If a mask is not boolean.
    """
    if target.dim() < 1:
        raise InputError("target is a scalar; expected shape (N, ...)")
    masks = {"observed_mask": observed_mask, "hidden_mask": hidden_mask}
    for name, value in (others | masks).items():
        if value.shape != target.shape:
            raise InputError(f"{name} has shape {tuple(value.shape)}; expected {tuple(target.shape)}")
    for name, value in masks.items():
        if value.dtype != torch.bool:
            raise InputTypeError(f"{name} is of type {value.dtype}; expected torch.bool")
    real = observed_mask & ~target.isnan()
    return torch.stack([rows(real & hidden_mask), rows(real & ~hidden_mask)], dim=-1)


def rows(x: Tensor) -> Tensor:
    """Reshape ``[N, ...]`` to ``[N, P]``."""
    return x.reshape(x.shape[0], -1) if x.numel() else x.new_zeros(x.shape[0], 0)


def sum_parts(parts: Tensor, *values: Tensor) -> Tensor:
    """Return the sums ``[N, K, 2]`` of K values ``[N, P]`` over the hidden and the visible points of each series."""
    return torch.stack([torch.where(parts, value.unsqueeze(-1), 0.0).sum(1) for value in values], dim=1)


def with_all(sums: Tensor) -> Tensor:
    """Append the sums over all points to those ``[..., 2]`` over hidden and visible ones."""
    return torch.cat([sums, sums.sum(-1, keepdim=True)], dim=-1)


def named(measures: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take measures ``[..., 3]`` apart into those of each part."""
    return {f"{part}_{name}": value[..., i] for i, part in enumerate(PARTS) for name, value in measures.items()}


def merge_joint_moments(stacked: Tensor) -> Tensor:
    """Merge the moments ``[K, 6, ...]`` of K groups into those of their union, ``[6, ...]``.

    The moments are the count, the means of two variables, the sums of squares about them, and the sum of products.
    They lose nothing where the means are large against the spread, as plain sums of squares do (T. F. Chan, G. H. Golub
    and R. J. LeVeque, "Algorithms for Computing the Sample Variance", The American Statistician 37, 1983).
    """
    count, mean_p, mean_y, squares_p, squares_y, products = stacked.unbind(1)
    total = count.sum(0)
    common_p, common_y = ((count * mean).sum(0) / total.clamp(min=1) for mean in (mean_p, mean_y))
    p, y = mean_p - common_p, mean_y - common_y
    return torch.stack(
        [
            total,
            common_p,
            common_y,
            (squares_p + count * p.square()).sum(0),
            (squares_y + count * y.square()).sum(0),
            (products + count * p * y).sum(0),
        ]
    )


def _series_sums(
    prediction: Tensor, target: Tensor, observed_mask: Tensor, hidden_mask: Tensor, error: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the sums ``[N, 4, 2]`` of squares, absolutes, chi-squares and known errors, and moments ``[N, 6, 2]``."""
    others = {"prediction": prediction} | ({} if error is None else {"error": error})
    parts = split_points(target, observed_mask, hidden_mask, **others)
    real = parts.any(dim=-1)
    p, y = (torch.where(real, rows(x).double(), 0.0) for x in (prediction, target))
    known, sigma = torch.zeros_like(real), torch.ones_like(y)
    if error is not None:
        known = real & rows((error > 0) & error.isfinite())
        sigma = torch.where(known, rows(error).double(), 1.0)
    difference = p - y
    chi = torch.where(known, difference / sigma, 0.0).square()
    sums = sum_parts(parts, difference.square(), difference.abs(), chi, known.double())
    count = parts.sum(1).double()
    means = sum_parts(parts, p, y) / count.clamp(min=1).unsqueeze(1)
    p_about, y_about = (
        torch.where(parts, x.unsqueeze(-1) - mean.unsqueeze(1), 0.0)
        for x, mean in zip((p, y), means.unbind(1), strict=True)
    )
    second = [p_about.square().sum(1), y_about.square().sum(1), (p_about * y_about).sum(1)]
    return sums, torch.stack([count, *means.unbind(1), *second], dim=1)


def _measures(sums: Tensor, moments: Tensor) -> dict[str, Tensor]:
    """Turn sums ``[..., 4, 2]`` and moments ``[..., 6, 2]`` into measures ``[...]`` of each part."""
    squared, absolute, chi2, known = with_all(sums).unbind(-2)
    whole = merge_joint_moments(moments.movedim(-1, 0).movedim(-1, 1)).movedim(0, -1)
    joint = torch.cat([moments, whole.unsqueeze(-1)], dim=-1)
    count, mean_p, mean_y, squares_p, squares_y, products = joint.unbind(-2)
    squares_p, squares_y = (
        torch.where(squares > count * (_ROUNDING * mean).square(), squares, 0.0)
        for squares, mean in ((squares_p, mean_p), (squares_y, mean_y))
    )
    mse = ratio(squared, count)
    return named(
        {
            "count": count,
            "mse": mse,
            "mae": ratio(absolute, count),
            "rmse": mse.sqrt(),
            "r2": 1 - ratio(squared, squares_y),
            "correlation": ratio(products, squares_p.sqrt() * squares_y.sqrt()).clamp(-1, 1),
            "chi2": torch.where(known > 0, chi2, torch.nan),
            "reduced_chi2": ratio(chi2, known),
        }
    )
