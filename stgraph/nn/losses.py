"""The training loss of forecasters: point errors, spatial spectrum and quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Data

from stgraph.errors import InputError
from stgraph.ops.graph_fourier import laplacian_modes

__all__ = ["ForecastLoss", "LossParts", "grid_frequency_weight", "pinball_loss"]

_POINT_LOSSES = ("huber", "mae", "mse")
_DECAY = 3.0


class LossParts(NamedTuple):
    """The loss that is minimised and the parts it is made of, before their weights."""

    total: Tensor
    point: Tensor
    frequency: Tensor
    quantile: Tensor
    regulariser: Tensor


class ForecastLoss(nn.Module):
    r"""Point loss, plus a loss of the spatial spectrum, pinball losses and the model's regulariser.

    The spectrum on a grid is the two-dimensional Fourier transform, weighted as in the original by
    :func:`grid_frequency_weight`.
    On any other graph it is the graph Fourier transform (:func:`stgraph.ops.graph_fourier.laplacian_modes`), where the
    mode of eigenvalue :math:`\lambda` has the weight :math:`e^{-3 \lambda / 2}`. Unobserved targets have no influence.

    Args:
        point: ``"huber"``, ``"mae"`` or ``"mse"``.
        huber_delta: Where the Huber loss becomes linear.
        frequency_weight: Weight of the spectral part.
        quantile_weight: Weight of the pinball losses.
        quantile_levels: Levels of the pinball losses of a point forecast.
        regulariser_weight: Weight of the regulariser.
        num_modes: Number of graph Fourier modes.
        quantiles: Levels of the model's quantile outputs; ``None`` for a point forecast.

    Shapes:
        - **input:** prediction :math:`(B, N, Q, C)`, or :math:`(B, N, Q, C, L)` for L quantiles; target and mask
          :math:`(B, N, Q, C)`, all in scaled units
        - **output:** scalars

    Examples:
        >>> import torch
        >>> loss = ForecastLoss(frequency_weight=0.0, quantile_weight=0.0)
        >>> parts = loss(torch.ones(1, 2, 1, 1), torch.zeros(1, 2, 1, 1))
        >>> round(parts.total.item(), 2)  # 0.8 * (1 - 0.8 / 2)
        0.48
    """

    def __init__(
        self,
        point: str = "huber",
        huber_delta: float = 0.8,
        frequency_weight: float = 0.1,
        quantile_weight: float = 0.3,
        quantile_levels: Sequence[float] = (0.2, 0.5, 0.8),
        regulariser_weight: float = 1.0,
        num_modes: int = 64,
        quantiles: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if point not in _POINT_LOSSES:
            raise InputError(f"point is {point!r}; expected one of {_POINT_LOSSES}")
        if any(not 0 < level < 1 for level in quantile_levels):
            raise InputError(f"quantile_levels is {list(quantile_levels)}; expected levels between 0 and 1")
        self.point, self.huber_delta = point, huber_delta
        self.frequency_weight, self.quantile_weight = frequency_weight, quantile_weight
        self.regulariser_weight, self.num_modes = regulariser_weight, num_modes
        self.quantiles = None if quantiles is None else tuple(quantiles)
        self.levels = tuple(quantile_levels) if self.quantiles is None else self.quantiles
        self._basis: tuple[Tensor, Tensor] | None = None
        self._basis_edges: Tensor | None = None

    def forward(
        self,
        prediction: Tensor,
        target: Tensor,
        mask: Tensor | None = None,
        batch: Data | None = None,
        regulariser: Tensor | None = None,
        observed_weight: Tensor | float = 1.0,
        batch_weight: Tensor | float = 1.0,
    ) -> LossParts:
        """Compare a forecast with its target.

        Args:
            prediction: Forecast in scaled units.
            target: Target in scaled units.
            mask: True where the target is observed.
            batch: The graph: its ``grid`` or ``edge_index`` says what the spatial spectrum is.
            regulariser: What the model asks to add.
            observed_weight: Factor on parts that are means over observed targets. With the local share of observed
                targets times the number of processes, the mean of the gradients over processes is exact.
            batch_weight: The same for parts that are means over windows.
        """
        if self.quantiles is None:
            center, levels_of = prediction, prediction.unsqueeze(-1)
        else:
            center, levels_of = prediction[..., self.quantiles.index(0.5)], prediction
        if mask is not None:
            # Not a product: an unobserved target may hold anything, NaN included.
            target = torch.where(mask, target, center.detach())
        count = target.numel() if mask is None else mask.sum()
        observed = torch.as_tensor(count, device=target.device).clamp(min=1)
        zero = center.sum() * 0.0
        parts = LossParts(
            zero,
            zero + self._point(center, target) / observed * observed_weight,
            zero + self._frequency(center - target, batch) * batch_weight if self.frequency_weight else zero,
            zero + self._pinball(levels_of, target, mask) / observed * observed_weight,
            zero if regulariser is None else zero + regulariser * batch_weight,
        )
        total = (
            parts.point
            + self.frequency_weight * parts.frequency
            + self.quantile_weight * parts.quantile
            + self.regulariser_weight * parts.regulariser
        )
        return parts._replace(total=total)

    def _point(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.point == "huber":
            return F.huber_loss(prediction, target, delta=self.huber_delta, reduction="sum")
        if self.point == "mae":
            return F.l1_loss(prediction, target, reduction="sum")
        return F.mse_loss(prediction, target, reduction="sum")

    def _pinball(self, prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        if not self.quantile_weight:
            return target.new_zeros(())
        losses = pinball_loss(prediction, target, self.levels)
        if mask is not None:
            losses = torch.where(mask.unsqueeze(-1), losses, 0.0)
        return losses.sum() / len(self.levels)

    def _frequency(self, difference: Tensor, batch: Data | None) -> Tensor:
        if difference.numel() == 0:
            return difference.sum()
        # Both transforms are linear: that of the difference is the difference of the transforms.
        grid = None if batch is None else getattr(batch, "grid", None)
        if grid is not None:
            height, width = (int(size) for size in grid)
            spectrum = torch.fft.rfft2(difference.unflatten(1, (height, width)).float(), dim=(1, 2))
            weight = grid_frequency_weight(height, width).to(difference.device)
            return torch.mean(weight[..., None, None] * spectrum.abs())
        eigenvalues, modes = self._graph_basis(difference, batch)
        coefficients = torch.einsum("nk,bnqc->bkqc", modes, difference.to(modes.dtype))
        weight = torch.exp(-_DECAY / 2 * eigenvalues)[:, None, None]
        return torch.mean(weight * coefficients.abs())

    def _graph_basis(self, difference: Tensor, batch: Data | None) -> tuple[Tensor, Tensor]:
        edge_index = None if batch is None else getattr(batch, "edge_index", None)
        if edge_index is None:
            raise InputError("the batch has neither grid nor edge_index; set frequency_weight to 0 or add edges")
        kept = self._basis_edges
        if self._basis is None or kept is None or kept.shape != edge_index.shape or not torch.equal(kept, edge_index):
            self._basis = laplacian_modes(edge_index, difference.shape[1], self.num_modes)
            self._basis_edges = edge_index.clone()
        return self._basis

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"point={self.point!r}, frequency_weight={self.frequency_weight}, "
            f"quantile_weight={self.quantile_weight}, levels={list(self.levels)}"
        )


def pinball_loss(prediction: Tensor, target: Tensor, levels: Sequence[float]) -> Tensor:
    """Pinball loss of each entry at each level, ``[..., L]``, of predictions ``[..., L]`` or ``[..., 1]``.

    >>> import torch
    >>> pinball_loss(torch.tensor([[0.0]]), torch.tensor([1.0]), levels=[0.2, 0.8])
    tensor([[0.2000, 0.8000]])
    """
    error = target.unsqueeze(-1) - prediction
    level = error.new_tensor(levels)
    return torch.maximum(level * error, (level - 1) * error)


def grid_frequency_weight(height: int, width: int) -> Tensor:
    """Weight ``exp(-3 r)`` of each bin of a real two-dimensional transform, ``[H, W // 2 + 1]``.

    As in the original, r is the distance from the middle of a grid spanning [-1, 1] in both directions, of which the
    upper left part that fits the bins is used.

    >>> grid_frequency_weight(4, 6).shape
    torch.Size([4, 4])
    """
    rows, cols = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)[: width // 2 + 1]
    return torch.exp(-_DECAY * (rows.unsqueeze(-1).square() + cols.square()).sqrt())
